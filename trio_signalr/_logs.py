"""The loggers: one for each layer, and in each line the connection that it is about.

::

    trio_signalr.connection        a hub's life: connected, lost, reconnecting, resumed, closed; pauses and silence
    trio_signalr.transport         the way there: negotiation, which transport, and why not the others
    trio_signalr.messages          hub messages, without their content
    trio_signalr.messages.content  their content; only if asked for by name

Nothing is printed unless the program configures logging: a library that writes to standard error by itself is a
nuisance. No line has an access token, a connection token or the query of a URL in it.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONNECTION", "TRANSPORT", "Log", "content_wanted", "enter_hub", "message_listener", "show_content"]

_hub: ContextVar[str] = ContextVar("_hub", default="no hub")
_numbers = count(1)

CONTENT_LIMIT = 1024
"""Characters of one message's content that are shown."""

TEXT_LIMIT = 2000
"""Characters of a text within a line; no text of our own is that long."""


class Log:
    """One layer's logger, which puts the hub in front of each line."""

    def __init__(self, layer: str) -> None:
        self._logger = logging.getLogger(f"trio_signalr.{layer}")

    def debug(self, text: str, *args: object) -> None:
        """For whoever asks why."""
        self._log(logging.DEBUG, text, args)

    def info(self, text: str, *args: object) -> None:
        """A step in the life of the connection."""
        self._log(logging.INFO, text, args)

    def warning(self, text: str, *args: object) -> None:
        """Something that a person should change."""
        self._log(logging.WARNING, text, args)

    def _log(self, level: int, text: str, args: tuple[object, ...]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, f"%s: {text}", _hub.get(), *map(_one_line, args), stacklevel=3)


def _one_line(value: object) -> object:
    """Take the ends of lines out of texts, and cut them: some are the server's, who must not write lines of its own."""
    if isinstance(value, int | float):
        return value
    text = str(value)
    if len(text) > TEXT_LIMIT:
        text = f"{text[:TEXT_LIMIT]}..."
    return text if text.isprintable() else repr(text)[1:-1]


logging.getLogger("trio_signalr").addHandler(logging.NullHandler())

CONNECTION = Log("connection")
TRANSPORT = Log("transport")
_messages = logging.getLogger("trio_signalr.messages")
_content = logging.getLogger("trio_signalr.messages.content")


def enter_hub() -> None:
    """From now on, what this task and its children log is about a new hub; hubs are numbered within the process."""
    _hub.set(f"hub {next(_numbers)}")


def message_listener() -> Callable[[object], None] | None:
    """Who wants to know of each message; to be asked once for each read and write, not for each message."""
    return _show_message if _messages.isEnabledFor(logging.DEBUG) else None


def _show_message(record: object) -> None:
    _messages.debug("%s: %s", _hub.get(), _one_line(record))


def content_wanted() -> bool:
    """Whether the content of messages is to be logged.

    Only if the level was set on that very logger: content may be private, and nobody should get to see it by turning on
    everything.
    """
    return _content.level != logging.NOTSET and _content.isEnabledFor(logging.DEBUG)


def show_content(message: str, content: str) -> None:
    """Log the content of a message, cut to a kibibyte."""
    more = f"... ({len(content):,} in all)" if len(content) > CONTENT_LIMIT else ""
    _content.debug("%s: %s: %s%s", _hub.get(), _one_line(message), _one_line(content[:CONTENT_LIMIT]), more)
