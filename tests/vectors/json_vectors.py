"""JSON: protocol notes, "JSON encoding" and "Completion rules"."""

from __future__ import annotations

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


def _vector(name: str, text: str, message: HubMessage[Any] | None, *, canonical: bool = False) -> Vector:
    return Vector(name, text.encode() + b"\x1e", message, canonical)


VECTORS = [
    # the specification's examples
    _vector(
        "invocation with all",
        '{"type":1,"invocationId":"123","target":"Send","arguments":[42,"Test"],"streamIds":["1"],"headers":{"Foo":"Bar"}}',
        Invocation("Send", [42, "Test"], "123", ["1"], {"Foo": "Bar"}),
    ),
    _vector(
        "stream invocation",
        '{"type":4,"invocationId":"123","target":"Counter","arguments":[10]}',
        StreamInvocation("Counter", [10], "123"),
    ),
    _vector("stream item", '{"type":2,"invocationId":"123","item":42}', StreamItem("123", 42), canonical=True),
    _vector("void completion", '{"type":3,"invocationId":"123"}', Completion("123"), canonical=True),
    _vector("result", '{"type":3,"invocationId":"123","result":42}', Completion("123", 42), canonical=True),
    _vector(
        "error",
        '{"type":3,"invocationId":"123","error":"It didn\'t work!"}',
        Completion("123", error="It didn't work!"),
        canonical=True,
    ),
    _vector("cancel", '{"type":5,"invocationId":"123"}', CancelInvocation("123"), canonical=True),
    _vector("ping", '{"type":6}', Ping(), canonical=True),
    _vector("close", '{"type":7}', Close(), canonical=True),
    _vector("close with error", '{"type":7,"error":"bye"}', Close("bye"), canonical=True),
    _vector("close, come back", '{"type":7,"error":"bye","allowReconnect":true}', Close("bye", True), canonical=True),
    _vector("ack", '{"type":8,"sequenceId":1394}', Ack(1394), canonical=True),
    _vector("sequence", '{"type":9,"sequenceId":1234}', Sequence(1234), canonical=True),
    # seen from ASP.NET Core
    _vector("event", '{"type":1,"target":"hi","arguments":["early"]}', Invocation("hi", ["early"]), canonical=True),
    _vector("null result of a void method", '{"type":3,"invocationId":"1","result":null}', Completion("1", None)),
    _vector(
        "escapes of ASP.NET Core 3",
        r'{"type":3,"invocationId":"1","result":"\u00E9\u003C\u003E\u0026\u0027\u002B \uD83D\uDE00"}',
        Completion("1", "é<>&'+ \N{GRINNING FACE}"),
    ),
    _vector("line separator", r'{"type":2,"invocationId":"1","item":"\u2028é"}', StreamItem("1", "\u2028é")),
    # free order, whitespace, names in escapes
    _vector("type last", '{"arguments":[1],"target":"x","type":1}', Invocation("x", [1])),
    _vector(
        "type after its like",
        '{"x":{"type":9},"item":{"type":3},"invocationId":"1","type":2}',
        StreamItem("1", {"type": 3}),
    ),
    _vector("spaces", ' { "type" : 6 }\t', Ping()),
    _vector("lines", '\n{\n"type": 2,\n"invocationId": "1",\n"item": [\n{}\n]\n}\r\n', StreamItem("1", [{}])),
    _vector("escaped name", r'{"t\u0079pe":6}', Ping()),
    _vector("separator in an escape", r'{"type":2,"invocationId":"1","item":"\u001e"}', StreamItem("1", "\x1e")),
    _vector("braces in text", '{"type":2,"invocationId":"}{","item":"}\\n{"}', StreamItem("}{", "}\n{")),
    # what may be absent may be null where the reference clients do not mind
    _vector("null id", '{"type":1,"target":"x","arguments":[],"invocationId":null}', Invocation("x", [])),
    _vector("null error", '{"type":3,"invocationId":"1","error":null,"result":5}', Completion("1", 5)),
    _vector("null error alone", '{"type":3,"invocationId":"1","error":null}', Completion("1")),
    _vector(
        "error and null result", '{"type":3,"invocationId":"1","error":"x","result":null}', Completion("1", None, "x")
    ),
    _vector("null error of close", '{"type":7,"error":null}', Close()),
    _vector("null item", '{"type":2,"invocationId":"1","item":null}', StreamItem("1", None), canonical=True),
    _vector("empty texts", '{"type":1,"invocationId":"","target":"","arguments":[]}', Invocation("", [], "")),
    # unknown properties, even of a known name
    _vector("unknown property", '{"type":6,"x":[{"type":1}],"y":null}', Ping()),
    _vector("headers of an item", '{"type":2,"invocationId":"1","item":1,"headers":5}', StreamItem("1", 1)),
    _vector("arguments of a ping", '{"type":6,"arguments":"none"}', Ping()),
    # headers that are none
    _vector("null headers", '{"type":1,"target":"x","arguments":[],"headers":null}', Invocation("x", [])),
    _vector(
        "headers that are no text",
        '{"type":1,"target":"x","arguments":["h"],"headers":{"a":1,"b":"c","d":[{}]},"z":0}',
        Invocation("x", ["h"], headers={"b": "c"}),
    ),
    _vector(
        "headers of a stream invocation",
        '{"type":4,"invocationId":"1","target":"x","arguments":[],"headers":{"a":null}}',
        StreamInvocation("x", [], "1"),
    ),
    # unknown types
    _vector("type 10", '{"type":10}', None),
    _vector("type 0", '{"invocationId":7,"type":0}', None),
    _vector("type -1", '{"type":-1,"target":5}', None),
    _vector("type beyond 64 bits", '{"type":123456789012345678901234567890}', None),
]

MALFORMED = [
    Malformed(name, text if isinstance(text, bytes) else text.encode(), reason)
    for name, text, reason in (
        ("empty", "", "malformed hub message"),
        ("no JSON", "hello", "malformed hub message: JSON is malformed"),
        ("cut", '{"type":6', "malformed hub message: Input data was truncated"),
        ("two in one", '{"type":6}{"type":6}', "malformed hub message: JSON is malformed"),
        ("two on two lines", '{"type":6}\n{"type":6}', "malformed hub message: JSON is malformed"),
        ("two with a comma", '{"type":6},{"type":6}', "malformed hub message: JSON is malformed"),
        ("NaN", '{"type":2,"invocationId":"1","item":NaN}', "JSON is malformed"),
        ("raw control character", '{"type":2,"invocationId":"1","item":"\n"}', "JSON is malformed"),
        ("byte order mark", '\ufeff{"type":6}', "JSON is malformed"),
        ("array", '[{"type":6}]', "Expected `object`, got `array`"),
        ("number", "6", "Expected `object`, got `int`"),
        ("null", "null", "Expected `object`, got `null`"),
        ("no type", "{}", "missing required field `type`"),
        ("text type", '{"type":"6"}', r"Expected `int`, got `str` - at `\$.type`"),
        ("null type", '{"type":null}', r"Expected `int`, got `null` - at `\$.type`"),
        ("fractional type", '{"type":6.5}', r"Expected `int`, got `float` - at `\$.type`"),
        ("boolean type", '{"type":true}', r"Expected `int`, got `bool` - at `\$.type`"),
        ("unknown type, no JSON", '{"type":10,"x":}', "JSON is malformed"),
        ("no target", '{"type":1,"arguments":[]}', "malformed Invocation: .*`target`"),
        ("number target", '{"type":1,"target":1,"arguments":[]}', r"malformed Invocation: .*`\$.target`"),
        ("no arguments", '{"type":1,"target":"x"}', "malformed Invocation: .*`arguments`"),
        ("arguments no array", '{"type":1,"target":"x","arguments":{}}', r"malformed Invocation: .*`\$.arguments`"),
        ("null arguments", '{"type":1,"target":"x","arguments":null}', r"malformed Invocation: .*`\$.arguments`"),
        ("number id", '{"type":1,"target":"x","arguments":[],"invocationId":1}', r"malformed Invocation: .*`\$.invocationId`"),
        ("null streams", '{"type":1,"target":"x","arguments":[],"streamIds":null}', r"malformed Invocation: .*`\$.streamIds`"),
        ("number stream", '{"type":1,"target":"x","arguments":[],"streamIds":[1]}', r"malformed Invocation: .*`\$.streamIds\[0\]`"),
        ("number headers", '{"type":1,"target":"x","arguments":[],"headers":5}', "malformed `headers`: Expected `object"),
        ("array headers", '{"type":1,"target":"x","arguments":[],"headers":[]}', "malformed `headers`: Expected `object"),
        ("odd headers, no target", '{"type":1,"headers":{"a":1},"arguments":[]}', "malformed Invocation: .*`target`"),
        ("odd headers, bad name", b'{"\xff":1,"type":1,"target":"x","headers":{"a":1},"arguments":[]}', "malformed `headers`: text that is no UTF-8"),
        ("stream invocation, no id", '{"type":4,"target":"x","arguments":[]}', "malformed StreamInvocation: .*`invocationId`"),
        ("stream invocation, null id", '{"type":4,"target":"x","arguments":[],"invocationId":null}', r"malformed StreamInvocation: .*`\$.invocationId`"),
        ("no item", '{"type":2,"invocationId":"1"}', "malformed StreamItem: .*`item`"),
        ("item, no id", '{"type":2,"item":1}', "malformed StreamItem: .*`invocationId`"),
        ("completion, no id", '{"type":3,"result":1}', "malformed Completion: .*`invocationId`"),
        ("number error", '{"type":3,"invocationId":"1","error":5}', r"malformed Completion: .*`\$.error`"),
        ("error and result", '{"type":3,"invocationId":"1","error":"x","result":5}', "malformed Completion: both"),
        ("empty error and result", '{"type":3,"invocationId":"1","error":"","result":0}', "malformed Completion: both"),
        ("escaped error and result", r'{"type":3,"invocationId":"1","err\u006fr":"x","result":5}', "malformed Completion: both"),
        ("cancel, no id", '{"type":5}', "malformed CancelInvocation: .*`invocationId`"),
        ("number close", '{"type":7,"error":1}', r"malformed Close: .*`\$.error`"),
        ("text flag", '{"type":7,"allowReconnect":"yes"}', r"malformed Close: .*`\$.allowReconnect`"),
        ("no ack", '{"type":8}', "malformed Ack: .*`sequenceId`"),
        ("text ack", '{"type":8,"sequenceId":"1"}', r"malformed Ack: .*`\$.sequenceId`"),
        ("fractional sequence", '{"type":9,"sequenceId":1.5}', r"malformed Sequence: .*`\$.sequenceId`"),
        ("two types", '{"type":6,"type":7}', "malformed Close"),
        ("id no UTF-8", b'{"type":5,"invocationId":"\xff"}', "malformed CancelInvocation: text that is no UTF-8"),
        ("deep", b'{"type":2,"invocationId":"1","item":' + b"[" * 100_000, "nested too deeply"),
        ("deep elsewhere", b'{"x":' + b'{"x":' * 100_000, "nested too deeply"),
    )
]  # fmt: skip
"""Without their record separator."""
