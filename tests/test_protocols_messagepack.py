"""The messagepack hub protocol: framing, layouts, and .NET's reading of values."""

from __future__ import annotations

import enum
import math
import threading
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from time import process_time
from typing import Annotated, Any

import attrs
import msgspec
import pytest
from msgspec import Raw

from tests.vectors import Malformed, Vector, bytewise, expected, feed_all, outcome, readable
from tests.vectors.messagepack_vectors import MALFORMED, VECTORS, body
from trio_signalr.errors import PayloadError, ProtocolError
from trio_signalr.messages import (
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    StreamInvocation,
    StreamItem,
)
from trio_signalr.protocols import MessagePackHubProtocol
from trio_signalr.protocols._framing import decode_length, encode_length

PROTOCOL = MessagePackHubProtocol()
PING = bytes.fromhex("02 91 06")

by_name = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
each_malformed = pytest.mark.parametrize("vector", MALFORMED, ids=lambda vector: vector.name)


def parse(*pieces: bytes) -> list[HubMessage[Any]]:
    return [readable(PROTOCOL, message) for message in feed_all(PROTOCOL.parser(), *pieces)]


def encode(value: object) -> str:
    """The bytes of ``value`` alone, out of an item's, as hexadecimal."""
    data = PROTOCOL.encode(StreamItem("", value))
    place = decode_length(data, 0)
    assert place is not None
    assert data[place[1] :].startswith(b"\x94\x02\x80\xa0")
    return data[place[1] + 4 :].hex()


def decode(hexadecimal: str, type_: Any) -> Any:
    return PROTOCOL.decode_payload(Raw(bytes.fromhex(hexadecimal)), type_)


def test_says_what_it_is() -> None:
    """Negotiation and handshake depend on these two words."""
    assert (PROTOCOL.name, PROTOCOL.transfer_format) == ("messagepack", "Binary")


# Framing


@pytest.mark.parametrize(
    ("length", "prefix"),
    [
        (0, "00"),
        (53, "35"),
        (127, "7f"),
        (128, "8001"),
        (5248, "8029"),
        (16383, "ff7f"),
        (16384, "808001"),
        (2**21, "80808001"),
        (2**28, "8080808001"),
        (0x7FFFFFFF, "ffffffff07"),
    ],
)
def test_length_prefix(length: int, prefix: str) -> None:
    """Written in as few bytes as it takes, and read back; a prefix that is cut is no prefix yet."""
    data = bytes.fromhex(prefix)
    assert encode_length(length) == data
    assert decode_length(b"\xff" + data + b"\xff", 1) == (length, 1 + len(data))
    for end in range(len(data)):
        assert decode_length(data[:end], 0) is None


@pytest.mark.parametrize("prefix", ["8000", "808000", "8080808000", "ff80808000"])
def test_length_prefix_longer_than_need_be(prefix: str) -> None:
    """ASP.NET Core accepts these."""
    assert decode_length(bytes.fromhex(prefix), 0) == (0x7F if prefix.startswith("ff") else 0, len(prefix) // 2)


@pytest.mark.parametrize(
    "prefix", ["8080808008", "ffffffff08", "ffffffff7f", "8080808080", "808080808000", "ffffffff87"]
)
def test_length_prefix_over_2_gb(prefix: str) -> None:
    """A fifth byte over 7 or a sixth byte is refused as soon as the fifth is there, even without a limit."""
    parser = PROTOCOL.parser(max_message_size=math.inf)
    data = bytes.fromhex(prefix)
    assert feed_all(parser, *bytewise(data[:4])) == []
    with pytest.raises(ProtocolError, match="over 2 GB"):
        parser.feed(data[4:5])


def test_length_over_2_gb_is_not_written() -> None:
    """A message that cannot be framed is refused."""
    with pytest.raises(OverflowError, match="over 2 GB"):
        encode_length(0x8000_0000)


@pytest.mark.parametrize("size", [100, 127, 128, 129, 16383, 16384, 70_000])
def test_sizes_around_the_prefixes(size: int) -> None:
    """Whole messages with prefixes of one, two and three bytes, cut everywhere around the prefix."""
    item = StreamItem[object]("", b"x" * (size - 9))
    data = PROTOCOL.encode(item) * 2
    for cut in range(12):
        assert parse(data[:cut], data[cut:]) == [item, item]


# Messages


@by_name
def test_whole(vector: Vector) -> None:
    """A message that comes alone and whole is read as the reference clients read it."""
    assert parse(vector.data) == expected([vector])


@by_name
def test_byte_by_byte(vector: Vector) -> None:
    """Cut everywhere, and a second time in the same parser: nothing is left over from the first."""
    assert parse(*bytewise(vector.data * 2)) == expected([vector, vector])


@pytest.mark.parametrize("index", range(len(VECTORS)), ids=[vector.name for vector in VECTORS])
def test_glued_to_the_next(index: int) -> None:
    """A message is read the same between any neighbours."""
    some = [VECTORS[index - 1], VECTORS[index], VECTORS[(index + 1) % len(VECTORS)]]
    assert parse(b"".join(vector.data for vector in some)) == expected(some)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.canonical], ids=lambda vector: vector.name)
def test_written_as_in_the_specification(vector: Vector) -> None:
    """Byte for byte: headers always a map, stream ids always there, Close in three items."""
    assert vector.message is not None
    assert PROTOCOL.encode(vector.message) == vector.data


@pytest.mark.parametrize(
    ("message", "hexadecimal"),
    [
        (Close("xyz"), "93 07 A3 78797A C2"),
        (Completion("1", None, "x"), "95 03 80 A1 31 01 A1 78"),
        (StreamInvocation("m", [], "1", ["2"], {"a": "b"}), "96 04 81 A1 61 A1 62 A1 31 A1 6D 90 91 A1 32"),
        (Invocation("m", ((),), "1", ("2",)), "96 01 80 A1 31 A1 6D 91 90 91 A1 32"),  # type: ignore[arg-type]
    ],
)
def test_written(message: HubMessage[object], hexadecimal: str) -> None:
    """What the specification has no example of."""
    assert PROTOCOL.encode(message) == body(hexadecimal)


# Malformed input


@each_malformed
def test_malformed(vector: Malformed) -> None:
    """Each is refused with a text that says what is wrong and where."""
    with pytest.raises(ProtocolError, match=vector.reason):
        PROTOCOL.parser().feed(vector.data)


@each_malformed
def test_malformed_byte_by_byte(vector: Malformed) -> None:
    """Cutting does not change the verdict."""
    with pytest.raises(ProtocolError, match=vector.reason):
        feed_all(PROTOCOL.parser(), *bytewise(vector.data))


@each_malformed
def test_good_messages_before_a_malformed_one(vector: Malformed) -> None:
    """They are delivered; then the error comes, and comes again, and nothing behind it is read."""
    parser = PROTOCOL.parser()
    assert parser.feed(PING + PING + vector.data + PING) == [Ping(), Ping()]
    for data in (b"", PING, b""):
        with pytest.raises(ProtocolError, match=vector.reason):
            parser.feed(data)


def test_deep_payload() -> None:
    """Nesting beyond what the decoder walks is refused, not a crash."""
    payload = b"\x94\x02\x80\xa1\x31" + b"\x91" * 100_000 + b"\xc0"
    with pytest.raises(ProtocolError, match="nested too deeply"):
        PROTOCOL.parser().feed(encode_length(len(payload)) + payload)


@pytest.mark.parametrize(
    "hexadecimal",
    [
        "95 01 80 C0 A6 533343524554 A6 533343524554",
        "93 05 80 C4 06 533343524554",
        "91 A6 533343524554",
        "95 03 80 A6 533343524554 09 A6 533343524554",
        "94 02 81 A6 533343524554 C1 A1 31 00",
        "93 05 80 A7 533343524554 FF",
    ],
)
def test_errors_do_not_quote(hexadecimal: str) -> None:
    """What was received may be confidential, and errors end up in logs."""
    with pytest.raises(ProtocolError) as info:
        PROTOCOL.parser().feed(body(hexadecimal))
    assert "S3CRET" not in str(info.value)
    shown = info.value.__cause__ or (None if info.value.__suppress_context__ else info.value.__context__)
    assert shown is None


# Sizes


def test_message_at_the_limit() -> None:
    """The limit counts one message without its prefix, not the batch."""
    data = PROTOCOL.encode(StreamItem("1", b"x" * 200))
    limit = len(data) - 2
    assert len(PROTOCOL.parser(max_message_size=limit).feed(PING + data + data)) == 3
    messages, error = outcome(PROTOCOL.parser(max_message_size=limit - 1), PING + data + PING)
    assert messages == [Ping()]
    assert error == f"hub message over max_message_size ({limit - 1} bytes)"


def test_too_long_message_is_refused_by_its_prefix() -> None:
    """Nothing of it has to come first."""
    parser = PROTOCOL.parser(max_message_size=127)
    assert parser.feed(b"\x7f") == []
    parser = PROTOCOL.parser(max_message_size=127)
    assert parser.feed(b"\x80") == []
    with pytest.raises(ProtocolError, match="max_message_size"):
        parser.feed(b"\x01")


def test_unfinished_message_takes_linear_time() -> None:
    """600,000 single bytes take 0.2 s; joining them anew each time would move 180 GB."""
    item = StreamItem[object]("1", "x" * 600_000)
    data = bytewise(PROTOCOL.encode(item))
    start = process_time()
    assert parse(*data) == [item]
    assert process_time() - start < 2


# Values, written


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 3


class Mood(enum.StrEnum):
    GOOD = "good"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    X: int
    Y: float = 0.0


@dataclass
class Half:
    x: int = field(init=False)


@attrs.define
class Named:
    Name: str
    _secret: int = 1


class Renamed(msgspec.Struct, rename="pascal", tag_field="$type", tag="renamed"):
    first_name: str
    age: int | msgspec.UnsetType = msgspec.UNSET


class Row(msgspec.Struct, array_like=True):
    first: int
    second: object


class MyText(str):
    def __str__(self) -> str:
        return "something else"


class MyInt(int):
    pass


class MyFloat(float):
    """As ``numpy.float64`` is."""


class MyList(list[int]):
    pass


class MyBytes(bytes):
    pass


Pair = namedtuple("Pair", "a b")
CET = timezone(timedelta(hours=2))
AMSTERDAM = timezone(timedelta(minutes=19, seconds=32))  # as it was until 1937


def text(value: str) -> str:
    return (
        f"{0xA0 + len(value):02x}{value.encode().hex()}"
        if len(value) < 32
        else f"d9{len(value):02x}{value.encode().hex()}"
    )


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, "c0"),
        (True, "c3"),
        (-1, "ff"),
        (2**64 - 1, "cfffffffffffffffff"),
        (-(2**63), "d38000000000000000"),
        (1.5, "cb3ff8000000000000"),
        (math.inf, "cb7ff0000000000000"),
        ("é", "a2c3a9"),
        ("x" * 32, "d920" + "78" * 32),
        (b"\x01", "c40101"),
        (bytearray(b"\x01"), "c40101"),
        (memoryview(b"\x01"), "c40101"),
        ((1, [2]), "92019102"),
        ({1}, "9101"),
        (frozenset(), "90"),
        (Pair(1, 2), "920102"),
        ({"a": {1: None, Color.RED: 2}}, "81a1618201c0" + text("RED") + "02"),
        (OrderedDict(a=1), "81a16101"),
        # datetimes: in UTC or without a time zone
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "d6ff65937d25"),
        (datetime(2024, 1, 2, 3, 4, 5), "d6ff65937d25"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(0), "GMT")), "d6ff65937d25"),
        (datetime(1970, 1, 1), "d6ff00000000"),
        (datetime(2024, 1, 2, 3, 4, 5, 678000), "d7ffa1a5d60065937d25"),
        (datetime(1969, 12, 31, 23, 59, 59, 999999), "c70cff3b9ac618ffffffffffffffff"),
        (datetime.min, "c70cff00000000fffffff1886e0900"),
        (datetime.max, "c70cff3b9ac6180000003afff4417f"),
        # ... with another offset, in the protocol notes' own bytes
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=CET), "92d6ff65937d2578"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(-timedelta(hours=3, minutes=30))), "92d6ff65937d25d1ff2e"),
        (datetime(1900, 1, 1, 0, 0, 32, tzinfo=AMSTERDAM), "92c70cff00000000ffffffff7c5581bc14"),
        (timedelta(seconds=90), "ce35a4e900"),
        (timedelta(microseconds=-1), "f6"),
        (date(1, 1, 1), "00"),
        (date(2024, 1, 2), "ce000b4646"),
        (time(0, 0, 0, 1), "0a"),
        (time(1, 2, 3), "cf00000008ab14b780"),
        (Decimal("1.10"), text("1.10")),
        (uuid.UUID(int=1), text("00000000-0000-0000-0000-000000000001")),
        (Color.GREEN, text("GREEN")),
        (Level.LOW, text("LOW")),
        (Mood.GOOD, text("good")),
        (Rights.READ | Rights.WRITE, text("READ, WRITE")),
        (Rights(0), text("0")),
        (Point(1), "82a15801a159cb0000000000000000"),
        (Half(), "80"),
        (Named("n"), "81" + text("Name") + "a16e"),
        (Renamed("n"), "82" + text("$type") + text("renamed") + text("FirstName") + "a16e"),
        (Row(1, {2}), "92019102"),
        (MyText("x"), "a178"),
        (MyInt(5), "05"),
        (MyFloat(1.5), "cb3ff8000000000000"),
        (MyList([1]), "9101"),
        (MyBytes(b"\x01"), "c40101"),
        (Raw(b"\x92\x01\xd6\xff\x65\x93\x7d\x25"), "9201d6ff65937d25"),
        (msgspec.msgpack.Ext(5, b"\x01"), "d40501"),
    ],
)  # fmt: skip
def test_value(value: object, data: str) -> None:
    """Values become what MessagePack for C# reads with SignalR's defaults."""
    assert encode(value) == data


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 1), datetime(9999, 12, 31, 23)]
)
@pytest.mark.parametrize(
    "offset", [timedelta(0), timedelta(hours=14), timedelta(hours=-14), timedelta(minutes=19, seconds=32)]
)
def test_offset_keeps_the_instant(moment: datetime, offset: timedelta) -> None:
    """The timestamp less the offset is the instant, to the microsecond; what no .NET clock can read is refused."""
    try:
        data = encode(moment.replace(tzinfo=timezone(offset)))
    except PayloadError as error:
        assert isinstance(error.__cause__, OverflowError)
        return
    decoded = decode(data, Any)
    reading, minutes = decoded if offset else (decoded, 0)
    assert reading.replace(tzinfo=None) - moment == timedelta(minutes=minutes) - offset


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


def deep() -> list[object]:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


class Moody:
    pass


class Zone(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> None:
        return None


class Nowhere(Zone):
    def utcoffset(self, when: datetime | None) -> timedelta:
        raise RuntimeError("no offset today")


@dataclass
class Grumpy:
    x: int = 1

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            raise RuntimeError("no x today")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("value", "path", "cause"),
    [
        (Moody(), "$.item", TypeError),
        (object, "$.item", TypeError),
        (iter([]), "$.item", TypeError),
        ([1, [Moody()]], "$.item[1][0]", TypeError),
        ({"a": {"b c": Moody()}}, "$.item.a[...]", TypeError),
        ({"a": {Moody(): 1}}, "$.item.a", TypeError),
        (Point(Moody()), "$.item.X", TypeError),  # type: ignore[arg-type]
        (Named(Moody()), "$.item.Name", TypeError),  # type: ignore[arg-type]
        ([Renamed(Moody())], "$.item[0].FirstName", TypeError),  # type: ignore[arg-type]
        ([1, 2**64], "$.item[1]", OverflowError),
        ({"x": -(2**63) - 1}, "$.item.x", OverflowError),
        ([timedelta.max], "$.item[0]", OverflowError),
        ("\ud800", "$.item", UnicodeEncodeError),
        ({"\ud800": 1}, "$.item", UnicodeEncodeError),
        ([time(1, tzinfo=UTC)], "$.item[0]", TypeError),
        ([datetime(2024, 1, 2, tzinfo=Nowhere())], "$.item[0]", RuntimeError),
        ([Grumpy()], "$.item[0]", RuntimeError),
    ],
)
def test_value_that_does_not_fit(value: object, path: str, cause: type[Exception]) -> None:
    """The error names the innermost part that is the trouble, and has the trouble as its cause."""
    with pytest.raises(PayloadError) as info:
        PROTOCOL.encode(StreamItem("1", value))
    assert info.value.path == path
    assert str(info.value).startswith("not encodable as messagepack: ")
    assert f"`{path}`" in str(info.value)
    assert isinstance(info.value.__cause__, cause)


@pytest.mark.parametrize("value", [endless(), deep(), {"x": (endless(),)}], ids=["endless", "deep", "endless inside"])
def test_value_without_end(value: object) -> None:
    """Neither the encoder nor the search for the culprit follows it for ever."""
    with pytest.raises(PayloadError, match="recursion") as info:
        PROTOCOL.encode(StreamItem("1", value))
    assert info.value.path.startswith("$.item")


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (Invocation("x", [1, {"when": Moody()}]), "$.arguments[1].when"),
        (StreamInvocation("x", [2**64], "1"), "$.arguments[0]"),
        (Completion("1", [Moody()]), "$.result[0]"),
        (Invocation("\ud800", []), "$.target"),
        (Close("\ud800"), "$.error"),
    ],
)
def test_path_starts_at_the_messages_property(message: HubMessage[object], path: str) -> None:
    """So a caller sees which argument it is."""
    with pytest.raises(PayloadError) as info:
        PROTOCOL.encode(message)
    assert info.value.path == path


def test_encoding_inside_of_encoding() -> None:
    """A user's object may itself encode while it is encoded, in this thread or another."""
    inner = PROTOCOL.encode(StreamItem("2", "inner"))
    seen = []

    class Talkative(Zone):
        def utcoffset(self, when: datetime | None) -> timedelta:
            other = threading.Thread(target=lambda: seen.append(PROTOCOL.encode(StreamItem("2", "inner"))))
            other.start()
            other.join()
            seen.append(PROTOCOL.encode(StreamItem("2", "inner")))
            return timedelta(0)

    item = [1, datetime(2024, 1, 2, 3, 4, 5, tzinfo=Talkative()), 2]
    assert parse(PROTOCOL.encode(StreamItem("1", item))) == [StreamItem("1", [1, item[1], 2])]
    assert set(seen) == {inner}


# Values, read


@pytest.mark.parametrize(
    ("data", "type_", "value"),
    [
        ("05", int, 5),
        ("05", object, 5),
        ("05", float, 5.0),
        ("ca3fc00000", float, 1.5),
        ("cfffffffffffffffff", int, 2**64 - 1),
        ("c0", str | None, None),
        ("c40101", bytes, b"\x01"),
        ("c40101", Any, b"\x01"),
        ("8101a161", dict[int, str], {1: "a"}),
        ("9101", set[int], {1}),
        # timestamps of 32, 64 and 96 bits
        ("d6ff65937d25", datetime, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("d7ffa1a5d60065937d25", Any, datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("c70cff3b9ac618ffffffffffffffff", Any, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        (text("1.10"), Decimal, Decimal("1.10")),
        (text("00000000-0000-0000-0000-000000000001"), uuid.UUID, uuid.UUID(int=1)),
        (text("good"), Mood, Mood.GOOD),
        ("82a15801a159cb4000000000000000", Point, Point(1, 2.0)),
        ("82" + text("$type") + text("renamed") + text("FirstName") + "a16e", Renamed, Renamed("n")),
        ("9201c0", Row, Row(1, None)),
        ("9101", Annotated[list[int], ["not", "hashable"]], [1]),
        ("920102", tuple[int, int], (1, 2)),
    ],
)
def test_typed(data: str, type_: Any, value: object) -> None:
    """Payloads become the type asked for, now and when its decoder is remembered."""
    for _ in range(2):
        result = decode(data, type_)
        assert result == value
        assert type(result) is type(value)


@pytest.mark.parametrize(
    ("data", "type_", "path"),
    [
        ("05", str, "$"),
        ("920182a158a161a15901", tuple[int, Point], "$[1].X"),
        ("81a161c0", dict[str, int], "$[...]"),
        ("81c0a161", dict[str, str], "$"),
        ("a1ff", str, "$"),
        ("a1ff", Any, "$"),
        ("c1", Any, "$"),
        ("", Any, "$"),
        ("0505", Any, "$"),
        ("8180c0", Any, "$"),
        ("ddffffffff", Any, "$"),
        ("d7ffffffffffffffffff", Any, "$"),
        ("c70cff000000007fffffffffffffff", Any, "$"),
        ("91" * 100_000 + "c0", Any, "$"),
    ],
)
def test_payload_that_does_not_fit(data: str, type_: Any, path: str) -> None:
    """The error says where."""
    with pytest.raises(PayloadError) as info:
        decode(data, type_)
    assert info.value.path == path
    assert info.value.__cause__ is not None


@pytest.mark.parametrize("type_", [Moody, list[Moody], "Moody", 5, Moody | int])
def test_type_that_is_none(type_: Any) -> None:
    """That is the caller's mistake, not the payload's."""
    with pytest.raises(TypeError, match="payloads cannot be converted to"):
        decode("9180", type_)
