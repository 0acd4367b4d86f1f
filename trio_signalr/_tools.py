"""Small Trio pieces that the connection is built from; each stands alone."""

from __future__ import annotations

import trio

__all__ = ["ConflictDetector", "Outbox", "Pace"]

HIGH_WATER = 64 * 1024
"""Bytes waiting in an outbox above which senders wait."""


class ConflictDetector:
    """Detects two tasks in one method that only one may use at a time: ``with detector: ...``."""

    __slots__ = ("_busy", "_message")

    def __init__(self, message: str) -> None:
        self._message = message
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._message)
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False


class Outbox:
    """Messages on their way to the one writer of a connection.

    Putting is synchronous, so it is atomic (cancelled means not put, returned means put) and fit for cleanup code.
    Whoever produces a lot waits for room first, in the order of asking, and then puts with no checkpoint in between.
    The writer takes all that has gathered at once.

    Every message gets a ticket, a running number; three counters then answer for each message whether it was written.
    """

    def __init__(self, high_water: int = HIGH_WATER) -> None:
        self._high_water = high_water
        self._pending: list[bytes] = []
        self._size = 0
        self._taken = 0  # messages handed to the writer, ever
        self._written = 0  # messages that the transport has accepted, ever
        self._closed = False
        self._line = trio.StrictFIFOLock()  # whoever waits for room first gets it first
        self._room = trio.Event()
        self._mail = trio.Event()
        self._progress = trio.Event()

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, so that nothing put from now on goes anywhere."""
        return self._closed

    @property
    def idle(self) -> bool:
        """Whether everything put so far was written."""
        return not self._pending and self._written == self._taken

    # For senders

    def put(self, data: bytes) -> int:
        """Append one encoded message and return its ticket. Into a closed outbox it goes for nothing."""
        ticket = self._taken + len(self._pending)
        if not self._closed:
            self._pending.append(data)
            self._size += len(data)
            self._mail.set()
        return ticket

    def withdraw(self, ticket: int) -> bool:
        """Take a message back; ``False`` if the writer has it already."""
        index = ticket - self._taken
        if index < 0:
            return False
        if index < len(self._pending):
            self._size -= len(self._pending[index])
            self._pending[index] = b""  # its number stays taken
            self._make_room()
        return True

    def sent(self, ticket: int) -> bool | None:
        """Whether that message was written: ``True``, ``False``, or ``None`` for a write that was under way."""
        if ticket < self._written:
            return True
        return None if ticket < self._taken else False

    @property
    def has_room(self) -> bool:
        """Whether a sender may put without waiting; ``True`` once closed, for then nothing is worth waiting for."""
        return (self._size < self._high_water and not self._line.locked()) or self._closed

    async def wait_for_room(self) -> None:
        """Wait until there is room, or the outbox is closed; a checkpoint only if it waits."""
        if self.has_room:
            return
        async with self._line:
            while self._size >= self._high_water and not self._closed:
                self._room = trio.Event()
                await self._room.wait()

    async def flushed(self) -> None:
        """Wait until all that was put before is written, or the outbox is closed."""
        target = self._taken + len(self._pending)
        while self._written < target and not self._closed:
            await self._progress.wait()

    # For the writer

    async def take(self) -> list[bytes]:
        """Wait for mail and return all there is; call :meth:`done` when it is written."""
        while not self._pending:
            self._mail = trio.Event()
            await self._mail.wait()
        taken, self._pending, self._size = self._pending, [], 0
        self._taken += len(taken)
        self._make_room()
        return taken

    def done(self) -> None:
        """All that was taken has been written."""
        self._written = self._taken
        self._progress.set()
        self._progress = trio.Event()

    def close(self) -> None:
        """The connection is gone: drop what is left, wake everybody. What was not written stays unwritten."""
        self._closed = True
        self._room.set()
        self._progress.set()

    def _make_room(self) -> None:
        if self._size < self._high_water:
            self._room.set()


class Pace:
    """Makes a busy loop a good citizen: a cancel point each time, a schedule point every few dozen times.

    A full checkpoint costs some microseconds, looking for a cancellation a quarter of one.
    """

    __slots__ = ("_left",)

    EVERY = 32

    def __init__(self) -> None:
        self._left = self.EVERY

    async def checkpoint(self) -> None:
        """Raise ``Cancelled`` if cancelled; let other tasks run now and then."""
        self._left -= 1
        if self._left > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._left = self.EVERY
            await trio.lowlevel.checkpoint()
