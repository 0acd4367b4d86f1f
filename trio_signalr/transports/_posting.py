"""What event streams and long polling share: they receive by GET, in a task of their own, and send by POST.

The reading task lives in a scope that an outer cancellation does not reach, since the goodbye needs it; leaving the
block of the transport ends it in any case. It hands over one chunk at a time, so an unread one stops it.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ..errors import InternalError, TransportError
from ..negotiation import NEGOTIATE_HINTS, http_url, without_secrets
from ._base import Transport
from ._groups import weightiest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._http import Answer, HubHttp
    from ..protocols import TransferFormat

__all__ = ["OPENING_HINTS", "POSTING_HINTS", "PostingTransport", "opened"]

LARGEST_POST = 512 * 1024
"""Bytes of one request: proxies limit bodies, nginx to 1 MiB by default. A hub message may be cut anywhere."""

POST_TIMEOUT = 100.0
"""Seconds to wait for the answer to a POST. It is held back while the hub is behind with what was sent before."""

_CONTENT_TYPES = {"Text": "text/plain;charset=UTF-8", "Binary": "application/octet-stream"}

_FORGOTTEN = "the server does not know the connection (any more): it has ended there, or expired"

OPENING_HINTS = {
    **NEGOTIATE_HINTS,
    400: "the connection may use another transport already",
    404: (
        "wrong path, or the server does not know the connection: it expired, or several servers share the load without "
        "sticky sessions"
    ),
    405: "a proxy in between may not let this request through",
    409: "the connection is in use already",
}
"""What a status that refuses to open a transport often means."""

POSTING_HINTS = {
    **NEGOTIATE_HINTS,
    404: f"{_FORGOTTEN}, or requests of one connection reach different servers, without sticky sessions",
    405: "a proxy in between may not let this request through",
    413: "the body is too large for this server, or a proxy in between",
}
"""What a status that refuses a request of an open transport often means."""


class PostingTransport(Transport):
    """A transport that sends by POST and receives in its own task.

    Args:
        http: How to reach the hub.
        url: The connect URL.
        transfer_format: What bodies are, text or binary.
    """

    def __init__(self, http: HubHttp, url: str, *, transfer_format: TransferFormat) -> None:
        self._http = http
        self._url = http_url(url)
        self._where = without_secrets(self._url)
        self._content_type = _CONTENT_TYPES[transfer_format]
        # Nothing is buffered: an unread chunk stops reading.
        self._incoming, self._received = trio.open_memory_channel[bytes](0)
        self._reader_scope = trio.CancelScope(shield=True)
        self._reader_done = trio.Event()
        self._error: Exception | None = None
        self._closing = False
        self._closed = trio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._where!r}>"

    # For the connection

    async def send(self, data: bytes) -> None:
        """POST ``data``, in more than one request if it is large."""
        if self._closing:
            raise trio.ClosedResourceError("the connection was closed on this side")
        for start in range(0, len(data), LARGEST_POST):
            await self._post(data[start : start + LARGEST_POST])

    async def _post(self, body: bytes) -> None:
        answer = await self._request(
            "POST",
            failed=f"Sending to {self._where} failed",
            headers={"Content-Type": self._content_type},
            content=body,
            read_timeout=POST_TIMEOUT,
        )
        if not 200 <= answer.status < 300:
            raise await answer.refusal(POSTING_HINTS)
        await answer.finish()

    async def receive(self) -> bytes:
        """Wait for the next bytes, as the reading task hands them over."""
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            pass
        if self._closing:
            raise trio.ClosedResourceError("the connection was closed on this side")
        if self._error is not None:
            raise _again(self._error)
        return b""

    async def aclose(self) -> None:
        """Stop reading, and take leave of the server if that is the transport's way; cancelled, do without."""
        self._reader_scope.cancel()
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        try:
            await self._reader_done.wait()
            await self._take_leave()
        finally:
            self._closed.set()

    # For the kinds of transport

    @abstractmethod
    async def _connect(self) -> None:
        """Open the receiving side; what the user's own code raises meanwhile passes.

        Raises:
            TransportError: It could not be opened.
        """

    @abstractmethod
    async def _read(self) -> None:
        """Receive until the orderly end, handing over each chunk by :meth:`_hand_over`.

        Raises:
            TransportError: The end was none of that kind.
        """

    async def _take_leave(self) -> None:
        """Tell the server that we are going, after reading has stopped; never raises about the peer."""

    async def _hand_over(self, data: bytes) -> None:
        await self._incoming.send(data)

    async def _request(self, method: str, *, failed: str, **options: Any) -> Answer:
        """Send a request of the open connection; whatever goes wrong with it ends that connection."""
        try:
            return await self._http.request(method, self._url, failed=failed, **options)
        except TransportError:
            raise
        except Exception as exc:  # of the user's token function, auth flow or event hook
            text = f"{failed}: what the application adds to requests raised {type(exc).__name__}"
            raise TransportError(text, url=self._where) from exc

    # For the opener

    async def _run(self) -> None:
        """The reading task."""
        with self._reader_scope:
            try:
                await self._read()
            except Exception as error:
                self._error = error
            finally:
                self._incoming.close()
                self._reader_done.set()


def _again(error: Exception) -> Exception:
    """Return a new exception for a stored one, since each raising adds to the traceback."""
    if not isinstance(error, TransportError):
        internal = InternalError(f"Receiving failed: {error!r}; this is a bug in trio_signalr, please report it")
        internal.__cause__ = error
        return internal
    fresh = TransportError(str(error), url=error.url, status=error.status)
    fresh.__cause__ = error.__cause__
    return fresh


T = TypeVar("T", bound=PostingTransport)


@asynccontextmanager
async def opened(transport: T) -> AsyncGenerator[T]:
    """Open ``transport`` for as long as the block lasts. Leaving it destroys the connection without a word."""
    await transport._connect()  # in the caller's task, to be cancellable
    # No checkpoint between here and the nursery: the reader closes what was opened.
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport._run, name=f"{transport!r}")
            try:
                yield transport
            except BaseException as exc:
                error = exc  # raised below, outside, as the same object: a nursery would wrap it
            finally:
                transport._closing = True
                transport._reader_scope.cancel()
    except BaseException as raised:  # Ctrl-C hit the reader; its other failures are values
        error = weightiest(raised)
    if error is not None:
        raise error
