"""What click has to be told about this command line: sections in ``--help``, negative numbers, and words of its own."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from .._http.clients import checked_proxy
from ..negotiation import TRANSPORTS, http_url
from .exits import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "SectionedCommand",
    "SectionedGroup",
    "option",
    "read_buffer_size",
    "read_count",
    "read_header",
    "read_proxy",
    "read_seconds",
    "read_transport",
    "read_url",
]

_NEGATIVE_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class _SectionedOption(click.Option):
    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def option(*names: str, section: str = "Options", **settings: Any) -> Callable[[Any], Any]:
    """``click.option``, with the section of ``--help`` that it is listed in."""
    return click.option(*names, cls=_SectionedOption, section=section, **settings)


def _write_exit_codes(formatter: click.HelpFormatter) -> None:
    with formatter.section("Exit codes"):
        formatter.write_dl(list(EXIT_CODES.items()))


class SectionedCommand(click.Command):
    """A command whose help shows examples, options by section, and the exit codes.

    Args:
        examples: Lines for a shell.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See :meth:`click.Command.parse_args`."""
        # A negative number is no option. Behind a space it does not look like one, and is the same number, in JSON too.
        return super().parse_args(ctx, [f" {arg}" if _NEGATIVE_NUMBER.fullmatch(arg) else arg for arg in args])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :meth:`click.Command.format_options`."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
        _write_exit_codes(formatter)


class SectionedGroup(click.Group):
    """The command itself, which lists its commands in the order that they were written in."""

    command_class = SectionedCommand

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See :meth:`click.Group.list_commands`."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :meth:`click.Command.format_options`."""
        super().format_options(ctx, formatter)
        _write_exit_codes(formatter)


# Functions that read a word of the command line


def read_url(text: str) -> str:
    """Return a hub's URL."""
    try:
        http_url(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


def read_proxy(text: str) -> str:
    """Return a proxy's URL."""
    try:
        checked_proxy(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text


def read_transport(text: str) -> str:
    """Return the name of a transport, as ``open_hub`` spells it."""
    name = text.lower().replace("-", "_")
    if name not in TRANSPORTS.values():
        raise click.BadParameter(f"{text!r} is none of {', '.join(TRANSPORTS.values())}")
    return name


def read_header(text: str) -> tuple[str, str]:
    """Return name and value of a header."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter("a header has a name, a colon and a value")  # not quoted: it may be a secret
    return name.strip(), value.strip()


def read_seconds(text: str) -> float:
    """Return a number of seconds, maybe ``math.inf``."""
    with suppress(ValueError):
        if (seconds := float(text)) > 0:
            return seconds
    raise click.BadParameter(f"{text.strip()!r} is no number of seconds above 0, nor inf")


def read_count(text: str) -> int:
    """Return a number from 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise click.BadParameter(f"{text.strip()!r} is no number from 1")
    return int(text)


def read_buffer_size(text: str) -> float:
    """Return a number from 1, maybe ``math.inf``."""
    return math.inf if text == "inf" else read_count(text)
