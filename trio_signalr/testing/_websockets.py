"""A client's WebSocket, on the server: carry what comes and goes until one side ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._endings import open_tasks
from ..errors import TransportError
from ..transports._memory import memory_transport_pair
from ._connection import CLOSE_TIMEOUT
from ._transport import HttpTransport

if TYPE_CHECKING:
    from ..transports._memory import MemoryTransport
    from ._entries import Entry
    from ._exchange import Exchange

__all__ = ["resume_websocket", "serve_websocket"]

LOST = "the client has dropped the WebSocket without closing it"
NO_CLOSE_FRAME = (1005, 1006)


async def serve_websocket(entry: Entry, exchange: Exchange, methods: trio.Nursery) -> None:
    """Serve a new connection until it is over; with stateful reconnect that may be later than this WebSocket's end."""
    await exchange.accept()
    transport = entry.start("websockets", exchange.request)
    carried = trio.Event()

    async def carry() -> None:
        await _Carrier(exchange, entry.near, transport).run()
        carried.set()

    async with open_tasks() as tasks:
        tasks.start_soon(carry)
        await entry.run(methods)
        await carried.wait()


async def resume_websocket(entry: Entry, exchange: Exchange) -> bool:
    """Go on with a connection whose WebSocket broke; ``False`` if there is none any more."""
    near, far = memory_transport_pair()
    transport = HttpTransport("websockets", far, entry.network)
    if not entry.resume(transport):
        return False
    await exchange.accept()
    await _Carrier(exchange, near, transport).run()
    return True


class _Carrier:
    """What goes between a WebSocket and a memory transport."""

    def __init__(self, exchange: Exchange, near: MemoryTransport, transport: HttpTransport) -> None:
        self._exchange = exchange
        self._near = near
        self._transport = transport

    async def run(self) -> None:
        """Carry until the client is gone, or should be."""
        with self._transport.network.used(self._exchange.socket), trio.CancelScope() as scope:
            async with open_tasks() as tasks:
                tasks.start_soon(self._bring, scope)
                await self._fetch()

    async def _fetch(self) -> None:
        """Carry from the client to the hub."""
        open_ = True
        while isinstance(data := await self._exchange.receive_data(), bytes):
            try:
                if open_:
                    await self._near.send(data)
            except TransportError:
                open_ = False  # the hub has ended it; what still comes means nothing, but its end does
        if self._was_closed(code=data):
            await self._near.aclose()
        else:
            self._near.cut(LOST, keep=True)

    def _was_closed(self, *, code: int) -> bool:
        """Whether the client has said goodbye. hypercorn calls every end 1006, but the relay has seen."""
        socket = self._exchange.socket
        return code not in NO_CLOSE_FRAME if socket is None else socket.said_goodbye

    async def _bring(self, scope: trio.CancelScope) -> None:
        """Carry from the hub to the client."""
        try:
            while data := await self._near.receive():
                await self._exchange.send_data(data, self._transport.format)
            await self._exchange.close()
        except TransportError:
            self._cut(keep=True)
        await trio.sleep(CLOSE_TIMEOUT)  # for the client to go
        self._cut()
        scope.cancel()

    def _cut(self, *, keep: bool = False) -> None:
        """Break this socket alone: the client may have come back by another one already."""
        if self._exchange.socket is not None:
            self._exchange.socket.cut(keep=keep)
