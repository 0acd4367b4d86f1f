"""What has happened at a test hub, as records; and what clients have sent, in plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from ..errors import PayloadError
from ..messages import Completion, Invocation, StreamInvocation, StreamItem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..messages import HubMessage, ReceivedMessage
    from ..protocols import HubProtocol
    from ._client import Client

__all__ = ["Called", "Cancelled", "Completed", "Connected", "Disconnected", "Event", "Received", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """The HTTP request that opened a client's transport.

    Attributes:
        path: Of the URL.
        query: Of the URL; of several parameters with one name, the last.
        headers: Names in lower case; of several with one name, the last.
        token: The bearer token.
    """

    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connected:
    """A client has shaken hands.

    Attributes:
        client: It.
    """

    client: Client


@dataclass(frozen=True, slots=True)
class Received:
    """A hub message has come from a client.

    Attributes:
        client: Who sent it.
        message: It, with payloads as plain values.
    """

    client: Client
    message: HubMessage[Any]


@dataclass(frozen=True, slots=True)
class Called:
    """A hub method was called, with arguments that fit; one :class:`Completed` or :class:`Cancelled` follows.

    Attributes:
        client: Who called it.
        method: Its name, as it was registered.
        arguments: What it was called with, uploads left out.
        invocation_id: Of the invocation; ``None`` if no answer is wanted.
    """

    client: Client
    method: str
    arguments: tuple[Any, ...]
    invocation_id: str | None


@dataclass(frozen=True, slots=True)
class Completed:
    """A hub method has returned, raised, or streamed its last item.

    Attributes:
        client: Who called it.
        method: Its name, as it was registered.
        invocation_id: Of the invocation; ``None`` if no answer is wanted.
        error: What it raised; ``None`` if nothing.
    """

    client: Client
    method: str
    invocation_id: str | None
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A hub method was cancelled, and has ended because of that.

    Attributes:
        client: Who called it.
        method: Its name, as it was registered.
        invocation_id: Of the invocation; ``None`` if no answer is wanted.
        by_client: Whether by its CancelInvocation; otherwise because the connection is over: at once if it streams, and
            if not, when it has taken too long since.
    """

    client: Client
    method: str
    invocation_id: str | None
    by_client: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection is over; plain methods of the client may run on, and say later how they ended.

    Attributes:
        client: Whose it was.
        error: Why, if it was no orderly end.
    """

    client: Client
    error: str | None


Event: TypeAlias = Connected | Received | Called | Completed | Cancelled | Disconnected
"""Anything that :meth:`HubServer.events` tells of."""


def plain(message: ReceivedMessage, protocol: HubProtocol) -> HubMessage[Any]:
    """Return a received message with its payloads decoded."""
    if isinstance(message, Invocation | StreamInvocation):
        return replace(message, arguments=[_value(argument, protocol) for argument in message.arguments])
    if isinstance(message, StreamItem):
        return replace(message, item=_value(message.item, protocol))
    if isinstance(message, Completion):
        return replace(message, result=_value(message.result, protocol))
    return message


def _value(payload: Raw | UnsetType, protocol: HubProtocol) -> Any:
    if payload is UNSET:
        return UNSET
    try:
        return protocol.decode_payload(payload, Any)
    except PayloadError:
        return payload  # what cannot be read stays as it came
