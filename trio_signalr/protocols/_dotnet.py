"""Values of .NET that Python has no type for, and the texts and numbers that .NET writes for those it has.

What is read here is never refused: what is not in .NET's form is returned as it came, for msgspec to say what is wrong
with it, and where.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum

__all__ = [
    "Char",
    "DateTimeOffset",
    "enum_reader",
    "read_custom",
    "read_date",
    "read_late",
    "read_offset",
    "read_ticks",
    "read_time",
    "read_time_span",
    "time_span",
]

TICKS = 10
"""Ticks, .NET's 100 ns, in a microsecond."""

_DAY, _SECOND, _MICROSECOND = timedelta(days=1), timedelta(seconds=1), timedelta(microseconds=1)
_TIME_SPAN = re.compile(r"(-)?(?:(\d+)\.)?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?")


class DateTimeOffset:
    """Send a ``datetime`` to a parameter that is a ``DateTimeOffset`` in .NET.

    Only MessagePack needs it, and only for UTC: there a ``datetime`` in UTC goes as ``DateTime``, which such a
    parameter refuses. Any other time zone goes as ``DateTimeOffset`` by itself. In JSON it changes nothing. It can be
    asked for too, though ``datetime`` reads both.

    ::

        await hub.invoke("Remind", DateTimeOffset(datetime.now(UTC)))

    Args:
        value: The moment.

    Attributes:
        value: The moment.

    Raises:
        ValueError: It has no time zone, so it is no moment.
    """

    __slots__ = ("value",)

    def __init__(self, value: datetime) -> None:
        if value.utcoffset() is None:
            raise ValueError(f"{value!r} has no time zone, so it has no offset")
        self.value: datetime = value

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, DateTimeOffset) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"DateTimeOffset({self.value!r})"


class Char(str):
    """One ``char`` of .NET, to send or to ask for: a text of one character.

    MessagePack has it as a number, so a ``str`` would be refused there, and an ``int`` come back. JSON has it as text.

    Raises:
        ValueError: It is not one character, or one beyond U+FFFF, which takes two ``char`` in .NET.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Char:
        """Make one from a text of length one."""
        if len(value) != 1 or ord(value) > 0xFFFF:
            raise ValueError(f"a char is one character of at most U+FFFF, not {value!r}")
        return super().__new__(cls, value)


def read_custom(type_: type, value: Any) -> object:
    """Convert a plain value to one of the two classes above; ``ValueError`` if it is none."""
    if type_ is Char and isinstance(value, (int, str)):
        return Char(chr(value) if isinstance(value, int) else value)
    moment = read_offset(read_late(value))
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if type_ is DateTimeOffset and isinstance(moment, datetime):
        return DateTimeOffset(moment)
    raise ValueError(f"Expected `{type_.__name__}`, got `{type(value).__name__}`")


# JSON


def time_span(value: timedelta) -> str:
    """Write a ``timedelta`` as .NET's ``TimeSpan``: ``1.02:03:04.0000050``, ``-00:00:01``."""
    days, rest = divmod(abs(value), _DAY)
    seconds, fraction = divmod(rest, _SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{'-' if value < timedelta(0) else ''}{f'{days}.' if days else ''}{hour:02}:{minute:02}:{second:02}"
    return f"{text}.{fraction // _MICROSECOND * TICKS:07}" if fraction else text


def read_time_span(value: Any) -> Any:
    """Read ``TimeSpan``'s text; ticks that no microsecond shows are cut off."""
    # Most are like 00:01:30, and read thrice as fast without the expression.
    if type(value) is str and len(value) == 8 and value[2] == value[5] == ":" and value.isascii():
        hours, minutes, seconds = value[:2], value[3:5], value[6:]
        if hours.isdecimal() and minutes.isdecimal() and seconds.isdecimal():
            return timedelta(0, (int(hours) * 60 + int(minutes)) * 60 + int(seconds))
    match = _TIME_SPAN.fullmatch(value) if type(value) is str else None
    if match is None:
        return value
    sign, days, hours, minutes, seconds, fraction = match.groups()
    microseconds = int((fraction or "").ljust(7, "0")) // TICKS
    span = timedelta(int(days or 0), int(seconds), microseconds, 0, int(minutes), int(hours))
    return -span if sign else span


def read_late(value: Any) -> Any:
    """Cut off the last tick of ``DateTime.MaxValue`` and its like, which rounds up to a moment that Python lacks."""
    return value.replace(".9999999", ".999999") if type(value) is str else value


# MessagePack


def read_ticks(value: Any) -> Any:
    """Read a ``TimeSpan``; ticks that no microsecond shows are cut off."""
    if type(value) is not int:
        return value
    return timedelta(0, 0, value // 10 if value >= 0 else -(-value // 10))


def read_date(value: Any) -> Any:
    """Read a ``DateOnly``: days since 0001-01-01."""
    return date.fromordinal(value + 1) if type(value) is int and 0 <= value < date.max.toordinal() else value


def read_time(value: Any) -> Any:
    """Read a ``TimeOnly``: ticks since midnight."""
    if type(value) is not int or not 0 <= value < 864_000_000_000:
        return value
    return (datetime.min + timedelta(0, 0, value // TICKS)).time()


def read_offset(value: Any) -> Any:
    """Read a ``DateTimeOffset``: what the clock reads, as if in UTC, and the minutes that it is ahead of UTC."""
    match value:
        case [datetime() as reading, int(minutes)] if abs(minutes) < 24 * 60:
            return reading.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    return value


def enum_reader(kind: type[Enum]) -> Callable[[Any], Any] | None:
    """Return what turns members' names into their values; ``None`` if the values are texts, which come as such."""
    values: dict[str, Any] = {name: member.value for name, member in kind.__members__.items()}
    if not values or not all(isinstance(value, int) for value in values.values()):
        return None

    def read(text: Any) -> Any:
        try:
            return values[text]
        except (KeyError, TypeError):  # TypeError: it is a list, which is no key
            return _read_odd_member(text, values) if type(text) is str else text

    return read


def _read_odd_member(text: str, values: dict[str, Any]) -> object:
    """Read several flags, ``Red, Blue``, or a value without a name, ``7``."""
    names = text.split(", ")
    if all(name in values for name in names):
        combined = 0
        for name in names:
            combined |= values[name]
        return combined
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() else text
