"""The hub handshake: both halves, cut anywhere, with hub messages right behind; and everything that is no handshake."""

from __future__ import annotations

import pytest

from tests.vectors import Vector, bytewise, expected, json_vectors, messagepack_vectors, readable
from trio_signalr.errors import HandshakeError
from trio_signalr.messages import Close, Invocation
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.protocols.handshake import (
    MAX_HANDSHAKE_SIZE,
    HandshakeReader,
    HandshakeRequest,
    HandshakeResponse,
    encode_request,
    encode_response,
    parse_request,
    parse_response,
)

EARLY = b'{"type":1,"target":"hi","arguments":["early"]}\x1e'


def test_request() -> None:
    """As the reference clients write it; 2 asks for stateful reconnect."""
    assert encode_request("json", 1) == b'{"protocol":"json","version":1}\x1e'
    assert encode_request("messagepack", 2) == b'{"protocol":"messagepack","version":2}\x1e'


def test_response() -> None:
    """As ASP.NET Core writes it."""
    assert encode_response() == b"{}\x1e"
    assert encode_response("no") == b'{"error":"no"}\x1e'


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (b'{"protocol":"json","version":1}', HandshakeRequest("json", 1)),
        (b' {"version": 2, "x": [{}], "protocol": "JSON"}\n', HandshakeRequest("JSON", 2)),
    ],
)
def test_request_read(text: bytes, request_: HandshakeRequest) -> None:
    """In any order, with anything else in it."""
    assert parse_request(text) == request_


@pytest.mark.parametrize(
    "text", [b"{}", b'{"error":null}', b'{"error":""}', b'{"minorVersion":0,"x":{"type":1}}', b" { } "]
)
def test_response_that_accepts(text: bytes) -> None:
    """No error means yes; an empty one is none, and old previews had a minorVersion."""
    assert parse_response(text) == HandshakeResponse()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"error":"The protocol \'nope\' is not supported."}', "refused the handshake: The protocol 'nope' is not"),
        (b'{"error":5}', r"malformed handshake response: .*`\$.error`"),
        (b"", "malformed handshake response"),
        (b"<html>", "malformed handshake response: JSON is malformed"),
        (b"{", "malformed handshake response: Input data was truncated"),
        (b"[]", "malformed handshake response: Expected `object`, got `array`"),
        (b"null", "malformed handshake response: Expected `object`, got `null`"),
        (b'"{}"', "malformed handshake response: Expected `object`, got `str`"),
        (b'{"error":"\xff"}', "malformed handshake response: text that is no UTF-8"),
        (b'{"x":' + b"[" * 10_000, "malformed handshake response: nested too deeply"),
        (EARLY[:-1], "a hub message came in place of the handshake response"),
        (b'{"type":7,"error":"bye"}', "a hub message came"),
        (b'{"type":null}', "a hub message came"),
        (b'{"error":null,"type":"6"}', "a hub message came"),
        (b"\x02\x91\x06", "malformed handshake response"),
    ],
)  # fmt: skip
def test_response_that_does_not(text: bytes, reason: str) -> None:
    """A refusal in the server's words, no JSON, no object, a hub message that came first."""
    with pytest.raises(HandshakeError, match=reason):
        HandshakeReader(parse_response).feed(text + b"\x1e")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"protocol":"json"}', "malformed handshake request: .*`version`"),
        (b'{"version":1}', "malformed handshake request: .*`protocol`"),
        (b'{"protocol":"json","version":"1"}', r"malformed handshake request: .*`\$.version`"),
        (b'{"protocol":null,"version":1}', r"malformed handshake request: .*`\$.protocol`"),
        (b"{}", "malformed handshake request"),
        (b"", "malformed handshake request"),
        (b"GET / HTTP/1.1", "malformed handshake request: JSON is malformed"),
        (b"[" * 10_000, "malformed handshake request"),
    ],
)
def test_request_that_is_none(text: bytes, reason: str) -> None:
    """The server's side is as strict."""
    with pytest.raises(HandshakeError, match=reason):
        HandshakeReader(parse_request).feed(text + b"\x1e")


def test_errors_do_not_quote() -> None:
    """A malformed handshake may be anything, a page with credentials in it too; only the server's `error` is shown."""
    for text in (b"S3CRET", b'{"error":["S3CRET"]}', b'{"error":"S3CRET\xff"}', b'{"type":"S3CRET"}'):
        with pytest.raises(HandshakeError) as info:
            parse_response(text)
        assert "S3CRET" not in str(info.value)
        assert info.value.__cause__ is None


RESPONSES = [
    (JsonHubProtocol(), json_vectors.VECTORS),
    (MessagePackHubProtocol(), messagepack_vectors.VECTORS),
]


@pytest.mark.parametrize(("protocol", "vectors"), RESPONSES, ids=["json", "messagepack"])
def test_messages_right_behind(protocol: HubProtocol, vectors: list[Vector]) -> None:
    """Cut at every place: the response comes with its last byte, and all behind it is the protocol's."""
    messages = b"".join(vector.data for vector in vectors)
    data = encode_response() + messages
    for cut in range(40):
        reader = HandshakeReader(parse_response)
        response = reader.feed(data[:cut])
        assert (response is not None) is (cut >= 3)
        rest = reader.rest + data[cut:] if response else b""
        if not response:
            assert reader.feed(data[cut:]) == HandshakeResponse()
            rest = reader.rest
        assert rest == messages
    assert [readable(protocol, message) for message in protocol.parser().feed(messages)] == expected(vectors)


def test_seen_from_a_server() -> None:
    """An event from OnConnectedAsync and a Close came in the handshake's own chunk."""
    reader = HandshakeReader(parse_response)
    assert reader.feed(b"{}\x1e" + EARLY + b'{"type":7}\x1e') == HandshakeResponse()
    event, close = JsonHubProtocol().parser().feed(reader.rest)
    assert readable(JsonHubProtocol(), event) == Invocation("hi", ["early"])
    assert close == Close()


def test_binary_right_behind() -> None:
    """A record separator in MessagePack is a byte like any other: only the first one ends the handshake."""
    reader = HandshakeReader(parse_response)
    assert reader.feed(b"{}") is None
    assert reader.feed(b"\x1e\x1e\x00\x1e") == HandshakeResponse()
    assert reader.rest == b"\x1e\x00\x1e"


def test_byte_by_byte() -> None:
    """Both halves, for both roles."""
    request, response = encode_request("json", 1), encode_response()
    server, client = HandshakeReader(parse_request), HandshakeReader(parse_response)
    assert [server.feed(byte) for byte in bytewise(request)][-2:] == [None, HandshakeRequest("json", 1)]
    assert [client.feed(byte) for byte in bytewise(response)][-2:] == [None, HandshakeResponse()]
    assert server.rest == client.rest == b""


def test_refusal_byte_by_byte() -> None:
    """The error comes with the last byte, whole."""
    *most, last = bytewise(encode_response("Handshake was canceled."))
    reader = HandshakeReader(parse_response)
    assert [reader.feed(byte) for byte in most] == [None] * len(most)
    with pytest.raises(HandshakeError, match=r"Handshake was canceled\."):
        reader.feed(last)


def test_size_at_the_limit() -> None:
    """16 KiB pass, one byte more does not, whether its end is there or not."""
    text = b'{"x":"%s"}'
    text %= b"x" * (MAX_HANDSHAKE_SIZE - len(text) + 2)
    assert len(text) == MAX_HANDSHAKE_SIZE
    assert HandshakeReader(parse_response).feed(text + b"\x1e" + b"x" * 100_000) == HandshakeResponse()
    for end in (b"", b"\x1e"):
        with pytest.raises(HandshakeError, match="over 16384 bytes"):
            HandshakeReader(parse_response).feed(b" " + text + end)
    reader = HandshakeReader(parse_response, max_size=4)
    assert reader.feed(b"   ") is None
    assert reader.feed(b" ") is None
    with pytest.raises(HandshakeError, match="over 4 bytes"):
        reader.feed(b" ")
