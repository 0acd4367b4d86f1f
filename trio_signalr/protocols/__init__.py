"""Hub protocols: how hub messages look as bytes. Sans-I/O; the same code plays client and server."""

from ._base import DEFAULT_MAX_MESSAGE_SIZE, HubProtocol, MessageParser, StreamItems, TransferFormat
from ._dotnet import Char, DateTimeOffset
from .json import JsonHubProtocol
from .messagepack import MessagePackHubProtocol

__all__ = [
    "DEFAULT_MAX_MESSAGE_SIZE",
    "Char",
    "DateTimeOffset",
    "HubProtocol",
    "JsonHubProtocol",
    "MessagePackHubProtocol",
    "MessageParser",
    "StreamItems",
    "TransferFormat",
]
