"""httpx's answer to a WebSocket upgrade, as the stream that trio-websocket works on.

trio-websocket writes its upgrade request first. Here that request is read again and sent by httpx, so that cookies,
proxies, TLS and authentication are those of every other request; the 101 answer goes back as bytes, and from then on
the stream is the socket under it, with small frames merged on their way in.

Failing to open is subtle: trio-websocket waits for ever for a handshake whose request could not be written, if it
learns that from Trio's usual errors. So what went wrong is kept in ``failure``, and another exception, which nobody on
the way catches, ends its task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import trio

from ..errors import TransportError
from ..negotiation import NEGOTIATE_HINTS, without_secrets
from ._frames import FrameMerger

if TYPE_CHECKING:
    from .._http import HubHttp, Wire

__all__ = ["OpeningFailed", "UpgradeStream"]

_HINTS = {
    **NEGOTIATE_HINTS,
    200: "this is no WebSocket endpoint, or a proxy in between does not let WebSockets through",
    400: "a proxy in between may not let WebSockets through, or the connection uses another transport already",
    404: (
        "wrong path, or the server does not know the connection: it expired, or several servers share the load without "
        "sticky sessions"
    ),
    405: "this is no WebSocket endpoint",
    409: "the connection has a WebSocket already",
    426: "the server wants another protocol here",
}


class OpeningFailed(Exception):
    """Ends trio-websocket's reader; the reason is in :attr:`UpgradeStream.failure`."""


class UpgradeStream(trio.abc.Stream):
    """A stream whose first write is a WebSocket upgrade request, made by httpx.

    It cannot half-close, for neither can what is below it, and WebSockets have their own way to say goodbye.

    Attributes:
        accepted: Set from outside, once trio-websocket took the answer.
        failure: Why the WebSocket could not be opened.
        broken: The network error that ended the opened connection.
        closed: Whether this side has closed it.
        close_received: Whether the peer sent a Close frame.
    """

    def __init__(self, http: HubHttp, url: str) -> None:
        self._http = http
        self._url = url
        self._wire: Wire | None = None
        self._head = b""
        self._frames = FrameMerger()
        self.accepted = False
        self.failure: Exception | None = None
        self.broken: Exception | None = None
        self.closed: bool = False

    @property
    def close_received(self) -> bool:
        return self._frames.close_received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send the upgrade request; later, frames."""
        if self._wire is None:
            await self._open(bytes(data))
            return
        try:
            await self._wire.write(bytes(data))
        except trio.BrokenResourceError as exc:
            self.broken = exc
            raise

    async def _open(self, request: bytes) -> None:
        try:
            self._wire = await self._http.upgrade(self._url, _handshake_headers(request), hints=_HINTS)
        except Exception as exc:  # the user's own, too: hooks and token functions may raise anything
            self.failure = exc
            raise OpeningFailed from exc
        self._head = self._wire.head

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: nobody asks."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the answer to the upgrade; later, frames. How many bytes at once is decided below."""
        if self._wire is None or (self.closed and not self.accepted):
            raise OpeningFailed  # reading on after that is another wait for ever
        if self._head:
            head, self._head = self._head, b""
            return head
        try:
            return await self._receive_frames(self._wire)
        except trio.BrokenResourceError as exc:
            self.broken = exc
            raise

    async def _receive_frames(self, wire: Wire) -> bytes:
        while data := await wire.read():
            if merged := self._frames.feed(data):
                return merged
        return b""

    def bad_handshake(self) -> TransportError:
        """The error for an answer 101 that trio-websocket did not accept."""
        where = without_secrets(self._url)
        text = f"Opening a WebSocket to {where} failed: the server switched protocols, but not as a WebSocket has to"
        return TransportError(text, url=where, status=101)

    async def aclose(self) -> None:
        """Close the socket without a word."""
        self.closed = True
        if self._wire is not None:
            await self._wire.aclose()


def _handshake_headers(request: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of trio-websocket's request, less ``Host``, which httpx knows better."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(request)
    event = parser.next_event()
    assert isinstance(event, h11.Request), "trio-websocket sends its request in one piece"
    return [(name, value) for name, value in event.headers if name != b"host"]
