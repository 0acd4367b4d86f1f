"""What a hub protocol owes to the rest: bytes to messages, messages to bytes, no I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from msgspec import Raw, Struct

from ..messages import StreamItem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from typing_extensions import TypeForm

    from ..messages import HubMessage, ReceivedMessage

__all__ = ["DEFAULT_MAX_MESSAGE_SIZE", "HubProtocol", "MessageParser", "StreamItems", "TransferFormat"]

T = TypeVar("T")

TransferFormat: TypeAlias = Literal["Text", "Binary"]
"""What a transport must be able to carry, spelled as negotiate spells it."""

DEFAULT_MAX_MESSAGE_SIZE = 64 * 2**20
"""Bytes of one incoming hub message, its framing not counted."""


class StreamItems(Struct, frozen=True, gc=False):
    """Consecutive :class:`StreamItem` messages of one stream, handed over as one. It is no message of the wire.

    Attributes:
        invocation_id: The invocation's or the upload's id.
        items: The payloads, in order; at least one.
        size: Bytes of the messages, with their framing.
    """

    invocation_id: str
    items: list[Raw]
    size: int


class MessageParser(ABC):
    """Turns the bytes of one connection into hub messages, wherever they were cut or joined.

    One parser serves one direction of one connection; it keeps the bytes of the message that is not complete yet.
    """

    @abstractmethod
    def feed(self, data: bytes) -> list[ReceivedMessage]:
        """Take the next bytes and return the messages that are now complete, in order.

        Messages of unknown type are left out, as all clients do. When malformed input follows good messages in
        ``data``, the good ones are returned and the error is raised by the next call: call again, with ``b""``, until
        nothing comes.

        Raises:
            ProtocolError: The input is malformed or a message is beyond the limit; every further call raises it too.
        """

    def feed_runs(self, data: bytes) -> Collection[ReceivedMessage | StreamItems]:
        """Do as :meth:`feed`, for a receiver to whom many items of one stream at once are all the same.

        A parser that is faster at many says how. Calls of the two may be mixed.
        """
        return self.feed(data)


class HubProtocol(ABC):
    """An encoding of hub messages. Stateless, so one object serves any number of connections.

    Attributes:
        name: As the handshake spells it.
        transfer_format: What the transport must be able to carry.
    """

    name: str
    transfer_format: TransferFormat

    @abstractmethod
    def encode(self, message: HubMessage[object]) -> bytes:
        """Return ``message`` with its framing.

        Raises:
            PayloadError: A payload that this protocol cannot encode; ``.path`` starts at the payload's own place
                (``$.arguments[1].when``, ``$.item``, ``$.result``).
        """

    def item_encoder(self, stream_id: str) -> Callable[[object], bytes]:
        """Return a function that encodes the items of one upload: what :meth:`encode` makes of a ``StreamItem``.

        A protocol that is faster at many says how.
        """
        return lambda item: self.encode(StreamItem(stream_id, item))

    @abstractmethod
    def parser(self, *, max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE) -> MessageParser:
        """Return a parser for the messages of one connection.

        Args:
            max_message_size: Bytes that one message may have, framing not counted; ``math.inf`` for no limit.
        """

    @abstractmethod
    def decode_payload(self, payload: Raw, type_: TypeForm[T]) -> T:
        """Return a received payload as a value of ``type_`` (``typing.Any``: plain decoded values).

        Raises:
            PayloadError: The payload does not fit, or is malformed inside; ``.path`` starts with ``$``, the payload.
        """

    def decode_payloads(self, payloads: list[Raw], type_: TypeForm[T]) -> list[T]:
        """Return what :meth:`decode_payload` makes of each; a protocol that is faster with all at once says how.

        Raises:
            PayloadError: One of them does not fit; which one is not said.
        """
        return [self.decode_payload(payload, type_) for payload in payloads]
