"""The flight recorder of a connection: its last messages, so that an error can tell what led to it. No content is kept.

It must cost next to nothing, so nothing is done for each item of a stream. A run of items within one read is one
record. Items of uploads are not announced at all: what the writer takes beyond the messages that were announced must
be items. And pings, which would push out everything else on an idle connection, are merely counted.

No clock: whoever reads or writes knows the time, once for all that it reads or writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from .errors import MessageRecord
from .messages import UNSET, Completion, Invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .messages import ReceivedMessage

__all__ = ["NAME_LIMIT", "FlightRecorder"]

SIZE = 40
"""Records kept of one connection."""

ENOUGH = SIZE + 16
"""Records beyond which the oldest are thrown out, down to what is kept."""

_Direction: TypeAlias = Literal["sent", "received", "not sent"]
# Time, direction, type, id, method, count, size. A plain tuple: these are made all the time and hardly ever read.
_Record: TypeAlias = "tuple[float, _Direction, str, str | None, str | None, int, int]"
_Waiting: TypeAlias = "tuple[str, str | None, str | None, int]"  # the same, as long as it has no time


class FlightRecorder:
    """The last messages of one connection, and how many bytes it has carried.

    Attributes:
        bytes_sent: Bytes handed to the transport.
        bytes_received: Bytes that came from it.
        listener: Called with each record as it is made, if somebody listens.
        show_content: Whether somebody wants to see more of the messages than is recorded.
    """

    __slots__ = (
        "_background",
        "_records",
        "_uploads",
        "_waiting",
        "_withdrawn",
        "bytes_received",
        "bytes_sent",
        "listener",
        "show_content",
    )

    def __init__(self) -> None:
        self._records: list[_Record] = []  # an empty deque takes 750 bytes, for each idle connection
        self._waiting: list[_Waiting] = []  # no more than there are in the outbox
        self._withdrawn: set[str] | None = None  # ids of calls among those that were taken back
        self._uploads: dict[str, str] = {}  # those under way, and the methods that they are for
        self._background: dict[str, tuple[float, _Direction, int, int]] = {}  # last time, direction, count, size
        self.bytes_sent: int = 0
        self.bytes_received: int = 0
        self.listener: Callable[[MessageRecord], None] | None = None
        self.show_content: bool = False

    def sending(self, type_: str, id_: str | None, method: str | None, size: int) -> None:
        """A message was put into the outbox; an answer's id is the server's, which may be of any length."""
        if id_ is not None and len(id_) > NAME_LIMIT:
            id_ = id_[:NAME_LIMIT]
        self._waiting.append((type_, id_, method, size))

    def uploading(self, id_: str, method: str) -> None:
        """Items of this upload may follow."""
        self._uploads[id_] = method

    def uploads_over(self, ids: Iterable[str]) -> None:
        """No more items of these will be put."""
        for id_ in ids:
            self._uploads.pop(id_, None)

    def withdrawn(self, id_: str) -> None:
        """What was to be sent under this id was taken back: an empty message goes out in its place."""
        if self._withdrawn is None:  # an empty set takes 200 bytes
            self._withdrawn = set()
        self._withdrawn.add(id_)

    def _live(self) -> list[_Waiting]:
        """What waits; a message that was taken back is an empty one."""
        gone = self._withdrawn
        if gone is None:
            return self._waiting
        return [WITHDRAWN if record[1] in gone and record[0] in ALONE else record for record in self._waiting]

    def written(self, time: float, count: int, size: int) -> None:
        """The writer has taken all that waited, ``count`` messages: those announced, and items of uploads."""
        self.bytes_sent += size
        waiting, self._waiting = self._live(), []
        self._withdrawn = None
        if self._uploads:  # also of those that are too many to be kept
            for type_, id_, *_ in waiting[:-SIZE]:
                if type_ == "Completion" and id_ is not None:
                    self._uploads.pop(id_, None)
        if count == 1 == len(waiting) and (type_ := waiting[0][0]) in ALONE:  # a call after another
            self._keep((time, "sent", type_, waiting[0][1], waiting[0][2], 1, size))
            return
        items = self._items(time, count - len(waiting), size, waiting) if count > len(waiting) else None
        for type_, id_, method, one_size in waiting[-SIZE:]:
            if type_ in LAST and items is not None:
                self._keep(items)
                items = None
            if type_ in BACKGROUND:
                self.background(time, "sent", type_, 1, one_size)
            elif type_ == "Completion" and id_ is not None:
                self._keep((time, "sent", type_, id_, self._uploads.pop(id_, method), 1, one_size))
            elif type_:
                self._keep((time, "sent", type_, id_, method, 1, one_size))
        if items is not None:
            self._keep(items)

    def _items(self, time: float, count: int, size: int, others: list[_Waiting]) -> _Record:
        """What was written and not announced, of ``size`` with the others; with a name if it can be of one upload."""
        size -= sum(other_size for *_, other_size in others)
        id_, method = next(iter(self._uploads.items())) if len(self._uploads) == 1 else (None, None)
        return (time, "sent", "StreamItem", id_, method, count, size)

    def received(self, time: float, type_: str, id_: str | None, method: str | None, size: int, count: int = 1) -> None:
        """A message has come, or a run of stream items; ``id_`` is ``None`` if they are of several streams."""
        if id_ is not None and len(id_) > NAME_LIMIT:
            id_ = id_[:NAME_LIMIT]
        self._keep((time, "received", type_, id_, method, count, size))

    def received_one(self, time: float, message: ReceivedMessage, method_of: Callable[[str], str | None]) -> None:
        """A message has come, by itself; ``method_of`` tells the method of a call in flight."""
        id_, method, size = None, None, 0
        if isinstance(message, Completion):
            id_, method = message.invocation_id, method_of(message.invocation_id)
            size = 0 if message.result is UNSET else len(message.result)
        elif isinstance(message, Invocation):
            id_, method, size = message.invocation_id, message.target[:NAME_LIMIT], sum(map(len, message.arguments))
        self.received(time, type(message).__name__, id_, method, size)

    def background(self, time: float, direction: _Direction, type_: str, count: int, size: int) -> None:
        """Pings and the like: only how many, and the last one's time."""
        key = type_ if direction == "sent" else f"{type_} received"
        _, _, count_before, size_before = self._background.get(key, (0.0, direction, 0, 0))
        self._background[key] = (time, direction, count_before + count, size_before + size)
        if self.listener is not None:
            self.listener(MessageRecord(0.0, direction, type_, None, None, count, size))

    def records(self, now: float) -> tuple[MessageRecord, ...]:
        """What is known at the end of the connection, in order."""
        kept = self._records.copy()
        for key, (time, direction, count, size) in self._background.items():
            kept.append((time, direction, key.partition(" ")[0], None, None, count, size))
        kept.sort(key=lambda record: record[0])  # stable: what has the same time keeps its order
        unsent: list[_Record] = [
            (now, "not sent", type_, id_, method, 1, size) for type_, id_, method, size in self._live() if type_
        ]
        unsent = unsent[-SIZE // 2 :]  # what led here is to be seen, too
        kept = kept[len(unsent) - SIZE :] + unsent
        return tuple(MessageRecord(now - time, *rest) for time, *rest in kept)  # type: ignore[arg-type]

    def _keep(self, record: _Record) -> None:
        records = self._records
        records.append(record)
        if len(records) > ENOUGH:
            del records[:-SIZE]
        if self.listener is not None:
            self.listener(MessageRecord(0.0, *record[1:]))


NAME_LIMIT = 200
"""Characters of a name that are kept: those that come from the server may be as long as it likes."""

WITHDRAWN = ("", None, None, 0)
"""In place of what waited and was taken back."""

BACKGROUND = frozenset(["Ping", "Ack"])
"""Messages that only keep a connection going."""

LAST = frozenset(["CancelInvocation", "Close", "Completion"])
"""Messages that items of uploads come before, if they are written together."""

ALONE = frozenset(["Invocation", "StreamInvocation"])
"""Messages that have nothing to do with others."""
