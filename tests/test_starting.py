"""Starting a task: what it fails with comes out as it is, on every Trio that is allowed."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio

from trio_signalr._starting import start

OLD_TRIO = tuple(map(int, trio.__version__.split(".")[:2])) < (0, 34)


class Failure(Exception):
    """To be told from all others; can be watched for being garbage."""


async def fails_before(*, task_status: trio.TaskStatus[None]) -> None:
    try:
        raise KeyError("context")
    except KeyError:
        raise Failure from OSError("cause")


async def fails_after(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    raise Failure


async def test_failure_before_it_has_started_keeps_cause_and_context() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(Failure) as caught:
            await start(nursery, fails_before, name="some task")
        assert not nursery.child_tasks
    assert isinstance(caught.value.__cause__, OSError)
    assert isinstance(caught.value.__context__, KeyError)


async def test_failure_after_it_has_started_is_the_nurserys() -> None:
    with pytest.RaisesGroup(Failure):
        async with trio.open_nursery() as nursery:
            await start(nursery, fails_after, name="some task")


async def test_it_goes_on_under_its_name_once_it_has_started() -> None:
    names = []

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        names.append(trio.lowlevel.current_task().name)
        task_status.started()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await start(nursery, run, name="some task")
        assert len(nursery.child_tasks) == 1
        nursery.cancel_scope.cancel()
    assert names == ["some task"]


async def test_cancelling_reaches_a_task_that_has_not_started() -> None:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0) as scope:
            await start(nursery, run, name="some task")
        assert scope.cancelled_caught


async def test_task_that_ends_without_having_started_is_a_mistake() -> None:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        with pytest.raises(RuntimeError, match="without calling"):
            await start(nursery, run, name="some task")


@pytest.mark.skipif(OLD_TRIO, reason="Trio's own task status, which holds the value, lives on there")
async def test_failure_is_garbage_at_once() -> None:
    """No reference cycle through the frames that it passed."""
    gc.collect()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            try:
                await start(nursery, fails_before, name="some task")
            except Failure as error:
                watched = weakref.ref(error)
        assert watched() is None
    finally:
        gc.enable()
