"""The ``json`` hub protocol: one JSON object a message, each followed by a record separator.

Source: HubProtocol.md, "JSON Encoding" and "Common text format".
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, DecodeError, Raw, Struct, json

from ..errors import ProtocolError
from ..messages import Completion, ReceivedMessage
from ._base import DEFAULT_MAX_MESSAGE_SIZE, TransferFormat
from ._framing import MALFORMED, RECORD_SEPARATOR, BufferedParser, describe_malformed
from ._payloads import PayloadProtocol, convert_unknown, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import HubMessage

__all__ = ["JsonHubProtocol"]

_NAMES = {
    1: "Invocation",
    2: "StreamItem",
    3: "Completion",
    4: "StreamInvocation",
    5: "CancelInvocation",
    6: "Ping",
    7: "Close",
    8: "Ack",
    9: "Sequence",
}


_U, _N, _F = b"uNf"
_LEAVES = {str, int, bool, NoneType, bytes}


class _Head(Struct):
    type: int


_decoder: json.Decoder[ReceivedMessage] = json.Decoder(ReceivedMessage)
_head_decoder = json.Decoder(_Head)
_members_decoder = json.Decoder(dict[str, Raw])
_headers_decoder = json.Decoder(dict[str, Any] | None)


class JsonHubProtocol(PayloadProtocol):
    """JSON: readable, and what every server speaks."""

    name = "json"
    transfer_format: TransferFormat = "Text"

    def parser(self, *, max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE) -> JsonMessageParser:
        """See :meth:`HubProtocol.parser`."""
        return JsonMessageParser(max_message_size)

    def _encode_message(self, message: HubMessage[object]) -> bytes:
        return _encode(message) + RECORD_SEPARATOR

    def _encode_value(self, value: object) -> object:
        return _encode(value)

    def _new_decoder(self, type_: object) -> Callable[[Raw], Any]:
        return json.Decoder(type_, dec_hook=convert_unknown).decode


def _exact(value: object) -> object:
    """Return what msgspec takes in place of a user's ``str``, ``int`` or ``float`` class; NumPy has one too."""
    if isinstance(value, str):
        return str.__str__(value)  # its own __str__ may say something else
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encoder = json.Encoder(decimal_format="number", enc_hook=_exact)


def _encode(value: object) -> bytes:
    data = _encoder.encode(value)
    # JSON has neither NaN nor infinity. msgspec writes a float's as null and a Decimal's by name, so only then is it
    # worth the time to look at the value. A letter of the word is searched first: several times as fast as the word.
    if (
        (_U in data and data.find(b"null") >= 0)
        or (_N in data and data.find(b"NaN") >= 0)
        or (_F in data and data.find(b"Infinity") >= 0)
    ):
        _refuse_non_finite(value)
    return data


def _refuse_non_finite(value: object) -> None:
    """Raise ``ValueError`` if there is a NaN or an infinity in ``value``, which has been encoded, so it has an end."""
    pending = [value]
    while pending:
        part = pending.pop()
        if type(part) in _LEAVES:
            continue
        if isinstance(part, (float, Decimal)):
            if not (isfinite(part) if isinstance(part, float) else part.is_finite()):
                raise ValueError("JSON has neither NaN nor infinity")
        elif isinstance(part, dict):
            pending.extend(part.values())
        elif isinstance(part, (list, tuple, set, frozenset)):
            pending.extend(part)
        else:
            pending.extend(member for _, member in fields_of(part) or ())


class JsonMessageParser(BufferedParser):
    """Decodes all that is complete in one call of msgspec, and message by message only if that does not work out."""

    def _take(self, data: bytes, messages: list[ReceivedMessage]) -> None:
        end = data.rfind(RECORD_SEPARATOR)
        if end < 0:
            self._tail += data
        else:
            complete = b"".join((self._tail, data[:end])) if self._tail else data[:end]
            self._tail = bytearray(data[end + 1 :])
            self._decode(complete, messages)
        self._check_size(len(self._tail))

    def _decode(self, complete: bytes, messages: list[ReceivedMessage]) -> None:
        batch = _decode_batch(complete) if len(complete) <= self._max_message_size else None
        if batch is not None:
            messages += batch
            return
        for text in complete.split(RECORD_SEPARATOR):
            self._check_size(len(text))
            message = _decode_one(text)
            if message is not None:
                messages.append(message)


def _decode_batch(complete: bytes) -> list[ReceivedMessage] | None:
    r"""Decode messages joined by record separators; ``None`` if they need a closer look.

    This accepts exactly what decoding one by one does. Between ``}`` and ``{`` JSON allows nothing but the end of a
    text, not even inside a string, where a newline must be written ``\n``; so each separator replaced is the end of a
    message, and each one left makes the decoder fail. It may find more messages than that, two without a separator
    between them: hence the count.
    """
    try:
        batch = _decoder.decode_lines(complete.replace(b"}\x1e{", b"}\n{"))
    except MALFORMED:
        return None
    if len(batch) != complete.count(RECORD_SEPARATOR) + 1:
        return None
    completions = [message for message in batch if type(message) is Completion]
    return None if any(map(_contradicts_itself, completions)) else batch


def _decode_one(text: bytes) -> ReceivedMessage | None:
    """Decode one message, ``None`` if its type is unknown."""
    try:
        message = _decoder.decode(text)
    except MALFORMED as exc:
        return _decode_odd(text, exc)
    if _contradicts_itself(message):
        raise ProtocolError("malformed Completion: both `error` and `result`")
    return message


def _decode_odd(text: bytes, error: Exception) -> ReceivedMessage | None:
    """Decode what is no message at first sight; ``error`` says why it is not."""
    try:
        number = _head_decoder.decode(text).type
    except MALFORMED as exc:
        raise ProtocolError(f"malformed hub message: {describe_malformed(exc)}") from None
    if number not in _NAMES:
        return None
    if isinstance(error, DecodeError) and "`$.headers" in str(error):
        return _decode_one(_with_text_headers(text))
    raise ProtocolError(f"malformed {_NAMES[number]}: {describe_malformed(error)}") from None


def _with_text_headers(text: bytes) -> bytes:
    """Leave out headers whose value is no text: nothing depends on headers, and the JavaScript client takes any."""
    try:
        members = _members_decoder.decode(text)
        headers = _headers_decoder.decode(members.pop("headers")) or {}
    except MALFORMED as exc:
        raise ProtocolError(f"malformed `headers`: {describe_malformed(exc)}") from None
    kept = {name: value for name, value in headers.items() if isinstance(value, str)}
    return json.encode({**members, "headers": kept})


def _contradicts_itself(message: ReceivedMessage) -> bool:
    """A null result counts as none: void methods answer so (protocol notes, "Completion rules")."""
    if type(message) is not Completion or message.error is None or message.result is UNSET:
        return False
    return bytes(message.result) != b"null"
