"""The json hub protocol: messages as ASP.NET Core writes them, what is tolerated, what is not, and values."""

from __future__ import annotations

import enum
import math
import random
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from time import process_time
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest
from msgspec import Raw

from tests.vectors import Malformed, Vector, bytewise, expected, feed_all, outcome, readable
from tests.vectors.json_vectors import MALFORMED, VECTORS
from trio_signalr.errors import PayloadError, ProtocolError
from trio_signalr.messages import (
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    StreamInvocation,
    StreamItem,
)
from trio_signalr.protocols import JsonHubProtocol

PROTOCOL = JsonHubProtocol()
PING = b'{"type":6}\x1e'

by_name = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
each_malformed = pytest.mark.parametrize("vector", MALFORMED, ids=lambda vector: vector.name)


def parse(*pieces: bytes) -> list[HubMessage[Any]]:
    return [readable(PROTOCOL, message) for message in feed_all(PROTOCOL.parser(), *pieces)]


def encode(value: object) -> str:
    """The text of ``value`` alone, out of an item's."""
    head, tail = b'{"type":2,"invocationId":"1","item":', b"}\x1e"
    data = PROTOCOL.encode(StreamItem("1", value))
    assert data.startswith(head)
    assert data.endswith(tail)
    return data[len(head) : -len(tail)].decode()


def decode(text: str, type_: Any) -> Any:
    return PROTOCOL.decode_payload(Raw(text.encode()), type_)


def test_says_what_it_is() -> None:
    """Negotiation and handshake depend on these two words."""
    assert (PROTOCOL.name, PROTOCOL.transfer_format) == ("json", "Text")


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
    """A message is read the same between any neighbours, also those that need the careful way."""
    some = [VECTORS[index - 1], VECTORS[index], VECTORS[(index + 1) % len(VECTORS)]]
    assert parse(b"".join(vector.data for vector in some)) == expected(some)


def test_all_at_once() -> None:
    """A batch of everything."""
    assert parse(b"".join(vector.data for vector in VECTORS)) == expected(VECTORS)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.canonical], ids=lambda vector: vector.name)
def test_written_as_in_the_specification(vector: Vector) -> None:
    """What has one natural spelling is spelled so."""
    assert vector.message is not None
    assert PROTOCOL.encode(vector.message) == vector.data


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Invocation("x", []), '{"type":1,"target":"x","arguments":[]}'),
        (Invocation("x", [1], "0"), '{"type":1,"target":"x","arguments":[1],"invocationId":"0"}'),
        (
            StreamInvocation("x", [], "3", ["1", "2"], {"a": "b"}),
            '{"type":4,"target":"x","arguments":[],"invocationId":"3","streamIds":["1","2"],"headers":{"a":"b"}}',
        ),
        (Completion("1", None), '{"type":3,"invocationId":"1","result":null}'),
        (Close(None, True), '{"type":7,"allowReconnect":true}'),
    ],
)
def test_absent_is_left_out(message: HubMessage[object], text: str) -> None:
    """Servers refuse a null id, and `arguments` must be there even if there are none."""
    assert PROTOCOL.encode(message) == text.encode() + b"\x1e"


# Malformed input


@each_malformed
def test_malformed(vector: Malformed) -> None:
    """Each is refused with a text that says what is wrong and where."""
    with pytest.raises(ProtocolError, match=vector.reason):
        PROTOCOL.parser().feed(vector.data + b"\x1e")


@each_malformed
def test_malformed_byte_by_byte(vector: Malformed) -> None:
    """Cutting does not change the verdict."""
    parser = PROTOCOL.parser()
    with pytest.raises(ProtocolError, match=vector.reason):
        feed_all(parser, vector.data[:200], *bytewise(vector.data[200:300]), vector.data[300:], b"\x1e")


@each_malformed
def test_good_messages_before_a_malformed_one(vector: Malformed) -> None:
    """They are delivered; then the error comes, and comes again, and nothing behind it is read."""
    parser = PROTOCOL.parser()
    assert parser.feed(PING + PING + vector.data + b"\x1e" + PING) == [Ping(), Ping()]
    for data in (b"", PING, b""):
        with pytest.raises(ProtocolError, match=vector.reason):
            parser.feed(data)


def test_errors_are_fresh() -> None:
    """Each call raises an exception of its own: tracebacks must not pile up on a shared one."""
    parser = PROTOCOL.parser()
    raised = []
    for _ in range(2):
        with pytest.raises(ProtocolError) as info:
            parser.feed(b"\x1e")
        raised.append(info.value)
    assert raised[0] is not raised[1]
    assert str(raised[0]) == str(raised[1])


@pytest.mark.parametrize(
    "text",
    [
        '{"type":1,"target":{"S3CRET":"S3CRET"},"arguments":["S3CRET"]}',
        '{"type":1,"target":"S3CRET","arguments":"S3CRET"}',
        '{"type":"S3CRET"}',
        '{"type":3,"invocationId":"S3CRET","error":"S3CRET","result":"S3CRET"}',
        '{"type":1,"target":"x","arguments":[],"headers":{"S3CRET":"S3CRET',
        "S3CRET",
        '{"type":5,"invocationId":"S3CRET\xff"}',
        '{"type":2,"invocationId":"S3CRET","item":S3CRET}',
    ],
)
def test_errors_do_not_quote(text: str) -> None:
    """What was received may be confidential, and errors end up in logs."""
    with pytest.raises(ProtocolError) as info:
        PROTOCOL.parser().feed(text.encode("latin-1") + b"\x1e")
    assert "S3CRET" not in str(info.value)
    shown = info.value.__cause__ or (None if info.value.__suppress_context__ else info.value.__context__)
    assert shown is None


@pytest.mark.parametrize(
    "data",
    [
        # Replacing every separator by a comma, or counting alone, would let these pass.
        b'{"type":6},{"type":6}\x1e{"type":3,"invocationId":"1","x":[{}\x1e{}]}\x1e',
        b'{"type":6}\n{"type":6}\x1e{"type":2,"invocationId":"1","item":"}\x1e{"}\x1e',
        b'{"type":6}{"type":6}\x1e\x1e',
        b'{"type":6\x1e}\x1e',
        b'{"type":6}\x1e\x1e{"type":6}\x1e',
    ],
)
def test_separators_are_not_traded(data: bytes) -> None:
    """A batch is decoded in one call, yet each separator must end exactly one message."""
    whole = outcome(PROTOCOL.parser(), data)
    assert whole[1] is not None
    assert whole == outcome(PROTOCOL.parser(), *bytewise(data))


# Sizes


@pytest.mark.parametrize("neighbours", [b"", PING])
def test_message_at_the_limit(neighbours: bytes) -> None:
    """The limit counts one message without its separator, not the batch."""
    data = PROTOCOL.encode(StreamItem("1", "x" * 100))
    limit = len(data) - 1
    exact = PROTOCOL.parser(max_message_size=limit)
    assert len(exact.feed(neighbours + data + data + neighbours)) == 2 + 2 * bool(neighbours)
    below = PROTOCOL.parser(max_message_size=limit - 1)
    messages, error = outcome(below, neighbours + data + neighbours)
    assert messages == [Ping()] * bool(neighbours)
    assert error == f"hub message over max_message_size ({limit - 1} bytes)"


def test_unfinished_message_at_the_limit() -> None:
    """A message without end is refused with the first byte too many, not when its separator comes."""
    parser = PROTOCOL.parser(max_message_size=10)
    assert feed_all(parser, *bytewise(b"x" * 10)) == []
    with pytest.raises(ProtocolError, match="max_message_size"):
        parser.feed(b"x")


def test_good_messages_before_one_that_is_too_long() -> None:
    """They are delivered first, whether the long one is complete or not."""
    for end in (b"", b"\x1e"):
        messages, error = outcome(PROTOCOL.parser(max_message_size=10), PING * 3 + b"x" * 11 + end)
        assert messages == [Ping()] * 3
        assert error == "hub message over max_message_size (10 bytes)"


def test_no_limit() -> None:
    """``math.inf`` switches it off."""
    data = PROTOCOL.encode(StreamItem("1", "x" * 10_000))
    assert len(PROTOCOL.parser(max_message_size=math.inf).feed(data)) == 1


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


class Mood(enum.Enum):
    GOOD = "good"


@dataclass
class Point:
    x: int
    y: float


@dataclass
class Half:
    x: int = field(init=False)


@attrs.define
class Named:
    name: str
    _secret: int = 1


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str
    when: datetime | None = None


class MyText(str):
    def __str__(self) -> str:
        return "something else"


class MyInt(int):
    pass


class MyFloat(float):
    """As ``numpy.float64`` is."""


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (2**63, "9223372036854775808"),
        (1.5, "1.5"),
        ("é\x1e", '"é\\u001e"'),
        (b"\x01\x02\xff", '"AQL/"'),
        (bytearray(b"\x01"), '"AQ=="'),
        ((1, 2), "[1,2]"),
        ({1}, "[1]"),
        (frozenset(), "[]"),
        (Pair(1, 2), "[1,2]"),
        ({"a": {1: None}}, '{"a":{"1":null}}'),
        (OrderedDict(a=1), '{"a":1}'),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+500"), "1E+500"),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), '"2024-01-02T03:04:05.678000Z"'),
        (datetime(2024, 1, 2, 3, 4, 5), '"2024-01-02T03:04:05"'),
        (datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), '"2024-01-02T03:00:00+02:00"'),
        (date(2024, 1, 2), '"2024-01-02"'),
        (time(1, 2, 3), '"01:02:03"'),
        (Color.GREEN, "2"),
        (Level.LOW, "3"),
        (Mood.GOOD, '"good"'),
        (Point(1, 2.5), '{"x":1,"y":2.5}'),
        (Named("n"), '{"name":"n"}'),
        ([Half(), None], "[{},null]"),
        (Renamed("n"), '{"firstName":"n","when":null}'),
        (MyText("x"), '"x"'),
        (MyInt(5), "5"),
        (MyFloat(1.5), "1.5"),
        (Raw(b'{"a": 1}'), '{"a": 1}'),
        # words that look like numbers that JSON does not have
        ("null NaN Infinity", '"null NaN Infinity"'),
        ([None, {"NaN": Point(1, 2.5), "x": Decimal(1)}], '[null,{"NaN":{"x":1,"y":2.5},"x":1}]'),
    ],
)
def test_value(value: object, text: str) -> None:
    """Values become what System.Text.Json reads."""
    assert encode(value) == text


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
    def __init__(self) -> None:
        self.x = 1


class Nowhere(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        raise RuntimeError("no offset today")

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    ("value", "path", "cause"),
    [
        (Moody(), "$.item", TypeError),
        (object, "$.item", TypeError),
        (iter([]), "$.item", TypeError),
        ([1, [Moody()]], "$.item[1][0]", TypeError),
        ({"a": {"b c": Moody()}}, "$.item.a[...]", TypeError),
        ({"a": {(1, 2): 1}}, "$.item.a", TypeError),
        ((1, {frozenset({Moody}): 1}), "$.item[1]", TypeError),
        (Point(Moody(), 1), "$.item.x", TypeError),  # type: ignore[arg-type]
        (Named(Moody()), "$.item.name", TypeError),  # type: ignore[arg-type]
        (Renamed(Moody()), "$.item.firstName", TypeError),  # type: ignore[arg-type]
        ("\ud800", "$.item", UnicodeEncodeError),
        ({"a": ["\udfff"]}, "$.item.a[0]", UnicodeEncodeError),
        ({"\ud800": 1}, "$.item", UnicodeEncodeError),
        (math.nan, "$.item", ValueError),
        ([0, {"x": -math.inf}], "$.item[1].x", ValueError),
        (Point(1, math.inf), "$.item.y", ValueError),
        ([MyFloat("nan")], "$.item[0]", ValueError),
        ([Decimal("NaN")], "$.item[0]", ValueError),
        ((Decimal("sNaN"),), "$.item[0]", ValueError),
        ([Decimal("-Infinity")], "$.item[0]", ValueError),
    ],
)
def test_value_that_does_not_fit(value: object, path: str, cause: type[Exception]) -> None:
    """The error names the innermost part that is the trouble, and has the trouble as its cause."""
    with pytest.raises(PayloadError) as info:
        PROTOCOL.encode(StreamItem("1", value))
    assert info.value.path == path
    assert str(info.value).startswith("not encodable as json: ")
    assert f"`{path}`" in str(info.value)
    assert isinstance(info.value.__cause__, cause)


@pytest.mark.parametrize("value", [endless(), deep(), {"x": endless()}], ids=["endless", "deep", "endless inside"])
def test_value_without_end(value: object) -> None:
    """Neither the encoder nor the search for the culprit follows it for ever."""
    with pytest.raises(PayloadError) as info:
        PROTOCOL.encode(StreamItem("1", value))
    assert info.value.path.startswith("$.item")
    assert isinstance(info.value.__cause__, RecursionError)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (Invocation("x", [1, {"when": Moody()}]), "$.arguments[1].when"),
        (StreamInvocation("x", [math.nan], "1"), "$.arguments[0]"),
        (Completion("1", [Moody()]), "$.result[0]"),
        (Invocation("\ud800", []), "$.target"),
        (Invocation("x", [], headers={"a": "\ud800"}), "$.headers.a"),
        (Close("\ud800"), "$.error"),
    ],
)
def test_path_starts_at_the_messages_property(message: HubMessage[object], path: str) -> None:
    """So a caller sees which argument it is."""
    with pytest.raises(PayloadError) as info:
        PROTOCOL.encode(message)
    assert info.value.path == path


def test_object_that_fails_by_itself() -> None:
    """What a user's object raises is the cause, and the object the culprit."""
    with pytest.raises(PayloadError, match="no offset today") as info:
        PROTOCOL.encode(StreamItem("1", [None, datetime(2024, 1, 2, tzinfo=Nowhere())]))
    assert isinstance(info.value.__cause__, RuntimeError)
    assert info.value.path == "$.item[1]"


# Values, read


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("5", int, 5),
        ("5", Any, 5),
        ("5", object, 5),
        ("[5,null]", list[object], [5, None]),
        ("5", float, 5.0),
        ("null", None, None),
        ("null", int | None, None),
        ("[1,2]", tuple[int, int], (1, 2)),
        ('["a"]', set[str], {"a"}),
        ('{"1":2}', dict[int, int], {1: 2}),
        ('"AQL/"', bytes, b"\x01\x02\xff"),
        ("1.10", Decimal, Decimal("1.10")),
        ('"00000000-0000-0000-0000-000000000001"', uuid.UUID, uuid.UUID(int=1)),
        ('"2024-01-02T03:04:05.1234567Z"', datetime, datetime(2024, 1, 2, 3, 4, 5, 123457, tzinfo=UTC)),
        ('"2024-01-02T03:04:05"', datetime, datetime(2024, 1, 2, 3, 4, 5)),
        ("2", Color, Color.GREEN),
        ('"good"', Mood, Mood.GOOD),
        ('{"x":1,"y":2,"z":3}', Point, Point(1, 2.0)),
        ('{"name":"n"}', Named, Named("n")),
        ('{"firstName":"n"}', Renamed, Renamed("n")),
        ("18446744073709551615", int, 2**64 - 1),
        ("[1]", Annotated[list[int], ["not", "hashable"]], [1]),
        ("1", Literal[1, 2], 1),
    ],
)
def test_typed(text: str, type_: Any, value: object) -> None:
    """Payloads become the type asked for, now and when its decoder is remembered."""
    for _ in range(2):
        result = decode(text, type_)
        assert result == value
        assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "type_", "path"),
    [
        ("5", str, "$"),
        ('"5"', int, "$"),
        ('[1,2,{"x":"a","y":1}]', list[int | Point], "$[2].x"),
        ('{"a":{"x":1}}', dict[str, Point], "$[...]"),
        ('{"a":1}', dict[int, int], "$"),
        ('[{"firstName":"n","when":"tomorrow"}]', list[Renamed], "$[0].when"),
        ("3", Color, "$"),
        ("300", Annotated[int, msgspec.Meta(lt=256)], "$"),
        ('"\xff"', str, "$"),
        ("1.5", int, "$"),
        ("", Any, "$"),
        ("[" * 100_000 + "]" * 100_000, Any, "$"),
    ],
)
def test_payload_that_does_not_fit(text: str, type_: Any, path: str) -> None:
    """The error says where."""
    with pytest.raises(PayloadError) as info:
        PROTOCOL.decode_payload(Raw(text.encode("latin-1")), type_)
    assert info.value.path == path
    assert info.value.__cause__ is not None


def test_text_that_is_no_utf8_is_the_payloads_fault() -> None:
    """Payloads are not looked into before somebody asks; then it is that payload that is wrong, not the connection."""
    (message,) = PROTOCOL.parser().feed(b'{"type":2,"invocationId":"1","item":"\xff"}\x1e')
    assert isinstance(message, StreamItem)
    with pytest.raises(PayloadError):
        PROTOCOL.decode_payload(message.item, Any)


class Picky:
    pass


@pytest.mark.parametrize("type_", [Picky, list[Picky], "Picky", 5, Picky | int])
def test_type_that_is_none(type_: Any) -> None:
    """That is the caller's mistake, not the payload's."""
    with pytest.raises(TypeError, match="payloads cannot be converted to"):
        decode("[{}]", type_)


def test_class_that_refuses() -> None:
    """What a user's class raises is a misfit, whatever it raises."""

    @dataclass
    class Grumpy:
        x: int

        def __post_init__(self) -> None:
            raise KeyError("no")

    with pytest.raises(PayloadError) as info:
        decode('[{"x":1}]', list[Grumpy])
    assert isinstance(info.value.__cause__, KeyError)


def test_remembered_decoders_are_bounded() -> None:
    """Types made at run time do not pile up, and each is decoded as itself."""
    protocol = JsonHubProtocol()
    for size in range(2_000):
        limited = Annotated[int, msgspec.Meta(le=size)]
        assert protocol.decode_payload(Raw(b"%d" % size), limited) == size
        with pytest.raises(PayloadError):
            protocol.decode_payload(Raw(b"%d" % (size + 1)), limited)
    assert len(protocol._readers) < 1_000


def test_a_batch_equals_its_messages() -> None:
    """Random batches, with and without odd messages, mean the same as their messages one by one."""
    chance = random.Random(1)
    for _ in range(200):
        some = chance.choices(VECTORS, k=chance.randrange(1, 8))
        assert parse(b"".join(vector.data for vector in some)) == expected(some)


def test_cancel_is_short() -> None:
    """An id needs nothing but itself."""
    assert PROTOCOL.encode(CancelInvocation("7")) == b'{"type":5,"invocationId":"7"}\x1e'
