"""Python values as ASP.NET Core's MessagePack defaults read them: enums by name, objects as maps, times as timestamps.

Everything that MessagePack itself has (nil, booleans, numbers, text, bytes, ``list``, ``dict``) never comes here.

Source: the protocol notes, ".NET values in MessagePack", seen on ASP.NET Core 10.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum
from functools import singledispatch

from msgpack import ExtType, Timestamp
from msgspec import Raw
from msgspec.msgpack import Ext, decode

from ._dotnet import TICKS, Char, DateTimeOffset

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_A_DAY = 24 * 60 * 60
_MINUTE = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)


def plain(value: object) -> object:
    """Return ``value`` one step nearer to what MessagePack has; its parts may need this too.

    ``NotImplemented`` if there is no such step.
    """
    if type(value) is datetime:  # the most frequent by far
        return _date_and_time(value)
    # Before all else: an IntEnum is an int too, but it is its name that .NET wants.
    return _enum(value) if isinstance(value, Enum) else _plain(value)


def _enum(member: Enum) -> object:
    if isinstance(member.value, str):
        return member.value
    name = member.name or str(member.value)  # no flag at all has no name; .NET reads the number as text
    return name.replace("|", ", ")  # flags together are "Red, Blue" in .NET


@singledispatch
def _plain(value: object) -> object:
    return NotImplemented


# Classes of the user's that derive from what MessagePack has; the exact types themselves only come when out of range.


@_plain.register
def _(value: int) -> object:
    if type(value) is int:
        raise OverflowError("an integer beyond 64 bits")
    return int(value)


@_plain.register
def _(value: float) -> object:
    return float(value)


@_plain.register
def _(value: str) -> object:
    return str.__str__(value)  # its own __str__ may say something else


@_plain.register
def _(value: Char) -> object:
    return ord(value)


@_plain.register(bytes)
@_plain.register(bytearray)
def _(value: bytes | bytearray) -> object:
    return bytes(value)


@_plain.register(tuple)
@_plain.register(list)
@_plain.register(deque)
@_plain.register(Set)
def _(value: tuple[object, ...] | list[object] | deque[object] | Set[object]) -> object:
    return list(value)


@_plain.register
def _(value: Mapping) -> object:  # type: ignore[type-arg]
    return dict(value)


@_plain.register
def _date_and_time(value: datetime) -> object:
    """A ``DateTime`` for UTC or no time zone, a ``DateTimeOffset`` for any other."""
    if value.tzinfo is UTC:
        return _timestamp(value)
    return _with_offset(value) if value.utcoffset() else _timestamp(value.replace(tzinfo=UTC))


@_plain.register
def _(value: DateTimeOffset) -> object:
    return _with_offset(value.value)


def _with_offset(value: datetime) -> object:
    # The offset's unit is the minute; some old ones are finer, but the instant must be right.
    minutes = round((value.utcoffset() or timedelta(0)) / _MINUTE)
    reading = value.astimezone(timezone(minutes * _MINUTE)).replace(tzinfo=UTC)  # what the clock reads there
    return [_timestamp(reading), minutes]


def _timestamp(moment: datetime) -> Timestamp:
    since = moment - _EPOCH
    # Integers all the way: datetime.timestamp() is a float, and asks for the local time zone.
    return Timestamp(since.days * _SECONDS_A_DAY + since.seconds, since.microseconds * 1000)


@_plain.register
def _(value: timedelta) -> object:
    return value // _MICROSECOND * TICKS


@_plain.register
def _(value: date) -> object:
    return value.toordinal() - 1  # DateOnly counts days from 0001-01-01


@_plain.register
def _(value: time) -> object:
    if value.tzinfo is not None:
        raise TypeError("a time with a time zone: TimeOnly has none")
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 * TICKS + value.microsecond * TICKS


@_plain.register
def _(value: Raw) -> object:
    return decode(value)  # a payload as received, sent on


@_plain.register
def _(value: Ext) -> object:
    return ExtType(value.code, bytes(value.data))
