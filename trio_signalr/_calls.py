"""Calls in flight: which ids are whose, who waits for what, and what cancelling one puts on the wire.

A call is *over* once its Completion has come, it was given up, or its connection is gone. Nothing is sent for a call
that is over, and what still arrives for it is dropped: that one flag makes "exactly one CancelInvocation, nothing after
the Completion" true on every path. All methods here are synchronous, so cleanup never waits and needs no shield.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import msgspec
import trio

from ._flow import Flow
from ._waiting import Awaited
from .errors import InvocationError, PayloadError, ProtocolError
from .messages import UNSET, CancelInvocation, Completion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from msgspec import Raw, UnsetType
    from typing_extensions import TypeForm

    from ._endings import Ending
    from ._outbox import Outbox
    from ._uploads import UploadStream
    from .protocols import HubProtocol

__all__ = ["CANCELED", "Call", "Calls", "OneWayCall", "ResultCall", "Unsettled", "read_payload"]

T = TypeVar("T")

CANCELED = "Stream canceled by client."
"""What the server is told of an upload that was cancelled; the .NET client says the same."""


class Unsettled:
    """Somebody who is to be told something before the user's block is cancelled.

    Attributes:
        settled: Whether that is done.
        on_progress: Called when it is, or when a part of it is.
    """

    __slots__ = ("on_progress", "settled")

    def __init__(self) -> None:
        self.settled: bool = False
        self.on_progress: Callable[[], None] | None = None

    def settle(self) -> None:
        """It is done."""
        self.settled = True
        self.progressed()

    def progressed(self) -> None:
        """A part of it is done."""
        if self.on_progress is not None:
            self.on_progress()


class Call:
    """One call in flight.

    Attributes:
        kind: Which message makes it.
        answered: Whether an answer is wanted, so that its id is sent along.
        method: The hub method's name, as the user spelled it.
        id: The invocation id.
        uploads: The streams that the client sends to it.
        over: Whether nothing may be sent for it any more.
    """

    __slots__ = ("_calls", "_outbox", "_ticket", "id", "method", "over", "uploads")

    kind: ClassVar[str] = "Invocation"
    answered: ClassVar[bool] = True

    def __init__(self, calls: Calls, method: str, uploads: Sequence[UploadStream]) -> None:
        self._calls = calls
        self._outbox: Outbox | None = None
        self._ticket = -1
        self.method: str = method
        self.id: str = calls.next_id()
        self.uploads: Sequence[UploadStream] = uploads
        self.over: bool = False

    @property
    def outbox(self) -> Outbox:
        """Where the call's messages go; there is one once it was started."""
        assert self._outbox is not None, "the call was not started"
        return self._outbox

    @property
    def patient(self) -> bool:
        """Whether stream items may come a little later than they could, and all at once."""
        return True

    @property
    def sent(self) -> bool | None:
        """Whether the invocation was written, as :attr:`HubClosed.sent` says it."""
        return False if self._outbox is None else self._outbox.sent(self._ticket)

    def start(self, outbox: Outbox, data: bytes) -> None:
        """Put the encoded invocation into ``outbox``; from now on answers can come."""
        self._outbox = outbox
        self._ticket = outbox.put_message(data, self.kind, self.id if self.answered else None, self.method)
        for upload in self.uploads:
            outbox.recorder.uploading(upload.id, self.method)
        self._calls.add(self)

    def give_up(self) -> None:
        """Cancel it on the server, unless it is over: CancelInvocation, then the end of each upload.

        A call that the writer has not taken yet is taken back instead.
        """
        if self.over:
            return
        self.forget()
        if self.uploads or not self.outbox.withdraw(self._ticket):
            data = self._calls.protocol.encode(CancelInvocation(self.id))
            self.outbox.put_message(data, "CancelInvocation", self.id, self.method)
        else:
            self.outbox.recorder.withdrawn(self.id)
        self.end_uploads(CANCELED)

    def abandon(self, error: str) -> None:
        """Leave it without an answer because something on our side failed: its uploads end with ``error``.

        No CancelInvocation: the method learns of the failure from its upload, in its own time.
        """
        if not self.over:
            self.forget()
            self.end_uploads(error)

    def end_uploads(self, error: str) -> None:
        """Complete the uploads that are still open with an error."""
        for upload in self.uploads:
            upload.fail(error)
        self.uploads_over()

    def server_is_done(self) -> None:
        """The call is over, by the server or the connection: whoever feeds its uploads can stop."""
        for upload in self.uploads:
            upload.server_is_done()
        self.uploads_over()

    def uploads_over(self) -> None:
        """No items of its uploads are of any use from now on."""
        if self.uploads and self._outbox is not None:
            ids = [upload.id for upload in self.uploads]
            self._outbox.uploads_over(ids)
            self._outbox.recorder.uploads_over(ids)

    def forget(self) -> None:
        """Take the call off the books; what still arrives for it is dropped."""
        self.over = True
        self._calls.remove(self)

    def upload_failed(self, error: Exception) -> None:
        """An async iterable among the arguments raised ``error``; its own stream has ended already."""
        raise NotImplementedError

    # What the connection tells. Each is called at most once, but for ``items``.

    def items(self, payloads: list[Raw]) -> None:
        """Stream items have come, at least one."""
        raise NotImplementedError

    def completed(self, message: Completion[Raw]) -> None:
        """The Completion has come; the call is over already."""
        raise NotImplementedError

    def lost(self, ending: Ending) -> None:
        """The connection has ended; the call is over already."""
        raise NotImplementedError


class ResultCall(Call, Awaited):
    """A call with one answer: ``invoke`` and ``upload``. One task waits for it."""

    __slots__ = ("_answer", "_flow", "_task")

    def __init__(self, calls: Calls, method: str, uploads: Sequence[UploadStream]) -> None:
        super().__init__(calls, method, uploads)
        self._answer: Completion[Raw] | Ending | Exception | None = None
        self._flow = calls.flow if self.answered else Flow()  # nothing is to be read for it
        self._task = None

    @property
    def answer(self) -> Completion[Raw] | Ending | Exception | None:
        """The answer, the end of the connection, or what went wrong on our side; ``None`` until then."""
        return self._answer

    async def wait(self) -> None:
        """Wait until it is over; a checkpoint. Where that takes an answer, reading goes on however full buffers are."""
        if self._answer is not None:
            await trio.lowlevel.checkpoint()
        else:
            await self._wait()

    def result(self, type_: TypeForm[T]) -> T:
        """Return the answer as ``type_``, or raise what it stands for; it must be there."""
        answer = self._answer
        if isinstance(answer, Completion):
            if answer.error is not None:
                raise InvocationError(answer.error, method=self.method)
            return read_payload(self._calls.protocol, answer.result, type_, f"the answer of {self.method!r}")
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None, "the call is still in flight"
        raise answer.for_call(self.sent)

    def upload_failed(self, error: Exception) -> None:
        """Give up waiting for an answer to a call that was not made as it should be."""
        self.abandon(CANCELED)
        self._settle(error)

    def uploads_sent(self) -> None:
        """All async iterables are exhausted; the answer is still to come."""

    def items(self, payloads: list[Raw]) -> None:
        """Refuse stream items: the method streams, and its caller could not see it."""
        self.give_up()
        self._settle(ProtocolError(f"{self.method!r} answered with a stream item: it must be called with stream()"))

    def completed(self, message: Completion[Raw]) -> None:
        """Pass the answer on."""
        self._settle(message)

    def lost(self, ending: Ending) -> None:
        """Pass on that there will be no answer."""
        self._settle(ending)

    def _settle(self, answer: Completion[Raw] | Ending | Exception) -> None:
        if self._answer is None:
            self._answer = answer
            self._wake()


class OneWayCall(ResultCall):
    """A call without an answer that has uploads: it is over when they are sent. Its id never goes out."""

    __slots__ = ()

    answered: ClassVar[bool] = False

    def uploads_sent(self) -> None:
        """That is all there was to do."""
        if not self.over:
            self.forget()
            self._settle(Completion(self.id))

    def give_up(self) -> None:
        """End the uploads: there is no invocation that could be cancelled."""
        self.abandon(CANCELED)


class Calls:
    """All calls in flight of one hub.

    Attributes:
        protocol: Encodes what goes out, reads what came in.
        flow: Told of every task that waits for an answer.
        unsettled: Those who are owed something at the end of a connection: it waits until they have it.
        impatient: How many are not :attr:`Call.patient`.
    """

    def __init__(self, protocol: HubProtocol, flow: Flow) -> None:
        self.protocol = protocol
        self.flow = flow
        self.unsettled: set[Unsettled] = set()
        self.impatient: int = 0
        self._in_flight: dict[str, Call] = {}
        # Digits only: ids like "s1" are what servers give to their own invocations. One counter for the hub's life,
        # so that an answer can never be taken for that of an earlier connection's call.
        self._ids = map(str, count(1))

    def __len__(self) -> int:
        return len(self._in_flight)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._in_flight.values())

    def next_id(self) -> str:
        """A new id, for an invocation or an upload stream."""
        return next(self._ids)

    def add(self, call: Call) -> None:
        """Register a call that was put into the outbox."""
        self._in_flight[call.id] = call
        self.impatient += not call.patient

    def remove(self, call: Call) -> None:
        """Forget a call, if it is known."""
        if self._in_flight.pop(call.id, None) is not None:
            self.impatient -= not call.patient

    def method_of(self, invocation_id: str) -> str | None:
        """The method that a call in flight is of."""
        call = self._in_flight.get(invocation_id)
        return None if call is None else call.method

    def items(self, invocation_id: str, payloads: list[Raw]) -> str | None:
        """Hand items of one stream to its call, and return its method; late ones, of an unknown call, are dropped."""
        call = self._in_flight.get(invocation_id)
        if call is None:
            return None
        call.items(payloads)
        return call.method

    def completion(self, message: Completion[Raw]) -> None:
        """Hand a Completion to its call; of an unknown one it is late, and dropped."""
        call = self._in_flight.get(message.invocation_id)
        if call is not None:
            call.forget()
            call.server_is_done()
            call.completed(message)

    def lose_all(self, ending: Ending) -> None:
        """The connection has ended: tell every call."""
        for call in list(self):
            call.forget()
            call.server_is_done()
            call.lost(ending)

    def leave_all(self, ending: Ending) -> None:
        """The user's block is over: cancel every call on the server, then tell it."""
        for call in list(self):
            call.give_up()
            call.lost(ending)


def read_payload(protocol: HubProtocol, payload: Raw | UnsetType, type_: TypeForm[T], what: str) -> T:
    """Return a payload as ``type_``; one that is absent means null.

    Raises:
        PayloadError: It does not fit; the message begins with ``what``.
    """
    try:
        if payload is UNSET:
            return cast("T", msgspec.convert(None, type_))
        return protocol.decode_payload(payload, type_)
    except PayloadError as error:
        raise PayloadError(f"{what}: {error}", path=error.path) from error
    except msgspec.ValidationError as error:
        raise PayloadError(f"{what}: {error}") from error
