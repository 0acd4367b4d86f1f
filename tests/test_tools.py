"""The small Trio pieces, each by itself."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr._outbox import Outbox
from trio_signalr._tools import ConflictDetector, Pace


async def test_the_writer_takes_all_that_has_gathered() -> None:
    outbox = Outbox()
    outbox.put(b"a")
    outbox.put(b"b")
    assert await outbox.take() == [b"a", b"b"]
    async with trio.open_nursery() as nursery:
        got: list[list[bytes]] = []

        async def take() -> None:
            got.append(await outbox.take())

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        outbox.put(b"c")
        outbox.put(b"d")
    assert got == [[b"c", b"d"]]


async def test_sent_tells_written_from_under_way_from_not_taken() -> None:
    outbox = Outbox()
    first = outbox.put(b"a")
    await outbox.take()
    second = outbox.put(b"b")
    assert [outbox.sent(first), outbox.sent(second)] == [None, False]
    outbox.done()
    assert [outbox.sent(first), outbox.sent(second)] == [True, False]
    await outbox.take()
    outbox.close()
    assert [outbox.sent(first), outbox.sent(second)] == [True, None]


async def test_a_message_can_be_taken_back_until_the_writer_has_it() -> None:
    outbox = Outbox()
    first, second = outbox.put(b"a"), outbox.put(b"b")
    assert outbox.withdraw(first)
    assert b"".join(await outbox.take()) == b"b"
    assert not outbox.withdraw(second)
    third = outbox.put(b"c")
    assert outbox.withdraw(third)
    assert outbox.sent(third) is False


async def test_room_is_given_in_the_order_of_asking() -> None:
    outbox = Outbox(high_water=2)
    order: list[int] = []

    async def ask(number: int) -> None:
        await outbox.wait_for_room()
        outbox.put(b"xx")
        order.append(number)

    outbox.put(b"xx")
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
        assert not outbox.has_room
        for done in range(4):
            await outbox.take()
            await wait_all_tasks_blocked()
            assert order == list(range(done + 1)), "one at a time, first come, first served"


async def test_a_newcomer_does_not_overtake_those_who_wait() -> None:
    outbox = Outbox(high_water=2)
    outbox.put(b"xx")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_for_room)
        await wait_all_tasks_blocked()
        await outbox.take()
        assert not outbox.has_room, "there is room, but somebody waits for it"
        await wait_all_tasks_blocked()
        assert outbox.has_room


async def test_taking_a_message_back_makes_room() -> None:
    outbox = Outbox(high_water=2)
    ticket = outbox.put(b"xx")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_for_room)
        await wait_all_tasks_blocked()
        outbox.withdraw(ticket)


async def test_flushed_means_written_and_not_merely_taken() -> None:
    outbox = Outbox()
    outbox.put(b"a")
    flushed = False

    async def wait() -> None:
        nonlocal flushed
        await outbox.flushed()
        flushed = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await outbox.take()
        await wait_all_tasks_blocked()
        assert not flushed
        outbox.done()
    assert flushed


async def test_closing_wakes_everybody() -> None:
    outbox = Outbox(high_water=1)
    outbox.put(b"a")
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.wait_for_room)
            nursery.start_soon(outbox.wait_for_room)
            nursery.start_soon(outbox.flushed)
            await wait_all_tasks_blocked()
            outbox.close()
    assert outbox.has_room, "nothing is worth waiting for"
    assert outbox.sent(outbox.put(b"b")) is False


async def test_a_cancelled_wait_for_room_leaves_the_line_in_order() -> None:
    outbox = Outbox(high_water=1)
    outbox.put(b"a")
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0):
            await outbox.wait_for_room()
        nursery.start_soon(outbox.wait_for_room)
        await wait_all_tasks_blocked()
        await outbox.take()


def test_two_tasks_at_once_are_detected_and_one_after_another_is_fine() -> None:
    detector = ConflictDetector("busy here")
    with detector, pytest.raises(trio.BusyResourceError, match="busy here"), detector:
        pass
    with detector:
        pass


async def test_pace_looks_for_cancellation_each_time() -> None:
    pace = Pace()
    with trio.CancelScope() as scope:
        scope.cancel()
        await pace.checkpoint()
        raise AssertionError("not reached")
    assert scope.cancelled_caught


async def test_pace_lets_others_run_now_and_then(autojump_clock: MockClock) -> None:
    pace = Pace()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.lowlevel.checkpoint()
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await pace.checkpoint()
        assert ticks == 0, "most times nobody else runs"
        for _ in range(10 * Pace.EVERY):
            await pace.checkpoint()
        nursery.cancel_scope.cancel()
    assert ticks >= 5, "once in a while everybody gets a turn"
