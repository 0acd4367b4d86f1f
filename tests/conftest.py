"""What all tests share: Hypothesis without chance, and an end to every test that hangs."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, settings
from trio.testing import MockClock

# The same examples in every run, and none judged by how busy the machine is. To hunt for more:
# pytest --hypothesis-profile=hunt
_STEADY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("steady", derandomize=True, **_STEADY)  # type: ignore[arg-type]
settings.register_profile("hunt", max_examples=5_000, **_STEADY)  # type: ignore[arg-type]
settings.load_profile("steady")

# What started us may ignore signals, as nohup and background jobs of a shell do; tests send them, to programs too.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Seconds. Under a clock that jumps, all tasks asleep for ever means that this deadline is next: a deadlock fails at
# once. More than a day, so that a test may well let a day pass.
VIRTUAL_LIMIT = 100_000.0
REAL_LIMIT = 60.0


def _limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        limit = VIRTUAL_LIMIT if isinstance(trio.lowlevel.current_clock(), MockClock) else REAL_LIMIT
        stuck = None
        with trio.move_on_after(limit) as scope:
            try:
                await test(*args, **kwargs)
            except BaseException as exc:
                stuck = exc
                raise
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"the test hung: cancelled after {limit:g} s, see where above") from stuck

    return limited


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every async test a deadline on Trio's clock, one for each example of a Hypothesis test."""
    done = set()
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if (handle := getattr(item.obj, "hypothesis", None)) is not None:
            # One handle serves all parameters of a test: once is enough.
            if inspect.iscoroutinefunction(handle.inner_test) and handle.inner_test not in done:
                handle.inner_test = _limited(handle.inner_test)
                done.add(handle.inner_test)
        elif inspect.iscoroutinefunction(item.obj):
            item.obj = _limited(item.obj)
