"""The ``json`` hub protocol: one JSON object a message, each followed by a record separator.

Source: HubProtocol.md, "JSON Encoding" and "Common text format".
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, DecodeError, Raw, Struct, inspect, json
from msgspec.structs import replace

from ..errors import ProtocolError
from ..messages import Completion, Invocation, ReceivedMessage, StreamInvocation, StreamItem
from ._base import DEFAULT_MAX_MESSAGE_SIZE, TransferFormat
from ._dotnet import enum_reader, read_late, read_time_span
from ._forms import Forms
from ._framing import MALFORMED, RECORD_SEPARATOR, BufferedParser, describe_malformed
from ._json_runs import read_run
from ._json_values import simpler, spell_out
from ._payloads import PayloadProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import HubMessage
    from ._forms import Rename

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


_END = b"}" + RECORD_SEPARATOR
_U, _N, _F, _P = b"uNfP"
_DURATION = re.compile(rb'"-?P[0-9T]')
_ZEROS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_HUGE = b"0" * len(str(2**63))
_SHORT = len('{"type":3,"invocationId":"","result":}') + len(_HUGE) - 1
"""No message of up to this length has room for an integer beyond 64 bits."""

_FORMS = Forms(
    unreadable={
        inspect.TimeDeltaType: lambda info: read_time_span,
        inspect.TimeType: lambda info: read_late,  # without a word, msgspec rounds the last tick of a day to its first
    },
    unusual={
        inspect.EnumType: lambda info: enum_reader(info.cls),  # dictionary keys, and servers that write all by name
        inspect.DateTimeType: lambda info: read_late,
        inspect.AnyType: lambda info: _with_floats,
        inspect.CustomType: lambda info: _with_floats,
    },
)


class _Head(Struct):
    type: int


_decoder: json.Decoder[ReceivedMessage] = json.Decoder(ReceivedMessage)
_head_decoder = json.Decoder(_Head)
_plain_decoder: json.Decoder[Any] = json.Decoder()
_exact_decoder: json.Decoder[Any] = json.Decoder(float_hook=Decimal)
_members_decoder = json.Decoder(dict[str, Raw])
_headers_decoder = json.Decoder(dict[str, Any] | None)


class JsonHubProtocol(PayloadProtocol):
    """JSON: readable, and what every server speaks.

    Values are written, and read, as ASP.NET Core's defaults have them: an enum by its value, a ``timedelta`` as .NET's
    ``TimeSpan``, a ``Decimal`` as a number with all its digits, ``bytes`` in base64.

    ASP.NET Core sends names in camel case. ``rename="camel"`` says so for all classes::

        open_hub(url, protocol=JsonHubProtocol(rename="camel"))  # first_name is FirstName in C#, firstName in JSON

    Args:
        rename: How the fields of classes (dataclasses, attrs classes, Structs) are spelled on the wire, both ways:
            ``"camel"``, ``"pascal"``, or a function that returns a name, or ``None`` to leave it. A Struct's own
            ``rename`` and ``field(name=...)`` win. ``None`` leaves all names as they are in Python.
        enc_hook: Called with an object of a class that is not supported; returns one that is, or raises
            ``NotImplementedError``.
        dec_hook: Called with a class asked for that is not supported and the plain decoded value; returns an object of
            that class. ``ValueError`` and ``TypeError`` mean that the value does not fit, ``NotImplementedError`` that
            the class is not supported after all.
    """

    name = "json"
    transfer_format: TransferFormat = "Text"
    _forms = _FORMS
    _str_keys = True

    def __init__(
        self,
        *,
        rename: Rename | None = None,
        enc_hook: Callable[[Any], object] | None = None,
        dec_hook: Callable[[type, Any], object] | None = None,
    ) -> None:
        super().__init__(rename=rename, enc_hook=enc_hook, dec_hook=dec_hook)
        self._encoder = json.Encoder(decimal_format="number", enc_hook=self._simplify)

    def parser(self, *, max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE) -> JsonMessageParser:
        """See :meth:`HubProtocol.parser`."""
        return JsonMessageParser(max_message_size)

    def item_encoder(self, stream_id: str) -> Callable[[object], bytes]:
        """See :meth:`HubProtocol.item_encoder`: what all items have in common is encoded once."""
        encode, null = self._encoder.encode, b"null}"
        beginning = encode(StreamItem(stream_id, None)).removesuffix(null)

        def encode_item(item: object) -> bytes:
            try:
                data = encode(item)
            except Exception:  # said where it was raised in the message
                return self.encode(StreamItem(stream_id, item))
            if self._rename is None and (
                len(data) < len(_HUGE) if type(item) is int else not _may_read_otherwise(data)
            ):
                return beginning + data + _END
            return self.encode(StreamItem(stream_id, item))

        return encode_item

    def _encode_message(self, message: HubMessage[object]) -> bytes:
        data = self._encoder.encode(message)
        if (
            _may_read_otherwise(data)
            or (
                len(data) > _SHORT and (type(message) is not StreamItem or type(message.item) is int) and _is_long(data)
            )
            or self._rename is not None
        ):
            data = self._encoder.encode(_with_payloads(message, self._spell_out))
        return data + RECORD_SEPARATOR

    def _array(self, payloads: list[Raw]) -> Raw:
        return Raw(b"[" + b",".join(payloads) + b"]")

    def _encode_value(self, value: object) -> object:
        return self._encoder.encode(self._spell_out(value))

    def _spell_out(self, value: object) -> object:
        return spell_out(value, self._rename, self._replace_custom)

    def _simplify(self, value: object) -> object:
        known = simpler(value)
        return self._replace_custom(value) if known is NotImplemented else known

    def _new_decoder(self, type_: object) -> Callable[[Raw], Any]:
        return json.Decoder(type_, dec_hook=self._convert_custom).decode

    def _plain_decoder(self, *, exact: bool) -> Callable[[Raw], Any]:
        return _exact_decoder.decode if exact else _plain_decoder.decode


def _with_floats(value: Any) -> Any:
    """Read numbers as usual where no type is asked for, though a ``Decimal`` is, elsewhere."""
    if type(value) is Decimal:
        return float(value)
    if type(value) is list:
        return [_with_floats(each) for each in value]
    return {key: _with_floats(each) for key, each in value.items()} if type(value) is dict else value


def _may_read_otherwise(data: bytes) -> bool:
    """Whether there may be something that .NET wants otherwise.

    msgspec does not say so, but it shows: it writes a float that is NaN or infinite as null, such a Decimal by name, a
    timedelta as an ISO duration. A letter of the word is searched first, several times as fast as the word.
    """
    return (
        (_U in data and data.find(b"null") >= 0)
        or (_N in data and data.find(b"NaN") >= 0)
        or (_F in data and data.find(b"Infinity") >= 0)
        or (_P in data and _DURATION.search(data) is not None)
    )


def _is_long(data: bytes) -> bool:
    """Whether there are as many digits in a row as it takes to need more than 64 bits."""
    return data.translate(_ZEROS).find(_HUGE) >= 0  # all digits made alike, which makes a run of them quick to find


def _with_payloads(message: HubMessage[object], change: Callable[[object], object]) -> HubMessage[object]:
    """Return ``message`` with each payload changed."""
    match message:
        case StreamItem():
            return replace(message, item=change(message.item))
        case Invocation() | StreamInvocation():
            return replace(message, arguments=[change(each) for each in message.arguments])
        case Completion() if message.result is not UNSET:
            return replace(message, result=change(message.result))
    return message


class JsonMessageParser(BufferedParser):
    """Decodes all that is complete in one call of msgspec, and message by message only if that does not work out."""

    def _take(self, data: bytes, messages: list[ReceivedMessage]) -> None:
        if (complete := self._completed(data)) is not None:
            self._decode(complete, messages)
        self._check_size(len(self._tail))

    def _take_runs(self, data: bytes, messages: list[Any]) -> None:
        if (complete := self._completed(data)) is not None:
            run = read_run(complete) if len(complete) <= self._max_message_size else None
            if run is None:
                self._decode(complete, messages)
            else:
                messages.append(run)
        self._check_size(len(self._tail))

    def _completed(self, data: bytes) -> bytes | None:
        """Return all that is complete now, without its last separator, and keep the rest; ``None`` if nothing is."""
        end = data.rfind(RECORD_SEPARATOR)
        if end < 0:
            self._tail += data
            return None
        complete = b"".join((self._tail, data[:end])) if self._tail else data[:end]
        self._tail = bytearray(data[end + 1 :])
        return complete

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
    if Completion in set(map(type, batch)) and any(map(_contradicts_itself, batch)):
        return None
    return batch


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
