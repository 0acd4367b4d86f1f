"""WebSockets: a thin layer over trio-websocket, opened by httpx.

trio-websocket reads in a task of its own. That task lives in a scope that an outer cancellation does not reach, since
the goodbye needs it; leaving the block of ``open_websocket`` ends it in any case.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import trio
import trio_websocket

from .._http import MAX_READ_SIZE
from .._starting import start
from ..errors import InternalError, ProtocolError, TransportError
from ..negotiation import http_url, without_secrets
from ..protocols import DEFAULT_MAX_MESSAGE_SIZE
from ._base import Transport
from ._groups import weightiest
from ._upgrade import UpgradeStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .._http import HubHttp
    from ..protocols import TransferFormat

__all__ = ["WebSocketTransport", "open_websocket"]

_READ_SIZE = 64 * 1024  # for the books: the stream reads as much as it likes

_SLACK = MAX_READ_SIZE
"""Bytes by which a WebSocket message may be larger than a hub message.

A server puts several hub messages into one WebSocket message, but no more than it had buffered beside a large one
(64 KiB in ASP.NET Core). And merging its frames makes one message of as much as one read brings.
"""

_QUEUE = 0
"""Messages waiting between trio-websocket's reader and ours. None, so that an unread message stops reading, and one
beyond the limit cannot throw away a good one before it."""

_NORMAL = 1000
_ABNORMAL = 1006  # there was no Close frame

_TOO_BIG = "Exceeded maximum message size: {} bytes"  # trio-websocket's words: a peer may close with 1009, too


class WebSocketTransport(Transport):
    """An open WebSocket. Made by :func:`open_websocket`."""

    name = "websockets"

    def __init__(
        self, stream: UpgradeStream, where: str, *, transfer_format: TransferFormat, max_message_size: float
    ) -> None:
        self._stream = stream
        self._where = where
        self._as_text = transfer_format == "Text"
        self._max_message_size = max_message_size
        self._limit = max_message_size + _SLACK
        self._connection: trio_websocket.WebSocketConnection
        self._closing = False
        self._reader_scope = trio.CancelScope()
        self._reader_error: BaseException | None = None
        self._reader_done = trio.Event()
        self._goodbye = trio.CancelScope()  # around the wait for the peer's goodbye; without a reader it is in vain

    def __repr__(self) -> str:
        return f"<WebSocketTransport to {self._where!r}>"

    @property
    def close_code(self) -> int | None:
        """The code of the peer's Close frame."""
        reason = self._connection.closed
        return None if reason is None or not self._stream.close_received else int(reason.code)

    async def send(self, data: bytes) -> None:
        """Send one WebSocket message: text or binary, as the hub protocol is."""
        try:
            await self._connection.send_message(data.decode() if self._as_text else data)
            return
        except trio_websocket.ConnectionClosed:
            error = self._ending()
        raise error or self._failure("The server has closed the WebSocket") from self._cause

    async def receive(self) -> bytes:
        """Wait for the next WebSocket message of either kind; empty ones are skipped."""
        while True:
            try:
                message = await self._connection.get_message()
            except trio_websocket.ConnectionClosed:
                break
            if message:
                return message if isinstance(message, bytes) else message.encode()
        if self._connection.closed is None:
            await self._reader_done.wait()  # it crashed, and is about to tell why
        if (error := self._ending()) is None:
            return b""
        raise error from self._cause

    async def aclose(self) -> None:
        """Say goodbye with code 1000, wait for the peer's goodbye, and close the socket.

        Cancelled it closes the socket at once and sends nothing: ``trio.aclose_forcefully`` destroys the connection so
        that the server takes it for lost.
        """
        hurry, self._closing = self._closing, True
        try:
            if not hurry:
                with self._goodbye:
                    await self._connection.aclose()
        finally:
            await self._stream.aclose()

    def _ending(self) -> Exception | None:
        """Say why there is no more; ``None`` if the peer has closed in good order."""
        if self._closing:
            return trio.ClosedResourceError("the WebSocket was closed on this side")
        if self._reader_error is not None:
            return InternalError(f"Reading from the WebSocket failed: {self._reader_error!r}; please report this")
        reason = self._connection.closed
        if reason is None or reason.code == _ABNORMAL:
            if self._cause is None:
                return self._failure("The server dropped the WebSocket connection without closing it")
            return self._failure("The WebSocket connection broke")
        if reason.reason == _TOO_BIG.format(self._limit):
            return ProtocolError(f"A message is larger than max_message_size={self._max_message_size} bytes")
        if not self._stream.close_received:  # wsproto gave up on what came
            return ProtocolError(f"The server broke the rules of WebSockets: {reason.reason or reason.name}")
        if reason.code == _NORMAL:
            return None
        text = f"{reason.code} {reason.name or ''}".strip()
        return self._failure(f"The server closed the WebSocket with code {text}", reason.reason)

    def _failure(self, text: str, detail: str | None = None) -> TransportError:
        detail = detail or str(self._cause or "")
        return TransportError(f"{text}: {detail}" if detail else text, url=self._where)

    @property
    def _cause(self) -> BaseException | None:
        return self._stream.broken or self._reader_error

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Open the WebSocket, and hold the nursery of trio-websocket's reader."""
        with self._reader_scope:
            try:
                async with trio.open_nursery() as nursery:
                    self._connection = await self._wrap(nursery)
                    self._stream.accepted = True
                    task_status.started()
            except BaseException as raised:
                # A reader may fail oddly, while closing at least (it answers a ping after our Close, which wsproto
                # refuses). Whoever receives learns of it; before the opening, OpeningFailed carries no news.
                error = weightiest(raised)
                if not isinstance(error, Exception):
                    raise error from None
                self._reader_error = error
            finally:
                self._reader_done.set()
                self._goodbye.cancel()
        if not self._stream.accepted:
            raise self._stream.failure or self._stream.bad_handshake()

    async def _wrap(self, nursery: trio.Nursery) -> trio_websocket.WebSocketConnection:
        return await trio_websocket.wrap_client_stream(
            nursery,
            cast("trio.SocketStream", self._stream),  # any stream will do
            host="hub",  # host and path are httpx's business
            resource="/",
            message_queue_size=_QUEUE,
            max_message_size=cast("int", self._limit),  # only compared
            receive_buffer_size=_READ_SIZE,
        )


@asynccontextmanager
async def open_websocket(
    http: HubHttp,
    url: str,
    *,
    transfer_format: TransferFormat,
    max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE,
) -> AsyncIterator[WebSocketTransport]:
    """Open a WebSocket at ``url`` for as long as the block lasts.

    Entering waits for the server's answer, at most as long as the HTTP client's timeouts say and 15 s of silence.
    Leaving destroys the connection without waiting for the server; for a goodbye call ``aclose`` before. An outer
    cancellation reaches the block, not the connection: a shielded ``aclose`` still works in its cleanup.

    Args:
        http: How to reach the hub.
        url: The connect URL, or the hub's own where negotiation is skipped.
        transfer_format: ``"Text"`` or ``"Binary"``: the kind of WebSocket message to send; either is received.
        max_message_size: Bytes that one hub message may have; ``math.inf`` for no limit.

    Yields:
        The transport.

    Raises:
        TransportError: No answer, or no WebSocket; ``.status`` is the server's where it refused.
    """
    stream = UpgradeStream(http, http_url(url))
    transport = WebSocketTransport(
        stream, without_secrets(url), transfer_format=transfer_format, max_message_size=max_message_size
    )
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                await start(nursery, transport._run, name=f"{transport!r}")
                transport._reader_scope.shield = True  # not before: connecting has to be cancellable
                yield transport
            except BaseException as exc:
                error = exc  # raised below, outside, as the same object: a nursery would wrap it
            finally:
                transport._reader_scope.cancel()
    except BaseException as raised:  # Ctrl-C hit the reader; its other failures are values
        error = weightiest(raised)
    finally:
        await stream.aclose()
    if error is not None:
        raise error
