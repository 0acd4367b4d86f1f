"""Clients as the server sees them: to call, to look into, and to treat badly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from ..messages import Close, Invocation, Ping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import TypeForm

    from ..messages import HubMessage
    from ._connection import Connection
    from ._records import Request

__all__ = ["Client", "Clients"]

T = TypeVar("T")
M = TypeVar("M")


class Client:
    """One client of a :class:`HubServer`, as the server sees it.

    Methods that send return when the message is on its way, and wait while the client is behind. For a client that has
    gone they do nothing, as in ASP.NET Core.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Facts

    @property
    def connection_id(self) -> str:
        """What the server calls this connection; the client knows it too."""
        return self._connection.id

    @property
    def connected(self) -> bool:
        """Whether the connection lives."""
        return self._connection.alive

    @property
    def error(self) -> str | None:
        """Why the connection is over; ``None`` while it lives, and after an orderly end."""
        return self._connection.error

    @property
    def protocol(self) -> str:
        """Name of the hub protocol that the client speaks."""
        return self._connection.wire.protocol.name

    @property
    def transport(self) -> str:
        """Name of the transport, ``"memory"`` without a network."""
        return self._connection.line.transport.name

    @property
    def request(self) -> Request:
        """The HTTP request that opened the transport, with its query, headers and token.

        In memory, what it would have been: the headers and the token are those given to :meth:`HubServer.connect`.
        """
        return self._connection.request

    @property
    def running(self) -> list[str]:
        """Names of the hub methods that run for this client, in the order of their calls."""
        return [call.method.name for call in self._connection.calls]

    @property
    def received(self) -> list[HubMessage[Any]]:
        """Every hub message that the client has sent, in order, pings and all; payloads are plain values."""
        return self._connection.history.read()

    @overload
    def messages(self) -> list[HubMessage[Any]]: ...
    @overload
    def messages(self, *kinds: type[M]) -> list[M]: ...
    def messages(self, *kinds: type[Any]) -> list[Any]:
        """Return those of :attr:`received` that are of certain kinds; without any kind, all but pings::

            assert len(client.messages(CancelInvocation)) == 1

        Args:
            *kinds: Message types of :mod:`trio_signalr.messages`.
        """
        if kinds:
            return [message for message in self.received if isinstance(message, kinds)]
        return [message for message in self.received if not isinstance(message, Ping)]

    def __repr__(self) -> str:
        return f"<Client {self.connection_id}{'' if self.connected else ', gone'}>"

    # Calls

    async def send(self, target: str, *args: object) -> None:
        """Call the client's handlers for ``target``, without waiting for an answer.

        Args:
            target: Name as the client spells it, case included.
            *args: Values that the hub protocol can encode.

        Raises:
            PayloadError: It cannot.

        Checkpoint: always.
        """
        await self.send_message(Invocation(target, list(args)))

    @overload
    async def invoke(self, target: str, *args: object) -> Any: ...
    @overload
    async def invoke(self, target: str, *args: object, result_type: TypeForm[T]) -> T: ...
    async def invoke(self, target: str, *args: object, result_type: Any = Any) -> Any:
        """Call the client's handler for ``target`` and wait for its answer.

        Inside a hub method this may be the caller only if ``max_parallel_invocations`` is more than 1: with 1, the
        answer might wait behind a call that waits for this one to end. Streaming methods and those with uploads may.

        Args:
            target: Name as the client spells it, case included.
            *args: Values that the hub protocol can encode.
            result_type: The answer is converted to it; ``Any`` leaves it as decoded.

        Raises:
            HubException: The client answered with this error, without a result, or with one of the wrong type.
            HubClosed: The client has gone.
            PayloadError: An argument cannot be encoded.
            RuntimeError: The caller cannot be asked here, see above; nor can it in an ``on_connected`` hook.

        Cancellation: the answer is dropped when it comes; the client is not told.
        Checkpoint: always.
        """
        return await self._connection.answers.ask(target, list(args), result_type)

    async def send_message(self, message: HubMessage[Any]) -> None:
        """Send any hub message, be it wise or not.

        Args:
            message: What to send; payloads are values that the hub protocol can encode.

        Raises:
            PayloadError: It cannot.

        Checkpoint: always.
        """
        await trio.lowlevel.checkpoint()
        self._connection.wire.post(message)
        await self._connection.wire.wait_for_room()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, behind the messages sent before: garbage, or half a message.

        Stateful reconnect does not number them.

        Args:
            data: What to send; there is no framing but what is in it.

        Checkpoint: always.
        """
        await trio.lowlevel.checkpoint()
        self._connection.wire.post_raw(data)

    # Groups

    def join(self, group: str) -> None:
        """Be one of ``server.group(group)``, until the connection is over; not a checkpoint."""
        if self.connected:
            self._connection.shared.join(group, self)

    def leave(self, group: str) -> None:
        """Be in that group no more; not a checkpoint."""
        self._connection.shared.leave(group, self)

    # Ends and accidents

    async def close(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """Send what is left and a Close message, and end the connection; the client's streaming methods are cancelled.

        Args:
            error: What the Close says; ``None`` for an orderly end.
            allow_reconnect: Whether it says that the client may come back.

        Checkpoint: always; waits for the end, some seconds at most, but not for plain methods. In a streaming method
        of this client, ``Cancelled`` ends it.
        """
        self._connection.end(error, Close(error, allow_reconnect))
        await self._connection.wait_over()

    async def drop(self, *, keep: bool = False, forget: bool = False) -> None:
        """Break the connection, with no word to the client; its streaming methods are cancelled.

        With stateful reconnect only the transport breaks: the client may come back, and its methods go on.

        Args:
            keep: Let the client still receive what was sent before.
            forget: Do not let it come back.

        Checkpoint: always. In a streaming method of this client, ``Cancelled`` ends it.
        """
        await trio.lowlevel.checkpoint()
        if keep:
            await self._connection.flushed()
        self._connection.line.cut(keep=keep, forget=forget)
        if not self._connection.line.resumable:
            await self._connection.wait_over()

    def drop_after(self, count: int, *, incoming: bool = False) -> None:
        """Break the connection once so many more bytes have passed, be it in the middle of a message; no checkpoint.

        Over a network the bytes are those of its sockets, frames and headers included.

        Args:
            count: How many, at least one; they still arrive.
            incoming: Count what the client sends, in place of what is sent to it.
        """
        self._connection.line.cut_after(count, incoming=incoming)

    def stall(self, *, incoming: bool = True, outgoing: bool = True) -> None:
        """Let nothing through until :meth:`resume`, without telling anybody; not a checkpoint.

        Args:
            incoming: Do not read what the client sends.
            outgoing: Keep back what is sent to the client; whoever sends much waits.
        """
        self._connection.line.stall(incoming=incoming, outgoing=outgoing)

    def resume(self) -> None:
        """Let everything through again; not a checkpoint."""
        self._connection.line.resume()

    async def wait_disconnected(self) -> None:
        """Wait until the connection is over; a checkpoint. Plain methods may run on, see :attr:`running`."""
        await self._connection.wait_over()


class Clients:
    """Some clients of a :class:`HubServer`, as they are at the moment of asking. Iterable, in the order of connecting.

    Args:
        members: Who they are.
    """

    def __init__(self, members: Callable[[], Iterable[Client]]) -> None:
        self._members = members

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._members()))

    def __len__(self) -> int:
        return len(list(self._members()))

    def among(self, connection_ids: Iterable[str]) -> Clients:
        """Return those of them that have one of these ids."""
        chosen = set(connection_ids)
        return Clients(lambda: [client for client in self if client.connection_id in chosen])

    def besides(self, *others: Client) -> Clients:
        """Return all but ``others``; ``server.clients.besides(server.caller)`` is everybody else."""
        return Clients(lambda: [client for client in self if client not in others])

    def __repr__(self) -> str:
        return f"<Clients {', '.join(client.connection_id for client in self) or 'nobody'}>"

    async def send(self, target: str, *args: object) -> None:
        """Call the handlers for ``target`` of all of them.

        Args:
            target: Name as the clients spell it, case included.
            *args: Values that the hub protocols can encode.

        Raises:
            PayloadError: They cannot.

        Checkpoint: always; waits while one of them is behind, but none waits for another.
        """
        message: Invocation[object] = Invocation(target, list(args))
        await trio.lowlevel.checkpoint()
        wires = [client._connection.wire for client in self]
        encoded = {wire.protocol: wire.protocol.encode(message) for wire in wires}
        for wire in wires:
            wire.post_raw(encoded[wire.protocol], counted=True)
        for wire in wires:
            await wire.wait_for_room()
