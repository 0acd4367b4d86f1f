"""Every exception of trio_signalr.

::

    SignalRError
    ├─ NegotiationError    the negotiate request or its answer; .url .status
    ├─ HandshakeError      the hub refused the handshake, or never answered it
    ├─ TransportError      the network under the hub messages; .url .status
    ├─ ProtocolError       the peer sent what is no hub message
    ├─ InvocationError     the hub method failed; .method
    ├─ PayloadError        a value does not fit its type or the hub protocol; .path
    ├─ StreamOverflow      a buffer with overflow="error" was full (also trio.BrokenResourceError)
    ├─ HubClosed           the connection ended (also trio.BrokenResourceError)
    │  └─ ServerTimeout    ... because the server was silent for too long
    └─ InternalError       a bug of ours: please report it

    HubException           not raised by us: raise it to answer the peer with a text of your choice

A stored reason is data; each waiter gets a new exception built from it, so that tracebacks do not pile up on a shared
instance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trio import BrokenResourceError

__all__ = [
    "CloseReport",
    "HandshakeError",
    "HubClosed",
    "HubException",
    "InternalError",
    "InvocationError",
    "MessageRecord",
    "NegotiationError",
    "PayloadError",
    "ProtocolError",
    "ServerTimeout",
    "SignalRError",
    "StreamOverflow",
    "TransportError",
]


class SignalRError(Exception):
    """Base of all errors that trio_signalr raises by itself."""


class NegotiationError(SignalRError):
    """The negotiate request failed, or its answer cannot be used.

    Attributes:
        url: The URL asked, without credentials, query and fragment; ``None`` where no request was made.
        status: The HTTP status answered; ``None`` if there was no answer.
    """

    def __init__(self, message: str, *, url: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class HandshakeError(SignalRError):
    """The hub handshake failed: refused (the text is the server's), malformed, cut short, or never answered."""


class TransportError(SignalRError):
    """The network connection under the hub messages could not be opened, or broke.

    Attributes:
        url: The URL asked, without credentials, query and fragment; ``None`` where there is none.
        status: The HTTP status that refused the transport; ``None`` if it was no refusal.
    """

    def __init__(self, message: str, *, url: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class ProtocolError(SignalRError):
    """The peer sent something that is no hub message, or one beyond ``max_message_size``.

    Attributes:
        report: All that is known of the connection that it ended; ``None`` if it ended none.
    """

    def __init__(self, message: str, *, report: CloseReport | None = None) -> None:
        super().__init__(message)
        self.report = report


class InvocationError(SignalRError):
    """A hub method failed. ``str(error)`` is the server's text.

    Attributes:
        method: The method's name, as it was called.
    """

    def __init__(self, message: str, *, method: str) -> None:
        super().__init__(message)
        self.method = method


class PayloadError(SignalRError):
    """A value does not fit: the type asked for does not match, or the hub protocol cannot encode it.

    Attributes:
        path: Where in the value, ``$`` being the whole: ``$[3].when``.
    """

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(message)
        self.path = path


class StreamOverflow(SignalRError, BrokenResourceError):
    """A stream or subscription opened with ``overflow="error"`` got more than ``max_buffer_size`` items."""


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One of the last messages before a connection ended, without its content; or a run of items that came together.

    Attributes:
        before_end: Seconds before the end of the connection.
        direction: ``"sent"``, ``"received"``, or ``"not sent"`` for what the end was too soon for.
        type: As the protocol names it: ``"StreamItem"``.
        id: The invocation's or upload's; ``None`` if there is none, or if they are several. Cut if it is very long.
        method: The method or target, where it is known; cut if it is very long.
        count: How many messages. Pings and Acks are counted over the whole connection, and told at the last one's time.
        size: Bytes: of the encoded message if it was sent, of its payloads if it was received. Of a run of items, their
            share of what was sent or received together.
    """

    before_end: float
    direction: Literal["sent", "received", "not sent"]
    type: str
    id: str | None
    method: str | None
    count: int
    size: int

    def __str__(self) -> str:
        arrow = "←" if self.direction == "received" else "→"
        text = f"{arrow} {self.type}"
        if self.count > 1:
            text += f" ×{self.count:,}{' of' if self.id is not None else ''}"
        if self.id is not None:
            text += f" {self.id if self.id.isprintable() else repr(self.id)}"
        if self.method is not None:
            text += f" {self.method!r}"
        if self.size:
            text += f", {_readable(self.size)}"
        return f"{text}, not sent" if self.direction == "not sent" else text


def _readable(size: int) -> str:
    for limit, unit in ((1000, "B"), (1000**2, "kB"), (1000**3, "MB")):
        if size < limit:
            return f"{size} B" if unit == "B" else f"{size / (limit / 1000):.1f} {unit}"
    return f"{size / 1000**3:.1f} GB"


@dataclass(frozen=True, slots=True)
class CloseReport:
    """How a connection to a hub ended, as far as it is known.

    Attributes:
        closed_by: ``"server"``, ``"client"``, or ``"network"`` if nobody did and it broke.
        reason: What happened, in a few words.
        code: The WebSocket close code that the server sent; ``None`` if it sent none, and on other transports.
        error: The server's text, if it sent one.
        allow_reconnect: Whether connecting again makes sense.
        attempts: Attempts to reconnect that failed after it.
        messages: The last few dozen messages, in order and without content. They say nothing about being equal.
    """

    closed_by: Literal["server", "client", "network"]
    reason: str
    code: int | None = None
    error: str | None = None
    allow_reconnect: bool = False
    attempts: int = 0
    messages: tuple[MessageRecord, ...] = field(default=(), compare=False, repr=False)

    @property
    def history(self) -> str:
        """The last messages as text, a line each; empty if there were none."""
        if not self.messages:
            return ""
        lines = [f"{record.before_end:10.3f}  {record}" for record in self.messages]
        return "\n".join(["The last messages, by seconds before the connection ended:", *lines])


class HubClosed(SignalRError, BrokenResourceError):
    """The connection to the hub ended.

    Attributes:
        error: The server's text, if it sent one.
        allow_reconnect: Whether the server said that reconnecting makes sense; a broken connection counts as ``True``.
        sent: For the call that it hit: ``True``, all its bytes were handed to the transport (no promise that the server
            acted on it); ``False``, none were, so it is safe to repeat; ``None``, the write was under way. ``None`` too
            on the error that leaves the ``open_hub`` block.
        report: All that is known of the end; ``None`` on an error that was not made by us.
    """

    def __init__(
        self,
        message: str,
        *,
        error: str | None = None,
        allow_reconnect: bool = False,
        sent: bool | None = None,
        report: CloseReport | None = None,
    ) -> None:
        super().__init__(message)
        self.error = error
        self.allow_reconnect = allow_reconnect
        self.sent = sent
        self.report = report


class ServerTimeout(HubClosed):
    """The server sent nothing for ``server_timeout`` seconds, and was given up."""


class InternalError(SignalRError):
    """A bug in trio_signalr; ``__cause__`` is what went wrong. Please report it.

    Attributes:
        report: All that is known of the connection that it ended; ``None`` if it ended none.
    """

    def __init__(self, message: str, *, report: CloseReport | None = None) -> None:
        super().__init__(message)
        self.report = report


class HubException(Exception):
    """Raise this to answer the peer with a text of your choice.

    In a client's handler the text goes to the server that awaits the answer, and the connection lives on. In a
    :class:`trio_signalr.testing.HubServer` method it goes to the client.
    """
