"""Reconnect policies: pure decisions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from trio_signalr.retry import DEFAULT_DELAYS, ExponentialBackoff, RetryContext, RetryDelays, as_policy


def context(attempts: int, elapsed: float = 0.0) -> RetryContext:
    return RetryContext(attempts, elapsed, OSError())


def test_true_means_the_delays_of_the_reference_clients() -> None:
    policy = as_policy(True)
    assert policy is not None
    assert [policy(context(n)) for n in range(6)] == [0, 2, 10, 30, None, None]
    assert DEFAULT_DELAYS == (0, 2, 10, 30)


def test_none_and_false_mean_no_reconnecting_and_a_callable_is_taken_as_it_is() -> None:
    assert as_policy(None) is None
    assert as_policy(False) is None
    policy = RetryDelays(1)
    assert as_policy(policy) is policy
    with pytest.raises(TypeError, match="callable"):
        as_policy(5)  # type: ignore[arg-type]


def test_exponential_backoff_starts_at_once_doubles_and_is_capped() -> None:
    policy = ExponentialBackoff(initial=1, maximum=10, jitter=0)
    assert [policy(context(n)) for n in range(7)] == [0, 1, 2, 4, 8, 10, 10]


def test_it_gives_up_before_an_attempt_would_come_too_late() -> None:
    policy = ExponentialBackoff(initial=4, jitter=0, give_up_after=10)
    assert policy(context(1, elapsed=6)) == 4
    assert policy(context(1, elapsed=6.1)) is None


@given(st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1))
def test_jitter_only_ever_shortens_a_delay(attempts: int, jitter: float, chance: float) -> None:
    whole = ExponentialBackoff(jitter=0)(context(attempts))
    shortened = ExponentialBackoff(jitter=jitter, random=lambda: chance)(context(attempts))
    assert whole is not None
    assert shortened is not None
    assert whole * (1 - jitter) - 1e-9 <= shortened <= whole <= 60


@pytest.mark.parametrize(
    "options", [{"initial": 0}, {"maximum": 0.5}, {"factor": 0.5}, {"jitter": 1.5}, {"jitter": math.nan}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no sense"):
        ExponentialBackoff(**options)  # type: ignore[arg-type]


def test_delays_must_be_finite_and_not_negative() -> None:
    for bad in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="finite"):
            RetryDelays(0, bad)
