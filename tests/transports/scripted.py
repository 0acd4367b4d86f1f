"""A server by script behind a user's ``httpx.AsyncClient``: no sockets, so time may be anybody's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import trio

from trio_signalr._http import HubHttp

__all__ = ["Script", "Trickle"]


class Script(httpx.AsyncBaseTransport):
    """Answers each request by the handler for its method, and notes it.

    Attributes:
        requests: All that came, in order.
        under_way: Requests that have no answer yet, by method.
        most: The most that there ever were of those at once, by method.
    """

    def __init__(self, **handlers: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> None:
        self._handlers = handlers
        self.requests: list[httpx.Request] = []
        self.under_way: dict[str, int] = {}
        self.most: dict[str, int] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        method = request.method
        self.requests.append(request)
        self.under_way[method] = self.under_way.get(method, 0) + 1
        self.most[method] = max(self.most.get(method, 0), self.under_way[method])
        try:
            await trio.lowlevel.checkpoint()
            return await self._handlers[method](request)
        finally:
            self.under_way[method] -= 1

    def http(self, **options: Any) -> HubHttp:
        return HubHttp(http_client=httpx.AsyncClient(transport=self), **options)

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def bodies(self, method: str = "POST") -> list[bytes]:
        return [request.content for request in self.requests if request.method == method]


class Trickle(httpx.AsyncByteStream):
    """A body that comes bit by bit: bytes as they are, an event is waited for, an exception raised.

    Attributes:
        taken: How many of its parts were asked for.
        closed: Whether the client is through with it.
    """

    def __init__(self, *parts: bytes | trio.Event | Exception) -> None:
        self._parts = parts
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            self.taken += 1
            if isinstance(part, Exception):
                raise part
            if isinstance(part, trio.Event):
                await part.wait()
            else:
                await trio.lowlevel.checkpoint()
                yield part

    async def aclose(self) -> None:
        self.closed = True
