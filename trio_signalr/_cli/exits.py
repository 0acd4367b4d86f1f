"""How a command ends: its exit codes, and what an error is called on standard error."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ..errors import (
    HandshakeError,
    HubClosed,
    InternalError,
    InvocationError,
    NegotiationError,
    PayloadError,
    ProtocolError,
    SignalRError,
    StreamOverflow,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EXIT_CODES", "CommandError", "Exit", "Verdict", "verdict"]


class Exit(IntEnum):
    """The exit codes that have a name here; others are 128 and the number of the signal that ended the command."""

    DONE = 0
    METHOD_FAILED = 1
    USAGE = 2
    NOT_CONNECTED = 3
    LOST = 4
    BUG = 70
    INTERRUPTED = 130


EXIT_CODES = {
    "0": "done; also when the reader of standard output wants no more",
    "1": "the hub method failed",
    "2": "wrong usage, or input or output that cannot be used",
    "3": "could not connect",
    "4": "the connection was lost",
    "70": "a bug of trio_signalr",
    "130": "interrupted by Ctrl-C; 143 when terminated",
}
"""For people: ``--help`` shows these."""


class CommandError(Exception):
    """Something on this side of the network that ends the command; its text is for the user.

    Attributes:
        code: The exit code; ``None`` for the one of a connection that failed, before or after it was open.
        hint: What to do about it.
    """

    def __init__(self, text: str, *, code: Exit | None = Exit.USAGE, hint: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error means for the command.

    Attributes:
        code: The exit code.
        text: What to say.
        hint: What to do about it, if there is something to say.
    """

    code: Exit
    text: str
    hint: str | None = None


def verdict(error: Exception, *, connected: bool) -> Verdict | None:
    """Say what ``error`` means; ``None`` if it is a bug, whose traceback somebody should see.

    Args:
        error: What left the command.
        connected: Whether the hub had been reached before.
    """
    if isinstance(error, ExceptionGroup):
        verdicts = [verdict(each, connected=connected) for each in error.exceptions]
        known = [each for each in verdicts if each is not None]
        return max(known, key=lambda each: each.code) if len(known) == len(verdicts) else None
    failed = Exit.LOST if connected else Exit.NOT_CONNECTED
    text = str(error)
    match error:
        case InternalError():
            return None
        case CommandError():
            return Verdict(failed if error.code is None else error.code, text, error.hint)
        case InvocationError():
            return Verdict(Exit.METHOD_FAILED, f"{error.method} failed: {text}", _method_hint(text))
        case StreamOverflow():
            return Verdict(Exit.USAGE, text, "whoever reads is too slow: see --buffer and --overflow")
        case PayloadError():
            return Verdict(Exit.USAGE, text)
        case NegotiationError() | TransportError():
            return Verdict(failed, text, _network_hint(error))
        case HandshakeError():
            return Verdict(failed, text, "does the server speak that protocol? See --protocol")
        case HubClosed() | ProtocolError() | SignalRError():
            return Verdict(failed, text)
        case ValueError() | TypeError() if not connected:  # options that make no sense
            return Verdict(Exit.USAGE, text)
    return None


def _method_hint(text: str) -> str | None:
    """Name the command that was meant, where the server says that the method is of another kind."""
    if "invoke the streaming" in text:
        return "this method streams: use trio-signalr stream"
    if "invoke the non-streaming" in text:
        return "this method does not stream: use trio-signalr invoke"
    return None


def _network_hint(error: NegotiationError | TransportError) -> str | None:
    if error.status == 401:
        return "see --token-command, --token and the environment variable TRIO_SIGNALR_TOKEN"
    if error.status == 407:
        return "see --proxy"
    if error.status is not None:
        return None
    causes = list(_causes(error))
    if any("CERTIFICATE_VERIFY_FAILED" in each for each in causes):
        return "if a private authority has signed the server's certificate, name it by --ca"
    if any("WRONG_VERSION_NUMBER" in each or "RECORD_LAYER" in each for each in causes):
        return "is this a port for https?"
    if any("Connection refused" in each or "All connection attempts failed" in each for each in causes):
        return "is the server running, and is this its port?"
    return None


def _causes(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__
