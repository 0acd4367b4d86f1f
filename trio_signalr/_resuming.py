"""When to try to go on after a transport was lost, with stateful reconnect."""

from __future__ import annotations

import math
from itertools import chain, repeat
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Attempts"]

WINDOW = 15.0
"""Seconds since a loss in which resuming is tried: ASP.NET Core keeps a lost connection for that long."""

DELAYS = (0.0, 0.1, 0.2, 0.5)
"""Seconds before each attempt to resume; the last one is repeated."""


class Attempts:
    """At once, then with short delays, for as long as the server keeps the connection."""

    __slots__ = ("_delays", "_lost_at")

    def __init__(self) -> None:
        self._lost_at = -math.inf
        self._delays: Iterator[float] = iter(())

    def begin(self) -> None:
        """The transport was lost just now."""
        self._lost_at = trio.current_time()
        self._delays = chain(DELAYS, repeat(DELAYS[-1]))

    async def next(self) -> bool:
        """Wait until the next attempt is due; ``False`` if it would be in vain."""
        delay = next(self._delays, math.inf)
        if trio.current_time() + delay >= self._lost_at + WINDOW:
            return False
        await trio.sleep(delay)
        return True
