"""Hub messages as bytes, typed from the specification's examples and from what ASP.NET Core was seen to send."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from trio_signalr.errors import ProtocolError
from trio_signalr.messages import HubMessage, ReceivedMessage
from trio_signalr.protocols import HubProtocol, MessageParser


class Vector(NamedTuple):
    """``data`` is one framed message.

    ``message`` is what it says, ``None`` if it is to be skipped; ``canonical`` if we write it the same way.
    """

    name: str
    data: bytes
    message: HubMessage[Any] | None
    canonical: bool = False


class Malformed(NamedTuple):
    """``data`` is one framed message that is none; ``reason`` is a regular expression for the error's text."""

    name: str
    data: bytes
    reason: str


def readable(protocol: HubProtocol, message: ReceivedMessage) -> HubMessage[Any]:
    """Return ``message`` with its payloads decoded, to be compared."""

    def value(payload: Any) -> Any:
        if isinstance(payload, list):
            return [value(each) for each in payload]
        return protocol.decode_payload(payload, Any) if isinstance(payload, Raw) else payload

    changes = {
        name: value(getattr(message, name))
        for name in ("arguments", "item", "result")
        if name in message.__struct_fields__
    }
    return msgspec.structs.replace(message, **changes)


def expected(vectors: list[Vector]) -> list[HubMessage[Any]]:
    """Return the messages that ``vectors`` hold, those to be skipped left out."""
    return [vector.message for vector in vectors if vector.message is not None]


def feed_all(parser: MessageParser, *pieces: bytes) -> list[ReceivedMessage]:
    """Feed one piece after the other, and return all that came."""
    return [message for piece in pieces for message in parser.feed(piece)]


def bytewise(data: bytes) -> list[bytes]:
    """Cut ``data`` into single bytes."""
    return [data[index : index + 1] for index in range(len(data))]


def outcome(parser: MessageParser, *pieces: bytes) -> tuple[list[ReceivedMessage], str | None]:
    """Return what ``parser`` makes of ``pieces``: all messages, and the text of the error if there is one."""
    messages = []
    try:
        for piece in (*pieces, b""):
            messages += parser.feed(piece)
    except ProtocolError as error:
        return messages, str(error)
    return messages, None
