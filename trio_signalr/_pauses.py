"""Pauses of a connection's reader: while flow control says so it stops, and for how long it did is remembered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from ._logs import CONNECTION

if TYPE_CHECKING:
    from ._flow import Flow

__all__ = ["Pauses"]

LONG_PAUSE = 5.0
"""Seconds of not reading after which a loss is likely to be the pause's fault."""


class Pauses:
    """When the reader of one connection stops, and for how long.

    Attributes:
        under_way: Whether it does right now. While we are deaf by choice, silence means nothing.
    """

    __slots__ = ("_allowed", "_began", "_flow", "_long", "_long_ended", "under_way")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._allowed = True
        self._began = math.inf
        self._long = 0.0  # the last one that was long, and when it ended
        self._long_ended = -math.inf
        self.under_way: bool = False

    @property
    def due(self) -> bool:
        """Whether reading should stop."""
        return self._flow.paused and self._allowed

    async def pause(self) -> None:
        """Wait until there is no reason to any more."""
        self._began, self.under_way = trio.current_time(), True
        CONNECTION.debug("reading pauses: a buffer is full")
        while self.due:
            resumed = trio.Event()
            self._flow.on_resume = resumed.set
            await resumed.wait()
        self._flow.on_resume = None
        self.under_way = False
        self._remember(trio.current_time() - self._began)

    def _remember(self, seconds: float) -> None:
        CONNECTION.debug("reading goes on after %.3f s", seconds)
        if seconds >= LONG_PAUSE:
            self._long, self._long_ended = seconds, trio.current_time()
            CONNECTION.warning(
                "reading was paused for %.0f s because a buffer was full; servers give up on a client that takes "
                "nothing for about 10 s: see overflow=",
                seconds,
            )

    def allow(self) -> None:
        """Let flow control have its say again, on another transport."""
        self._allowed = True

    def forbid(self) -> None:
        """Read on whatever flow control says: the end is near, and only reading tells which."""
        self._allowed = False
        if self._flow.on_resume is not None:
            self._flow.on_resume()

    def blame(self) -> str:
        """Say so if a pause is likely to be the reason of a loss: servers reset a client that takes nothing."""
        now = trio.current_time()
        seconds, ago = (now - self._began, 0.0) if self.under_way else (self._long, now - self._long_ended)
        if seconds < LONG_PAUSE or ago > 2 * LONG_PAUSE:  # what was under way is still read before the loss shows
            return ""
        return (
            f" (reading was paused for {seconds:.0f} s because a buffer was full; the server may have given up on us)"
        )
