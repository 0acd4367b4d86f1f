"""Types without .NET: all rows against the test hub, the conversions by themselves, what is refused."""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pytest
import trio
from hypothesis import given, settings, strategies as st
from msgspec import Raw

from tests.type_rows import PROTOCOLS, ROWS, Row, row_id
from trio_signalr import (
    Char,
    DateTimeOffset,
    HubProtocol,
    InvocationError,
    JsonHubProtocol,
    MessagePackHubProtocol,
    PayloadError,
)
from trio_signalr.messages import StreamItem
from trio_signalr.protocols._dotnet import read_ticks, read_time_span, time_span
from trio_signalr.testing import HubServer

T = TypeVar("T")
BOTH = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
TAKEN = [(row, protocol) for row in ROWS for protocol in PROTOCOLS]


def name(value: object) -> str | None:
    return row_id(value) if isinstance(value, Row) else None


def payload(protocol: HubProtocol, value: object) -> Raw:
    (item,) = protocol.parser().feed(protocol.encode(StreamItem("1", value)))
    assert isinstance(item, StreamItem)
    return item.item


def there_and_back(protocol: HubProtocol, value: object, type_: Any) -> Any:
    return protocol.decode_payload(payload(protocol, value), type_)


# Rows


@pytest.mark.parametrize(("row", "protocol"), TAKEN, ids=name)
def test_any_value(row: Row, protocol: str) -> None:
    """What is written is read as itself."""

    @given(value=row.strategy)
    @settings(max_examples=50)
    def check(value: Any) -> None:
        back = there_and_back(PROTOCOLS[protocol], row.outgoing(value), row.type)
        assert back == row.back(value, protocol)
        assert type(back) is type(value)

    check()


@pytest.mark.parametrize(("row", "protocol"), TAKEN, ids=name)
async def test_every_place(row: Row, protocol: str) -> None:
    """Annotations of hub methods and handlers, types of results, items and subscriptions."""
    server = HubServer(protocols=PROTOCOLS.values())

    def Echo(value):  # type: ignore[no-untyped-def]
        return row.outgoing(value)

    async def Transform(items):  # type: ignore[no-untyped-def]
        async for item in items:
            yield row.outgoing(item)

    def handle(value: Any) -> object:
        assert value == back
        return row.outgoing(value)

    Echo.__annotations__["value"] = handle.__annotations__["value"] = row.type
    Transform.__annotations__["items"] = AsyncIterable[row.type]  # type: ignore[name-defined]
    server.method(Echo)
    server.method(Transform)

    async def items() -> AsyncIterator[object]:
        yield sent

    async with server.connect(protocol=PROTOCOLS[protocol], handlers={"Handle": handle}) as hub:
        async with hub.subscribe("Handle", row.type) as subscription:
            for value, _ in row.values:
                sent, back = row.outgoing(value), row.back(value, protocol)
                assert await hub.invoke("Echo", sent, result_type=row.type) == back
                async with hub.stream("Transform", items(), item_type=row.type) as stream:
                    assert [item async for item in stream] == [back]
                client = server.client(hub.connection_id)
                assert await client.invoke("Handle", sent, result_type=row.type) == back
                assert await subscription.receive() == (back,)


# Types


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Mood(enum.Enum):
    GOOD = "good"


class Level(enum.IntEnum):
    LOW = 3


@dataclass
class Lap:
    took: timedelta
    colour: Colour = Colour.RED
    others: list[Lap] = field(default_factory=list)


@attrs.define
class Attrs:
    took: timedelta
    note: str = "none"


class Keys(TypedDict):
    took: timedelta
    colour: NotRequired[Colour]


class Pair(NamedTuple):
    took: timedelta
    colour: Colour = Colour.BLUE


class Started(msgspec.Struct, tag=True):
    took: timedelta


class Counted(msgspec.Struct, tag=True):
    took: int


class Line(msgspec.Struct, array_like=True, tag="line"):
    took: timedelta
    colour: Colour = Colour.BLUE


class Box(msgspec.Struct, Generic[T]):
    content: T


NINETY = timedelta(seconds=90)
PLAIN: dict[str, HubProtocol] = {"json": JsonHubProtocol(), "messagepack": MessagePackHubProtocol()}
plain_both = pytest.mark.parametrize("protocol", PLAIN.values(), ids=PLAIN)


@plain_both
@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Lap, Lap(NINETY, Colour.BLUE, [Lap(-NINETY)])),
        (Attrs, Attrs(NINETY)),
        (Keys, Keys(took=NINETY)),
        (Keys, Keys(took=NINETY, colour=Colour.BLUE)),
        (Pair, Pair(NINETY)),
        (Box[timedelta], Box(NINETY)),
        (list[Box[Box[Colour]]], [Box(Box(Colour.RED))]),
        (Started | Counted, Started(NINETY)),
        (Started | Counted, Counted(900_000_000)),
        (Line, Line(NINETY, Colour.RED)),
        (Lap | None, None),
        (list[Lap | None], [None, Lap(NINETY)]),
        (tuple[timedelta, ...], (NINETY, NINETY)),
        (tuple[int, Colour], (1, Colour.BLUE)),
        (set[timedelta], {NINETY}),
        (frozenset[Colour], frozenset({Colour.RED})),
        (dict[str, list[tuple[Colour, timedelta]]], {"a": [(Colour.RED, NINETY)]}),
        (timedelta | bool, NINETY),
        (timedelta | bool, True),
        (Colour | None, Colour.RED),
        (Mood, Mood.GOOD),
        (Level, Level.LOW),
        (Literal["a", 1], 1),
        (int | str | None, "x"),
        (Annotated[list[timedelta], msgspec.Meta(max_length=2)], [NINETY]),
        (Annotated[list[timedelta], ["not", "hashable"]], [NINETY]),
        (list[datetime], [datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=-5)))]),
        (dict[str, Any], {"a": [1, 2.5, None]}),
        (list[Char], [Char("x")]),
        (list[DateTimeOffset], [DateTimeOffset(datetime(2024, 1, 2, tzinfo=UTC))]),
    ],
)
def test_types_that_contain_others(protocol: HubProtocol, type_: Any, value: object) -> None:
    """At any depth, now and when it is remembered how."""
    for _ in range(2):
        back = there_and_back(protocol, value, type_)
        assert back == value
        assert type(back) is type(value)


@plain_both
@pytest.mark.parametrize("value", [deque([1]), MappingProxyType({"a": 1}), {1, 2}.__and__({1}), {"a": 1}.keys()])
def test_collections_of_other_kinds(protocol: HubProtocol, value: Any) -> None:
    expected = {"a": 1} if isinstance(value, MappingProxyType) else list(value)
    assert there_and_back(protocol, value, Any) == expected


def test_offset_is_kept() -> None:
    """Both DateTime and DateTimeOffset are read as datetime, in one list."""
    moments = [datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=timezone(timedelta(minutes=90)))]
    back = there_and_back(PLAIN["messagepack"], moments, list[datetime])
    assert [(moment, moment.utcoffset()) for moment in back] == [(moment, moment.utcoffset()) for moment in moments]


def test_numbers_beside_decimals() -> None:
    """A Decimal keeps its digits, and the numbers around it stay what they are."""

    class Order(msgspec.Struct):
        price: Decimal
        rate: float
        rest: Any
        took: timedelta

    order = PLAIN["json"].decode_payload(Raw(b'{"price":1.10,"rate":2.5,"rest":{"a":[1.5]},"took":"00:00:01"}'), Order)
    assert repr(order) == f"Order(price={Decimal('1.10')!r}, rate=2.5, rest={{'a': [1.5]}}, took={timedelta(0, 1)!r})"


def test_servers_that_write_enums_by_name() -> None:
    """JsonStringEnumConverter is common."""
    assert PLAIN["json"].decode_payload(Raw(b'["RED",2]'), list[Colour]) == [Colour.RED, Colour.BLUE]


# Conversions


@given(value=st.timedeltas())
def test_time_span(value: timedelta) -> None:
    assert read_time_span(time_span(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00:00:00", timedelta(0)),
        ("-00:00:00.0000010", timedelta(microseconds=-1)),
        ("00:00:00.0000019", timedelta(microseconds=1)),
        ("10675199.02:48:05.4775807", timedelta(microseconds=(2**63 - 1) // 10)),
        ("1.23:59:59.5", timedelta(1, 86399, 500_000)),
    ],
)
def test_time_span_read(text: str, value: timedelta) -> None:
    assert read_time_span(text) == value


@given(value=st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers()))
def test_what_is_no_time_span_is_left(value: object) -> None:
    """For msgspec to refuse, with the path."""
    assert read_ticks(value) is value
    if not isinstance(value, str):
        assert read_time_span(value) is value


@given(ticks=st.integers(-(2**63), 2**63 - 1))
def test_ticks(ticks: int) -> None:
    assert abs(read_ticks(ticks)) // timedelta(microseconds=1) == abs(ticks) // 10


garbage = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["took", "colour", "type", "x"]), part),
    max_leaves=8,
)
KINDS = [Lap, Attrs, Keys, Pair, Started | Counted, Line, dict[Colour, timedelta], list[datetime], time, date, Char]


@BOTH
@given(value=garbage, kind=st.sampled_from(KINDS))
def test_garbage(protocol: HubProtocol, value: object, kind: Any) -> None:
    """Whatever came: a value of that type, or PayloadError with a path."""
    try:
        raw = payload(PLAIN[protocol.name], value)
    except PayloadError:
        return
    try:
        protocol.decode_payload(raw, kind)
    except PayloadError as error:
        assert error.path.startswith("$")


# Misfits


@plain_both
@pytest.mark.parametrize(
    ("value", "type_", "path"),
    [
        ([Lap(NINETY), {"took": True}], list[Lap], "$[1].took"),
        ([{"took": NINETY, "others": [{"took": 1.5}]}], list[Lap], "$[0].others[0].took"),
        ({"a": [1, None]}, dict[str, tuple[int, Colour]], "$[...][1]"),
        ([[True]], list[list[datetime]], "$[0][0]"),
        ([{}], list[Lap], "$[0]"),
        ("xx", Char, "$"),
        ([None], list[DateTimeOffset], "$[0]"),
    ],
)
def test_misfits_say_where(protocol: HubProtocol, value: object, type_: Any, path: str) -> None:
    raw = payload(protocol, value)
    for _ in range(2):
        with pytest.raises(PayloadError) as caught:
            protocol.decode_payload(raw, type_)
        assert caught.value.path == path


@plain_both
async def test_a_misfit_ends_its_own_call(protocol: HubProtocol) -> None:
    server = HubServer()

    @server.method
    def Laps() -> list[object]:
        return [Lap(NINETY), {"took": "soon"}]

    @server.method
    async def Stream() -> AsyncIterator[object]:
        yield Lap(NINETY)
        yield {"took": "soon"}
        await trio.sleep_forever()

    @server.method
    def Take(lap: Lap) -> None:
        pass

    async with server.connect(protocol=protocol) as hub:
        with pytest.raises(PayloadError, match="the answer of 'Laps': ") as caught:
            await hub.invoke("Laps", result_type=list[Lap])
        assert caught.value.path == "$[1].took"
        async with hub.stream("Stream", item_type=Lap) as laps:
            assert await laps.receive() == Lap(NINETY)
            with pytest.raises(PayloadError, match="an item of stream 'Stream': ") as caught:
                await laps.receive()
            assert caught.value.path == "$.took"
        with pytest.raises(PayloadError, match="cannot call 'Take': ") as caught:
            await hub.invoke("Take", {"laps": [NINETY, object()]})
        assert caught.value.path == "$.arguments[0].laps[1]"
        with pytest.raises(InvocationError):
            await hub.invoke("Take", {"took": "soon"})
        async with hub.subscribe("Lap", Lap) as called:
            client = server.client(hub.connection_id)
            await client.send("Lap", {"took": "soon"})
            await client.send("Lap", Lap(NINETY))
            with pytest.raises(PayloadError, match=r"subscription 'Lap': argument 0: ") as caught:
                await called.receive()
            assert caught.value.path == "$[0].took"
            assert await called.receive() == (Lap(NINETY),)


@pytest.mark.parametrize(
    ("protocol", "value", "path"),
    [
        ("json", [2**64], "$.arguments[0][0]"),
        ("json", {"a": -(2**63) - 1}, "$.arguments[0].a"),
        ("json", {None: 1}, "$.arguments[0]"),
        ("json", [NINETY, math.nan], "$.arguments[0][1]"),
        ("messagepack", [2**64], "$.arguments[0][0]"),
        ("messagepack", time(1, tzinfo=UTC), "$.arguments[0]"),
        ("json", Lap(object()), "$.arguments[0].took"),  # type: ignore[arg-type]
    ],
)
async def test_refused_before_anything_is_sent(protocol: str, value: object, path: str) -> None:
    server = HubServer()
    async with server.connect(protocol=PLAIN[protocol]) as hub:
        with pytest.raises(PayloadError) as caught:
            await hub.invoke("Take", value)
        assert caught.value.path == path
        with pytest.raises(PayloadError):
            await hub.send("Take", value)
        assert len(server.client(hub.connection_id).received) == 0


def test_char_and_offset_refuse_what_they_are_not() -> None:
    for text in ("", "ab", "\U0001f600"):
        with pytest.raises(ValueError, match="one character"):
            Char(text)
    with pytest.raises(ValueError, match="no time zone"):
        DateTimeOffset(datetime(2024, 1, 2))
    moment = DateTimeOffset(datetime(2024, 1, 2, tzinfo=UTC))
    assert (moment != 1, hash(moment), repr(moment)) == (True, hash(moment.value), f"DateTimeOffset({moment.value!r})")


# Names


@dataclass
class Inner:
    last_one: int = 0


@dataclass
class Outer:
    first_name: str = ""
    inner: Inner | None = None
    many_more: dict[str, list[Inner]] = field(default_factory=dict)


class Said(msgspec.Struct):
    some_name: int
    other_name: int = msgspec.field(default=0, name="OTHER")


OUTER = Outer("x", Inner(1), {"a_key": [Inner(2)]})


@pytest.mark.parametrize(
    ("rename", "expected"),
    [
        (None, {"first_name": "x", "inner": {"last_one": 1}, "many_more": {"a_key": [{"last_one": 2}]}}),
        ("camel", {"firstName": "x", "inner": {"lastOne": 1}, "manyMore": {"a_key": [{"lastOne": 2}]}}),
        ("pascal", {"FirstName": "x", "Inner": {"LastOne": 1}, "ManyMore": {"a_key": [{"LastOne": 2}]}}),
        (
            {"inner": "INNER"}.get,
            {"first_name": "x", "INNER": {"last_one": 1}, "many_more": {"a_key": [{"last_one": 2}]}},
        ),
    ],
)
@pytest.mark.parametrize("make", [JsonHubProtocol, MessagePackHubProtocol])
def test_rename(make: Any, rename: Any, expected: object) -> None:
    protocol = make(rename=rename)
    assert there_and_back(protocol, OUTER, Any) == expected
    assert there_and_back(protocol, OUTER, Outer) == OUTER
    assert there_and_back(protocol, [OUTER], list[Outer]) == [OUTER]


@pytest.mark.parametrize("make", [JsonHubProtocol, MessagePackHubProtocol])
def test_what_a_class_says_wins(make: Any) -> None:
    protocol = make(rename="pascal")
    assert there_and_back(protocol, Said(1, 2), Any) == {"SomeName": 1, "OTHER": 2}
    assert there_and_back(protocol, Said(1, 2), Said) == Said(1, 2)
    assert there_and_back(protocol, {"took": NINETY}, Keys) == {"took": NINETY}
    assert there_and_back(protocol, [Started(NINETY)], list[Started | Counted]) == [Started(NINETY)]


def test_rename_that_is_none() -> None:
    with pytest.raises(ValueError, match="rename is"):
        JsonHubProtocol(rename="kebab")  # type: ignore[arg-type]


# Hooks


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


def encode(value: Any) -> object:
    if isinstance(value, Money):
        return {"cents": value.cents, "since": NINETY}
    raise NotImplementedError


def decode(type_: type, value: Any) -> object:
    if type_ is Money:
        return Money(value["cents"]) if isinstance(value, dict) else value
    raise NotImplementedError


@pytest.mark.parametrize("make", [JsonHubProtocol, MessagePackHubProtocol])
def test_hooks(make: Any) -> None:
    protocol = make(enc_hook=encode, dec_hook=decode)
    assert there_and_back(protocol, Money(5), Money) == Money(5)
    assert there_and_back(protocol, Money(5), dict[str, Any])["since"] in ("00:01:30", 900_000_000)
    value = [Money(5), NINETY]
    assert there_and_back(protocol, value, tuple[Money, timedelta]) == (Money(5), NINETY)
    with pytest.raises(PayloadError) as caught:
        there_and_back(protocol, [object()], Any)
    assert caught.value.path == "$.item[0]"
    with pytest.raises(PayloadError):
        there_and_back(protocol, 5, Money)
    with pytest.raises(TypeError, match="cannot be converted"):
        there_and_back(protocol, [1], trio.Event)


@pytest.mark.parametrize("make", [JsonHubProtocol, MessagePackHubProtocol])
async def test_hooks_at_the_server(make: Any) -> None:
    """A hub method may take whatever one of the server's protocols knows."""
    protocol = make(enc_hook=encode, dec_hook=decode)
    server = HubServer(protocols=[protocol])

    @server.method
    def Double(money: Money) -> Money:
        return Money(2 * money.cents)

    async with server.connect(protocol=protocol) as hub:
        assert await hub.invoke("Double", Money(5), result_type=Money) == Money(10)
    with pytest.raises(TypeError, match="cannot be a hub method"):
        HubServer().method(Double)
