"""Server-sent events: an endless answer to one GET brings what the server sends, each POST takes what we send.

For text protocols only.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .._http import CONNECT_TIMEOUT
from ..protocols import DEFAULT_MAX_MESSAGE_SIZE
from ._event_stream import EventStreamParser
from ._posting import OPENING_HINTS, PostingTransport, opened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._http import Answer, HubHttp
    from ..protocols import TransferFormat

__all__ = ["ServerSentEventsTransport", "open_server_sent_events"]

_HEADERS = {"Accept": "text/event-stream"}  # exactly: with a quality behind it ASP.NET Core would take it for a poll


class ServerSentEventsTransport(PostingTransport):
    """An open event stream. Made by :func:`open_server_sent_events`."""

    name = "server_sent_events"

    _stream: Answer

    async def _connect(self) -> None:
        answer = await self._http.request(
            "GET",
            self._url,
            failed=f"Opening an event stream at {self._where} failed",
            broke=f"The event stream from {self._where} broke",
            headers=_HEADERS,
            read_timeout=CONNECT_TIMEOUT,
        )
        if not 200 <= answer.status < 300:
            raise await answer.refusal(OPENING_HINTS)
        if answer.media_type != "text/event-stream":
            await answer.aclose()
            raise answer.unusable(
                f"the server answered {answer.status} with {answer.media_type or 'something unnamed'} instead of an "
                "event stream: wrong path, a login page, or a proxy that does not let event streams through"
            )
        self._stream = answer

    async def _read(self) -> None:
        parser = EventStreamParser()
        try:
            while chunk := await self._stream.receive():
                if data := parser.feed(chunk):
                    await self._hand_over(data)
        finally:
            await self._stream.aclose()


@asynccontextmanager
async def open_server_sent_events(
    http: HubHttp,
    url: str,
    *,
    transfer_format: TransferFormat = "Text",
    max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE,
) -> AsyncGenerator[ServerSentEventsTransport]:
    """Open an event stream at ``url`` for as long as the block lasts.

    Entering waits for the server's answer, at most as long as the HTTP client's timeouts say and 15 s of silence.
    Leaving drops the stream, which the server notices. An outer cancellation reaches the block, not the connection: a
    shielded ``aclose`` still works in its cleanup.

    Args:
        http: How to reach the hub.
        url: The connect URL.
        transfer_format: ``"Text"``; there is no other.
        max_message_size: Of no use here, since nothing waits for the end of a message.

    Yields:
        The transport.

    Raises:
        TransportError: No answer, or no event stream; ``.status`` is the server's where it refused.
        ValueError: Event streams cannot carry that transfer format.
    """
    if transfer_format != "Text":
        raise ValueError("server-sent events carry text only")
    async with opened(ServerSentEventsTransport(http, url, transfer_format=transfer_format)) as transport:
        yield transport
