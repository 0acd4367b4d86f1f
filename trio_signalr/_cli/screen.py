"""Standard error: everything that is there for eyes.

Colour only on a terminal, and not with ``NO_COLOR``. One line may be live: it is drawn at the bottom, and erased before
anything else appears on the same terminal, standard output included.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from .secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Screen"]

PAUSE = 0.05  # seconds between two drawings at least, lest a fast stream spends its time on them
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ERASE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class Screen:
    """What a command shows people.

    Args:
        verbosity: How often ``-v`` was given.
        quiet: Show errors only.
        secrets: Never shown.

    Attributes:
        verbosity: As given.
        quiet: As given.
        secrets: As given.
        is_terminal: Whether there is a terminal that can erase a line.
    """

    def __init__(self, verbosity: int = 0, *, quiet: bool = False, secrets: Secrets | None = None) -> None:
        file = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - closed with the process
        self._console = Console(file=file, highlight=False, emoji=False, markup=False)
        self._fd = file.fileno() if file is sys.stderr and file.isatty() else None
        self._live = False
        self._last_drawn, self._drawn_at = "", 0.0
        self.is_terminal = self._fd is not None and not self._console.is_dumb_terminal
        self.verbosity = verbosity
        self.quiet = quiet
        self.secrets = Secrets() if secrets is None else secrets

    def status(self, text: str) -> None:
        """Show what is as it should be: on a terminal that takes it at once, or when asked for."""
        if self._is_ready() or self.verbosity:
            self.note(text)

    def note(self, text: str) -> None:
        """Show what somebody may wait for, or wonder about."""
        if not self.quiet:
            self._print(text, "dim")

    def warn(self, text: str) -> None:
        """Show what is not as it should be, though it goes on."""
        if not self.quiet:
            self._print(text, "yellow")

    def error(self, text: str, hint: str | None = None) -> None:
        """Show why the command ends."""
        self._print("error: ", "bold red", end="")
        self._print(text)
        if hint is not None:
            self._print("hint:  ", "bold", end="")
            self._print(hint)

    def log(self, when: str, who: str, text: str, *, bad: bool) -> None:
        """Show a line of a log."""
        self._print(f"{when} {who:<10} ", "dim", end="")
        self._print(text, "yellow" if bad else "")

    def draw(self, text: str) -> None:
        """Put ``text`` into the live line; only if the terminal takes it at once, for nobody can wait for it here."""
        if self._is_ready():
            self.erase()
            self._print(text[: max(self._console.width - 1, 1)], "cyan", end="")
            self._live = True
            self._last_drawn, self._drawn_at = text, time.monotonic()

    @contextmanager
    def line_below(self) -> Iterator[None]:
        """Let something else write to the terminal in the block, above the live line if there is one."""
        was_live = self._live
        self.erase()
        yield
        if was_live and not self._live and time.monotonic() - self._drawn_at > PAUSE:
            self.draw(self._last_drawn)

    def erase(self) -> None:
        """Take the live line away, until it is drawn again."""
        if self._live:
            self._live = False
            if self._is_ready():
                with suppress(OSError):
                    self._console.control(_ERASE)

    def _is_ready(self) -> bool:
        """Whether this is a terminal, and a line would not have to wait: not after Ctrl-S, say."""
        if self._fd is None or sys.platform == "win32":
            return self._fd is not None
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return any(flags & select.POLLOUT for _, flags in poll.poll(0))

    def _print(self, text: str, style: str = "", end: str = "\n") -> None:
        """Print ``text`` as it is, but for secrets, and for what would have a meaning to the terminal."""
        self.erase()
        shown = _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], self.secrets.redact(text))
        with suppress(OSError, ValueError):  # whoever has closed it wants to see nothing
            self._console.print(Text(shown, style), end=end, soft_wrap=True)
