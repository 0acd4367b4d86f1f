"""The transport under a connection: badly treated by tests, and with stateful reconnect replaced when it breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import TransportError
from ..transports import Transport
from ._gate import Gate
from ._transport import HttpTransport, ServerEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._network import Network
    from ._numbering import Numbering
    from ._options import ServerOptions

__all__ = ["Line"]


class Line:
    """Where a connection's bytes come from and go to, now.

    With stateful reconnect the client may come back by another transport, and whoever reads or writes goes on there.

    Args:
        transport: The first transport.
        options: How long the client may take for what is sent, and to come back.
        numbering: Told when reading goes on elsewhere; ``None`` if the client may not come back.
        on_end: Called with the reason when the line is cut for good.

    Attributes:
        transport: The present one.
        lost: Whether it is known to be broken, so that there is nobody to talk to.
    """

    def __init__(
        self,
        transport: Transport,
        options: ServerOptions,
        numbering: Numbering | None,
        on_end: Callable[[str], None],
    ) -> None:
        self.transport: Transport = transport
        self.lost: bool = False
        self._send_timeout = options.send_timeout
        self._window = 0 if numbering is None else options.disconnect_timeout
        self._numbering = numbering
        self._on_end = on_end
        self._attached = trio.Event()
        self._incoming, self._outgoing = Gate(), Gate()

    # What the connection does with it

    async def receive(self) -> bytes:
        """See :meth:`Transport.receive`.

        Raises:
            TransportError: It broke, and the client has not come back in time, or may not.
        """
        await self._incoming.passed()
        data = await self._receive_from_any()
        await self._incoming.passed()
        return data

    async def _receive_from_any(self) -> bytes:
        while True:
            transport = self.transport
            try:
                return await transport.receive()
            except TransportError as error:
                await self._wait_for_another(transport, error)
                if self._numbering is not None:
                    self._numbering.reconnected()

    async def send(self, data: bytes) -> None:
        """Send on the present transport; if that fails, wait for another one, over which :meth:`attach` sends it.

        Raises:
            TransportError: It broke, and the client has not come back in time, or may not.
        """
        transport = self.transport  # one that takes its place from here on gets this by the resend
        await self._outgoing.passed()
        try:
            with trio.fail_after(self._send_timeout):
                return await transport.send(data)
        except TransportError as exc:
            error = exc
        except trio.TooSlowError:
            error = TransportError(f"the client took nothing for {self._send_timeout:g} s")
            self.cut(str(error))
        await self._wait_for_another(transport, error)

    async def _wait_for_another(self, broken: Transport, error: TransportError) -> None:
        """Wait for a transport in place of one that broke.

        Raises:
            TransportError: None has come in time, or none may.
        """
        if self.transport is broken:
            self.lost = True
        with trio.move_on_after(self._window):
            while self.transport is broken and self._window:
                await self._attached.wait()
        if self.transport is broken:
            self._window = 0
            raise TransportError(str(error)) from error

    # Whether the client may come back

    @property
    def resumable(self) -> bool:
        """Whether the client may come back."""
        return self._window > 0

    def forget(self) -> None:
        """The client may not come back any more."""
        self._window = 0
        self._note_change()

    def attach(self, transport: ServerEnd, resend: Iterable[bytes]) -> None:
        """Go on with another transport, over which ``resend`` goes first.

        The old one is of no use any more, even if nobody has noticed yet. ASP.NET Core waits some seconds for it to
        end, and gives the connection up if it ends in good order; no client should keep it open.
        """
        if isinstance(self.transport, ServerEnd):
            self.transport.cut(keep=True)
        assert isinstance(transport, Transport)
        for data in resend:
            transport.put(data)
        self.transport = transport
        self.lost = False
        self._note_change()

    def _note_change(self) -> None:
        self._attached.set()
        self._attached = trio.Event()

    # What tests do to it, and what only the network knows

    def cut(self, error: str = "the connection was cut", *, keep: bool = False, forget: bool = False) -> None:
        """Break the transport, with no word to the client. That is the end, unless the client may come back."""
        if forget:
            self.forget()
        if not self.resumable:
            self.lost = True
            self._on_end(error)
        if isinstance(self.transport, ServerEnd):
            self.transport.cut(keep=keep)

    def cut_after(self, count: int, *, incoming: bool) -> None:
        """Break the transport once so many more bytes have passed that way."""
        if isinstance(self.transport, ServerEnd):
            self.transport.cut_after(count, incoming=incoming)

    def stall(self, *, incoming: bool, outgoing: bool) -> None:
        """Let nothing through that way."""
        network = self._network
        if incoming:
            self._incoming.shut()
            if network is not None:
                network.stall("to_server")
        if outgoing:
            self._outgoing.shut()
            if network is not None:
                network.stall("to_client")

    def resume(self) -> None:
        """Let everything through."""
        self._incoming.open()
        self._outgoing.open()
        if self._network is not None:
            self._network.resume()

    @property
    def lets_out(self) -> bool:
        """Whether what is sent goes through."""
        return self._outgoing.is_open

    @property
    def said_goodbye(self) -> bool:
        """Whether the client has ended its WebSocket in good order, even if nobody has read up to there."""
        return self._network is not None and self._network.said_goodbye

    @property
    def _network(self) -> Network | None:
        return self.transport.network if isinstance(self.transport, HttpTransport) else None
