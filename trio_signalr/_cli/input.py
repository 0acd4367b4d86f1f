"""Standard input: a value a line, read as the lines come.

A read must wait for nobody but its own task, and must be given up when the server wants no more. On POSIX the file
descriptor says when there is something to read; it is left in blocking mode, for it is shared with others, the shell
among them. Files, which are always ready, and Windows need a thread.
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import trio

from .exits import CommandError
from .values import NOT_JSON, value_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec.json import Decoder

    from .tally import Tally

__all__ = ["Lines", "reads_terminal"]

CHUNK = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")  # splitlines would end a line at each carriage return
_BLANK = b" \t\r\n"  # JSON's


def reads_terminal() -> bool:
    """Whether somebody types what is read."""
    return sys.stdin is not None and sys.stdin.isatty()


class Lines:
    """The values on standard input: an async iterator, which makes it an upload.

    Args:
        protocol: The hub protocol that they are for.
        as_text: Each line is a string as it stands, and no JSON.
        tally: Counts them.
    """

    def __init__(self, protocol: str, *, as_text: bool, tally: Tally) -> None:
        self._read_lines: Callable[[bytes], list[Any]] = _texts if as_text else _json_lines(value_reader(protocol))
        self._tally = tally
        self._number = 0  # lines read so far
        self._pieces: list[bytes] = []  # of a line whose end has not come
        self._ready: deque[Any] = deque()
        self._error: CommandError | None = None
        self._ended = False

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> Any:
        while not self._ready:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._take(await _read())
        self._tally.count += 1
        return self._ready.popleft()

    def _take(self, chunk: bytes) -> None:
        """Read the lines that are complete with ``chunk``; an empty one is the end."""
        if self._number == 0 and not self._pieces:
            chunk = chunk.removeprefix(_BOM)
        end = chunk.rfind(b"\n") + 1
        self._ended = not chunk
        if end == 0 and chunk:
            self._pieces.append(chunk)
            return
        block = b"".join([*self._pieces, chunk[:end]])
        self._pieces = [chunk[end:]] if chunk[end:] else []
        try:
            self._ready.extend(self._read_lines(block))
            self._number += block.count(b"\n")
        except NOT_JSON:
            self._take_one_by_one(block)

    def _take_one_by_one(self, block: bytes) -> None:
        """Take the lines before the one that cannot be read; the error comes after them."""
        for line in _LINE.findall(block):
            self._number += 1
            try:
                self._ready.extend(self._read_lines(line))
            except NOT_JSON as error:
                text = f"line {self._number} of standard input cannot be read: {error}"
                self._error = CommandError(text, hint=_hint(error))
                return


def _hint(error: Exception) -> str | None:
    return None if isinstance(error, UnicodeDecodeError) else "each line is JSON; with --text each is a string"


def _texts(block: bytes) -> list[Any]:
    return block.decode().replace("\r\n", "\n").removesuffix("\n").split("\n") if block else []


def _json_lines(decoder: Decoder[Any]) -> Callable[[bytes], list[Any]]:
    """Return what reads a value a line. ``decode_lines`` does not: it takes a value over several, or many in one."""

    def read(block: bytes) -> list[Any]:
        block.decode()  # JSON that is passed on as it stands is not looked at so closely
        return [decoder.decode(line) for line in block.split(b"\n") if line.strip(_BLANK)]

    return read


async def _read() -> bytes:
    """Wait for bytes; ``b""`` at the end."""
    if sys.stdin is None:
        raise CommandError("standard input is closed")
    fd = sys.stdin.fileno()
    while True:
        try:
            if sys.platform == "win32" or not await _wait_until_ready(fd):
                return await trio.to_thread.run_sync(os.read, fd, CHUNK, abandon_on_cancel=True)
            return os.read(fd, CHUNK)
        except BlockingIOError:
            continue  # another reader was quicker
        except OSError as error:
            raise CommandError(f"standard input cannot be read: {error.strerror}") from error


async def _wait_until_ready(fd: int) -> bool:
    """Wait until there is something to read; ``False`` where the system cannot say."""
    try:
        await trio.lowlevel.wait_readable(fd)
    except PermissionError:  # epoll's word for a file
        return False
    return True
