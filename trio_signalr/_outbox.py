"""Where messages wait for the one writer of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from ._flow import Flow
from ._recorder import FlightRecorder

if TYPE_CHECKING:
    from .replay import Replay

__all__ = ["Outbox", "ReplayOutbox"]

HIGH_WATER = 64 * 1024
"""Bytes waiting in an outbox above which senders wait."""

CALLS_HIGH_WATER = 1024 * 1024
"""The same for calls that wait for an answer: each has a task, which takes far more memory than its message."""

ENOUGH = 16 * 1024
"""Bytes that a busy writer does not wait for more than."""


class Outbox:
    """Messages on their way to the one writer of a connection.

    Putting is synchronous, so it is atomic (cancelled means not put, returned means put) and fit for cleanup code.
    Whoever produces a lot waits for room first, in the order of asking, and then puts with no checkpoint in between.
    The writer takes all that has gathered at once.

    Every message gets a ticket, a running number; three counters then answer for each message whether it was written.

    Attributes:
        recorder: Told of every message that is put, but for items of uploads.
    """

    def __init__(self, flow: Flow | None = None, high_water: int = HIGH_WATER) -> None:
        self.recorder: FlightRecorder = FlightRecorder()
        self._flow = Flow() if flow is None else flow
        self._high_water = high_water
        self._pending: list[bytes] = []
        self._size = 0
        self._taken = 0  # messages handed to the writer, ever
        self._written = 0  # messages that the transport has accepted, ever
        self._closed = False
        self._line = trio.StrictFIFOLock()  # whoever waits for room first gets it first
        self._room = trio.Event()
        self._mail: trio.Event | None = None  # there is one while the writer waits
        self._progress = trio.Event()

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, so that nothing put from now on goes anywhere."""
        return self._closed

    @property
    def idle(self) -> bool:
        """Whether everything put so far was written."""
        return not self._pending and self._written == self._taken

    # For senders

    def put(self, data: bytes, stream_id: str | None = None, *, counted: bool = True) -> int:
        """Append one encoded message and return its ticket. Into a closed outbox it goes for nothing.

        By itself for items of uploads only, of which there are too many to be recorded.

        Args:
            data: The message with its framing.
            stream_id: For an item of an upload, the upload's.
            counted: Whether it is one of those that stateful reconnect numbers.
        """
        ticket = self._taken + len(self._pending)
        if not self._closed:
            self._pending.append(data)
            self._size += len(data)
            if self._mail is not None:
                self._ring()
        return ticket

    def put_message(
        self, data: bytes, type_: str, id_: str | None = None, method: str | None = None, *, counted: bool = True
    ) -> int:
        """Put a message that is no item of an upload, and tell the recorder; otherwise as :meth:`put`."""
        self.recorder.sending(type_, id_, method, len(data))
        return self.put(data, counted=counted)

    def withdraw(self, ticket: int) -> bool:
        """Take a message back; ``False`` if the writer has it already."""
        index = ticket - self._taken
        if index < 0:
            return False
        if index < len(self._pending):
            self._size -= len(self._pending[index])
            self._pending[index] = b""  # its number stays taken
            self._make_room()
        return True

    def sent(self, ticket: int) -> bool | None:
        """Whether that message was written: ``True``, ``False``, or ``None`` for a write that was under way."""
        if ticket < self._written:
            return True
        return None if ticket < self._taken else False

    def uploads_over(self, stream_ids: list[str]) -> None:
        """No items of these uploads are of any use from now on."""

    @property
    def has_room(self) -> bool:
        """Whether a sender may put without waiting; ``True`` once closed, for then nothing is worth waiting for."""
        return not (self._is_full() or self._line.locked()) or self._closed

    @property
    def has_room_for_call(self) -> bool:
        """Whether a call that waits for an answer may put without waiting; it need not stand in line."""
        return self._size < CALLS_HIGH_WATER or self._closed

    async def wait_for_room(self) -> None:
        """Wait until there is room, or the outbox is closed; a checkpoint only if it waits."""
        if self.has_room:
            return
        self._flow.add_waiting()  # a peer that we do not read may not read either, and acknowledges nothing
        try:
            async with self._line:
                while self._is_full() and not self._closed:
                    self._room = trio.Event()
                    await self._room.wait()
        finally:
            self._flow.remove_waiting()
            self._ring()  # cancelled, this may have been the one that the writer waits for

    async def flushed(self) -> None:
        """Wait until all that was put before is written, or the outbox is closed."""
        target = self._taken + len(self._pending)
        while self._written < target and not self._closed:
            await self._progress.wait()

    # For the writer

    async def take(self) -> list[bytes]:
        """Wait for mail and return all there is; call :meth:`done` when it is written."""
        if self._pending:
            await self._gather()
        while not self._pending or self._more_to_come():
            self._mail = trio.Event()
            await self._mail.wait()
            self._mail = None
        taken, self._pending, self._size = self._pending, [], 0
        self._taken += len(taken)
        self._make_room()
        return taken

    async def _gather(self) -> None:
        """More has come during the last write: let whoever is at it go on, for a write costs as much as many items."""
        size = 0
        while size < self._size < ENOUGH:
            size = self._size
            await trio.lowlevel.checkpoint()

    def done(self) -> None:
        """All that was taken has been written."""
        self._written = self._taken
        self._progress.set()
        self._progress = trio.Event()

    def close(self) -> None:
        """The connection is gone: drop what is left, wake everybody. What was not written stays unwritten."""
        self._closed = True
        self._room.set()
        self._progress.set()

    def _is_full(self) -> bool:
        return self._size >= self._high_water

    def _more_to_come(self) -> bool:
        """Whether somebody is just about to put: those in line come in one by one, and had better leave together."""
        return self._line.locked() and not self._is_full()

    def _ring(self) -> None:
        if self._mail is not None and not self._more_to_come():
            self._mail.set()

    def _make_room(self) -> None:
        if not self._is_full():
            self._room.set()


class _Tag(NamedTuple):
    """What stateful reconnect has to know of a message in the outbox."""

    stream_id: str | None = None
    counted: bool = True
    mend_from: int | None = None  # in place of a message: make the numbers agree from here on


class ReplayOutbox(Outbox):
    """An outbox for stateful reconnect: what the writer takes is numbered and kept until the peer acknowledges it.

    There is no room while too much is not acknowledged.
    """

    def __init__(self, replay: Replay, flow: Flow | None = None, high_water: int = HIGH_WATER) -> None:
        super().__init__(flow, high_water)
        self._replay = replay
        self._tags: list[_Tag] = []

    def put(self, data: bytes, stream_id: str | None = None, *, counted: bool = True) -> int:
        """See :meth:`Outbox.put`."""
        return self._put(data, _Tag(stream_id, counted))

    def uploads_over(self, stream_ids: list[str]) -> None:
        """See :meth:`Outbox.uploads_over`; the peer may have counted less than was sent, which is mended."""
        first = self._replay.forget_items(stream_ids)
        if first is None and any(tag.stream_id in stream_ids for tag in self._tags):
            first = self._replay.last_sent + 1  # items that the writer has not taken yet
        if first is not None:
            self.mend(first)

    def mend(self, first: int) -> None:
        """Make the numbers agree from ``first`` on, once the writer comes to this place."""
        self._put(b"", _Tag(counted=False, mend_from=first))

    @property
    def stuck_at(self) -> int | None:
        """The first upload item that is not acknowledged, if there is no room because of what is not."""
        return None if self._replay.has_room else self._replay.first_item

    def acknowledged(self, number: int) -> None:
        """The peer has seen everything up to ``number``."""
        self._replay.acknowledged(number)
        self._make_room()

    def resend(self) -> list[bytes]:
        """Return the messages to send first on a new socket: all that were taken and are not acknowledged."""
        return self._replay.resend()

    async def take(self) -> list[bytes]:
        """See :meth:`Outbox.take`."""
        taken = await super().take()
        tags, self._tags = self._tags, []
        return [message for data, tag in zip(taken, tags, strict=True) for message in self._numbered(data, tag)]

    def _put(self, data: bytes, tag: _Tag) -> int:
        if not self._closed:
            self._tags.append(tag)
        return super().put(data)

    def _numbered(self, data: bytes, tag: _Tag) -> list[bytes]:
        if tag.mend_from is not None:
            return self._replay.mend(tag.mend_from)
        if tag.counted and data:  # what was withdrawn has no number
            self._replay.sent(data, tag.stream_id)
        return [data]

    @property
    def has_room_for_call(self) -> bool:
        """See :meth:`Outbox.has_room_for_call`."""
        return (super().has_room_for_call and self._replay.has_room) or self._closed

    def _is_full(self) -> bool:
        return super()._is_full() or not self._replay.has_room
