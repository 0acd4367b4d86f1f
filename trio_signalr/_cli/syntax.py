"""What click has to be told about this command line: sections in ``--help``, negative numbers, and words of its own."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import click

from ..negotiation import TRANSPORTS, http_url
from .exits import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COUNT", "COUNT_OR_INF", "HEADER", "SECONDS", "TRANSPORT", "URL", "SectionedCommand", "SectionedGroup", "option"]

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
    """A command whose help shows options by section, and the exit codes; negative numbers are no options to it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See :meth:`click.Command.parse_args`."""
        # Behind a space it does not look like an option any more, and is still the same number, in JSON too.
        return super().parse_args(ctx, [f" {arg}" if _NEGATIVE_NUMBER.fullmatch(arg) else arg for arg in args])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See :meth:`click.Command.format_options`."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
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


class _Url(click.ParamType):
    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            http_url(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class _Transport(click.ParamType):
    name = "transport"
    choices: Sequence[str] = tuple(TRANSPORTS.values())

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.choices)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name = str(value).lower().replace("-", "_")
        if name not in self.choices:
            self.fail(f"{value!r} is none of {', '.join(self.choices)}", param, ctx)
        return name


class _Header(click.ParamType):
    name = "'name: value'"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, colon, content = str(value).partition(":")
        if not colon or not name.strip():
            self.fail("a header has a name, a colon and a value", param, ctx)  # not quoted: it may be a secret
        return name.strip(), content.strip()


class _Seconds(click.ParamType):
    name = "seconds"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not seconds > 0:
            self.fail(f"{value!r} is no number of seconds above 0, nor inf", param, ctx)
        return seconds


class _Count(click.ParamType):
    """A number from 1; ``endless`` takes ``inf`` too."""

    name = "number"

    def __init__(self, *, endless: bool = False) -> None:
        self._endless = endless

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        if self._endless and text == "inf":
            return math.inf
        if not text.isdecimal() or int(text) < 1:
            self.fail(f"{value!r} is no number from 1" + (", nor inf" if self._endless else ""), param, ctx)
        return int(text)


URL = _Url()
TRANSPORT = _Transport()
HEADER = _Header()
SECONDS = _Seconds()
COUNT = _Count()
COUNT_OR_INF = _Count(endless=True)
