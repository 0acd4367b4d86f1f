"""Small Trio pieces that the connection is built from; each stands alone."""

from __future__ import annotations

import trio

__all__ = ["ConflictDetector", "Pace"]


class ConflictDetector:
    """Detects two tasks in one method that only one may use at a time: ``with detector: ...``.

    Attributes:
        busy: Whether a task is in it.
    """

    __slots__ = ("_message", "busy")

    def __init__(self, message: str) -> None:
        self._message = message
        self.busy = False

    def __enter__(self) -> None:
        if self.busy:
            raise trio.BusyResourceError(self._message)
        self.busy = True

    def __exit__(self, *_: object) -> None:
        self.busy = False


class Pace:
    """Makes a busy loop a good citizen: a cancel point each time, a schedule point every few dozen times.

    A full checkpoint costs some microseconds, looking for a cancellation a quarter of one.
    """

    __slots__ = ("_left",)

    EVERY = 48

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
