"""When to try again: reconnect policies. Pure functions of facts; no clock is read here.

A policy is any callable that takes a :class:`RetryContext` and returns the seconds to wait before the next attempt, or
``None`` to give up.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_DELAYS", "ExponentialBackoff", "RetryContext", "RetryDelays", "RetryPolicy", "as_policy"]

DEFAULT_DELAYS = (0.0, 2.0, 10.0, 30.0)
"""Seconds before each of the attempts that ``reconnect=True`` makes; the .NET and JavaScript clients do the same."""


@dataclass(frozen=True, slots=True)
class RetryContext:
    """What a policy decides by.

    Attributes:
        previous_attempts: Attempts that have failed since the connection was lost; 0 for the first question.
        elapsed: Seconds since the connection was lost.
        error: Why it was lost, or why the last attempt failed.
    """

    previous_attempts: int
    elapsed: float
    error: Exception


RetryPolicy: TypeAlias = "Callable[[RetryContext], float | None]"
"""Seconds to wait before the next attempt; ``None`` gives up."""


class RetryDelays:
    """A fixed list of delays, one for each attempt; then it gives up.

    Args:
        *delays: Seconds before the first, second, ... attempt.
    """

    def __init__(self, *delays: float) -> None:
        if any(not 0 <= delay < math.inf for delay in delays):
            raise ValueError(f"delays must be finite numbers of seconds, not {delays!r}")
        self.delays = delays

    def __call__(self, context: RetryContext) -> float | None:
        """Return the delay for this attempt, ``None`` after the last one."""
        attempt = context.previous_attempts
        return self.delays[attempt] if attempt < len(self.delays) else None

    def __repr__(self) -> str:
        return f"RetryDelays({', '.join(map(repr, self.delays))})"


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """Delays that double up to a cap, each shortened by chance so that many clients do not come back at once.

    Attributes:
        initial: Seconds before the second attempt, before jitter; the first is made at once.
        maximum: Seconds that no delay exceeds.
        factor: How much longer each delay is than the one before.
        jitter: The part of a delay that is left to chance: 0, none; 1, anything between nothing and all of it.
        give_up_after: Seconds since the loss after which no further attempt is made.
        random: Returns a number from 0 to 1; for tests.
    """

    initial: float = 1.0
    maximum: float = 60.0
    factor: float = 2.0
    jitter: float = 0.5
    give_up_after: float = math.inf
    random: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if not (self.initial > 0 and self.maximum >= self.initial and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ValueError(f"these make no sense together: {self!r}")

    def __call__(self, context: RetryContext) -> float | None:
        """Return the delay for this attempt, ``None`` once it would come after ``give_up_after``."""
        delay = self._delay(context.previous_attempts) * (1 - self.jitter * self.random())
        return delay if context.elapsed + delay <= self.give_up_after else None

    def _delay(self, attempt: int) -> float:
        if attempt == 0:
            return 0.0
        steps = min(attempt - 1, 1000)  # beyond that the power would overflow for large factors
        try:
            return float(min(self.initial * self.factor**steps, self.maximum))
        except OverflowError:
            return self.maximum


def as_policy(reconnect: bool | RetryPolicy | None) -> RetryPolicy | None:
    """Return what ``open_hub(reconnect=...)`` means.

    Raises:
        TypeError: It is neither ``None``, a bool nor callable.
    """
    if reconnect is True:
        return RetryDelays(*DEFAULT_DELAYS)
    if reconnect is None or reconnect is False:
        return None
    if not callable(reconnect):
        raise TypeError(f"reconnect must be None, True or callable, not {reconnect!r}")
    return reconnect
