"""Properties of both hub protocols, searched by Hypothesis: round trips, any cut, garbage."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from msgspec import Raw

from tests.vectors import bytewise, json_vectors, messagepack_vectors, outcome, readable
from trio_signalr.errors import HandshakeError, PayloadError
from trio_signalr.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    ReceivedMessage,
    Sequence,
    StreamInvocation,
    StreamItem,
)
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.protocols._framing import decode_length, encode_length
from trio_signalr.protocols.handshake import (
    HandshakeReader,
    HandshakeResponse,
    encode_response,
    parse_request,
    parse_response,
)

JSON = JsonHubProtocol()
MESSAGEPACK = MessagePackHubProtocol()
VECTORS = {JSON.name: json_vectors.VECTORS, MESSAGEPACK.name: messagepack_vectors.VECTORS}

both = pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=lambda protocol: protocol.name)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | floats | texts
moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0))
values = {
    JSON.name: st.recursive(scalars, lambda part: st.lists(part) | st.dictionaries(texts, part), max_leaves=8),
    # Bytes and times are MessagePack's own, and keys may be numbers.
    MESSAGEPACK.name: st.recursive(
        scalars | st.binary() | moments,
        lambda part: st.lists(part) | st.dictionaries(texts | st.integers(0, 300), part),
        max_leaves=8,
    ),
}
headers = st.dictionaries(texts, texts, max_size=2)


def messages(payloads: st.SearchStrategy[Any]) -> st.SearchStrategy[HubMessage[Any]]:
    arguments = st.lists(payloads, max_size=3)
    streams = st.lists(texts, max_size=2)
    return st.one_of(
        st.builds(Invocation, texts, arguments, st.none() | texts, streams, headers),
        st.builds(StreamInvocation, texts, arguments, texts, streams, headers),
        st.builds(StreamItem, texts, payloads),
        st.builds(Completion, texts),
        st.builds(Completion, texts, payloads),
        st.builds(Completion, texts, error=texts),
        st.builds(CancelInvocation, texts),
        st.just(Ping()),
        st.builds(Close, st.none() | texts, st.booleans()),
        st.builds(Ack, st.integers(-(2**63), 2**63 - 1)),
        st.builds(Sequence, st.integers(-(2**63), 2**63 - 1)),
    )


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut at ``cuts``, wherever they fall."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def payloads_of(message: ReceivedMessage) -> list[Raw]:
    candidates = [getattr(message, name, None) for name in ("item", "result")] + list(getattr(message, "arguments", []))
    return [each for each in candidates if isinstance(each, Raw)]


def readable_outcome(protocol: HubProtocol, *data: bytes) -> tuple[list[HubMessage[Any]], str | None]:
    received, error = outcome(protocol.parser(max_message_size=100_000), *data)
    return [readable(protocol, message) for message in received], error


# Round trips


@both
@given(data=st.data())
def test_round_trip(protocol: HubProtocol, data: st.DataObject) -> None:
    """What one side writes the other side reads, many in one go, and as itself: 1 is not 1.0, nor True."""
    sent = data.draw(st.lists(messages(values[protocol.name]), max_size=4))
    received, error = readable_outcome(protocol, b"".join(map(protocol.encode, sent)))
    assert error is None
    assert repr(received) == repr(sent)


@both
@given(data=st.data())
def test_typed_round_trip(protocol: HubProtocol, data: st.DataObject) -> None:
    """Types that the protocol has no form for come back when asked for."""
    type_, strategy = data.draw(
        st.sampled_from(
            [
                (set[int], st.sets(st.integers(0, 9))),
                (tuple[int, str], st.tuples(st.integers(0, 9), texts)),
                (bytes, st.binary()),
                (datetime, moments),
                (dict[int, float], st.dictionaries(st.integers(-9, 9), floats)),
            ]
        )
    )
    value = data.draw(strategy)
    (item,) = protocol.parser().feed(protocol.encode(StreamItem("1", value)))
    assert isinstance(item, StreamItem)
    assert protocol.decode_payload(item.item, type_) == value


@given(length=st.integers(0, 0x7FFF_FFFF))
@example(0x7F)
@example(0x80)
@example(0x3FFF)
@example(0x4000)
def test_length_round_trip(length: int) -> None:
    """Any length comes back, and a shorter prefix would not do."""
    prefix = encode_length(length)
    assert decode_length(prefix, 0) == (length, len(prefix))
    assert len(prefix) == max(1, math.ceil(length.bit_length() / 7))


# Cuts


@both
@given(data=st.data(), cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_any_cut(protocol: HubProtocol, data: st.DataObject, cuts: list[int]) -> None:
    """A transport message is no hub message: however a stream is cut, the same messages come out."""
    vectors = data.draw(st.lists(st.sampled_from(VECTORS[protocol.name]), max_size=5))
    sent = data.draw(st.lists(messages(values[protocol.name]), max_size=2))
    stream = b"".join(vector.data for vector in vectors) + b"".join(map(protocol.encode, sent))
    whole = readable_outcome(protocol, stream)
    assert whole[1] is None
    assert repr(readable_outcome(protocol, *pieces(stream, cuts))) == repr(whole)
    assert repr(readable_outcome(protocol, *bytewise(stream))) == repr(whole)


@given(rest=st.binary(max_size=30), cuts=st.lists(st.integers(0, 100), max_size=4))
def test_any_cut_of_the_handshake(rest: bytes, cuts: list[int]) -> None:
    """What follows the handshake comes through untouched, whatever it is."""
    reader = HandshakeReader(parse_response)
    response, behind = None, b""
    for piece in pieces(encode_response() + rest, cuts):
        if response is not None:
            behind += piece
        elif (response := reader.feed(piece)) is not None:
            behind = reader.rest
    assert response == HandshakeResponse()
    assert behind == rest


# Garbage


TYPES: list[Any] = [Any, object, int, str, bytes, float, datetime, list[Any], dict[str, Any], set[Any], int | None]


def look_into(protocol: HubProtocol, received: list[ReceivedMessage]) -> None:
    """Decode every payload as this and that; only PayloadError may come of it."""
    for payload in (payload for message in received for payload in payloads_of(message)):
        for type_ in TYPES:
            try:
                protocol.decode_payload(payload, type_)
            except PayloadError as error:
                assert error.path.startswith("$")


def survive(protocol: HubProtocol, data: bytes) -> None:
    """Whatever ``data`` is, parse it in one go and byte by byte; only ProtocolError may come of it, and the same."""
    whole, error = outcome(protocol.parser(max_message_size=10_000), data)
    cut, cut_error = outcome(protocol.parser(max_message_size=10_000), *bytewise(data))
    assert [type(message) for message in cut] == [type(message) for message in whole]
    assert cut_error == error
    look_into(protocol, whole)


@both
@given(data=st.binary(max_size=60))
def test_garbage(protocol: HubProtocol, data: bytes) -> None:
    """Bytes out of nowhere."""
    survive(protocol, data)


@given(bodies=st.lists(st.binary(max_size=30), max_size=4))
def test_framed_garbage(bodies: list[bytes]) -> None:
    """Bytes out of nowhere, where messages should be."""
    survive(MESSAGEPACK, b"".join(encode_length(len(each)) + each for each in bodies))
    survive(JSON, b"".join(each + b"\x1e" for each in bodies))


@both
@given(data=st.data())
def test_damaged_messages(protocol: HubProtocol, data: st.DataObject) -> None:
    """Real messages with some bytes replaced, inserted, repeated or gone."""
    stream = b"".join(
        vector.data for vector in data.draw(st.lists(st.sampled_from(VECTORS[protocol.name]), max_size=3))
    )
    damage = st.tuples(
        st.integers(0, len(stream)), st.integers(0, 3), st.binary(max_size=3) | st.sampled_from(SNIPPETS)
    )
    for place, gone, put in data.draw(st.lists(damage, min_size=1, max_size=3)):
        stream = stream[:place] + put + stream[place + gone :]
    survive(protocol, stream)


SNIPPETS = [
    b"\x1e",
    b"}\x1e{",
    b"},{",
    b"}\n{",
    b"{}",
    b'"',
    b"\\",
    b"null",
    b'"type":',
    b"\xc0",
    b"\xc1",
    b"\xdd",
    b"\x90",
]


@given(
    payload=st.binary(max_size=40),
    type_=st.sampled_from([Any, int, str, bytes, datetime, list[int], dict[str, Any], dict[int, datetime], set[Any]]),
)
def test_garbage_payload(payload: bytes, type_: Any) -> None:
    """A payload may be malformed inside, which only its reader finds out."""
    for protocol in (JSON, MESSAGEPACK):
        try:
            protocol.decode_payload(Raw(payload), type_)
        except PayloadError as error:
            assert error.path.startswith("$")


@given(
    data=st.binary(max_size=40)
    | st.lists(st.sampled_from([b"{", b"}", b'"error"', b":", b'"x"', b"\x1e", b"1", b"\xff"])).map(b"".join)
)
def test_garbage_handshake(data: bytes) -> None:
    """A handshake or HandshakeError, for both roles, whatever came."""
    for parse in (parse_request, parse_response):
        reader: HandshakeReader[Any] = HandshakeReader(parse, max_size=30)
        try:
            answer = reader.feed(data)
        except HandshakeError:
            continue
        assert (answer is None) is (b"\x1e" not in data)


times = st.datetimes(timezones=st.timezones()) | st.timedeltas() | st.dates() | st.times()
numbers = st.floats() | st.integers() | st.decimals() | st.complex_numbers()
keys = st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary()
hostile = st.recursive(
    st.none() | numbers | times | st.text() | st.binary() | st.uuids() | st.builds(object),
    lambda part: st.lists(part) | st.dictionaries(keys, part) | st.tuples(part),
    max_leaves=6,
)


@both
@given(value=hostile)
def test_any_value(protocol: HubProtocol, value: object) -> None:
    """Whatever is passed becomes one well-formed message, or PayloadError that names the place."""
    try:
        data = protocol.encode(StreamItem("1", value))
    except PayloadError as error:
        assert error.path.startswith("$.item")
        return
    (item,) = protocol.parser().feed(data)
    assert isinstance(item, StreamItem)
    protocol.decode_payload(item.item, Any)


@both
@given(data=st.data())
def test_limit_is_exact(protocol: HubProtocol, data: st.DataObject) -> None:
    """The longest message passes at its own size, and not at one byte less; those before it are delivered."""
    sent = [
        protocol.encode(each) for each in data.draw(st.lists(messages(values[protocol.name]), min_size=1, max_size=4))
    ]
    sizes = [len(each) - 1 if protocol is JSON else len(each) - framing(each) for each in sent]
    stream, longest = b"".join(sent), max(sizes)
    assert outcome(protocol.parser(max_message_size=longest), stream)[1] is None
    received, error = outcome(protocol.parser(max_message_size=longest - 1), stream)
    assert error == f"hub message over max_message_size ({longest - 1} bytes)"
    assert len(received) == sizes.index(longest)


def framing(message: bytes) -> int:
    place = decode_length(message, 0)
    assert place is not None
    return place[1]
