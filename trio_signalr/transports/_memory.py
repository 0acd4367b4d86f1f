"""A transport without a network: two ends in one process, for tests and demos.

It can be stalled and cut like a real one, and takes only so much before the sender has to wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from ..errors import TransportError
from ._base import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemoryTransport", "memory_transport_pair"]

CAPACITY = 256 * 1024
"""Bytes under way in one direction above which the sender waits; about what two sockets hold."""


class _Pipe:
    """One direction: chunks under way, and how it ended."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._changed = trio.Event()
        self.ended = False  # by the sender, in an orderly way
        self.broken: str | None = None
        self.stalled = False
        self._left: int | None = None  # bytes to let pass before the end
        self._at_limit: Callable[[], object] = lambda: None

    def change(self) -> None:
        """Something was set from outside: let both sides look again."""
        self._changed.set()
        self._changed = trio.Event()

    @property
    def pending(self) -> bool:
        return bool(self._chunks) and not self.stalled

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while self._size >= CAPACITY and self.broken is None:
            await self._changed.wait()
        if self.broken is not None:
            raise TransportError(self.broken)
        if self.ended:
            raise TransportError("the connection is closed")
        self.put(data)

    def put(self, data: bytes) -> None:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self._chunks.append(data)
        self._size += len(data)
        self.change()
        if self._left == 0:
            self._at_limit()

    def limit(self, count: int, at_limit: Callable[[], object]) -> None:
        self._left, self._at_limit = count, at_limit

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while self.stalled or not (self._chunks or self.ended or self.broken):
            await self._changed.wait()
        if self._chunks:
            data = self._chunks.popleft()
            self._size -= len(data)
            self.change()
            return data
        if self.broken is not None:
            raise TransportError(self.broken)
        return b""

    def receive_nowait(self) -> bytes:
        data = b"" if self.stalled else b"".join(self._chunks)
        if data:
            self._chunks.clear()
            self._size = 0
            self.change()
        return data

    def end(self) -> None:
        self.ended = True
        self.change()

    def break_(self, text: str, *, keep: bool) -> None:
        self.broken = text
        self.stalled = False
        if not keep:
            self._chunks.clear()
        self.change()


class MemoryTransport(Transport):
    """One end of a pair made by :func:`memory_transport_pair`."""

    name = "memory"

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def pending(self) -> bool:
        """Whether :meth:`receive` has something to return at once."""
        return self._incoming.pending

    async def send(self, data: bytes) -> None:
        """See :meth:`Transport.send`; always a checkpoint."""
        await self._outgoing.send(data)

    def put(self, data: bytes) -> None:
        """Send, no matter how much is under way."""
        self._outgoing.put(data)

    async def receive(self) -> bytes:
        """See :meth:`Transport.receive`; always a checkpoint."""
        return await self._incoming.receive()

    def receive_nowait(self) -> bytes:
        """Return all that could be received at once."""
        return self._incoming.receive_nowait()

    def end(self) -> None:
        """Send no more; the peer sees the end behind what is under way, and can still send."""
        self._outgoing.end()

    async def aclose(self) -> None:
        """End both directions; what is under way to the peer still arrives."""
        self._outgoing.end()
        self._incoming.end()
        await trio.lowlevel.checkpoint()

    def cut(self, text: str = "the connection was cut", *, keep: bool = False) -> None:
        """Break the connection in both directions; with ``keep``, what is under way can still be received."""
        self._incoming.break_(text, keep=keep)
        self._outgoing.break_(text, keep=keep)

    def cut_after(self, count: int, *, incoming: bool) -> None:
        """Let ``count`` more bytes (at least one) pass that way, then :meth:`cut`; those still arrive."""
        if count < 1:
            raise ValueError(f"the count must be at least 1, not {count}; to cut now, there is cut()")
        pipe = self._incoming if incoming else self._outgoing
        pipe.limit(count, lambda: self.cut(keep=True))

    def stall(self, *, incoming: bool = True, outgoing: bool = True) -> None:
        """Let nothing through until :meth:`resume`, without telling anybody."""
        self._set_stalled(self._incoming, incoming or self._incoming.stalled)
        self._set_stalled(self._outgoing, outgoing or self._outgoing.stalled)

    def resume(self) -> None:
        """Let everything through again."""
        self._set_stalled(self._incoming, False)
        self._set_stalled(self._outgoing, False)

    @staticmethod
    def _set_stalled(pipe: _Pipe, stalled: bool) -> None:
        pipe.stalled = stalled
        pipe.change()


def memory_transport_pair() -> tuple[MemoryTransport, MemoryTransport]:
    """Return the two ends of a new connection."""
    there, back = _Pipe(), _Pipe()
    return MemoryTransport(there, back), MemoryTransport(back, there)
