"""The socket under an upgraded connection."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpcore
import httpx
import trio

from .errors import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_READ_SIZE", "Wire"]

READ_SIZE = 64 * 1024
"""Bytes asked of a socket at once: less starves the merging of frames, more costs its allocation."""

MAX_READ_SIZE = 1024 * 1024
"""Bytes asked of a socket that had more than was asked: what waits there is cheaper to take at once."""


_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


class Wire:
    """The socket of an accepted upgrade, with Trio's errors. One task reads, one writes.

    Args:
        response: The answer to the upgrade.
        own: Whether the client is ours: a user's may have a network backend that is to see all bytes.
        write_timeout: Seconds in which the peer has to take something.
    """

    def __init__(self, response: httpx.Response, *, own: bool, write_timeout: float | None) -> None:
        self._response = response
        self._socket: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
        self._stream: trio.SocketStream | None = None  # the same socket without httpcore around it
        self._own = own
        self._write_timeout = write_timeout
        self._read_size = READ_SIZE
        self._closed = False

    @property
    def head(self) -> bytes:
        """The answer as it came, without body."""
        lines = [b"HTTP/1.1 101 Switching Protocols"]
        lines += [name + b": " + value for name, value in self._response.headers.raw]
        return b"\r\n".join([*lines, b"", b""])

    async def read(self) -> bytes:
        """Wait for bytes, for as long as it takes; ``b""`` when the peer has closed."""
        with self._trio_errors():
            if self._stream is not None:
                data = bytes(await self._stream.receive_some(self._read_size))
            else:
                data = await self._socket.read(self._read_size, timeout=None)
                if self._own:  # not before: httpcore may hold what came with the answer
                    self._stream = _bare_stream(self._socket)
        full = len(data) == self._read_size
        self._read_size = min(2 * self._read_size, MAX_READ_SIZE) if full else READ_SIZE
        return data

    async def write(self, data: bytes) -> None:
        """Send all of ``data``. The user's client may limit how long the peer may take nothing."""
        with self._trio_errors():
            if self._write_timeout is None and self._stream is not None:
                await self._stream.send_all(data)
                return
            if self._write_timeout is None:
                await self._socket.write(data, timeout=None)
                return
            for start in range(0, len(data), READ_SIZE):
                await self._socket.write(data[start : start + READ_SIZE], timeout=self._write_timeout)

    async def aclose(self) -> None:
        """Close the socket without a word, and give its place in the client's pool back."""
        self._closed = True
        with suppress(httpx.HTTPError):  # the peer may be gone already
            await self._response.aclose()

    @contextmanager
    def _trio_errors(self) -> Iterator[None]:
        if self._closed:
            raise trio.ClosedResourceError("the connection was closed on this side")
        try:
            yield
        except _ERRORS as exc:
            if self._closed:
                raise trio.ClosedResourceError("the connection was closed on this side") from exc
            slow = isinstance(exc, httpcore.WriteTimeout)
            text = "the peer took nothing for the http_client's write timeout" if slow else reason(exc)
            raise trio.BrokenResourceError(text) from exc


def _bare_stream(stream: httpcore.AsyncNetworkStream) -> trio.SocketStream | None:
    """Return the TCP socket as a stream of Trio's; ``None`` if there is TLS on it, or no such socket.

    httpcore puts a cancel scope around each read and write, for a timeout that is not wanted here: a sixth of what one
    call after another costs.
    """
    socket = stream.get_extra_info("socket")
    if stream.get_extra_info("ssl_object") is not None or not isinstance(socket, trio.socket.SocketType):
        return None
    return trio.SocketStream(socket)
