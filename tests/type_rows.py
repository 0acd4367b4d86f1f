"""One row for each .NET type: what it is in Python, and values of it.

The tests share them with the table in docs/types.md.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from trio_signalr import Char, DateTimeOffset, HubProtocol, JsonHubProtocol, MessagePackHubProtocol

PROTOCOLS: dict[str, HubProtocol] = {
    "json": JsonHubProtocol(rename="camel"),
    "messagepack": MessagePackHubProtocol(rename="pascal"),
}


class Colour(enum.Enum):
    Red = 1
    Green = 2


class Rights(enum.Flag):
    Read = 1
    Write = 2


@dataclass
class Person:
    id: UUID
    first_name: str
    favourite: Colour
    born: date
    took: timedelta
    seen: datetime
    price: Decimal
    tags: list[str] = field(default_factory=list)
    laps: dict[str, timedelta] = field(default_factory=dict)
    friend: Person | None = None


class Reading(NamedTuple):
    sensor: int
    state: Colour
    age: timedelta


@dataclass(frozen=True)
class Row:
    """One .NET type.

    Attributes:
        hub: The name under which tests/aspnetcore has a hub for it.
        dotnet: The type in C#.
        type: What to ask for.
        values: Some values, each with what the server's own serializer says that it has understood.
        strategy: Any value that survives the way there and back.
        outgoing: What to send for a value.
        incoming: What comes back for a value, by protocol, if it is not equal.
        refused: Why it cannot be sent, by protocol.
        note: For the table.
    """

    hub: str
    dotnet: str
    type: Any
    values: list[tuple[Any, str]]
    strategy: st.SearchStrategy[Any]
    outgoing: Callable[[Any], object] = lambda value: value
    incoming: dict[str, Callable[[Any], object]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def back(self, value: Any, protocol: str) -> Any:
        """What comes back when ``value`` was sent."""
        return self.incoming[protocol](value) if protocol in self.incoming else value

    @property
    def python(self) -> str:
        text = self.type.__name__ if isinstance(self.type, type) else str(self.type)
        return re.sub(r"\b(?:[a-z_]+\.)+", "", text)


def as_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


CET = timezone(timedelta(hours=2))
NINETY = timedelta(seconds=90)
ANNA = Person(
    UUID(int=1),
    "Anna",
    Colour.Green,
    date(1990, 5, 17),
    NINETY,
    datetime(2024, 1, 2, 3, 4, 5, tzinfo=CET),
    Decimal("12.50"),
    ["a"],
    {"first": timedelta(microseconds=1)},
)
BERT = Person(UUID(int=2), "Bert", Colour.Red, date.min, timedelta(0), datetime(2, 1, 1, tzinfo=CET), Decimal(0))
ANNA_TEXT = (
    '{"Id":"00000000-0000-0000-0000-000000000001","FirstName":"Anna","Favourite":2,"Born":"1990-05-17",'
    '"Took":"00:01:30","Seen":"2024-01-02T03:04:05+02:00","Price":12.50,"Tags":["a"],'
    '"Laps":{"first":"00:00:00.0000010"},"Friend":null}'
)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
moments = st.datetimes().map(lambda moment: moment.replace(fold=0))
# .NET's offsets are whole minutes, up to 14 hours, and may not lead out of its range of moments.
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
sane = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)).map(lambda moment: moment.replace(fold=0))
offset_moments = st.builds(lambda moment, zone: moment.replace(tzinfo=zone), sane, offsets)
# TimeSpan.MaxValue is ten million days.
spans = st.timedeltas(timedelta(days=-10_675_199), timedelta(days=10_675_198))
decimals = st.decimals(Decimal(-(2**64)), Decimal(2**64), allow_nan=False, allow_infinity=False, places=4).filter(
    lambda number: not (number.is_zero() and number.is_signed())
)
colours = st.sampled_from(Colour)
days = st.dates()
# Inside of an object, a datetime in UTC would go as DateTime.
offset_members = offset_moments.filter(lambda moment: moment.utcoffset() != timedelta(0))
people = st.builds(
    Person,
    st.uuids(),
    texts,
    colours,
    days,
    spans,
    offset_members,
    decimals,
    st.lists(texts, max_size=3),
    st.dictionaries(texts, spans, max_size=2),
    st.none(),
)
longs = st.integers(-(2**63), 2**63 - 1)

ROWS = [
    Row("bool", "bool", bool, [(True, "true")], st.booleans()),
    Row("byte", "byte", int, [(255, "255")], st.integers(0, 255)),
    Row("int", "int", int, [(-1, "-1")], st.integers(-(2**31), 2**31 - 1)),
    Row("long", "long", int, [(-(2**63), str(-(2**63)))], longs),
    Row("ulong", "ulong", int, [(2**64 - 1, str(2**64 - 1))], st.integers(0, 2**64 - 1)),
    Row(
        "float",
        "float",
        float,
        [(1.5, "1.5")],
        st.integers(-9999, 9999).map(lambda n: n / 8),
        note="rounded to single precision by .NET",
    ),
    Row("double", "double", float, [(0.1, "0.1"), (2.0, "2")], st.floats(allow_nan=False, allow_infinity=False)),
    Row("decimal", "decimal", Decimal, [(Decimal("1.10"), "1.10")], decimals, note="all digits and the scale are kept"),
    Row(
        "char",
        "char",
        Char,
        [(Char("é"), '"\\u00E9"')],
        st.characters(codec="utf-8", max_codepoint=0xFFFF).map(Char),
        note="a `str`, but for MessagePack, which has it as a number",
    ),
    Row("string", "string", str, [("text", '"text"'), ("", '""')], texts),
    Row("bytes", "byte[]", bytes, [(b"\x01\x02\xff", '"AQL/"')], st.binary(max_size=40)),
    Row("guid", "Guid", UUID, [(UUID(int=1), f'"{UUID(int=1)}"')], st.uuids()),
    Row(
        "datetime",
        "DateTime",
        datetime,
        [(datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), '"2024-01-02T03:04:05.678Z"')],
        moments.map(as_utc),
        note="ticks of 100 ns are rounded to microseconds",
    ),
    Row(
        "datetime",
        "DateTime",
        datetime,
        [(datetime(2024, 1, 2, 3, 4, 5), "")],
        moments,
        incoming={"messagepack": as_utc},
        note="without a time zone; MessagePack cannot say that, and it comes back in UTC",
    ),
    Row(
        "datetimeoffset",
        "DateTimeOffset",
        datetime,
        [
            (datetime(2024, 1, 2, 3, 4, 5, tzinfo=CET), '"2024-01-02T03:04:05+02:00"'),
            (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), '"2024-01-02T03:04:05+00:00"'),
        ],
        offset_moments,
        outgoing=DateTimeOffset,
        note="`DateTimeOffset(value)` is needed for UTC in MessagePack only",
    ),
    Row("dateonly", "DateOnly", date, [(date(2024, 1, 2), '"2024-01-02"')], days),
    Row(
        "timeonly",
        "TimeOnly",
        time,
        [(time(1, 2, 3, 4), '"01:02:03.0000040"')],
        st.times().map(lambda t: t.replace(fold=0)),
    ),
    Row(
        "timespan",
        "TimeSpan",
        timedelta,
        [(NINETY, '"00:01:30"'), (-timedelta(days=1, microseconds=5), '"-1.00:00:00.0000050"')],
        spans,
        note="ticks of 100 ns are cut off to microseconds",
    ),
    Row("enum", "enum", Colour, [(Colour.Green, "2")], colours, note="the name counts, and is spelled as in C#"),
    Row(
        "flags",
        "[Flags] enum",
        Rights,
        [(Rights.Read, "1"), (Rights.Read | Rights.Write, "3")],
        st.sampled_from([Rights.Read, Rights.Write, Rights.Read | Rights.Write]),
    ),
    Row("nullable", "int?", int | None, [(None, "null"), (5, "5")], st.none() | st.integers(0, 9)),
    Row("nullable-enum", "enum?", Colour | None, [(None, "null"), (Colour.Red, "1")], st.none() | colours),
    Row("array", "int[]", list[int], [([1, 2], "[1,2]")], st.lists(st.integers(-9, 9))),
    Row("set", "HashSet<string>", set[str], [({"a"}, '["a"]')], st.sets(texts, max_size=4)),
    Row(
        "nested",
        "List<Dictionary<string, TimeSpan>>",
        list[dict[str, timedelta]],
        [([{"a b": NINETY}, {}], '[{"a b":"00:01:30"},{}]')],
        st.lists(st.dictionaries(texts, spans, max_size=2), max_size=3),
    ),
    Row(
        "dictionary",
        "Dictionary<string, int>",
        dict[str, int],
        [({"Key": 1}, '{"Key":1}')],
        st.dictionaries(texts, st.integers(0, 9), max_size=3),
    ),
    Row(
        "int-keys",
        "Dictionary<int, string>",
        dict[int, str],
        [({1: "a"}, '{"1":"a"}')],
        st.dictionaries(st.integers(-9, 9), texts, max_size=3),
    ),
    Row(
        "long-keys",
        "Dictionary<long, TimeSpan>",
        dict[int, timedelta],
        [({2**40: NINETY}, f'{{"{2**40}":"00:01:30"}}')],
        st.dictionaries(longs, spans, max_size=3),
    ),
    Row(
        "guid-keys",
        "Dictionary<Guid, int>",
        dict[UUID, int],
        [({UUID(int=1): 1}, f'{{"{UUID(int=1)}":1}}')],
        st.dictionaries(st.uuids(), st.integers(0, 9), max_size=3),
    ),
    Row(
        "enum-keys",
        "Dictionary<enum, int>",
        dict[Colour, int],
        [({Colour.Green: 1}, '{"Green":1}')],
        st.dictionaries(colours, st.integers(0, 9)),
    ),
    Row(
        "timespan-keys",
        "Dictionary<TimeSpan, int>",
        dict[timedelta, int],
        [({NINETY: 1}, '{"00:01:30":1}')],
        st.dictionaries(spans, st.integers(0, 9), max_size=3),
        refused={"messagepack": "ASP.NET Core's MessagePack takes no such keys"},
    ),
    Row(
        "object",
        "class",
        Person,
        [(ANNA, ANNA_TEXT), (Person(**{**vars(ANNA), "friend": BERT}), "")],
        people,
        note="the protocol's `rename` spells the names",
    ),
    Row("objects", "List<class>", list[Person], [([ANNA], f"[{ANNA_TEXT}]"), ([], "[]")], st.lists(people, max_size=3)),
    Row(
        "keyed-object",
        "[MessagePackObject] class",
        Reading,
        [(Reading(7, Colour.Red, NINETY), '{"Sensor":7,"State":1,"Age":"00:01:30"}')],
        st.builds(Reading, st.integers(0, 9), colours, spans),
        refused={"json": "an object there, so a class of its own is needed"},
    ),
    Row(
        "any",
        "object",
        Any,
        [([1, "a", None, {"b": 2.5}], '[1,"a",null,{"b":2.5}]')],
        st.recursive(st.none() | st.integers(0, 9) | texts, lambda part: st.lists(part, max_size=2), max_leaves=4),
        note="plain decoded values",
    ),
]


def row_id(row: Row) -> str:
    """A name for pytest."""
    return f"{row.hub}-naive" if row.incoming else row.hub
