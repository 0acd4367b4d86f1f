"""What ASP.NET Core does not put up with from a client, though our parsers would: clients have to be tolerant.

A test that passes here should not fail there. So ids and headers that are no text end the connection, and behind a
message of unknown type nothing is read any more: that message is never consumed, and everything else waits behind it.

Source: the protocol notes, "JSON encoding" and "MessagePack layouts", seen on ASP.NET Core 3.1 and 10.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct, ValidationError, json, msgpack

from ..errors import ProtocolError
from ..protocols import JsonHubProtocol, MessagePackHubProtocol
from ..protocols._framing import MALFORMED, RECORD_SEPARATOR, BufferedParser, decode_length
from ._user_code import logger

if TYPE_CHECKING:
    from ..messages import ReceivedMessage
    from ..protocols import HubProtocol
    from ..protocols._base import MessageParser

__all__ = ["server_parser"]

TYPES = range(1, 10)
CALLS = (1, 4)
WITH_HEADERS = range(1, 6)


def server_parser(protocol: HubProtocol, max_message_size: float) -> MessageParser:
    """Return a parser for what a client sends."""
    parser = protocol.parser(max_message_size=max_message_size)
    stalls = max_message_size < math.inf  # the one way to keep ASP.NET Core from it
    if isinstance(protocol, JsonHubProtocol):
        return _StrictJson(parser, stalls=stalls)
    if isinstance(protocol, MessagePackHubProtocol):
        return _StrictMessagePack(parser, stalls=stalls)
    return parser


class _StrictParser(BufferedParser):
    """Looks at each message before the parser does.

    Args:
        parser: Who reads it.
        stalls: Whether a message of unknown type is the last one.
    """

    def __init__(self, parser: MessageParser, *, stalls: bool) -> None:
        super().__init__(math.inf)  # the parser minds the limit
        self._parser = parser
        self._stalls = stalls
        self._stalled = False

    def _take(self, data: bytes, messages: list[ReceivedMessage]) -> None:
        if self._stalled:
            return
        fed, position = len(self._tail), 0
        self._tail += data
        while (end := self._end(position, fed)) is not None:
            if not self._is_known(bytes(self._tail[position:end])):
                self._stalled = True
                return
            messages += self._parser.feed(bytes(self._tail[max(position, fed) : end]))
            position = end
        messages += self._parser.feed(bytes(self._tail[max(position, fed) :]))
        self._tail = self._tail[position:]

    def _is_known(self, message: bytes) -> bool:
        try:
            number = self._type(message)
        except ValidationError as error:
            self._parser.feed(message)  # says it better, if it minds
            raise ProtocolError(f"malformed hub message: {error}") from None
        except MALFORMED:
            return True  # but not for long
        if number in TYPES or not self._stalls:
            return True
        logger.warning("a client sent a message of unknown type %d: behind that, ASP.NET Core reads nothing", number)
        return False

    @abstractmethod
    def _end(self, position: int, fed: int) -> int | None:
        """Return where the message at ``position`` ends; ``None`` if it is not complete. ``fed`` bytes are not new."""

    @abstractmethod
    def _type(self, message: bytes) -> int:
        """Return a message's type, if all is as it must be."""


class _JsonHead(Struct, rename="camel"):
    type: int
    invocation_id: str = ""
    headers: dict[str, str] = {}


class _StrictJson(_StrictParser):
    _decoder = json.Decoder(_JsonHead)

    def _end(self, position: int, fed: int) -> int | None:
        found = self._tail.find(RECORD_SEPARATOR, max(position, fed))
        return found + 1 if found >= 0 else None

    def _type(self, message: bytes) -> int:
        return self._decoder.decode(message[:-1]).type


class _MessagePackHead(Struct, array_like=True):
    type: int
    headers: Any = None


class _WithHeaders(Struct, array_like=True):
    type: int
    headers: dict[str, str]


class _Call(Struct, array_like=True):
    type: int
    headers: dict[str, str]
    invocation_id: str | None
    target: str
    arguments: list[Raw]
    stream_ids: list[str] = []


class _StrictMessagePack(_StrictParser):
    _heads = msgpack.Decoder(_MessagePackHead)
    _with_headers = msgpack.Decoder(_WithHeaders)
    _calls = msgpack.Decoder(_Call)

    def _end(self, position: int, fed: int) -> int | None:
        prefix = decode_length(bytes(self._tail[position : position + 5]), 0)
        if prefix is None:
            return None
        end = position + sum(prefix)
        return end if end <= len(self._tail) else None

    def _type(self, message: bytes) -> int:
        prefix = decode_length(message, 0)
        assert prefix is not None, "the message is complete"
        body = message[prefix[1] :]
        number = self._heads.decode(body).type
        if number in CALLS:
            self._calls.decode(body)
        elif number in WITH_HEADERS:
            self._with_headers.decode(body)
        return number
