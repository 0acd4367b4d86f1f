"""What the user receives from: server streams and subscriptions.

Both are a buffer that the reader fills, and an end that comes after the last item; it is kept as data and raised anew
for each ``receive``. Items of streams are converted before they are buffered, as many at once as a read brings;
arguments, of which there are fewer, when they are taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ._calls import Call, Unsettled
from ._flow import Buffer
from ._tools import ConflictDetector, Pace
from ._waiting import Awaited
from .errors import InvocationError, PayloadError, StreamOverflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from msgspec import Raw
    from typing_extensions import TypeForm

    from ._calls import Calls
    from ._endings import Ending
    from ._flow import Flow, Overflow
    from .messages import Completion

__all__ = ["Batches", "BufferedChannel", "ChannelStatistics", "HubStream", "StreamCall"]

T = TypeVar("T")

_NOTHING: list[Any] = []
"""What is ready where nothing is; never to be filled."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A snapshot of a stream's or subscription's buffer.

    Attributes:
        current_buffer_used: Items received and not taken yet.
        max_buffer_size: The mark that was asked for.
        dropped: Items forgotten because of ``overflow="drop_oldest"``.
    """

    current_buffer_used: int
    max_buffer_size: float
    dropped: int


class BufferedChannel(trio.abc.ReceiveChannel[T], Awaited):
    """A receive channel over a :class:`Buffer` that somebody else fills.

    Attributes:
        unsettled: The end of a connection waits until what is held was taken, or the channel closed.
    """

    _converts: ClassVar[bool] = False  # items as they are taken, each by itself: :meth:`_read` may refuse one

    def __init__(self, flow: Flow, max_buffer_size: float, overflow: Overflow, name: str) -> None:
        self._buffer: Buffer[Any] = Buffer(flow, max_buffer_size, overflow)
        self._flow = flow
        self._name = name
        self._conflict = ConflictDetector(f"another task is receiving from {name}")
        self._task = None
        self._end: Callable[[], BaseException] | None = None
        self._closed = False
        self._left = Pace.EVERY
        self._ready: list[Any] = _NOTHING  # taken from the buffer for `async for`, the next one last
        self.unsettled: Unsettled = Unsettled()

    # For whoever fills it

    @property
    def open(self) -> bool:
        """Whether the user still wants items, and there can be more."""
        return not self._closed and self._end is None

    @property
    def ended(self) -> bool:
        """Whether no more items will come; the user may still have some to take."""
        return self._end is not None

    @property
    def loses_nothing(self) -> bool:
        """Whether items wait in it for as long as it takes."""
        return self._buffer.loses_nothing

    @property
    def failure(self) -> Exception | None:
        """Why it has ended, unless in good order."""
        error = None if self._end is None else self._end()
        return error if isinstance(error, Exception) and not isinstance(error, trio.EndOfChannel) else None

    def put(self, items: Sequence[Any]) -> bool:
        """Add received items; ``False`` if the buffer refused one, which is the end of the channel."""
        if self._end is not None:
            return True  # late: what ended the channel is to be seen next
        accepted = self._buffer.put_all(items)
        if not accepted:
            size = self._buffer.max_buffer_size
            self.finish(lambda: StreamOverflow(f"more than {size} items of {self._name} were not taken"))
        self._wake()
        return accepted

    def finish(self, end: Callable[[], BaseException]) -> None:
        """No more items will come; ``end`` makes the exception that says why. The first end counts."""
        if self._end is None:
            self._put_back()  # from now on each item that is taken counts
            self._end = end
            self._buffer.release()
            self._wake()

    # For the user

    async def receive(self) -> T:
        """Wait for the next item and return it.

        Raises:
            trio.EndOfChannel: The stream has ended normally.
            InvocationError: The hub method failed; what came before that was delivered before.
            PayloadError: The item does not fit the type asked for.
            StreamOverflow: With ``overflow="error"``, more items came than the buffer takes.
            HubClosed: The connection ended; what came before that was delivered before.
            trio.ClosedResourceError: This channel was closed.
            trio.BusyResourceError: Another task is receiving.

        Cancellation: nothing is lost, the item stays.
        Checkpoint: a cancel point each time, a schedule point when it waits and at least every few dozen items.
        Tasks: one at a time.
        """
        with self._conflict:
            await self._news_or_not()
            return self._take()

    async def __anext__(self) -> T:
        if ready := self._ready:  # short, since it runs for each item; nobody else is receiving while there are any
            await checkpoint_if_cancelled()
            return ready.pop()  # type: ignore[no-any-return]
        try:
            item = await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        self._make_ready()
        return item

    def receive_nowait(self) -> T:
        """Return the next item if there is one already; not a checkpoint.

        Raises:
            trio.WouldBlock: There is none yet.
            Exception: Otherwise as :meth:`receive`.
        """
        with self._conflict:
            self._put_back()
            if not self._buffer and self.open:
                raise trio.WouldBlock
            return self._take()

    def statistics(self) -> ChannelStatistics:
        """Return how full the buffer is; not a checkpoint."""
        buffer = self._buffer
        return ChannelStatistics(self._held, buffer.max_buffer_size, buffer.dropped)

    async def aclose(self) -> None:
        """Stop receiving and forget what is left. Idempotent; a checkpoint, done even if cancelled."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """What :meth:`aclose` does, without the checkpoint."""
        if not self._closed:
            self._closed = True
            self._ready = _NOTHING
            self._buffer.clear()
            self._wake()
            self.unsettled.settle()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name}, {self._held} items waiting>"

    @property
    def _held(self) -> int:
        return len(self._buffer) + len(self._ready)

    # Between the two

    def _read(self, item: Any) -> T:
        """Convert an item that is taken; may raise :exc:`PayloadError`."""
        converted: T = item
        return converted

    async def _news_or_not(self) -> None:
        """Wait until there is an item or an end; a cancel point, and a schedule point every so often."""
        self._put_back()
        if not self._buffer.items and self.open:
            self._left = Pace.EVERY
            await self._wait()  # what wakes is an item or the end, and nobody else takes it
        elif self._left > 1:
            self._left -= 1
            await checkpoint_if_cancelled()
        else:
            self._left = Pace.EVERY
            await trio.lowlevel.checkpoint()

    def _make_ready(self) -> None:
        """Take a few items at once for ``async for``, as many as may pass before others run.

        Only where it makes no difference: while there is no end, and from a buffer in whose mark a few do not show.
        """
        buffer = self._buffer
        size = min(self._left - 1, len(buffer.items), buffer.slack)
        if size > 1 and self._end is None and not self._converts:
            self._left -= size
            self._ready = buffer.take_run(size)

    def _put_back(self) -> None:
        if self._ready:
            self._left += len(self._ready)
            self._buffer.put_back(self._ready)
            self._ready = _NOTHING

    def _take(self) -> T:
        """Return the next item, or raise the end; one of them must be there."""
        if not self._buffer.items:  # there are none once it was closed
            self._raise_end()
        item = self._buffer.take()
        if self._end is not None:
            self.unsettled.progressed()
        return self._read(item)

    def _raise_end(self) -> NoReturn:
        if self._closed:
            raise trio.ClosedResourceError(f"{self._name} was closed")
        assert self._end is not None, "woken for nothing"
        self.unsettled.settle()
        raise self._end()


class Batches(Generic[T]):
    """The iterator behind :meth:`HubStream.batches`. A class, so that leaving the loop early leaves nothing open."""

    def __init__(self, channel: HubStream[T], max_size: float) -> None:
        self._channel = channel
        self._max_size = max_size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        try:
            return await self._channel.receive_batch(self._max_size)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class StreamCall(Call):
    """A streaming call in flight: fills its :class:`HubStream`."""

    __slots__ = ("stream",)

    kind: ClassVar[str] = "StreamInvocation"
    stream: HubStream[Any]

    @property
    def patient(self) -> bool:
        """See :attr:`Call.patient`."""
        return self.stream.loses_nothing

    def items(self, payloads: list[Raw]) -> None:
        """Buffer items; if the stream refuses one, it is cancelled on the server."""
        if not self.stream.put_payloads(payloads):
            self.give_up()

    def completed(self, message: Completion[Raw]) -> None:
        """End the stream. A result on a stream's Completion would be a mistake of the server, and means the end."""
        error, method = message.error, self.method
        if error is None:
            self.stream.finish(trio.EndOfChannel)
        else:
            self.stream.finish(lambda: InvocationError(error, method=method))

    def lost(self, ending: Ending) -> None:
        """End the stream, after what it holds."""
        sent = self.sent
        self.stream.finish(lambda: ending.for_call(sent))

    def upload_failed(self, error: Exception) -> None:
        """An async iterable among the arguments raised: the user sees that, after what came before it."""
        self.stream.finish(lambda: error)


class HubStream(BufferedChannel[T]):
    """A server stream: a :class:`trio.abc.ReceiveChannel`; made by :meth:`HubConnection.stream`.

    Iterate over it with ``async for``, or call :meth:`receive`. An item that does not fit ``item_type`` ends the stream
    with :exc:`PayloadError`. One task may receive at a time; a second one gets :exc:`trio.BusyResourceError`.
    """

    def __init__(
        self, calls: Calls, call: StreamCall, item_type: TypeForm[T], max_buffer_size: float, overflow: Overflow
    ) -> None:
        super().__init__(calls.flow, max_buffer_size, overflow, f"stream {call.method!r}")
        self._protocol = calls.protocol
        self._call = call
        self._item_type: TypeForm[T] = item_type
        call.stream = self

    def batches(self, *, max_size: float = math.inf) -> Batches[T]:
        """Iterate over lists of the items that are ready, at least one in each: for a database, or a data frame.

        Args:
            max_size: Items in one list, at most.

        The iteration ends with the stream. An error comes after the items before it, and otherwise as from
        :meth:`receive`.

        Checkpoint: each list is one.
        """
        if not max_size >= 1:
            raise ValueError(f"max_size must be at least 1, not {max_size!r}")
        return Batches(self, max_size)

    async def receive_batch(self, max_size: float = math.inf) -> list[T]:
        """Wait for items and return all that are ready, at least one and at most ``max_size``; always a checkpoint."""
        with self._conflict:
            await trio.lowlevel.checkpoint()
            self._put_back()
            if not self._buffer.items and self.open:
                await self._wait()
            if not self._buffer.items:
                self._raise_end()
            items: list[T] = self._buffer.take_many(max_size)
            if self._end is not None:
                self.unsettled.progressed()
            return items

    def close(self) -> None:
        """Tell the server to stop, unless the stream has ended; forget what is left. Not a checkpoint."""
        self._call.give_up()
        super().close()

    def put_payloads(self, payloads: list[Raw]) -> bool:
        """Add received items; ``False`` if one does not fit its type or the buffer, which is the end of the stream.

        They are converted here and not when they are taken: many at once cost a fraction of one by one.
        """
        if not self.open:
            return True  # late: what ended the stream is to be seen next
        try:
            items = self._protocol.decode_payloads(payloads, self._item_type)
        except (PayloadError, TypeError):
            return self._put_one_by_one(payloads)
        return self.put(items)

    def _put_one_by_one(self, payloads: list[Raw]) -> bool:
        """Add what comes before an item that does not fit; the error comes after them."""
        for payload in payloads:
            try:
                item = self._protocol.decode_payload(payload, self._item_type)
            except (PayloadError, TypeError) as error:
                self.finish(_misfit(error, self._name))
                return False
            if not self.put([item]):
                return False
        return True


def _misfit(error: PayloadError | TypeError, name: str) -> Callable[[], Exception]:
    """Keep why an item could not be converted, not the error itself: each receive raises one of its own."""
    text = str(error)
    if isinstance(error, TypeError):  # not the item's fault, but the type's
        return lambda: TypeError(text)
    path = error.path
    return lambda: PayloadError(f"an item of {name}: {text}", path=path)
