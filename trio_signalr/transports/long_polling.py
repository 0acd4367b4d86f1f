"""Long polling: the server holds each GET until it has something to send, each POST takes what we send.

The first poll is answered at once and only starts the connection. From then on there is always one, and never two: the
server would end the older with the status that means the end of the connection.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from .._http import CONNECT_TIMEOUT
from ..errors import TransportError
from ..protocols import DEFAULT_MAX_MESSAGE_SIZE
from ._posting import OPENING_HINTS, POSTING_HINTS, PostingTransport, opened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._http import Answer, HubHttp
    from ..protocols import TransferFormat

__all__ = ["LongPollingTransport", "open_long_polling"]

POLL_TIMEOUT = 100.0
"""Seconds without a word after which a poll is given up and sent anew. Servers answer after 90 s at the latest."""

_NO_CONTENT = 204


class LongPollingTransport(PostingTransport):
    """A connection that lives from poll to poll. Made by :func:`open_long_polling`."""

    name = "long_polling"
    inherent_keep_alive = True

    _first: Answer
    _over = False

    async def _connect(self) -> None:
        # Not bounded like later polls: a server that is alive answers the first one at once.
        answer = await self._http.request(
            "GET",
            self._url,
            failed=f"Long polling at {self._where} failed",
            broke=self._broke,
            read_timeout=CONNECT_TIMEOUT,
        )
        if answer.status != 200:
            raise await answer.refusal({**OPENING_HINTS, _NO_CONTENT: "the server has ended the connection already"})
        if answer.media_type == "text/html":
            await answer.aclose()
            raise answer.unusable("the server answered 200 with a web page: wrong path, or a login page")
        self._first = answer

    @property
    def _broke(self) -> str:
        return f"The answer to a poll of {self._where} broke off"

    async def _read(self) -> None:
        answer: Answer | None = self._first
        while answer is not None:
            await self._take(answer)
            answer = await self._poll()

    async def _take(self, answer: Answer) -> None:
        """Hand over what the answer holds, piece by piece."""
        try:
            while data := await self._next_piece(answer):
                await self._hand_over(data)
        finally:
            await answer.aclose()

    async def _next_piece(self, answer: Answer) -> bytes:
        with trio.move_on_after(POLL_TIMEOUT):
            return await answer.receive()
        # Polling again would lose the rest of it.
        raise TransportError(f"{self._broke}: nothing came for {POLL_TIMEOUT:g} s", url=self._where)

    async def _poll(self) -> Answer | None:
        """Wait for the next answer; ``None`` if the server has ended the connection."""
        answer = None
        while answer is None:
            # A scope and not httpx's read timeout, which breaks an HTTP/2 connection for everybody on it.
            with trio.move_on_after(POLL_TIMEOUT):
                answer = await self._request("GET", failed=f"Polling {self._where} failed", broke=self._broke)
        if answer.status == 200:
            return answer
        if answer.status != _NO_CONTENT:
            raise await answer.refusal(POSTING_HINTS)
        self._over = True
        await answer.finish()
        return None

    async def _take_leave(self) -> None:
        """Have the server end the connection now; without that it would wait for another poll."""
        if self._over or self._error is not None:
            return
        with suppress(TransportError):
            failed = f"Ending the connection to {self._where} failed"
            answer = await self._request("DELETE", failed=failed, read_timeout=CONNECT_TIMEOUT)
            await answer.finish()  # whatever it says: 202, or 404 because the connection is gone already


@asynccontextmanager
async def open_long_polling(
    http: HubHttp,
    url: str,
    *,
    transfer_format: TransferFormat,
    max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE,
) -> AsyncGenerator[LongPollingTransport]:
    """Start long polling at ``url`` for as long as the block lasts.

    Entering waits for the answer to the first poll, at most as long as the HTTP client's timeouts say and 15 s of
    silence. Leaving gives up the poll without a word to the server, which then keeps the connection for a while; for a
    goodbye call ``aclose`` before. An outer cancellation reaches the block, not the connection: a shielded ``aclose``
    still works in its cleanup.

    Args:
        http: How to reach the hub.
        url: The connect URL.
        transfer_format: ``"Text"`` or ``"Binary"``.
        max_message_size: Of no use here, since nothing waits for the end of a message.

    Yields:
        The transport.

    Raises:
        TransportError: No answer, or a refusal; ``.status`` is the server's where it refused.
    """
    async with opened(LongPollingTransport(http, url, transfer_format=transfer_format)) as transport:
        yield transport
