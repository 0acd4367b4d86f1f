"""``-v`` and ``-vv``: what the library logs, on standard error."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .screen import Screen

__all__ = ["show_logs"]

# httpcore.http11 is left out: it logs the headers of answers, cookies among them.
_OF_OTHERS = {
    "httpx": logging.INFO,
    "httpcore.connection": logging.DEBUG,
    "httpcore.proxy": logging.DEBUG,
    "httpcore.socks": logging.DEBUG,
}


def show_logs(screen: Screen) -> None:
    """Show warnings; with ``-v`` what the library tells, with ``-vv`` its details and those of httpx."""
    root = logging.getLogger()
    root.addHandler(_ScreenHandler(screen))
    root.setLevel(logging.ERROR if screen.quiet else logging.WARNING)
    if screen.verbosity == 1:
        logging.getLogger("trio_signalr").setLevel(logging.INFO)
    elif screen.verbosity > 1:
        logging.getLogger("trio_signalr").setLevel(logging.DEBUG)
        for name, level in _OF_OTHERS.items():
            logging.getLogger(name).setLevel(level)


class _ScreenHandler(logging.Handler):
    """Writes records as a line each, and tracebacks only if details were asked for."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """See :meth:`logging.Handler.emit`."""
        try:
            lines = record.getMessage().split("\n")
            if record.exc_info and self._screen.verbosity:
                lines += self.format(record).split("\n")[len(lines) :]
        except Exception:
            self.handleError(record)
            return
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        who = record.name.removeprefix("trio_signalr.")
        for line in lines:
            self._screen.log(when, who, line, bad=record.levelno >= logging.WARNING)
