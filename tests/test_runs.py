"""Many items at once are the same as one by one: runs that are read, and items behind a beginning made once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.test_properties import both, pieces, values
from trio_signalr.errors import PayloadError, ProtocolError
from trio_signalr.messages import Completion, HubMessage, Ping, StreamItem
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol, MessageParser, StreamItems

JSON = JsonHubProtocol()
MESSAGEPACK = MessagePackHubProtocol()

OTHERS: list[HubMessage[object]] = [Ping(), Completion("1")]

ids = st.sampled_from(["1", "22", "a" * 31, "b" * 32, ""])
cuts = st.lists(st.integers(0, 2**20), max_size=5)


def read(parser: MessageParser, reads: list[bytes], *, runs: bool) -> list[tuple[object, ...]]:
    """All that comes out, runs taken apart, and the error if there is one."""
    result: list[tuple[object, ...]] = []
    for data in reads:
        try:
            while messages := parser.feed_runs(data) if runs else parser.feed(data):
                data = b""
                for message in messages:
                    result += _facts(message)
        except ProtocolError as error:
            return [*result, (str(error),)]
    return result


def _facts(message: object) -> Iterator[tuple[object, ...]]:
    if isinstance(message, StreamItems):
        assert message.items
        yield from ((StreamItem, message.invocation_id, bytes(item)) for item in message.items)
    elif isinstance(message, StreamItem):
        yield StreamItem, message.invocation_id, bytes(message.item)
    else:
        yield (message,)


@st.composite
def wire(draw: st.DrawFn, protocol: HubProtocol) -> bytes:
    """Runs of items of several streams, with other messages between them."""
    parts: list[bytes] = []
    for _ in range(draw(st.integers(1, 3))):
        id_, items = draw(ids), draw(st.lists(values[protocol.name], max_size=12)) * draw(st.sampled_from([1, 20]))
        parts += [protocol.encode(StreamItem(id_, item)) for item in items]
        parts += [protocol.encode(m) for m in draw(st.lists(st.sampled_from(OTHERS), max_size=1))]
    return b"".join(parts)


@both
@given(data=st.data())
def test_runs_hold_the_same_items_whatever_the_cuts(protocol: HubProtocol, data: st.DataObject) -> None:
    reads = pieces(data.draw(wire(protocol)), data.draw(cuts))
    assert read(protocol.parser(), reads, runs=True) == read(protocol.parser(), reads, runs=False)


@both
@given(data=st.data())
def test_damage_is_found_in_runs_too(protocol: HubProtocol, data: st.DataObject) -> None:
    whole = bytearray(data.draw(wire(protocol)))
    for place in data.draw(st.lists(st.integers(0, max(0, len(whole) - 1)), min_size=1, max_size=3)):
        if whole:
            whole[place] = data.draw(st.integers(0, 255))
    reads = pieces(bytes(whole), data.draw(cuts))
    assert read(protocol.parser(), reads, runs=True) == read(protocol.parser(), reads, runs=False)


def items(*payloads: bytes, id_: bytes = b"\xa11") -> bytes:
    bodies = [b"\x94\x02\x80" + id_ + payload for payload in payloads]
    return b"".join(bytes([len(body)]) + body for body in bodies)


def test_many_items_of_one_stream_are_a_run_and_the_next_stream_is_not_in_it() -> None:
    data = items(*[b"\x05"] * 10) + items(b"\x06", id_=b"\xa12")
    (run, other) = MESSAGEPACK.parser().feed_runs(data)
    assert isinstance(run, StreamItems)
    assert (run.invocation_id, len(run.items)) == ("1", 10)
    assert isinstance(other, StreamItem)


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param([b"\x01", b"\x01", b"\x02\x03", b""], id="two values, and none"),
        pytest.param([b"\x01", b"\x01", b"\xcc", b"\x02\x03"], id="one value, begun in the message before"),
        pytest.param([b"\x01", b"\x01", b"\x92", b"\x01\x02"], id="an array over a boundary"),
        pytest.param([b"\x01", b"\x01", b"\x01", b"\xc1"], id="no such type"),
    ],
)
def test_mistakes_that_would_make_up_for_each_other_do_not(payloads: list[bytes]) -> None:
    data = items(*payloads)
    outcomes = [read(MESSAGEPACK.parser(), [data], runs=runs) for runs in (True, False)]
    assert outcomes[0] == outcomes[1]


def json_items(*payloads: str, id_: str = "1") -> bytes:
    return "".join(f'{{"type":2,"invocationId":"{id_}","item":{payload}}}\x1e' for payload in payloads).encode()


MANY = ["1"] * 30  # so that it is worth a try


def test_many_items_of_one_stream_are_a_run_in_json_too() -> None:
    parser = JSON.parser()
    payloads = [*MANY, '"a } \\n \\u001e { b"', "[1, 2 ]", '{"a":{"b":null}}', "null"]
    data = json_items(*payloads)
    (run,) = parser.feed_runs(data + data[:9])
    assert isinstance(run, StreamItems)
    assert (run.invocation_id, [bytes(item).decode() for item in run.items]) == ("1", payloads)
    (next_run,) = parser.feed_runs(data[9:])
    assert isinstance(next_run, StreamItems)


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param(["5,6", ""], id="two values, and none"),
        pytest.param(["5 6", ""], id="two values with a space between them, and none"),
        pytest.param(["[5][6]", ""], id="two values with nothing between them, and none"),
        pytest.param(["", "5 6"], id="none, and two values"),
        pytest.param(["[1,", "2] 3"], id="a value over a boundary, and one behind it"),
        pytest.param(["5\t"], id="space behind a value"),
        pytest.param(["5\n6", ""], id="two lines, and none"),
        pytest.param(["5\n6", "[1,", "2]"], id="two lines, and an array over a boundary"),
        pytest.param(["[1,", "2]"], id="an array over a boundary"),
        pytest.param(['"a', 'b"'], id="a text over a boundary"),
        pytest.param(['5,"item":6'], id="an item that comes twice"),
        pytest.param(['5,"headers":{"a":"b"}'], id="headers behind the item"),
        pytest.param(["5}", "5"], id="a bracket too much"),
        pytest.param(["01"], id="no number"),
        pytest.param(['"\n"'], id="a line's end within a text"),
        pytest.param(["[1,\n 2]"], id="a line's end within an array"),
        pytest.param(["5\x1e"], id="a separator too much"),
        pytest.param(['"\x1e"'], id="a separator within a text"),
    ],
)
@pytest.mark.parametrize("behind", [[], ["7"]], ids=["last", "not last"])
def test_mistakes_in_json_are_the_same_in_a_run(payloads: list[str], behind: list[str]) -> None:
    data = json_items(*MANY, *payloads, *behind)
    outcomes = [read(JSON.parser(), [data], runs=runs) for runs in (True, False)]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("id_", ["a b", "\\u0041", "ä", ""])
def test_an_id_of_any_kind_is_the_same_in_a_run(id_: str) -> None:
    data = json_items(*MANY, id_=id_)
    outcomes = [read(JSON.parser(), [data], runs=runs) for runs in (True, False)]
    assert outcomes[0] == outcomes[1]


def test_good_messages_before_a_bad_one_come_first_and_the_error_with_the_next_call() -> None:
    parser = MESSAGEPACK.parser()
    (run,) = parser.feed_runs(items(*[b"\x05"] * 10) + b"\x01\x05")
    assert isinstance(run, StreamItems)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            parser.feed_runs(b"")


@both
def test_the_limit_holds_for_runs(protocol: HubProtocol) -> None:
    long = protocol.encode(StreamItem("1", "x" * 200))
    parser = protocol.parser(max_message_size=150)
    with pytest.raises(ProtocolError, match="max_message_size"):
        parser.feed_runs(long * 8)
    assert isinstance(next(iter(protocol.parser().feed_runs(long * 8))), StreamItems)


class Colour(Enum):
    RED = 1


ITEMS: list[Any] = [
    *(None, True, 0, -1, 2**63 - 1, 2**64 - 1, 2**64, 10**30, 1.5, math.nan, math.inf, "", "null", "NaN", "P1D", b"x"),
    *(Colour.RED, Decimal("1.5"), Decimal("NaN"), timedelta(hours=1), datetime(2024, 1, 2, tzinfo=UTC)),
    *([1, [2**70]], {"a": None}, {"null": "Infinity"}, object(), {1: object()}, [math.nan], "x" * 300, "x" * 20_000),
]


def encoded(encode: Any, value: object) -> object:
    try:
        return encode(value)
    except PayloadError as error:
        return str(error), error.path


@pytest.mark.parametrize(
    "protocol",
    [
        JsonHubProtocol(),
        MessagePackHubProtocol(),
        JsonHubProtocol(rename="pascal"),
        MessagePackHubProtocol(rename="camel"),
    ],
    ids=["json", "messagepack", "json renamed", "messagepack renamed"],
)
@pytest.mark.parametrize("value", ITEMS, ids=lambda value: repr(value)[:20])
def test_an_item_is_encoded_as_its_message_is(protocol: HubProtocol, value: object) -> None:
    def message(item: object) -> bytes:
        sent: HubMessage[object] = StreamItem('7"', item)
        return protocol.encode(sent)

    encode_item = protocol.item_encoder('7"')
    for _ in range(2):
        assert encoded(encode_item, value) == encoded(message, value)


def test_a_hook_may_encode_while_its_value_is_encoded() -> None:
    class Own:
        pass

    def hook(value: object) -> object:
        return len(protocol.encode(StreamItem("1", [1, 2]))) if isinstance(value, Own) else NotImplemented

    protocol = MessagePackHubProtocol(enc_hook=hook)
    plain = protocol.encode(StreamItem("1", [[9], 9]))
    assert len(protocol.encode(StreamItem("1", [1, 2]))) == 9
    assert protocol.encode(StreamItem("1", [[Own()], Own()])) == plain
