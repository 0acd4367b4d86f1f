"""Merging frames: wsproto reads the same data from merged and from untouched bytes, and passes the same verdict.

Hypothesis writes the frames, good and bad ones, and cuts them anywhere; the tables name the cases that matter most.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from trio_signalr.transports._frames import FrameMerger

FIN, TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x80, 1, 2, 0, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((length,))
    elif length < 2**16:
        head = b"\x7e" + length.to_bytes(2)
    else:
        head = b"\x7f" + length.to_bytes(8)
    return bytes((opcode | (FIN if fin else 0),)) + head + payload


def text(payload: str) -> bytes:
    return frame(TEXT, payload.encode())


def part(payload: str) -> bytes:
    """The first fragment of a text."""
    return frame(TEXT, payload.encode(), fin=False)


def half(payload: str) -> bytes:
    """A later one that is not the last."""
    return frame(CONTINUATION, payload.encode(), fin=False)


def parts(first: str, *others: str) -> bytes:
    """A text in fragments."""
    return part(first) + b"".join(map(half, others[:-1])) + frame(CONTINUATION, others[-1].encode())


def events_of(reads: Iterable[bytes]) -> list[Event]:
    connection = Connection(ConnectionType.CLIENT)
    events: list[Event] = []
    for data in reads:
        if data:
            connection.receive_data(data)
        events += connection.events()
    return events


def heard(reads: Iterable[bytes]) -> list[Any]:
    """What a receiver can tell who does not look at the ends of messages: data joined, control frames in place."""
    result: list[Any] = []
    for event in events_of(reads):
        if isinstance(event, TextMessage | BytesMessage):
            data: Any = event.data
            if result and isinstance(result[-1], list) and type(result[-1][0]) is type(data):
                result[-1][0] += data
            else:
                result.append([data])
        elif isinstance(event, Ping | Pong):
            result.append((type(event), bytes(event.payload)))
        else:
            assert isinstance(event, CloseConnection)
            result.append((event.code, event.reason))
    return [each for each in result if each not in ([""], [b""])]


def merged(reads: Iterable[bytes]) -> list[bytes]:
    merger = FrameMerger()
    return [merger.feed(data) for data in reads]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


payloads = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.sampled_from([0, 1, 124, 125, 126, 127, 128, 300, 65535, 65536]).map(lambda size: b"x" * size),
)
whole = st.builds(frame, st.sampled_from([TEXT, TEXT, TEXT, BINARY]), payloads)
control = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """One message in several frames, with control frames between them."""
    frames = [frame(draw(st.sampled_from([TEXT, BINARY])), draw(payloads), fin=False)]
    for payload in draw(st.lists(payloads, max_size=3)):
        frames += [*draw(st.lists(control, max_size=1)), frame(CONTINUATION, payload, fin=False)]
    return b"".join([*frames, frame(CONTINUATION, draw(payloads))])


valid = st.lists(st.one_of(whole, whole, whole, control, fragmented()), max_size=12).map(b"".join)
places = st.lists(st.integers(min_value=0, max_value=2**20), max_size=8)
ends = st.sampled_from([b"", frame(CLOSE), frame(CLOSE, b"\x03\xe8bye"), frame(CLOSE, b"\x03\xe8") + text("late")])


@given(valid, ends, places)
def test_the_same_data_whatever_the_cuts(frames: bytes, end: bytes, places: list[int]) -> None:
    reads = cut(frames + end, places)
    assert heard(merged(reads)) == heard(reads)


@given(valid, st.sampled_from([b"", frame(CLOSE, b"\x03\xe8bye")]))
def test_the_same_data_byte_by_byte(frames: bytes, end: bytes) -> None:
    data = (frames + end)[:500]
    reads = [bytes((byte,)) for byte in data]
    assert heard(merged(reads)) == heard(reads)


VIOLATIONS = {
    "masked": b"\x81\x85\x00\x00\x00\x00hello",
    "reserved bit": b"\xc1\x01a",
    "a length that needs no two bytes": b"\x81\x7e\x00\x05hello",
    "a length that needs no eight bytes": b"\x81\x7f" + (300).to_bytes(8) + b"x" * 300,
    "a length beyond 63 bits": b"\x82\x7f" + (2**63).to_bytes(8),
    "no such opcode": b"\x83\x00",
    "no such control opcode": b"\x8b\x00",
    "a fragment of a ping": b"\x09\x00",
    "a long ping": b"\x89\x7e\x00\x80" + b"x" * 128,
    "a masked ping": b"\x89\x80\x00\x00\x00\x00",
    "the end of nothing": frame(CONTINUATION, b"a"),
    "the middle of nothing": frame(CONTINUATION, b"a", fin=False),
    "a message in a message": frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    "a fragmented message in a message": frame(TEXT, b"a", fin=False) + frame(TEXT, b"b", fin=False),
}
invalid = st.sampled_from(
    [*VIOLATIONS.values(), frame(TEXT, b"\xff"), text("a") + frame(TEXT, b"\xc3") + frame(TEXT, b"\xa9")]
)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Some good frames, something that breaks the rules or may do so, and more good frames."""
    bad = draw(st.binary(min_size=1, max_size=12) | invalid)
    return bytes(draw(valid) + bad + draw(valid))


@given(broken(), places)
def test_the_same_verdict_on_violations(data: bytes, places: list[int]) -> None:
    reads = cut(data, places)
    before, after = heard(reads), heard(merged(reads))
    # An invalid text frame costs the good ones in the same read, which were delivered one by one without merging; the
    # words of the decoder name another position then.
    if before and isinstance(before[-1], tuple) and before[-1][0] == 1007:
        assert after[-1][0] == 1007
    else:
        assert after == before


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=VIOLATIONS)
def test_merging_ends_before_a_violation(violation: bytes) -> None:
    merger = FrameMerger()
    rest = text("c") + text("d")
    assert merger.feed(text("a") + text("b") + violation + rest) == text("ab") + violation + rest
    assert merger.feed(rest) == rest


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(text("a") + text("b") + text("c"), text("abc"), id="text"),
        pytest.param(frame(BINARY, b"a") + frame(BINARY, b"b"), frame(BINARY, b"ab"), id="binary"),
        pytest.param(text("a" * 100) + text("b" * 100), text("a" * 100 + "b" * 100), id="length in two bytes"),
        pytest.param(text("a" * 40_000) * 2, text("a" * 80_000), id="length in eight bytes"),
        pytest.param(text("") + text("") + text("a"), text("a"), id="empty ones"),
        pytest.param(text("a" * 126) + text("b"), text("a" * 126 + "b"), id="different headers"),
        pytest.param(text("é") + text("é"), text("éé"), id="whole characters"),
        pytest.param(parts("a", "b", "c"), text("abc"), id="fragments"),
        pytest.param(text("a") + parts("b", "c") + text("d"), text("abcd"), id="fragments among whole ones"),
        pytest.param(parts("a", "b") + parts("c", "d"), text("abcd"), id="messages of fragments"),
        pytest.param(text("a") + parts("b", "c", "")[:-2], text("a") + part("bc"), id="the end is still to come"),
        pytest.param(text("a") + frame(BINARY, b"b", fin=False) + frame(CONTINUATION, b"c"), None, id="kinds"),
        pytest.param(part("a") + half("b") + frame(PING) + half("c") + half("d"), None, id="ping between fragments"),
    ],
)
def test_merges(data: bytes, expected: bytes | None) -> None:
    result = FrameMerger().feed(data)
    assert result != data
    assert expected is None or result == expected
    assert heard([result]) == heard([data])


def test_the_rest_of_a_message_is_not_merged_with_the_next_one() -> None:
    merger = FrameMerger()
    assert merger.feed(part("a") + half("b")) == part("ab")
    rest = half("c") + frame(CONTINUATION, b"d")
    assert merger.feed(rest + text("e") + text("f")) == frame(CONTINUATION, b"cd") + text("ef")


def test_messages_cut_by_each_read_are_still_delivered_with_the_read_that_ends_them() -> None:
    merger = FrameMerger()
    feeds = [merger.feed(part("a"))] + [merger.feed(frame(CONTINUATION, b"b") + part("a")) for _ in range(5)]
    assert [len(events_of(feeds[: count + 1])) for count in range(6)] == [1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize("second", [[b"", b"\xa9"], [b"\xa9", b""]])
def test_half_characters_at_the_end_of_a_message_stay_wrong(second: list[bytes]) -> None:
    data = frame(TEXT, b"a\xc3") + frame(TEXT, second[0], fin=False) + frame(CONTINUATION, second[1])
    assert heard(merged([data]))[-1][0] == 1007


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(text("alone"), id="one frame"),
        pytest.param(text("a") + frame(BINARY, b"b") + text("c"), id="kinds"),
        pytest.param(text("a") + frame(PING, b"?") + text("b"), id="ping between"),
        pytest.param(frame(TEXT, b"\xc3") + frame(TEXT, b"\xa9"), id="half characters"),
        pytest.param(text("a") + frame(CLOSE, b"\x03\xe8") + text("b") + text("c"), id="after the end"),
        pytest.param(b"\xc1\x01a" + text("b") + text("c"), id="after a violation"),
        pytest.param(text("a" * 70_000) + text("b"), id="length in eight bytes"),
        pytest.param(frame(TEXT, b"a", fin=False) + text("b") + text("c"), id="unfinished"),
    ],
)
def test_leaves_alone(data: bytes) -> None:
    assert FrameMerger().feed(data) == data


def test_what_is_around_a_run_stays() -> None:
    before, after = frame(PING) + frame(BINARY, b"a"), frame(PONG, b"b")
    assert FrameMerger().feed(before + text("a") * 3 + after) == before + text("aaa") + after


def test_a_frame_cut_by_the_read_passes_at_once_and_its_rest_later() -> None:
    merger = FrameMerger()
    cut_frame = text("c" * 100)
    assert merger.feed(text("a") + text("b") + cut_frame[:50]) == text("ab") + cut_frame[:50]
    assert merger.feed(cut_frame[50:60]) == cut_frame[50:60]
    assert merger.feed(cut_frame[60:] + text("d") + text("e")) == cut_frame[60:] + text("de")


def test_a_cut_header_waits_for_its_rest() -> None:
    merger = FrameMerger()
    long = text("a" * 200)
    assert merger.feed(long[:1]) == b""
    assert merger.feed(long[1:3]) == b""
    assert merger.feed(long[3:] + text("b")) == text("a" * 200 + "b")


@pytest.mark.parametrize("place", range(1, 8))
def test_a_close_frame_is_noticed(place: int) -> None:
    data = text("a") + frame(CLOSE, b"\x03\xe8")
    merger = FrameMerger()
    merger.feed(data[:place])
    merger.feed(data[place:])
    assert merger.close_received


@pytest.mark.parametrize("data", [text("a"), frame(CLOSE, b"\x03\xe8")[:1], b"\x88\x82\x00\x00\x00\x00aa", b"\xc8\x00"])
def test_nothing_else_is_a_close_frame(data: bytes) -> None:
    merger = FrameMerger()
    merger.feed(data)
    assert not merger.close_received
