"""A Trio-native client for ASP.NET Core SignalR: a connection is a scope, a stream is a channel."""

from ._handlers import Registration as Registration
from ._hub import HubConnection as HubConnection
from ._open import open_hub as open_hub
from ._states import HubState as HubState, StateChange as StateChange
from ._streams import HubStream as HubStream
from ._typed import streaming as streaming
from ._uploads import Upload as Upload
from ._version import __version__ as __version__
from .errors import (
    CloseReport as CloseReport,
    HandshakeError as HandshakeError,
    HubClosed as HubClosed,
    HubException as HubException,
    InternalError as InternalError,
    InvocationError as InvocationError,
    MessageRecord as MessageRecord,
    NegotiationError as NegotiationError,
    PayloadError as PayloadError,
    ProtocolError as ProtocolError,
    ServerTimeout as ServerTimeout,
    SignalRError as SignalRError,
    StreamOverflow as StreamOverflow,
    TransportError as TransportError,
)
from .protocols import (
    Char as Char,
    DateTimeOffset as DateTimeOffset,
    HubProtocol as HubProtocol,
    JsonHubProtocol as JsonHubProtocol,
    MessagePackHubProtocol as MessagePackHubProtocol,
)
from .retry import ExponentialBackoff as ExponentialBackoff, RetryContext as RetryContext, RetryDelays as RetryDelays

__all__ = [
    "Char",
    "CloseReport",
    "DateTimeOffset",
    "ExponentialBackoff",
    "HandshakeError",
    "HubClosed",
    "HubConnection",
    "HubException",
    "HubProtocol",
    "HubState",
    "HubStream",
    "InternalError",
    "InvocationError",
    "JsonHubProtocol",
    "MessagePackHubProtocol",
    "MessageRecord",
    "NegotiationError",
    "PayloadError",
    "ProtocolError",
    "Registration",
    "RetryContext",
    "RetryDelays",
    "ServerTimeout",
    "SignalRError",
    "StateChange",
    "StreamOverflow",
    "TransportError",
    "Upload",
    "open_hub",
    "streaming",
]
