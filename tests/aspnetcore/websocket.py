"""A bare WebSocket to the server, for tests of the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

__all__ = ["raw_websocket"]


@asynccontextmanager
async def raw_websocket(url: str, headers: dict[str, str] | None = None) -> AsyncIterator[WebSocketConnection]:
    """Open a WebSocket at an ``http`` URL."""
    where = httpx.URL(url)
    assert where.port is not None
    path, extra_headers = where.raw_path.decode(), [(k.encode(), v.encode()) for k, v in (headers or {}).items()]
    with trio.fail_after(20):
        # Our own stream, because trio-websocket leaves its stream open if the server was the first to close.
        async with await trio.open_tcp_stream(where.host, where.port) as stream, trio.open_nursery() as nursery:
            async with await wrap_client_stream(
                nursery, stream, where.netloc.decode(), path, extra_headers=extra_headers
            ) as websocket:
                yield websocket
