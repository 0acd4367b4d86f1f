"""Which one exception leaves a scope: decided by identity, not by the shape of groups."""

from __future__ import annotations

import pytest
import trio

from trio_signalr._endings import choose_error, open_tasks, raise_as_is


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("nursery", errors)


BODY, HANDLER, STRAY = ValueError("body"), KeyError("handler"), RuntimeError("stray")


@pytest.mark.parametrize(
    ("came_out", "body", "failures", "expected"),
    [
        (None, None, [], None),
        (group(BODY), BODY, [], BODY),
        (group(group(BODY)), BODY, [], BODY),
        (None, None, [HANDLER], HANDLER),
        (group(STRAY), None, [], STRAY),
    ],
)
def test_a_single_failure_comes_out_as_it_is(
    came_out: BaseException | None, body: BaseException | None, failures: list[Exception], expected: object
) -> None:
    assert choose_error(came_out, body, failures) is expected


def test_several_failures_come_out_as_a_group_of_exactly_those() -> None:
    chosen = choose_error(group(group(BODY), STRAY), BODY, [HANDLER])
    assert isinstance(chosen, ExceptionGroup)
    assert chosen.exceptions == (BODY, HANDLER, STRAY)


def test_a_group_that_the_body_raised_stays_that_group() -> None:
    users = ExceptionGroup("user's own", [BODY])
    assert choose_error(group(ExceptionGroup("user's own", [BODY])), users) is users


def test_ctrl_c_wins_wherever_it_hit() -> None:
    interrupt = KeyboardInterrupt()
    assert choose_error(group(group(interrupt), BODY), BODY, [HANDLER]) is interrupt


async def test_a_cancelled_body_proves_nothing_if_something_else_came_out() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            assert choose_error(group(cancelled, STRAY), cancelled) is STRAY
            assert choose_error(None, cancelled, [HANDLER]) is HANDLER
            assert choose_error(group(cancelled), cancelled) is cancelled
            raise


def test_raising_leaves_cause_and_context_alone() -> None:
    cause, context = OSError("cause"), OSError("context")
    BODY.__cause__, BODY.__context__ = cause, context
    with pytest.raises(ValueError, match="body") as caught:
        try:
            raise LookupError("being handled")
        except LookupError:
            raise_as_is(BODY)
    assert caught.value is BODY
    assert (BODY.__cause__, BODY.__context__) == (cause, context)


async def test_open_tasks_cancels_its_tasks_and_raises_what_the_block_raised() -> None:
    ended = []

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    with pytest.raises(ValueError, match="body") as caught:
        async with open_tasks() as nursery:
            nursery.start_soon(task)
            await trio.testing.wait_all_tasks_blocked()
            raise BODY
    assert caught.value is BODY
    assert ended == [True]


async def test_open_tasks_passes_cancellation_on() -> None:
    with trio.CancelScope() as scope:
        async with open_tasks() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
