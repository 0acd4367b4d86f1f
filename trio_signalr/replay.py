"""Stateful reconnect's bookkeeping: numbers, acknowledgements, and what to send again. No I/O.

Each side numbers the messages that count (invocations, items, completions, cancellations) from 1 and keeps them until
the peer has acknowledged them. On a new socket each side first says by a Sequence message which number comes next, then
sends again what was not acknowledged; the receiver drops what it has seen.

ASP.NET Core has a gap in its counting: an upload item whose stream it does not know any more (the method is over, or
the stream has ended) is not counted, so that from then on its numbers lag behind ours: the next message is taken for
one that it has seen, and lost. We cannot know what it knows, but we can make both sides agree whatever it knows: say
"next comes ``k``" again, where ``k`` is the first number in doubt, and send a message that means nothing (the
cancellation of an unknown id) for each number from there on. Those already counted are dropped as duplicates, the
others fill the gap.

Source: the MessageBuffer of the .NET and JavaScript clients for the numbers; the gap and its mending were seen on
ASP.NET Core 10.
"""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from .errors import ProtocolError
from .messages import CancelInvocation, Completion, Invocation, Sequence, StreamInvocation, StreamItem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from .messages import HubMessage, ReceivedMessage
    from .protocols import HubProtocol

__all__ = ["BUFFER_LIMIT", "COUNTED", "Replay"]

BUFFER_LIMIT = 100_000
"""Bytes sent and not acknowledged above which senders should wait; the reference clients have the same."""

COUNTED = (Invocation, StreamInvocation, StreamItem, Completion, CancelInvocation)
"""The messages that are numbered; the others are not, nor are they sent again."""

FILLER = CancelInvocation("0")  # never the id of a call of ours: they start at 1


class _Sent(NamedTuple):
    number: int
    data: bytes
    stream_id: str | None  # of an upload's item


class Replay:
    """The numbers of one logical connection, in both directions, over all its sockets.

    Args:
        protocol: Encodes what is sent in between.
        filler: The message that means nothing: the peer has to count it, and to ignore it. By default what a server
            does that with. The JavaScript client does not count what only clients send.
    """

    def __init__(self, protocol: HubProtocol, filler: HubMessage[object] = FILLER) -> None:
        self._sequence: Callable[[int], bytes] = lambda number: protocol.encode(Sequence(number))
        self._filler = protocol.encode(filler)
        self._unacknowledged: deque[_Sent] = deque()
        self._size = 0
        self._last_sent = 0
        self._rewound_to: int | None = None  # a Sequence has set the peer's count back to this number ...
        self._rewound_from = 0  # ... and only an Ack beyond this one shows that it has counted on from there
        self._next_received = 1
        self._latest_received = 0
        self._awaiting_sequence = False

    # Sending

    @property
    def size(self) -> int:
        """Bytes sent and not acknowledged."""
        return self._size

    @property
    def first_item(self) -> int | None:
        """The number of the first upload item that is not acknowledged."""
        return next((sent.number for sent in self._unacknowledged if sent.stream_id is not None), None)

    @property
    def has_room(self) -> bool:
        """Whether more should be sent now."""
        return self._size < BUFFER_LIMIT

    def sent(self, data: bytes, stream_id: str | None = None) -> None:
        """A counted message goes out; ``stream_id`` if it is an item of an upload."""
        self._last_sent += 1
        self._size += len(data)
        self._unacknowledged.append(_Sent(self._last_sent, data, stream_id))

    def acknowledged(self, number: int) -> None:
        """The peer has seen everything up to ``number``."""
        if number > self._rewound_from:
            self._rewound_to = None
        while self._unacknowledged and self._unacknowledged[0].number <= number:
            self._size -= len(self._unacknowledged.popleft().data)

    def resend(self) -> list[bytes]:
        """Return the messages to send first on a new socket."""
        first = self._unacknowledged[0].number if self._unacknowledged else self._last_sent + 1
        start = self._rewind(first)
        messages = [self._sequence(start), *[self._filler] * (first - start)]
        for stream_id, run in groupby(self._unacknowledged, key=lambda sent: sent.stream_id):
            again = list(run)
            messages += [sent.data for sent in again]
            if stream_id is not None:  # the peer may not know the stream any more
                messages += self._mend(again[0].number, again[-1].number)
        return messages

    def forget_items(self, stream_ids: Collection[str]) -> int | None:
        """Uploads are over: their items are of no use any more, so something else takes their numbers.

        Returns:
            The first number from which on the peer may have counted less than was sent; ``None`` if there is none.
        """
        doubtful = None
        for index, sent in enumerate(self._unacknowledged):
            if sent.stream_id in stream_ids:
                doubtful = sent.number if doubtful is None else doubtful
                self._size += len(self._filler) - len(sent.data)
                self._unacknowledged[index] = _Sent(sent.number, self._filler, None)
        return doubtful

    def mend(self, first: int) -> list[bytes]:
        """Return the messages that make both sides' numbers agree if the peer may have skipped some from there on."""
        self._rewind(first)
        return list(self._mend(first, self._last_sent))

    def _rewind(self, number: int) -> int:
        """Note that the peer's count is set back to ``number``, or lower if it may stand lower; return to which.

        What it has acknowledged it has seen, but after an earlier Sequence it may not have counted up to there again
        before the connection was lost, and a higher number would be one that it takes for a loss.
        """
        self._rewound_to = number if self._rewound_to is None else min(number, self._rewound_to)
        self._rewound_from = self._last_sent
        return self._rewound_to

    def _mend(self, first: int, last: int) -> Iterator[bytes]:
        yield self._sequence(first)
        for _ in range(first, last + 1):
            yield self._filler

    # Receiving

    @property
    def latest_received(self) -> int:
        """The number to acknowledge; 0 if there is none yet."""
        return self._latest_received

    @property
    def awaiting_sequence(self) -> bool:
        """Whether the peer has not said yet where it goes on."""
        return self._awaiting_sequence

    @property
    def last_sent(self) -> int:
        """The number given last."""
        return self._last_sent

    def reconnected(self) -> None:
        """A new socket: nothing counts before the peer's Sequence."""
        self._awaiting_sequence = True

    def received(self, message: ReceivedMessage) -> bool:
        """Count a received message; whether it is to be processed, and not one that was seen before.

        Raises:
            ProtocolError: A Sequence that tells of lost messages.
        """
        if isinstance(message, Sequence):
            self._on_sequence(message.sequence_id)
            return False
        if self._awaiting_sequence:
            return False
        if not isinstance(message, COUNTED):
            return True
        number = self._next_received
        self._next_received += 1
        if number <= self._latest_received:
            return False
        self._latest_received = number
        return True

    def _on_sequence(self, number: int) -> None:
        if number > self._next_received:
            raise ProtocolError(
                f"messages were lost: the peer goes on with number {number}, expected was {self._next_received}"
            )
        self._next_received = number
        self._awaiting_sequence = False
