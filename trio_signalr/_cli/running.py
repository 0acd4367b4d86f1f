"""Running a command: what ends it, and which exit code comes of it.

A signal cancels the command's work, so that leaving the hub's block tells the server what to stop and says goodbye. A
second one ends it at once. The same goes for a reader of standard output that is gone, less the exit code.
"""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING

import trio

from .exits import Exit, verdict
from .output import Output, ReaderGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .screen import Screen

__all__ = ["Run", "run_job"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last one is Windows's


class Run:
    """One command while it runs.

    Args:
        screen: For eyes.
        nursery: For what goes on beside the command; cancelled when it is done.

    Attributes:
        screen: As given.
        nursery: As given.
        output: For results.
        connected: Whether the hub was reached.
        signal: The signal that ended it.
        stop: Ends the command's work.
    """

    def __init__(self, screen: Screen, nursery: trio.Nursery) -> None:
        self.screen = screen
        self.nursery = nursery
        self.output = Output(screen)
        self.connected = False
        self.signal: int | None = None
        self.scope = trio.CancelScope()
        self.stop: Callable[[], object] = self.scope.cancel

    def stop_without_reader(self) -> None:
        """From now on end the command when nobody reads its output any more: for those that are about nothing else."""
        self.nursery.start_soon(self._wait_for_reader)

    async def _wait_for_reader(self) -> None:
        await self.output.wait_until_reader_is_gone()
        self.stop()

    async def watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Stop at the first signal, and end the process at the second."""
        numbers = {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            numbers.remove(signal.SIGHUP)  # nohup wants it so
        with trio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            async for number in signals:
                if self.signal is not None:
                    self.screen.erase()
                    os._exit(128 + number)  # somebody is impatient, and goodbye may take seconds
                self.signal = number
                self.stop()


def run_job(job: Callable[[Run], Awaitable[None]], screen: Screen) -> int:
    """Run a command's work to its end, and return the exit code."""
    return trio.run(_supervise, job, screen)


async def _supervise(job: Callable[[Run], Awaitable[None]], screen: Screen) -> int:
    async with trio.open_nursery() as nursery:
        run = Run(screen, nursery)
        await nursery.start(run.watch_signals)
        code = await _outcome(run, job)
        nursery.cancel_scope.cancel()
    return code


async def _outcome(run: Run, job: Callable[[Run], Awaitable[None]]) -> int:
    """Do the work; return the exit code, once the reason for it was shown."""
    try:
        with run.scope:
            await job(run)
    except ReaderGone:
        return Exit.DONE
    except Exception as error:
        known = verdict(error, connected=run.connected)
        if known is None:
            text = "".join(traceback.format_exception(error))
            run.screen.error(text, "this is a bug of trio_signalr: please report it")
            return Exit.BUG
        if run.signal is None:
            run.screen.error(known.text, known.hint)
            return known.code
    return Exit.DONE if run.signal is None else 128 + run.signal
