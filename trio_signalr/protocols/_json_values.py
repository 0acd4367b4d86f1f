"""Python values as System.Text.Json reads them, where msgspec writes them otherwise, or would write nonsense.

Only values in which there may be such a part come here: to look at each one would cost more than encoding it.

Source: the protocol notes, ".NET values in JSON", seen on ASP.NET Core 10.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Raw

from ._dotnet import DateTimeOffset, time_span
from ._payloads import members_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._forms import Rename

__all__ = ["simpler", "spell_out"]

_AS_THEY_ARE = {str, bool, NoneType, bytes, bytearray, datetime, date, time, UUID, Raw}


def simpler(value: object) -> object:
    """Return what msgspec takes in place of a value that it does not know; ``NotImplemented`` if there is no such."""
    if isinstance(value, str):
        return str.__str__(value)  # a class of the user's, whose own __str__ may say something else
    if isinstance(value, bool):  # msgspec asks about those that are keys
        return str(value)
    if isinstance(value, (int, float)):  # NumPy has one too
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, DateTimeOffset):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, (deque, Set)) else NotImplemented


def spell_out(value: object, rename: Rename | None, replace: Callable[[object], object]) -> object:
    """Return ``value`` with all its parts so that msgspec writes what .NET reads.

    Args:
        value: What is to be encoded.
        rename: How the fields of classes are spelled on the wire.
        replace: Returns a value that is known for one that is not.

    Raises:
        ValueError: JSON has no form for a part of it.
    """

    def walk(part: object) -> object:
        leaf = _leaf(part)
        if leaf is not NotImplemented:
            return leaf
        if isinstance(part, dict):
            return {_key(key): walk(each) for key, each in part.items()}
        if isinstance(part, (list, tuple, set, frozenset)):
            return [walk(each) for each in part]
        members = members_of(part, rename)
        if members is not None:
            return walk(members)
        known = simpler(part)
        if known is NotImplemented:
            known = replace(part)
        return known if known is part else walk(known)

    return walk(value)


def _leaf(value: object) -> object:
    """Return a value without parts as it is to be; ``NotImplemented`` for others."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is int and not -(2**63) <= value < 2**64:  # type: ignore[operator]
        raise OverflowError("an integer beyond 64 bits")
    if isinstance(value, (float, Decimal)):
        if not (isfinite(value) if isinstance(value, float) else value.is_finite()):
            raise ValueError("JSON has neither NaN nor infinity")
        return value
    if isinstance(value, timedelta):
        return time_span(value)
    return value if kind is int or isinstance(value, Enum) else NotImplemented


def _key(key: object) -> object:
    if isinstance(key, timedelta):
        return time_span(key)
    return str(key) if isinstance(key, bool) else key
