"""The parser of event streams: what is data, and that it does not matter where the bytes are cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from trio_signalr.transports._event_stream import EventStreamParser


def parse(*chunks: bytes) -> bytes:
    parser = EventStreamParser()
    return b"".join(parser.feed(chunk) for chunk in chunks)


CASES = [
    (b"", b""),
    (b":\r\n", b""),
    (b':\r\ndata: {"type":6}\x1e\r\n\r\n', b'{"type":6}\x1e'),
    (b"data: a\x1eb\x1e\n\ndata: c\n\n", b"a\x1eb\x1ec"),
    (b"data: a\r\rdata: b\r\r", b"ab"),
    (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", b"a\nbc"),
    (b"data: a\ndata:\ndata: b\n\n", b"a\n\nb"),
    (b"data: a\ndata\ndata: b\n\n", b"a\n\nb"),
    (b"data:a\n\ndata:  b\n\n", b"a b"),
    (b"data: a: b\n\n", b"a: b"),
    (b"data:\n\n", b""),
    (b"data\n\n", b""),
    (b"event: x\nid: 1\nretry: 5\ndata: a\n: comment\ndatab: no\ndat\nDATA: no\n data: no\n\n", b"a"),
    (b"data: \xe2\x80\xa8\x0b\x0c\x1c\x1d\x1e\x85 a\n\n", b"\xe2\x80\xa8\x0b\x0c\x1c\x1d\x1e\x85 a"),
    (b"data: unfinished", b"unfinished"),
    (b"\n\n\n\r\n\r\rdata: a\n\n\n\ndata: b", b"ab"),
]


@pytest.mark.parametrize(("stream", "data"), CASES)
def test_what_is_data(stream: bytes, data: bytes) -> None:
    assert parse(stream) == data
    assert parse(*[stream[index : index + 1] for index in range(len(stream))]) == data
    for cut in range(len(stream)):
        assert parse(stream[:cut], stream[cut:]) == data
        assert parse(stream[:cut], b"", stream[cut:]) == data


def reference(stream: bytes) -> bytes:
    """The standard's way: whole lines, whole events. Unlike it, an unfinished event at the end counts."""
    found: list[bytes] = []
    event: list[bytes] = []
    for line in re.split(rb"\r\n|\n|\r", stream):
        field, _, value = line.partition(b":")
        if not line:
            found.append(b"\n".join(event))
            event = []
        elif field == b"data":
            event.append(value.removeprefix(b" "))
    return b"".join([*found, b"\n".join(event)])


PIECES = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"data",
        b"dat",
        b"a",
        b"\x1e",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"id: ",
        b"\x85",
    ]
)


@given(st.data())
def test_any_cut_gives_the_same_and_what_the_standard_says(data: st.DataObject) -> None:
    stream = b"".join(data.draw(st.lists(PIECES, max_size=40))) + b"\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*chunks) == parse(stream) == reference(stream)


@given(st.binary(max_size=200), st.integers(1, 20))
def test_garbage_is_no_error(stream: bytes, size: int) -> None:
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert parse(*chunks) == parse(stream)


def test_data_does_not_wait_for_the_end_of_its_line() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: " + b"x" * 1000) == b"x" * 1000
    assert parser.feed(b"y" * 1000) == b"y" * 1000
    assert parser.feed(b"\r\n\r\n") == b""
