"""Where one message ends and the next begins, and what all parsers do alike.

A transport message is not a hub message: transports cut anywhere and join anyhow. Text protocols end each message with
a record separator, binary ones put the length in front of it as a VarInt.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from msgspec import MsgspecError

from ..errors import ProtocolError
from ._base import MessageParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import ReceivedMessage
    from ._base import StreamItems

RECORD_SEPARATOR = b"\x1e"
"""Ends a JSON message and both halves of the handshake; raw, it cannot occur inside JSON text."""

MALFORMED = (MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises about its input: wrong shape or syntax, a string that is no UTF-8, nesting too deep."""

_OTHERS = {UnicodeDecodeError: "text that is no UTF-8", RecursionError: "nested too deeply"}

_ONE_BYTE = [bytes((number,)) for number in range(0x80)]

_MAX_LENGTH = 0x7FFF_FFFF
_MAX_LENGTH_BYTES = 5


def describe_malformed(exc: Exception) -> str:
    """Say what is wrong without a byte of what was received."""
    return str(exc) if isinstance(exc, MsgspecError) else _OTHERS[type(exc)]


class BufferedParser(MessageParser):
    """The part of a parser that no protocol does differently: the limit, the unfinished message, the first error."""

    def __init__(self, max_message_size: float) -> None:
        # A bytearray grows in amortised linear time, and takes no more than its bytes however small the pieces are.
        self._tail = bytearray()
        self._max_message_size = max_message_size
        # The reason is kept, not the exception: each call raises a fresh one, or tracebacks would pile up.
        self._reason: str | None = None

    def feed(self, data: bytes) -> list[ReceivedMessage]:
        """See :meth:`MessageParser.feed`."""
        return self._collect(self._take, data)

    def feed_runs(self, data: bytes) -> list[ReceivedMessage | StreamItems]:
        """See :meth:`MessageParser.feed_runs`."""
        return self._collect(self._take_runs, data)

    def _collect(self, take: Callable[[bytes, list[Any]], None], data: bytes) -> list[Any]:
        if self._reason is not None:
            raise ProtocolError(self._reason)
        messages: list[Any] = []
        try:
            take(data, messages)
        except ProtocolError as error:
            self._reason = str(error)
            self._tail = bytearray()
            if not messages:
                raise
        return messages

    @abstractmethod
    def _take(self, data: bytes, messages: list[ReceivedMessage]) -> None:
        """Append what is complete to ``messages`` and keep the rest in ``self._tail``."""

    def _take_runs(self, data: bytes, messages: list[Any]) -> None:
        """As :meth:`_take`; a parser that is faster at runs of stream items says how."""
        self._take(data, messages)

    def _check_size(self, size: int) -> None:
        if size > self._max_message_size:
            raise ProtocolError(f"hub message over max_message_size ({self._max_message_size} bytes)")


def encode_length(length: int) -> bytes:
    """Return ``length`` as a VarInt: 7 bits a byte, the least significant first, the top bit says that more follow.

    Raises:
        OverflowError: Over 2 GB, more than a prefix may say.
    """
    if length < 0x80:
        return _ONE_BYTE[length]
    if length > _MAX_LENGTH:
        raise OverflowError("hub message over 2 GB")
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix)


def decode_length(data: bytes, start: int) -> tuple[int, int] | None:
    """Read the VarInt at ``start``: its value and where it ends, ``None`` if ``data`` ends before it does.

    More bytes than the value needs are fine, as for ASP.NET Core.

    Raises:
        ProtocolError: Over 2 GB, or longer than any length may be.
    """
    if start < len(data) and data[start] < 0x80:
        return data[start], start + 1
    length = 0
    for index, byte in enumerate(data[start : start + _MAX_LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * index
        if length > _MAX_LENGTH or (byte > 0x7F and index == _MAX_LENGTH_BYTES - 1):
            raise ProtocolError("hub message over 2 GB: its length prefix is malformed")
        if byte < 0x80:
            return length, start + index + 1
    return None
