"""How a task waits for what only reading can bring: an answer, an item, the end of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio.lowlevel import Abort, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from ._flow import Flow

__all__ = ["Awaited"]


class Awaited:
    """What one task at a time waits for. Reading goes on meanwhile, however full other buffers are.

    A base class, and no ``trio.Event`` in an attribute: thousands of tasks may wait at once, and an event for each is a
    third of the objects that the garbage collector looks at. A subclass has the two attributes, in slots or not.
    """

    __slots__ = ()

    _flow: Flow  # whose reading it is
    _task: Task | None  # who waits

    @enable_ki_protection  # as a trio.Event: Ctrl-C must not come between saying who waits and waiting
    async def _wait(self) -> None:
        """Wait for :meth:`_wake`; a checkpoint."""
        self._task = current_task()  # type: ignore[misc]  # in a slot of the subclass
        self._flow.add_waiting()
        await wait_task_rescheduled(self._cancelled)

    @enable_ki_protection
    def _wake(self) -> None:
        """Let the task go on, if there is one."""
        if (task := self._task) is not None:
            self._wait_no_more()
            reschedule(task)

    def _cancelled(self, raise_cancel: object) -> Abort:
        self._wait_no_more()
        return Abort.SUCCEEDED

    def _wait_no_more(self) -> None:
        """The wait is over from now on, not from when the task comes to run."""
        self._task = None  # type: ignore[misc]
        self._flow.remove_waiting()
