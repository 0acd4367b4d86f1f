"""A client's polls, on the server.

The first poll only starts the connection, and whoever handles it then stays, to serve the connection to its end: there
is always a request that a task belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._endings import open_tasks
from ..errors import TransportError

if TYPE_CHECKING:
    from ._entries import Entry
    from ._exchange import Exchange
    from ._options import ServerOptions

__all__ = ["Polls", "serve_polls"]

HEADERS = (
    ("cache-control", "no-cache, no-store"),
    ("pragma", "no-cache"),
    ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
)
UNPOLLED = "the client has not polled for too long"


async def serve_polls(entry: Entry, polls: Polls, exchange: Exchange, methods: trio.Nursery) -> None:
    """Answer the first poll, and serve the connection until it is over and the client was told."""
    entry.start("long_polling", exchange.request)
    await exchange.answer(200, headers=HEADERS)
    async with open_tasks() as tasks:
        tasks.start_soon(polls.watch)
        await entry.run(methods)
        await polls.over.wait()


class Polls:
    """All polls of one connection; only the latest waits.

    Args:
        entry: The connection.
        options: The server's.

    Attributes:
        over: Set when no more polls are of any use.
    """

    def __init__(self, entry: Entry, options: ServerOptions) -> None:
        self._entry = entry
        self._options = options
        self._latest: _Poll | None = None
        self._count = 0
        self._changed = trio.Event()
        self.over = trio.Event()

    async def answer(self, exchange: Exchange) -> None:
        """Answer a poll when there is something to tell."""
        if self._latest is not None:
            self._latest.supersede()
        poll = self._latest = _Poll(self._entry, exchange)
        self._count += 1
        self._note_change()
        try:
            with self._entry.network.used(exchange.socket):
                if await poll.answer(self._options.poll_timeout):
                    self.over.set()
        finally:
            self._count -= 1
            self._note_change()

    async def watch(self) -> None:
        """Give the client up when it does not poll any more."""
        while not self.over.is_set():
            if self._count:
                await self._changed.wait()
                continue
            with trio.move_on_after(self._options.disconnect_timeout) as scope:
                await self._changed.wait()
            if scope.cancelled_caught:
                self._entry.near.cut(UNPOLLED)
                self.over.set()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class _Poll:
    """One poll that waits."""

    def __init__(self, entry: Entry, exchange: Exchange) -> None:
        self._entry = entry
        self._exchange = exchange
        self._scope = trio.CancelScope()
        self._superseded = False

    def supersede(self) -> None:
        """A later one has come."""
        self._superseded = True
        self._scope.cancel()

    async def answer(self, patience: float) -> bool:
        """Answer it; whether that was the last one."""
        try:
            data = await self._receive(patience)
        except TransportError:
            await self._break()
            return True
        if data:
            await self._exchange.answer(200, data, "application/octet-stream", HEADERS)
        elif data is None and not self._superseded:
            await self._exchange.answer(200, headers=HEADERS)
        else:
            await self._exchange.answer(204, headers=HEADERS)
        return data == b""

    async def _receive(self, patience: float) -> bytes | None:
        """Return what the hub has to say, ``b""`` at its end; ``None`` if that takes too long for this poll."""
        data = None
        async with open_tasks() as tasks:
            tasks.start_soon(self._watch)
            with trio.move_on_after(patience), self._scope:
                data = await self._take()
        return data

    async def _take(self) -> bytes:
        near = self._entry.near
        # No checkpoint may come behind this: what was taken is not there any more for the next poll.
        data = await near.receive()
        return data + near.receive_nowait()

    async def _break(self) -> None:
        """The connection is cut: no answer, if that can be."""
        if self._exchange.socket is None:
            await self._exchange.answer(500, headers=HEADERS)
        else:
            self._exchange.socket.cut(keep=True)
            await self._exchange.gone()

    async def _watch(self) -> None:
        await self._exchange.gone()
        self._scope.cancel()
