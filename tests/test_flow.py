"""Flow control decisions, as plain arithmetic."""

from __future__ import annotations

import math

import pytest

from trio_signalr._flow import Buffer, Flow


def fill(buffer: Buffer[int], count: int) -> list[bool]:
    return [buffer.put(i) for i in range(count)]


def test_reading_pauses_at_the_mark_and_goes_on_below_it() -> None:
    flow = Flow()
    buffer: Buffer[int] = Buffer(flow, 3, "pause")
    fill(buffer, 2)
    assert not flow.paused
    fill(buffer, 1)
    assert flow.paused
    assert buffer.take() == 0
    assert not flow.paused


def test_the_mark_is_soft_for_what_one_read_brings() -> None:
    flow = Flow()
    buffer: Buffer[int] = Buffer(flow, 2, "pause")
    assert fill(buffer, 10) == [True] * 10
    assert [buffer.take() for _ in range(8)] == list(range(8))
    assert flow.paused
    buffer.take()
    assert not flow.paused


def test_a_waiting_task_keeps_reading_going_however_full_a_buffer_is() -> None:
    flow = Flow()
    fill(Buffer(flow, 1, "pause"), 5)
    assert flow.paused
    flow.add_waiting()
    assert not flow.paused
    flow.remove_waiting()
    assert flow.paused


def test_the_reader_is_told_exactly_when_a_pause_loses_its_reason() -> None:
    flow = Flow()
    one: Buffer[int] = Buffer(flow, 1, "pause")
    other: Buffer[int] = Buffer(flow, 1, "pause")
    told: list[bool] = []
    flow.on_resume = lambda: told.append(flow.paused)
    fill(one, 1)
    fill(other, 1)
    one.take()
    assert told == []  # the other one is still full
    other.take()
    assert told == [False]
    fill(one, 1)
    flow.add_waiting()
    assert told == [False, False]


@pytest.mark.parametrize("leave", ["clear", "release"])
def test_a_buffer_that_is_given_up_is_no_reason_for_a_pause(leave: str) -> None:
    flow = Flow()
    buffer: Buffer[int] = Buffer(flow, 1, "pause")
    fill(buffer, 4)
    getattr(buffer, leave)()
    getattr(buffer, leave)()  # twice counts once
    assert not flow.paused
    assert len(buffer) == (0 if leave == "clear" else 4)


def test_drop_oldest_keeps_the_newest_and_counts_the_rest() -> None:
    flow = Flow()
    buffer: Buffer[int] = Buffer(flow, 3, "drop_oldest")
    assert all(fill(buffer, 10))
    assert buffer.dropped == 7
    assert buffer.take_many(math.inf) == [7, 8, 9]
    assert not flow.paused


def test_error_refuses_what_does_not_fit_and_everything_after_that() -> None:
    flow = Flow()
    buffer: Buffer[int] = Buffer(flow, 2, "error")
    assert fill(buffer, 4) == [True, True, False, False]
    assert buffer.overflowed
    buffer.take()
    assert not buffer.put(9), "an item after a lost one would make a gap that nobody sees"
    assert buffer.take() == 1


def test_many_items_can_be_taken_at_once() -> None:
    flow = Flow()
    buffer: Buffer[int] = Buffer(flow, 4, "pause")
    fill(buffer, 6)
    assert buffer.take_many(2) == [0, 1]
    assert flow.paused
    assert buffer.take_many(100) == [2, 3, 4, 5]
    assert not flow.paused


@pytest.mark.parametrize(
    ("size", "overflow", "error"),
    [(0, "pause", ValueError), (1.5, "pause", TypeError), (1, "wait", ValueError), (-math.inf, "pause", TypeError)],
)
def test_options_that_make_no_sense_are_refused(size: float, overflow: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Buffer(Flow(), size, overflow)  # type: ignore[arg-type]
