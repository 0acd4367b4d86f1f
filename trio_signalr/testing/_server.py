"""The test hub that users hold."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .._open import as_protocol
from .._typed import described_methods
from ..errors import NegotiationError, TransportError
from ..negotiation import TRANSPORTS, checked_transports
from ._asgi import HubApp
from ._calls import context
from ._client import Client, Clients
from ._connect import connect
from ._methods import Method
from ._options import ServerOptions
from ._reception import Delay, Ignore, Redirect
from ._serving import serve
from ._shared import Shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from typing import Unpack

    import trio

    from .._hub import HubConnection
    from ..protocols import HubProtocol
    from ._connect import ConnectOptions
    from ._records import Event

__all__ = ["HubServer"]

F = TypeVar("F", bound="Callable[..., object]")


class HubServer:
    """A SignalR hub in Python, for tests, demos and examples.

    It behaves like ASP.NET Core's hubs, down to the error texts and the limits, and runs the real codec. It holds no
    task of its own: what runs for a client runs in that client's :meth:`connect` block, or in its HTTP request.

    Args:
        detailed_errors: Tell clients the type and text of every exception, not only of :exc:`HubException`.
        max_parallel_invocations: Plain methods of one client that may run side by side, 1 by default: one after
            another. Streaming methods and those with uploads do not count.
        keep_alive_interval: Seconds between pings, 15 by default; ``math.inf`` for none.
        client_timeout: Seconds of silence after which a client that pings is given up, 30 by default.
        handshake_timeout: Seconds for a client's handshake request, 15 by default.
        send_timeout: Seconds for a client to take what is sent, 10 by default.
        max_message_size: Bytes of one hub message from a client, 32 KiB by default; ``math.inf`` for no limit.
        stream_buffer_capacity: Items of one upload that wait for the method, 10 by default; the next one stops
            everything else that its client sends.
        stateful_reconnect: Offer it to clients that ask for it.
        disconnect_timeout: Seconds until a client is given up that has negotiated and not connected, that does not
            poll, or that does not come back to a stateful connection, 15 by default.
        poll_timeout: Seconds until a poll is answered though there is nothing to tell, 90 by default.
        protocols: Hub protocols it speaks, as names or objects.
        record: Keep what clients send, for :attr:`Client.received`, and who has gone, for :meth:`client`. Both grow as
            long as the server lives, which is what a test wants; ``False`` keeps neither, for a server that runs on.
    """

    def __init__(
        self,
        *,
        detailed_errors: bool = False,
        max_parallel_invocations: int = 1,
        keep_alive_interval: float = 15.0,
        client_timeout: float = 30.0,
        handshake_timeout: float = 15.0,
        send_timeout: float = 10.0,
        max_message_size: float = 32 * 1024,
        stream_buffer_capacity: int = 10,
        stateful_reconnect: bool = False,
        disconnect_timeout: float = 15.0,
        poll_timeout: float = 90.0,
        protocols: Iterable[str | HubProtocol] = ("json", "messagepack"),
        record: bool = True,
    ) -> None:
        options = ServerOptions(
            detailed_errors=detailed_errors,
            max_parallel_invocations=max_parallel_invocations,
            keep_alive_interval=keep_alive_interval,
            client_timeout=client_timeout,
            handshake_timeout=handshake_timeout,
            send_timeout=send_timeout,
            max_message_size=max_message_size,
            stream_buffer_capacity=stream_buffer_capacity,
            stateful_reconnect=stateful_reconnect,
            disconnect_timeout=disconnect_timeout,
            poll_timeout=poll_timeout,
            record=record,
        )
        self._shared = Shared(options, map(as_protocol, protocols))

    # What it can do

    @overload
    def method(self, function: F, /, *, name: str | None = None) -> F: ...
    @overload
    def method(self, name: str | None = None, /) -> Callable[[F], F]: ...
    @overload
    def method(self, /, *, name: str) -> Callable[[F], F]: ...
    def method(self, function: Any = None, /, name: str | None = None) -> Any:
        """Make a function a hub method; a decorator, with or without a name::

            @server.method
            async def Add(a: int, b: int) -> int:
                return a + b

            @server.method("Counter")
            async def count(to: int) -> AsyncIterator[int]:
                for number in range(to):
                    yield number

        Arguments are converted to the parameters' annotations. A parameter annotated as ``AsyncIterable[T]``,
        ``AsyncIterator[T]`` or ``trio.abc.ReceiveChannel[T]`` is an upload. An async generator is a streaming method;
        so is a function that is annotated to return such a thing. Methods need not be async.

        What a method raises is told to the client and never ends the connection: :exc:`HubException` with its text,
        anything else without (it goes to the logger ``trio_signalr.testing``).

        When the client cancels its call, the method is cancelled. When the client is gone, streaming methods are, and
        reading an upload or asking the client raises :exc:`HubClosed`; plain methods go on to their end, as in ASP.NET
        Core, and those that wait for their turn still get it. What then takes more than 5 s is cancelled. A method that
        wants to know may wait for ``server.caller.wait_disconnected()``.

        Args:
            function: The function; or the name.
            name: What clients call it, in any case; the function's own name by default.

        Returns:
            The function itself.

        Raises:
            TypeError: An annotation cannot be resolved, or nothing can be converted to it.
            ValueError: There is a method of that name.
        """
        if function is None or isinstance(function, str):
            chosen: str | None = function or name
            return lambda function: self._add_method(function, chosen)
        return self._add_method(function, name)

    def register(self, hub: object, description: type | None = None) -> None:
        """Make the methods of an object hub methods, as :meth:`method` does with each::

            class Chat(Protocol):  # what clients call too, by hub.typed(Chat)
                async def Add(self, a: int, b: int) -> int: ...


            class ChatHub(Chat):
                async def Add(self, a: int, b: int) -> int:
                    return a + b


            server.register(ChatHub(), Chat)

        Args:
            hub: The object.
            description: The class whose public methods become hub methods, and whose annotations say with which types;
                the object's own class by default.

        Raises:
            TypeError: The object lacks a method of the description, an annotation cannot be resolved, or nothing can be
                converted to it.
            ValueError: There is a method of that name.
        """
        for name, function in described_methods(description or type(hub)):
            self._shared.methods.add(Method.described(hub, name, function, self._shared.protocols.values()))

    def _add_method(self, function: F, name: str | None) -> F:
        self._shared.methods.add(Method.of(function, name, self._shared.protocols.values()))
        return function

    def on_connected(self, hook: Callable[[Client], object]) -> Callable[[Client], object]:
        """Run ``hook``, sync or async, for every client before its first message is handled; a decorator.

        Args:
            hook: Called with the client. What it raises closes the connection.

        Returns:
            The hook itself.
        """
        self._shared.on_connected.append(hook)
        return hook

    def on_disconnected(self, hook: Callable[[Client], object]) -> Callable[[Client], object]:
        """Run ``hook``, sync or async, when a client's connection is over; a decorator.

        As in ASP.NET Core, everything that the client has sent was looked at by then, and its streaming methods are
        told to stop; but plain methods may still run.

        Args:
            hook: Called with the client, whose ``error`` says why it is gone. What it raises is logged.

        Returns:
            The hook itself.
        """
        self._shared.on_disconnected.append(hook)
        return hook

    # Who is there

    @property
    def caller(self) -> Client:
        """The client that called the hub method that is running; in a hook, the client that it is about.

        Raises:
            RuntimeError: Neither is running in this task.
        """
        current = context.get()
        if current is None or current.client._connection.shared is not self._shared:
            raise RuntimeError("there is a caller only inside a hub method or hook of this server")
        return current.client

    @property
    def clients(self) -> Clients:
        """Everybody who is connected; iterable, and ``await server.clients.send(...)`` calls them all."""
        return Clients(self._shared.connected.values)

    def group(self, name: str) -> Clients:
        """Those who are connected and have joined that group: ``server.caller.join("tea")`` in a hub method."""
        return Clients(lambda: self._shared.groups.get(name, {}).values())

    def client(self, connection_id: str | None) -> Client:
        """Return one client, who may have gone meanwhile.

        Args:
            connection_id: As :attr:`HubConnection.connection_id` says it.

        Raises:
            KeyError: Nobody with that id ever shook hands; with ``record=False``, or has gone.
        """
        if connection_id is None or connection_id not in self._shared.clients:
            known = "was ever connected" if self._shared.options.record else "is connected"
            raise KeyError(f"no client {connection_id!r} {known}")
        return self._shared.clients[connection_id]

    def events(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Event]]:
        """Learn of everything that happens at this server, for the length of the block::

            async with server.events() as events:
                ...
                assert isinstance(await events.receive(), Connected)

        Yields:
            A receive channel of records: :class:`Connected`, :class:`Received`, :class:`Called`, :class:`Completed`,
            :class:`Cancelled`, :class:`Disconnected`. It buffers without limit.

        Checkpoint: entering is one.
        Tasks: any number of blocks at once; each sees everything.
        """
        return self._shared.events()

    # How clients get there

    def connect(
        self,
        *,
        protocol: str | HubProtocol = "json",
        **options: Unpack[ConnectOptions],
    ) -> AbstractAsyncContextManager[HubConnection]:
        """Connect a client in memory, without a network: as ``open_hub``, and as fast as the clock of the test.

        Leaving the block ends both sides: what the client has sent is carried out first, so that you see the effects
        behind the block. Plain methods are given 5 s for that, on Trio's clock. What the block raises comes out as it
        is.

        Args:
            protocol: ``"json"``, ``"messagepack"``, or a ``HubProtocol``, which the server then speaks here too.
            **options: All others of ``open_hub``. ``access_token`` and ``headers`` are what the server finds in
                :attr:`Client.request`, and :meth:`require_token` judges them. The only transport is memory, whatever
                ``transports`` allows, as long as one of those carries the protocol. ``http_client``, ``ssl_context``
                and ``proxy`` have nothing to work on here.

        Yields:
            A connected :class:`HubConnection`.

        Raises:
            NegotiationError: The server refused with a status; with ``skip_negotiation`` a ``TransportError``.
            ValueError: ``http_client``, ``ssl_context`` or ``proxy`` was given, or options that make no sense.
            HandshakeError: The server refused.
            HubClosed: The connection ended; other errors as from ``open_hub``.

        Cancellation: methods that still run are cancelled.
        Checkpoint: entering and leaving are.
        Tasks: any number of clients at once.
        """
        return connect(self._shared, protocol, options)

    @cached_property
    def _mounted(self) -> HubApp:
        return HubApp(self._shared, TRANSPORTS.values())

    @property
    def asgi_app(self) -> Callable[..., Awaitable[None]]:
        """The hub as an ASGI application, to be mounted beside your own routes, under any path.

        The ASGI server has to run in Trio, and hypercorn is known to do. Without :meth:`serve` nothing is between it
        and the clients: a connection cannot be cut or stalled at the network, only ended.
        """
        return self._mounted

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "/hub",
        *,
        transports: Iterable[str] = ("websockets", "server_sent_events", "long_polling"),
        app: Callable[..., Awaitable[None]] | None = None,
    ) -> AbstractAsyncContextManager[str]:
        """Serve the hub on a real port, for the length of the block::

            async with server.serve() as url, open_hub(url) as hub:
                ...

        hypercorn runs it (the extra ``testing``), and a small relay before it makes :meth:`Client.drop` and
        :meth:`Client.stall` work there too. At the end of the block clients find what they find when ASP.NET Core
        stops: WebSockets break, event streams end, polls are answered with a Close that lets them come back. Their
        methods are cancelled; the plain methods of clients that have left by themselves are given their 5 s.

        Args:
            host: Where to listen.
            port: The same; 0 lets the system choose.
            path: The hub's, in the URL.
            transports: Names of those offered.
            app: An ASGI application of yours to serve in place of the hub alone; :attr:`asgi_app` is mounted in it, at
                ``path``, and offers all transports.

        Yields:
            The hub's URL, once it can be connected to.

        Raises:
            ImportError: hypercorn is not installed.
            OSError: There is no listening at that address.
            ValueError: There is no such transport.

        Cancellation: everything ends at once, and clients see broken connections.
        Checkpoint: entering and leaving are; leaving waits for methods and hooks to end, some seconds at most.
        """
        names = checked_transports(transports)
        hub_app = HubApp(self._shared, names) if app is None else self._mounted
        return serve(hub_app, host=host, port=port, path=path, app=app)

    # How they are received

    def refuse(self, reason: str | int | Exception, *, times: float = 1, transport: str | None = None) -> None:
        """Refuse the next connections; over a network that is one for each negotiation.

        Args:
            reason: A text to refuse the handshake with. Or an HTTP status for the negotiation's answer. Or the
                exception that opening the transport raises in memory, a ``TransportError`` for one; over a network the
                connection breaks if it has no ``status``.
            times: How many; ``math.inf`` for all until :meth:`accept`.
            transport: Refuse only this one, by a status or an exception, although negotiation offers it; that has no
                meaning in memory.
        """
        if isinstance(reason, int):
            kind = NegotiationError if transport is None else TransportError
            reason = kind(f"the server was told to refuse with {reason}", status=reason)
        if transport is None:
            self._shared.reception.plan(reason, times)
        elif isinstance(reason, Exception):
            (name,) = checked_transports(transport)
            self._shared.reception.plan_transport(name, reason, times)
        else:
            raise TypeError("a transport is refused by a status or an exception; only a handshake has a text")

    def delay(self, seconds: float, *, times: float = 1) -> None:
        """Let the next connections wait for the answer to their handshake, and take them then.

        Args:
            seconds: How long.
            times: How many; ``math.inf`` for all until :meth:`accept`.
        """
        self._shared.reception.plan(Delay(seconds), times)

    def redirect(self, url: str, *, access_token: str | None = None, times: float = 1) -> None:
        """Send the next clients elsewhere when they negotiate; in memory nobody does.

        Args:
            url: Of another hub, maybe one that another :class:`HubServer` serves.
            access_token: For them to use there.
            times: How many; ``math.inf`` for all until :meth:`accept`.
        """
        self._shared.reception.plan(Redirect(url, access_token), times)

    def require_token(self, accepted: str | Callable[[str | None], object] | None) -> None:
        """From now on answer 401 to every request that has not this bearer token; in memory, when it connects.

        Args:
            accepted: The token; or a function, sync or async, of the token or ``None`` that says whether it will do;
                ``None`` to let everybody in again.
        """
        if isinstance(accepted, str):
            self._shared.gate = lambda token: token == accepted
        else:
            self._shared.gate = accepted

    def ignore_handshake(self, *, times: float = 1) -> None:
        """Never answer the handshake of the next connections.

        Args:
            times: How many; ``math.inf`` for all until :meth:`accept`.
        """
        self._shared.reception.plan(Ignore(), times)

    def accept(self) -> None:
        """Take connections as usual again, whatever was planned for them; :meth:`require_token` is no plan."""
        self._shared.reception.clear()
