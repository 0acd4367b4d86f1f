"""A gate that a test can shut: whoever comes by waits before it."""

from __future__ import annotations

import trio

__all__ = ["Gate"]


class Gate:
    """Lets nobody through while it is shut."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()

    @property
    def is_open(self) -> bool:
        """Whether nobody has to wait."""
        return self._open.is_set()

    def shut(self) -> None:
        """Keep everybody waiting from now on."""
        if self._open.is_set():
            self._open = trio.Event()

    def open(self) -> None:
        """Let everybody through."""
        self._open.set()

    async def passed(self) -> None:
        """Wait until it is open; a checkpoint only if it is not."""
        while not self._open.is_set():
            await self._open.wait()
