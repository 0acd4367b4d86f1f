"""The hub handshake: one JSON text each way, whatever hub protocol follows it.

Transports cut and join here too: a response comes in pieces, and hub messages may sit right behind it, which are binary
for MessagePack. So a :class:`HandshakeReader` splits bytes, and keeps what follows for the hub protocol's parser.

Source: HubProtocol.md, "Overview" and "HandshakeRequest/HandshakeResponse Message Encoding".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import UNSET, Raw, Struct, UnsetType, json

from ..errors import HandshakeError
from ._framing import MALFORMED, RECORD_SEPARATOR, describe_malformed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_HANDSHAKE_SIZE",
    "HandshakeReader",
    "HandshakeRequest",
    "HandshakeResponse",
    "encode_request",
    "encode_response",
    "parse_request",
    "parse_response",
]

T = TypeVar("T")

MAX_HANDSHAKE_SIZE = 16 * 1024
"""Bytes of a handshake text; real ones have fewer than a hundred, error texts some more."""


class HandshakeRequest(Struct, frozen=True):
    """What the client says first.

    Attributes:
        protocol: Name of the hub protocol; servers do not mind its case.
        version: 1, or 2 for stateful reconnect.
    """

    protocol: str
    version: int


class HandshakeResponse(Struct, frozen=True, omit_defaults=True):
    """What the server answers.

    Attributes:
        error: Why it refuses; ``None`` if it does not.
    """

    error: str | None = None


class _ReceivedResponse(Struct):
    error: str | None = None
    type: Raw | UnsetType = UNSET


_request_decoder = json.Decoder(HandshakeRequest)
_response_decoder = json.Decoder(_ReceivedResponse)


def encode_request(protocol: str, version: int) -> bytes:
    """Return the client's half, with its record separator."""
    return json.encode(HandshakeRequest(protocol, version)) + RECORD_SEPARATOR


def encode_response(error: str | None = None) -> bytes:
    """Return the server's half, with its record separator."""
    return json.encode(HandshakeResponse(error)) + RECORD_SEPARATOR


def parse_request(text: bytes) -> HandshakeRequest:
    """Read the client's half, without its record separator; unknown properties are ignored.

    Raises:
        HandshakeError: It is malformed.
    """
    try:
        return _request_decoder.decode(text)
    except MALFORMED as exc:
        raise HandshakeError(f"malformed handshake request: {describe_malformed(exc)}") from None


def parse_response(text: bytes) -> HandshakeResponse:
    """Read the server's half, without its record separator; unknown properties are ignored.

    Returns:
        The response of a server that accepts; an empty ``error`` means none, as for the reference clients.

    Raises:
        HandshakeError: The server refuses, in its own words; or the response is malformed, or none at all.
    """
    try:
        received = _response_decoder.decode(text)
    except MALFORMED as exc:
        raise HandshakeError(f"malformed handshake response: {describe_malformed(exc)}") from None
    # Before `error`, which a Close has too. The JavaScript client draws the same line.
    if received.type is not UNSET:
        raise HandshakeError("a hub message came in place of the handshake response")
    if received.error:
        raise HandshakeError(f"the hub refused the handshake: {received.error}")
    return HandshakeResponse()


class HandshakeReader(Generic[T]):
    """Cuts the peer's half of the handshake out of the connection's first bytes, however they come.

    ::

        reader = HandshakeReader(parse_response)
        while (response := reader.feed(await receive())) is None:
            pass
        messages = parser.feed(reader.rest)

    Args:
        parse: :func:`parse_response` for a client, :func:`parse_request` for a server.
        max_size: Bytes that the text may have, without its record separator.

    Attributes:
        rest: The bytes behind the handshake: the first ones for the hub protocol's parser.
    """

    def __init__(self, parse: Callable[[bytes], T], *, max_size: int = MAX_HANDSHAKE_SIZE) -> None:
        self.rest: bytes = b""
        self._parse = parse
        self._max_size = max_size
        self._text = bytearray()

    def feed(self, data: bytes) -> T | None:
        """Take the next bytes and return the handshake once it is complete; then no more may be fed.

        Raises:
            HandshakeError: From ``parse``, or the text is longer than ``max_size``.
        """
        text, separator, rest = data.partition(RECORD_SEPARATOR)
        self._text += text
        if len(self._text) > self._max_size:
            raise HandshakeError(f"the handshake is over {self._max_size} bytes")
        if not separator:
            return None
        self.rest = rest
        return self._parse(bytes(self._text))
