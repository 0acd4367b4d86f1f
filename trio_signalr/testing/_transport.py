"""The server's end of a connection that a client reaches by HTTP: a memory transport, with HTTP on its other end.

Hub connections know nothing of requests and sockets. What they send waits in memory until some request carries it to
the client, be it the one WebSocket, the one event stream or the next poll; what requests bring goes the other way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..transports import Transport

if TYPE_CHECKING:
    from ..protocols import TransferFormat
    from ..transports._memory import MemoryTransport
    from ._network import Network

__all__ = ["FORMATS", "HttpTransport", "ServerEnd"]

FORMATS: dict[str, tuple[str, ...]] = {
    "websockets": ("Text", "Binary"),
    "server_sent_events": ("Text",),
    "long_polling": ("Text", "Binary"),
}
"""What each transport can carry; the order is that of the negotiation's answer."""


@runtime_checkable
class ServerEnd(Protocol):
    """A transport as the server has it: it can be broken on purpose, and take bytes without waiting."""

    def put(self, data: bytes) -> None:
        """Send, no matter how much is under way."""

    def cut(self, *, keep: bool) -> None:
        """Break it in both directions; with ``keep``, what is under way still arrives."""

    def cut_after(self, count: int, *, incoming: bool) -> None:
        """Let so many more bytes pass that way, then break it."""


class HttpTransport(Transport):
    """The server's end.

    Args:
        name: Of the transport.
        end: One end of a pair; HTTP has the other.
        network: The sockets by which the client is there.

    Attributes:
        formats: What can be carried.
        format: What is carried: the hub protocol decides.
        network: The sockets by which the client is there.
    """

    def __init__(self, name: str, end: MemoryTransport, network: Network) -> None:
        self._end = end
        self.name = name
        self.inherent_keep_alive = name == "long_polling"
        self.formats = FORMATS[name]
        self.format: TransferFormat = "Text"
        self.network = network

    async def send(self, data: bytes) -> None:
        """See :meth:`Transport.send`."""
        await self._end.send(data)

    def put(self, data: bytes) -> None:
        """Send, no matter how much is under way."""
        self._end.put(data)

    async def receive(self) -> bytes:
        """See :meth:`Transport.receive`."""
        return await self._end.receive()

    async def aclose(self) -> None:
        """See :meth:`Transport.aclose`; what is under way still reaches the client."""
        await self._end.aclose()

    def cut(self, *, keep: bool) -> None:
        """Break it; the sockets too, if there is a way to them, at once or when the last bytes are through."""
        self._end.cut(keep=keep)
        if not keep:
            self.network.cut()

    def cut_after(self, count: int, *, incoming: bool) -> None:
        """Let so many more bytes of the network pass that way, then break it."""
        self.network.cut_after(count, "to_server" if incoming else "to_client")
