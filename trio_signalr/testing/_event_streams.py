"""A client's event stream, on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._endings import open_tasks
from ..errors import TransportError
from ._connection import CLOSE_TIMEOUT

if TYPE_CHECKING:
    from ._entries import Entry
    from ._exchange import Exchange

__all__ = ["serve_event_stream", "wants_event_stream"]

MEDIA_TYPE = "text/event-stream"
HEADERS = (
    ("content-type", MEDIA_TYPE),
    ("cache-control", "no-cache,no-store"),
    ("content-encoding", "identity"),
)


def wants_event_stream(exchange: Exchange) -> bool:
    """Whether a GET asks for events, as ASP.NET Core sees it: with a ``q`` it does not."""
    accepted = exchange.request.headers.get("accept", "").split(",")
    return any(media_type.strip().lower() == MEDIA_TYPE for media_type in accepted)


async def serve_event_stream(entry: Entry, exchange: Exchange, methods: trio.Nursery) -> None:
    """Serve a new connection until it is over."""
    entry.start("server_sent_events", exchange.request)
    written = trio.Event()

    async def write() -> None:
        await _write(entry, exchange)
        written.set()

    async def watch() -> None:
        await exchange.gone()
        await entry.near.aclose()  # there is no better way for a client to say goodbye

    with entry.network.used(exchange.socket):
        async with open_tasks() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(watch)
            await entry.run(methods)
            with trio.move_on_after(CLOSE_TIMEOUT):
                await written.wait()
            entry.network.cut(keep=True)  # a client that does not take the last events


async def _write(entry: Entry, exchange: Exchange) -> None:
    await exchange.start(200, HEADERS)
    await exchange.write(b":\r\n")  # lets the headers go
    try:
        while data := await entry.near.receive():
            await exchange.write(_event(data))
        await exchange.write(b"", more=False)
    except TransportError:
        entry.network.cut(keep=True)


def _event(data: bytes) -> bytes:
    return b"".join(b"data: " + line + b"\r\n" for line in data.split(b"\n")) + b"\r\n"
