"""The ``messagepack`` hub protocol: one MessagePack array a message, its length in front of it.

Source: HubProtocol.md, "MessagePack (MsgPack) encoding", and the .NET types of the protocol notes.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

from msgpack import Packer
from msgspec import UNSET, Raw, Struct, UnsetType, inspect, to_builtins
from msgspec.msgpack import Decoder

from ..errors import ProtocolError
from ..messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Ping,
    ReceivedMessage,
    Sequence,
    StreamInvocation,
    StreamItem,
)
from ._base import DEFAULT_MAX_MESSAGE_SIZE, TransferFormat
from ._dotnet import enum_reader, read_date, read_offset, read_ticks, read_time
from ._forms import Forms, as_is
from ._framing import MALFORMED, BufferedParser, decode_length, describe_malformed, encode_length
from ._messagepack_runs import MAX_LENGTH, array_of, take_run
from ._messagepack_values import plain
from ._payloads import PayloadProtocol, members_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import HubMessage

__all__ = ["MessagePackHubProtocol"]

_PACKER_SIZE = 64 * 1024
"""Bytes that an idle packer keeps for its next value."""

_ERROR, _VOID, _RESULT = 1, 2, 3
"""Kinds of Completion: in MessagePack an array item says which of its two optional fields follows."""


# Messages as they lie on the wire: msgspec reads an array into the fields in order, the type number first, refuses one
# that is too short and ignores what is too much. `headers` is there in most; nil is no map, but the JavaScript client
# takes it.


class _Wire(Struct, array_like=True, rename="camel", gc=False):
    def message(self) -> ReceivedMessage:
        """Say the same as a hub message."""
        raise NotImplementedError


class _Invocation(_Wire, tag=1):
    headers: dict[str, object] | None
    invocation_id: str | None
    target: str
    arguments: list[Raw]
    stream_ids: list[str] = []

    def message(self) -> ReceivedMessage:
        headers = _text_headers(self.headers)
        return Invocation(self.target, self.arguments, self.invocation_id, self.stream_ids, headers)


class _StreamInvocation(_Wire, tag=4):
    headers: dict[str, object] | None
    invocation_id: str
    target: str
    arguments: list[Raw]
    stream_ids: list[str] = []

    def message(self) -> ReceivedMessage:
        headers = _text_headers(self.headers)
        return StreamInvocation(self.target, self.arguments, self.invocation_id, self.stream_ids, headers)


class _StreamItem(_Wire, tag=2):
    headers: dict[str, Raw] | None
    invocation_id: str
    item: Raw

    def message(self) -> ReceivedMessage:
        return StreamItem(self.invocation_id, self.item)


class _Completion(_Wire, tag=3):
    headers: dict[str, Raw] | None
    invocation_id: str
    kind: int
    result: Raw | UnsetType = UNSET

    def message(self) -> ReceivedMessage:
        if self.kind == _VOID:
            return Completion(self.invocation_id)
        if self.kind not in (_ERROR, _RESULT):
            raise ProtocolError(f"malformed Completion: its result kind is {self.kind}, none of 1, 2 and 3")
        if self.result is UNSET:
            raise ProtocolError("malformed Completion: its result is missing")
        if self.kind == _RESULT:
            return Completion(self.invocation_id, self.result)
        return Completion(self.invocation_id, error=_text_decoder.decode(self.result))


class _CancelInvocation(_Wire, tag=5):
    headers: dict[str, Raw] | None
    invocation_id: str

    def message(self) -> ReceivedMessage:
        return CancelInvocation(self.invocation_id)


class _Ping(_Wire, tag=6):
    def message(self) -> ReceivedMessage:
        return Ping()


class _Close(_Wire, tag=7):
    error: str | None
    allow_reconnect: bool = False

    def message(self) -> ReceivedMessage:
        return Close(self.error, self.allow_reconnect)


class _Ack(_Wire, tag=8):
    sequence_id: int

    def message(self) -> ReceivedMessage:
        return Ack(self.sequence_id)


class _Sequence(_Wire, tag=9):
    sequence_id: int

    def message(self) -> ReceivedMessage:
        return Sequence(self.sequence_id)


class _Head(Struct, array_like=True):
    type: int


_WIRE_TYPES = (
    _Invocation,
    _StreamItem,
    _Completion,
    _StreamInvocation,
    _CancelInvocation,
    _Ping,
    _Close,
    _Ack,
    _Sequence,
)
_PROPERTIES = {
    kind.__struct_config__.tag: (kind.__name__.strip("_"), ["type", *kind.__struct_encode_fields__])
    for kind in _WIRE_TYPES
}
"""Name and items of each message type, by its number."""

_ITEM = re.compile(r"\$\[(\d)\]")

_decoder: Decoder[_Wire] = Decoder(Union[_WIRE_TYPES])  # noqa: UP007 - they are in a tuple
_head_decoder = Decoder(_Head)
_text_decoder = Decoder(str)


# An enum by name and ticks are what msgspec might take for a mere text or number in a union.
_FORMS = Forms(
    unreadable={
        inspect.EnumType: lambda info: enum_reader(info.cls),
        inspect.TimeDeltaType: lambda info: read_ticks,
        inspect.DateType: lambda info: read_date,
        inspect.TimeType: lambda info: read_time,
    },
    unusual={
        inspect.DateTimeType: lambda info: read_offset,
        inspect.AnyType: lambda info: as_is,  # there may be a DateTime.MaxValue in it
        inspect.CustomType: lambda info: as_is,
    },
)

# DateTime.MaxValue is a tick before the year 10000. Its 99 ns beyond the microsecond make msgspec round it up to there.
_MAX_TICKS = bytes.fromhex("c70cff3b9ac99c0000003afff4417f")
_MAX_MICROSECONDS = bytes.fromhex("c70cff3b9ac6180000003afff4417f")

_plain_decoder: Decoder[Any] = Decoder()


class MessagePackHubProtocol(PayloadProtocol):
    """MessagePack: compact, with bytes and timestamps of its own.

    Values are written, and read, as ASP.NET Core's defaults have them: an enum by its member's name, a ``timedelta`` as
    ticks of 100 ns, a ``Decimal`` and a ``UUID`` as text, an object as a map. A ``datetime`` in UTC or without a time
    zone is written as .NET's ``DateTime``, any other, and :class:`DateTimeOffset`, as its ``DateTimeOffset``.

    Names must be spelled as in C#, in the same case: the server silently ignores others. ``rename="pascal"`` says so
    for all classes::

        open_hub(url, protocol=MessagePackHubProtocol(rename="pascal"))  # first_name is FirstName in C#

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

    name = "messagepack"
    transfer_format: TransferFormat = "Binary"
    _forms = _FORMS
    _str_keys = False

    def parser(self, *, max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE) -> MessagePackMessageParser:
        """See :meth:`HubProtocol.parser`."""
        return MessagePackMessageParser(max_message_size)

    def item_encoder(self, stream_id: str) -> Callable[[object], bytes]:
        """See :meth:`HubProtocol.item_encoder`: what all items have in common is encoded once."""
        beginning = self._encode_value([2, {}, stream_id, None])[:-1]

        def encode_item(item: object) -> bytes:
            try:
                data = self._encode_value(item)
                return encode_length(len(beginning) + len(data)) + beginning + data
            except Exception:  # said where it was raised in the message
                return self.encode(StreamItem(stream_id, item))

        return encode_item

    def _encode_message(self, message: HubMessage[object]) -> bytes:
        body = self._encode_value(_layout(message))
        return encode_length(len(body)) + body

    def _array(self, payloads: list[Raw]) -> Raw:
        return Raw(array_of(payloads))

    @cached_property
    def _packers(self) -> list[Packer]:
        """Idle ones: making one takes longer than packing a small value."""
        return []

    def _encode_value(self, value: object) -> bytes:
        # A packer serves one value at a time, and `default` runs user code, which may encode too or let another thread
        # in. So each is taken out while it works. One that has failed, or has grown, is not put back.
        try:
            packer = self._packers.pop()
        except IndexError:
            packer = Packer(default=self._simplify, use_bin_type=True, strict_types=True, datetime=False)
        data: bytes = packer.pack(value)
        if len(data) <= _PACKER_SIZE:
            self._packers.append(packer)
        return data

    def _simplify(self, value: object) -> object:
        """Return ``value`` one step nearer to what MessagePack has."""
        simpler = plain(value)
        if simpler is NotImplemented:
            simpler = members_of(value, self._rename)
        if simpler is not None:
            return simpler
        try:
            return to_builtins(value)  # UUID and Decimal become text
        except TypeError:
            return self._replace_custom(value)

    def _new_decoder(self, type_: object) -> Callable[[Raw], Any]:
        return Decoder(type_, dec_hook=self._convert_custom).decode

    def _plain_decoder(self, *, exact: bool) -> Callable[[Raw], Any]:
        return _decode_plain


def _decode_plain(payload: Raw) -> Any:
    try:
        return _plain_decoder.decode(payload)
    except ValueError:
        return _plain_decoder.decode(bytes(payload).replace(_MAX_TICKS, _MAX_MICROSECONDS))


class MessagePackMessageParser(BufferedParser):
    """Walks from length to length; each body is decoded by itself."""

    def __init__(self, max_message_size: float) -> None:
        super().__init__(max_message_size)
        # Bytes that the unfinished message takes with its prefix; 0 while that is cut too.
        self._awaited = 0

    def _take_runs(self, data: bytes, messages: list[Any]) -> None:
        """A run at the beginning of ``data`` takes half the time."""
        if self._tail and self._awaited <= len(self._tail) + len(data):
            data, self._tail = bytes(self._tail) + data, bytearray()
        if not self._tail and self._max_message_size >= MAX_LENGTH and (run := take_run(data)) is not None:
            messages.append(run)
            data = data[run.size :]
        self._take(data, messages)

    def _take(self, data: bytes, messages: list[ReceivedMessage]) -> None:
        if self._tail:
            self._tail += data
            if len(self._tail) < self._awaited:
                return
            data = bytes(self._tail)
        position = 0
        while (place := self._next_body(data, position)) is not None:
            start, position = place
            message = _decode_one(data[start:position])
            if message is not None:
                messages.append(message)
        self._tail = bytearray(data[position:])

    def _next_body(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Where the body of the message at ``position`` starts and ends; ``None`` if it is not complete."""
        self._awaited = 0
        prefix = decode_length(data, position)
        if prefix is None:
            return None
        length, start = prefix
        self._check_size(length)
        end = start + length
        if end <= len(data):
            return start, end
        self._awaited = end - position
        return None


def _decode_one(body: bytes) -> ReceivedMessage | None:
    """Decode one message, ``None`` if its type is unknown."""
    try:
        return _decoder.decode(body).message()
    except MALFORMED as exc:
        error = exc
    number = _decode_type(body)
    if number not in _PROPERTIES:
        return None
    name, properties = _PROPERTIES[number]
    text = _ITEM.sub(lambda item: f"$.{properties[int(item[1])]}", describe_malformed(error))
    raise ProtocolError(f"malformed {name}: {text}")


def _decode_type(body: bytes) -> int:
    try:
        return _head_decoder.decode(body).type
    except MALFORMED as exc:
        text = describe_malformed(exc).replace("$[0]", "$.type")
        raise ProtocolError(f"malformed hub message: {text}") from None


def _text_headers(headers: dict[str, object] | None) -> dict[str, str]:
    """Leave out headers whose value is no text: nothing depends on headers, and the JavaScript client takes any."""
    return {name: value for name, value in headers.items() if isinstance(value, str)} if headers else {}


def _layout(message: HubMessage[object]) -> list[object]:
    match message:
        case StreamItem():
            return [2, {}, message.invocation_id, message.item]
        case Invocation():
            return [1, *_call_layout(message)]
        case StreamInvocation():
            return [4, *_call_layout(message)]
        case Completion():
            return [3, {}, message.invocation_id, *_outcome(message)]
        case CancelInvocation():
            return [5, {}, message.invocation_id]
        case Ping():
            return [6]
        case Close():
            return [7, message.error, message.allow_reconnect]
        case Ack():
            return [8, message.sequence_id]
        case Sequence():
            return [9, message.sequence_id]


def _call_layout(call: Invocation[object] | StreamInvocation[object]) -> tuple[object, ...]:
    return call.headers, call.invocation_id, call.target, call.arguments, call.stream_ids


def _outcome(completion: Completion[object]) -> tuple[object, ...]:
    if completion.error is not None:
        return _ERROR, completion.error
    return (_VOID,) if completion.result is UNSET else (_RESULT, completion.result)
