"""A live count and rate, for streams and uploads that take their time."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .screen import Screen

__all__ = ["Tally"]

PATIENCE = 1.0  # seconds before the count is shown: most streams are over by then
INTERVAL = 0.25
SELDOM = 5.0  # seconds between two lines where none can be drawn anew
WINDOW = 3.0  # seconds that the rate is taken over


class Tally:
    """Counts items, and shows how it goes: in the live line of the terminal, or in a line now and then.

    Args:
        screen: Where to show it.
        noun: What is counted: ``"received"``, ``"sent"``.
        live: Whether to show it while it goes on; ``None`` for terminals only.

    Attributes:
        count: Items so far.
    """

    def __init__(self, screen: Screen, noun: str, *, live: bool | None = None) -> None:
        self._screen = screen
        self._noun = noun
        self._live = screen.is_terminal if live is None else live
        self._start = trio.current_time()
        self._samples = deque([(self._start, 0)])
        self.count = 0

    @contextmanager
    def shown(self, nursery: trio.Nursery) -> Iterator[None]:
        """Show the count while the block goes on, and the sum at its end."""
        scope = trio.CancelScope()
        if self._live and not self._screen.quiet:
            nursery.start_soon(self._draw if self._screen.is_terminal else self._write, scope)
        try:
            yield
        finally:
            scope.cancel()
            self._screen.erase()
            asked_for = self._live and not self._screen.is_terminal
            (self._screen.note if asked_for else self._screen.status)(self.summary())

    async def _draw(self, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(PATIENCE)
            while True:
                self._screen.draw(self.line())
                await trio.sleep(INTERVAL)

    async def _write(self, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await trio.sleep(SELDOM)
                self._screen.note(self.line())

    def line(self) -> str:
        """Return how it goes: count, rate of the last seconds, time."""
        now = trio.current_time()
        self._samples.append((now, self.count))
        while len(self._samples) > 2 and self._samples[0][0] < now - WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        rate = (self.count - before) / max(now - then, 0.001)
        minutes, seconds = divmod(int(now - self._start), 60)
        return f"{self.count:,} {self._noun}  {_rate(rate)}  {minutes}:{seconds:02}"

    def summary(self) -> str:
        """Return how it went."""
        seconds = trio.current_time() - self._start
        return f"{self.count:,} {self._noun} in {seconds:.1f} s, {_rate(self.count / max(seconds, 0.001))}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
