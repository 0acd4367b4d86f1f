"""Standard output: results as JSON lines, and nothing else.

Writing may wait for whoever reads, for as long as it takes; so it is done in a thread, while the connection goes on to
be kept alive. What is not taken from a stream meanwhile makes the server wait.
"""

from __future__ import annotations

import math
import os
import re
import select
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from .exits import CommandError
from .values import to_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .screen import Screen

__all__ = ["Output", "ReaderGone"]

SELDOM = 0.5  # seconds between two writes, from which on a reader on the same terminal should find it clean
_C1 = re.compile("[\x7f-\x9f]")


class ReaderGone(Exception):
    """Nobody reads standard output any more: ``| head`` has seen enough."""


class Output:
    """Where results go.

    Args:
        screen: Maybe on the same terminal: its live line must be out of the way.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._fd: int | None = None
        with suppress(AttributeError, OSError):  # it is closed, or nothing that the system knows
            self._fd = sys.stdout.fileno()
        self._is_terminal = self._fd is not None and os.isatty(self._fd)
        self._is_pipe = self._fd is not None and stat.S_ISFIFO(os.fstat(self._fd).st_mode)
        self._written_at = -math.inf
        self._lock = threading.Lock()  # a write that was given up goes on in its thread until it is through

    async def write(self, *values: object) -> None:
        """Write values, a line each, and wait until they are taken.

        Raises:
            ReaderGone: The other end was closed.
            CommandError: They cannot be written.
        """
        await self.write_all(values)

    async def write_all(self, values: Sequence[object]) -> None:
        """Write values as :meth:`write` does, all in one piece."""
        if self._fd is None:
            raise CommandError("standard output is closed")
        data = to_lines(values)
        if self._is_terminal:  # JSON lets through what some terminals obey
            data = _C1.sub(lambda match: f"\\u{ord(match[0]):04x}", data.decode()).encode()
        try:
            with self._out_of_the_way():
                await trio.to_thread.run_sync(self._write_bytes, self._fd, data, abandon_on_cancel=True)
        except (BrokenPipeError, ConnectionResetError):
            raise ReaderGone from None
        except OSError as error:
            raise CommandError(f"standard output cannot be written: {error.strerror}") from error

    @contextmanager
    def _out_of_the_way(self) -> Iterator[None]:
        """Take the live line away for as long as it would be in the way of what is written in the block."""
        if self._is_terminal:
            with self._screen.line_below():
                yield
            return
        now = trio.current_time()
        if self._is_pipe and now - self._written_at > SELDOM:
            self._screen.erase()  # whoever reads may be about to print it; the line will be drawn again
        self._written_at = now
        yield

    def _write_bytes(self, fd: int, data: bytes) -> None:
        rest = memoryview(data)
        with self._lock:
            while rest:
                try:
                    rest = rest[os.write(fd, rest) :]
                except BlockingIOError:  # somebody else who has it, too, wants it like that
                    select.select([], [fd], [])

    async def wait_until_reader_is_gone(self) -> None:
        """Return when the other end was closed, even if nothing is being written; where that cannot be told, never.

        Linux wakes whoever waits for a pipe when its other end is closed, even the one who waits for what never comes:
        something to read at the end for writing.
        """
        if sys.platform == "linux" and self._fd is not None and self._is_pipe:
            await trio.lowlevel.wait_readable(self._fd)
            poll = select.poll()
            poll.register(self._fd, 0)
            if poll.poll(0):
                return
        await trio.sleep_forever()
