"""What httpcore does on one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpcore

__all__ = ["Trace"]


class Trace:
    """Watches httpcore at work on one request, for what it tells nobody else.

    Attributes:
        connected: Whether it made a connection, and did not use one that was kept.
        http2: Whether the server speaks HTTP/2.
    """

    def __init__(self) -> None:
        self.connected = False
        self.http2 = False
        self._socket: httpcore.AsyncNetworkStream | None = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.connected = self.connected or event.startswith("connection.connect_")
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"]
        elif event.startswith(("http11.", "http2.")):
            self.http2 = event.startswith("http2.")
            self._socket = None

    async def clean_up(self) -> None:
        """Close a socket on which no request was sent yet: cancelled in its TLS handshake, httpcore 1.0 forgets it."""
        if self._socket is not None:
            await self._socket.aclose()
