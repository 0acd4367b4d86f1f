"""The content of hub messages as text, for the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ._logs import show_content
from .errors import PayloadError, ProtocolError
from .messages import Completion, Invocation, StreamInvocation, StreamItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import Raw

    from .messages import ReceivedMessage
    from .protocols import HubProtocol

__all__ = ["show_received", "show_sent"]

ENOUGH = 16 * 1024
"""Bytes of a binary payload above which it is shown as it is: only its beginning would be seen of what it means."""


def show_sent(messages: Iterable[bytes], protocol: HubProtocol) -> None:
    """Log what encoded messages have in them."""
    for data in messages:
        try:
            _show("→", protocol.parser().feed(data), protocol)
        except ProtocolError as error:  # what we send ourselves the parser knows, unless it is the user's own
            show_content("→", f"not readable: {error}")


def show_received(messages: Iterable[ReceivedMessage], protocol: HubProtocol) -> None:
    """Log what messages have in them."""
    _show("←", messages, protocol)


def _show(arrow: str, messages: Iterable[ReceivedMessage], protocol: HubProtocol) -> None:
    for message in messages:
        match message:
            case StreamItem():
                payloads, name = [message.item], message.invocation_id
            case Invocation() | StreamInvocation():
                payloads, name = message.arguments, f"{message.invocation_id or ''} {message.target!r}".strip()
            case Completion(error=None):
                payloads, name = [] if message.result is UNSET else [message.result], message.invocation_id
            case Completion():
                payloads, name = [], f"{message.invocation_id} error {message.error!r}"
            case _:
                continue
        show_content(f"{arrow} {type(message).__name__} {name}", ", ".join(_text(each, protocol) for each in payloads))


def _text(payload: Raw, protocol: HubProtocol) -> str:
    if protocol.transfer_format == "Text":
        return bytes(payload).decode("utf-8", "backslashreplace")
    if len(payload) > ENOUGH:
        return repr(bytes(payload))
    try:
        return repr(protocol.decode_payload(payload, Any))
    except (PayloadError, RecursionError):  # the text of what is nested takes more stack than itself
        return repr(bytes(payload))
