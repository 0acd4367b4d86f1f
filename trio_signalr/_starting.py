"""Starting a task, and what it fails with before it has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

__all__ = ["start"]


async def start(nursery: trio.Nursery, run: Callable[..., Awaitable[object]], *, name: str) -> None:
    """Start a task as ``nursery.start`` does; an exception that it raises before it has started comes out as it is.

    Trio before 0.34 replaces cause and context of what passes through ``nursery.start``, so an ``Exception`` passes as
    a value. This module can go when that version is the oldest allowed.

    Args:
        nursery: The task's.
        run: An async function that takes ``task_status``, and reports no value.
        name: The task's.
    """
    failure = await nursery.start(_report_failure, run, name=name)
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # its traceback holds this frame: they would keep each other alive


class _Status:
    """Passes on that a task has started, and remembers it."""

    def __init__(self, task_status: trio.TaskStatus[Exception | None]) -> None:
        self._task_status = task_status
        self.said: bool = False

    def started(self) -> None:
        self._task_status.started(None)
        self.said = True


async def _report_failure(
    run: Callable[..., Awaitable[object]], *, task_status: trio.TaskStatus[Exception | None]
) -> None:
    status = _Status(task_status)
    try:
        await run(task_status=status)
    except Exception as error:
        if status.said:
            raise
        task_status.started(error)
    finally:
        # Trio's status holds the error, whose traceback holds this frame, and the task's with the status that it got.
        del status._task_status, task_status
