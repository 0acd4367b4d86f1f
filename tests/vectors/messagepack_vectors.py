"""MessagePack: protocol notes, "MessagePack framing", "MessagePack layouts"; the prefix is in front of the bar."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trio_signalr.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)

from . import Malformed, Vector


def body(hexadecimal: str) -> bytes:
    """Return the bytes, with their length (below 128) in front."""
    data = bytes.fromhex(hexadecimal)
    return bytes([len(data)]) + data


def _vector(name: str, hexadecimal: str, message: HubMessage[Any] | None, *, canonical: bool = True) -> Vector:
    return Vector(name, body(hexadecimal), message, canonical)


_WHEN = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)

VECTORS = [
    # the specification's examples
    _vector("invocation", "96 01 80 A3 78797A A6 6D6574686F64 91 2A 90", Invocation("method", [42], "xyz")),
    _vector("non-blocking", "96 01 80 C0 A6 6D6574686F64 91 2A 90", Invocation("method", [42])),
    _vector(
        "headers",
        "96 01 82 A1 78 A1 79 A1 7A A1 7A A3 78797A A6 6D6574686F64 91 2A 90",
        Invocation("method", [42], "xyz", headers={"x": "y", "z": "z"}),
    ),
    _vector("stream invocation", "96 04 80 A3 78797A A6 6D6574686F64 91 2A 90", StreamInvocation("method", [42], "xyz")),
    _vector("stream item", "94 02 80 A3 78797A 2A", StreamItem("xyz", 42)),
    _vector("error", "95 03 80 A3 78797A 01 A5 4572726F72", Completion("xyz", error="Error")),
    _vector("void completion", "94 03 80 A3 78797A 02", Completion("xyz")),
    _vector("result", "95 03 80 A3 78797A 03 2A", Completion("xyz", 42)),
    _vector("cancel", "93 05 80 A3 78797A", CancelInvocation("xyz")),
    _vector("ping", "91 06", Ping()),
    _vector("close of the specification", "92 07 A3 78797A", Close("xyz"), canonical=False),
    _vector("close, come back", "93 07 A3 78797A C3", Close("xyz", True)),
    _vector("ack", "92 08 CC 24", Ack(36), canonical=False),
    _vector("sequence", "92 09 CC 13", Sequence(19), canonical=False),
    # seen from ASP.NET Core and the JavaScript client
    _vector("text result", "95 03 80 A1 31 03 A2 6869", Completion("1", "hi")),
    _vector("item 0", "94 02 80 A1 31 00", StreamItem("1", 0)),
    _vector("stream end", "94 03 80 A1 31 02", Completion("1")),
    _vector("null result of a void method", "95 03 80 A1 31 03 C0", Completion("1", None)),
    _vector("close of .NET", "93 07 C0 C2", Close()),
    _vector("close of JavaScript", "92 07 C0", Close(), canonical=False),
    _vector("small ack", "92 08 01", Ack(1)),
    _vector("small sequence", "92 09 01", Sequence(1)),
    _vector("five items", "95 01 80 C0 A6 6D6574686F64 91 2A", Invocation("method", [42]), canonical=False),
    _vector("five items, stream", "95 04 80 A1 31 A1 6D 90", StreamInvocation("m", [], "1"), canonical=False),
    _vector("streams", "96 01 80 A1 33 A1 6D 90 92 A1 31 A1 32", Invocation("m", [], "3", ["1", "2"])),
    _vector("timestamp", "94 02 80 A1 31 D6 FF 65937D25", StreamItem("1", _WHEN)),
    _vector("offset", "94 02 80 A1 31 92 D6 FF 65937D25 78", StreamItem("1", [_WHEN, 120])),
    # what is to be tolerated
    _vector("nil headers", "96 01 C0 A1 31 A1 6D 90 90", Invocation("m", [], "1"), canonical=False),
    _vector("nil headers of an item", "94 02 C0 A1 31 00", StreamItem("1", 0), canonical=False),
    _vector("number header", "96 01 82 A1 61 01 A1 62 A1 63 A1 31 A1 6D 90 90", Invocation("m", [], "1", headers={"b": "c"}), canonical=False),
    _vector("more items", "98 01 80 C0 A1 6D 90 90 C0 81 A1 78 90", Invocation("m", []), canonical=False),
    _vector("more items of a ping", "93 06 C0 A1 78", Ping(), canonical=False),
    _vector("more items of void", "95 03 80 A1 31 02 05", Completion("1"), canonical=False),
    _vector("wide integers", "95 CD 0003 80 A1 31 D3 0000000000000003 CE 00000005", Completion("1", 5), canonical=False),
    _vector("wide array and text", "DC 0003 05 DE 0000 DA 0001 31", CancelInvocation("1"), canonical=False),
    _vector("negative as signed", "92 08 D0 05", Ack(5), canonical=False),
    _vector("empty id", "96 01 80 A0 A0 90 90", Invocation("", [], "")),
    # unknown types
    _vector("type 10", "91 0A", None, canonical=False),
    _vector("type 0", "93 00 C0 C0", None, canonical=False),
    _vector("type -1", "91 FF", None, canonical=False),
    _vector("type of 64 bits", "91 CF FFFFFFFFFFFFFFFF", None, canonical=False),
    # prefixes that are longer than they must be, which ASP.NET Core accepts
    Vector("two bytes for 2", bytes.fromhex("8200 9106"), Ping()),
    Vector("five bytes for 2", bytes.fromhex("8280808000 9106"), Ping()),
]  # fmt: skip

MALFORMED = [
    Malformed(name, body(hexadecimal), reason)
    for name, hexadecimal, reason in (
        ("empty", "", "malformed hub message: Input data was truncated"),
        ("no array", "06", "malformed hub message: Expected `array`, got `int`"),
        ("nil", "C0", "malformed hub message: Expected `array`"),
        ("map", "81 06 06", "malformed hub message: Expected `array`, got `object`"),
        ("empty array", "90", "malformed hub message: Expected `array` of at least length 1, got 0"),
        ("text type", "91 A1 36", r"Expected `int`, got `str` - at `\$.type`"),
        ("nil type", "91 C0", r"at `\$.type`"),
        ("fractional type", "91 CB 4018000000000000", r"at `\$.type`"),
        ("cut", "92 08", "truncated"),
        ("cut text", "93 05 80 A5 31", "truncated"),
        ("endless arguments", "96 01 80 C0 A1 6D DD FFFFFFFF", "truncated"),
        ("two in one", "91 06 91 06", "trailing characters"),
        ("invalid byte", "94 02 80 A1 31 C1", "malformed StreamItem|malformed hub message"),
        ("number headers", "94 02 05 A1 31 00", r"malformed StreamItem: .*`\$.headers`"),
        ("array headers", "96 01 90 C0 A1 6D 90 90", r"malformed Invocation: .*`\$.headers`"),
        ("nil id of an item", "94 02 80 C0 00", r"malformed StreamItem: .*`\$.invocationId`"),
        ("number id", "96 01 80 01 A1 6D 90 90", r"malformed Invocation: .*`\$.invocationId`"),
        ("binary id", "93 05 80 C4 01 31", r"malformed CancelInvocation: .*`\$.invocationId`"),
        ("binary target", "96 01 80 C0 C4 01 6D 90 90", r"malformed Invocation: .*`\$.target`"),
        ("nil arguments", "96 01 80 C0 A1 6D C0 90", r"malformed Invocation: .*`\$.arguments`"),
        ("nil streams", "96 01 80 C0 A1 6D 90 C0", r"malformed Invocation: .*`\$.streamIds`"),
        ("number stream", "96 01 80 C0 A1 6D 90 91 01", r"malformed Invocation: .*`\$.streamIds\[0\]`"),
        ("no arguments", "94 01 80 C0 A1 6D", "malformed Invocation: .*at least length 5, got 4"),
        ("nil id of a stream invocation", "96 04 80 C0 A1 6D 90 90", r"malformed StreamInvocation: .*`\$.invocationId`"),
        ("no item", "93 02 80 A1 31", "malformed StreamItem: .*at least length 4, got 3"),
        ("no kind", "93 03 80 A1 31", "malformed Completion: .*at least length 4, got 3"),
        ("kind 0", "95 03 80 A1 31 00 C0", "malformed Completion: its result kind is 0"),
        ("kind 4", "95 03 80 A1 31 04 C0", "malformed Completion: its result kind is 4"),
        ("nil kind", "95 03 80 A1 31 C0 C0", r"malformed Completion: .*`\$.kind`"),
        ("no result", "94 03 80 A1 31 03", "malformed Completion: its result is missing"),
        ("no error", "94 03 80 A1 31 01", "malformed Completion: its result is missing"),
        ("number error", "95 03 80 A1 31 01 05", "malformed Completion: Expected `str`, got `int`"),
        ("no error of close", "91 07", "malformed Close: .*at least length 2, got 1"),
        ("number error of close", "92 07 05", r"malformed Close: .*`\$.error`"),
        ("nil flag", "93 07 C0 C0", r"malformed Close: .*`\$.allowReconnect`"),
        ("no ack", "91 08", "malformed Ack"),
        ("text ack", "92 08 A1 31", r"malformed Ack: .*`\$.sequenceId`"),
        ("id no UTF-8", "93 05 80 A1 FF", "malformed CancelInvocation: text that is no UTF-8"),
    )
]  # fmt: skip
"""With their length in front."""
