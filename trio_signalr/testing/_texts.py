"""What the server says when something goes wrong, word for word as ASP.NET Core does.

A text is a head and a detail. The detail names the exception; strangers see it only if it is a :exc:`HubException`,
which is raised for them to see, or if the server was told to be open about errors.

Source: the protocol notes, "Error texts of the server" and "Sizes", seen on ASP.NET Core 3.1 and 10.
"""

from __future__ import annotations

import math

from ..errors import HubException

__all__ = ["InvalidDataException", "OperationCanceledException", "describe", "invalid_data"]

BAD_CALL = "Failed to invoke '{}' due to an error on the server."
METHOD_FAILED = "An unexpected error occurred invoking '{}' on the server."
STREAM_FAILED = "An error occurred on the server while streaming results."
CLOSED = "Connection closed with an error."
BAD_HANDSHAKE = "An unexpected error occurred during connection handshake."
BAD_ITEM = "Failed to bind Stream message."

MUST_NOT_STREAM = "The client attempted to invoke the non-streaming '{}' method with a streaming invocation."
MUST_STREAM = "The client attempted to invoke the streaming '{}' method with a non-streaming invocation."
NO_STREAM = "The value returned by the streaming method '{}' is not a ChannelReader<> or IAsyncEnumerable<>."
ID_IN_USE = "Invocation ID '{}' is already in use."

NO_METHOD = "Method does not exist."
ARGUMENT_COUNT = "Invocation provides {} argument(s) but target expects {}."
ARGUMENT_TYPES = (
    "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being "
    "invoked."
)
STREAM_COUNT = "Client sent {} stream(s), Hub method expects {}."
CONNECTION_GONE = "The underlying connection was closed."

HANDSHAKE_CANCELED = "Handshake was canceled."
NO_PROTOCOL = "The protocol '{}' is not supported."
NO_FORMAT = (
    "Cannot use the '{}' protocol on the current transport. The transport does not support '{}' transfer format."
)
NO_VERSION = "The server does not support version {} of the '{}' protocol."

LOST_MESSAGES = "Sequence ID greater than amount of messages we've received."
CLIENT_SILENT = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
TOO_LARGE = "The maximum message size of {:.0f}B was exceeded. The message size can be configured in AddHubOptions."
BAD_RESULT = "Error trying to deserialize result to {}. {}"
NO_RESULT = "The client answered without a result."


class InvalidDataException(Exception):  # noqa: N818, RUF100 - named as in .NET, for the name is on the wire
    """What a client sent cannot be used."""


class OperationCanceledException(Exception):  # noqa: N818, RUF100 - named as in .NET, for the name is on the wire
    """The server has waited long enough."""


def describe(head: str, error: BaseException, *, detailed: bool) -> str:
    """Return what a client may know of ``error``."""
    if detailed or isinstance(error, HubException):
        text = f"{head} {type(error).__name__}: {error}"
        return text.encode(errors="replace").decode()  # a lone surrogate cannot be sent
    return head


def invalid_data(error: Exception, limit: float = math.inf) -> InvalidDataException:
    """Return what ASP.NET Core calls such an error; about a message over the limit it has a text of its own."""
    too_large = "over max_message_size" in str(error)
    return InvalidDataException(TOO_LARGE.format(limit) if too_large else str(error))
