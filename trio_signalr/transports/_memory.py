"""A transport without a network: two ends in one process, for tests and demos.

It can be stalled and cut like a real one, and takes only so much before the sender has to wait.
"""

from __future__ import annotations

from collections import deque

import trio

from ..errors import TransportError
from ._base import Transport

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
        self._chunks.append(data)
        self._size += len(data)
        self.change()

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

    async def receive(self) -> bytes:
        """See :meth:`Transport.receive`; always a checkpoint."""
        return await self._incoming.receive()

    async def aclose(self) -> None:
        """End both directions; what is under way to the peer still arrives."""
        self._outgoing.end()
        self._incoming.end()
        await trio.lowlevel.checkpoint()

    def cut(self, text: str = "the connection was cut", *, keep: bool = False) -> None:
        """Break the connection in both directions; with ``keep``, what is under way can still be received."""
        self._incoming.break_(text, keep=keep)
        self._outgoing.break_(text, keep=keep)

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
