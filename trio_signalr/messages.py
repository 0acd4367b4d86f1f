"""Hub messages, as facts: nothing here does anything.

The names are the hub protocol's own. Payloads (arguments, items, results) have the type parameter ``P``: whoever sends
puts in plain values; what a protocol's parser returns holds payloads as received (:class:`msgspec.Raw`), to be read
with :meth:`~trio_signalr.HubProtocol.decode_payload` once somebody asks for them with a type.

Source: HubProtocol.md, "Message types"; the type numbers double as msgspec tags.
"""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

from msgspec import UNSET, Raw, Struct, UnsetType

__all__ = [
    "UNSET",
    "Ack",
    "CancelInvocation",
    "Close",
    "Completion",
    "HubMessage",
    "Invocation",
    "Ping",
    "ReceivedMessage",
    "Sequence",
    "StreamInvocation",
    "StreamItem",
]

P = TypeVar("P")


class _Message(Struct, frozen=True, gc=False, tag_field="type", rename="camel", omit_defaults=True):
    """What all messages share. ``gc=False``: a message cannot be part of a reference cycle."""


class Invocation(_Message, Generic[P], frozen=True, tag=1):
    """Call a method (client to server) or a handler (server to client).

    Attributes:
        target: Name of the method.
        arguments: Its arguments, without the streams.
        invocation_id: Names the answer; ``None`` if none is wanted.
        stream_ids: Ids of the streams that the caller is going to send, in parameter order.
        headers: Text to text; no header is defined by the protocol, tracing uses them.
    """

    target: str
    arguments: list[P]
    invocation_id: str | None = None
    stream_ids: list[str] = []
    headers: dict[str, str] = {}


class StreamInvocation(_Message, Generic[P], frozen=True, tag=4):
    """Call a streaming method; fields as in :class:`Invocation`."""

    target: str
    arguments: list[P]
    invocation_id: str
    stream_ids: list[str] = []
    headers: dict[str, str] = {}


class StreamItem(_Message, Generic[P], frozen=True, tag=2):
    """One item of a stream, in either direction; ``invocation_id`` is the invocation's or the upload's id."""

    invocation_id: str
    item: P


class Completion(_Message, Generic[P], frozen=True, tag=3):
    """The end of an invocation, a stream or an upload.

    Attributes:
        invocation_id: What has ended.
        result: The answer; ``UNSET`` if there is none (void methods of .NET answer null, which means the same).
        error: The text of the failure; ``None`` if there was none.
    """

    invocation_id: str
    result: P | UnsetType = UNSET
    error: str | None = None


class CancelInvocation(_Message, frozen=True, tag=5):
    """Stop an invocation; answered by its Completion, if at all."""

    invocation_id: str


class Ping(_Message, frozen=True, tag=6):
    """A sign of life; needs no answer."""


class Close(_Message, frozen=True, tag=7):
    """The sender is going to close the connection.

    Attributes:
        error: Why, if it is not an orderly end.
        allow_reconnect: Whether the receiver may connect again by itself.
    """

    error: str | None = None
    allow_reconnect: bool = False


class Ack(_Message, frozen=True, tag=8):
    """All counted messages up to ``sequence_id`` were processed (stateful reconnect only)."""

    sequence_id: int


class Sequence(_Message, frozen=True, tag=9):
    """The next counted message has the number ``sequence_id`` (stateful reconnect only)."""

    sequence_id: int


HubMessage: TypeAlias = (
    Invocation[P]
    | StreamInvocation[P]
    | StreamItem[P]
    | Completion[P]
    | CancelInvocation
    | Ping
    | Close
    | Ack
    | Sequence
)
"""Any hub message with payloads of type ``P``."""

ReceivedMessage: TypeAlias = HubMessage[Raw]
"""A hub message as a parser returns it, its payloads raw."""
