"""How a call is made: split the arguments, encode, wait for a place, put, feed its uploads, clean up.

Encoding comes first, so a call that cannot be encoded sends nothing. Putting comes last, with no checkpoint behind the
wait for room, so a call that was cancelled before sends nothing either.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import trio

from ._calls import OneWayCall, ResultCall, Unsettled
from ._endings import open_tasks
from ._streams import HubStream, StreamCall
from ._uploads import Upload, UploadStream, describe_failure, feed, is_upload
from ._watched import WatchedStreamCall, WatchedUploadStream
from .errors import PayloadError
from .messages import Invocation, StreamInvocation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from typing_extensions import TypeForm

    from ._calls import Call, Calls
    from ._connection import Connection
    from ._flow import Overflow
    from ._telemetry import CallWatch, Kind

__all__ = ["invoke", "send", "stream", "upload"]

T = TypeVar("T")


_NO_HEADERS: dict[str, str] = {}


class _Arguments:
    """The arguments of one call: plain ones as they are, async iterables as uploads, in parameter order."""

    __slots__ = ("_headers", "feeds", "plain", "uploads")

    def __init__(self, calls: Calls, method: str, args: tuple[object, ...], watch: CallWatch | None = None) -> None:
        self.plain = list(args)
        self.feeds: Sequence[tuple[UploadStream, AsyncIterable[object]]] = ()
        self.uploads: Sequence[UploadStream] = ()
        if any(map(is_upload, args)):
            self.plain = [argument for argument in args if not is_upload(argument)]
            self.feeds = [(_upload_stream(calls, method, watch), argument) for argument in args if is_upload(argument)]
            self.uploads = [stream for stream, _ in self.feeds]
        self._headers = _NO_HEADERS if watch is None else watch.headers

    def message(self, call: Call | None, method: str) -> Invocation[object]:
        return Invocation(method, self.plain, None if call is None else call.id, self._stream_ids(), self._headers)

    def stream_message(self, call: Call, method: str) -> StreamInvocation[object]:
        return StreamInvocation(method, self.plain, call.id, self._stream_ids(), self._headers)

    def _stream_ids(self) -> list[str]:
        return [stream.id for stream in self.uploads]


async def invoke(
    connection: Connection,
    method: str,
    args: tuple[object, ...],
    result_type: TypeForm[T],
    watch: CallWatch | None = None,
) -> T:
    """See :meth:`HubConnection.invoke`."""
    arguments = _Arguments(connection.calls, method, args, watch)
    call = ResultCall(connection.calls, method, arguments.uploads)
    await _start(connection, call, _encode(connection, arguments.message(call, method)))
    if arguments.feeds:
        await _feed_and_wait(connection, call, arguments)
    else:
        del arguments, args  # there may be thousands of calls that wait
        try:
            await call.wait()
        finally:
            call.give_up()
    return call.result(result_type)


async def send(connection: Connection, method: str, args: tuple[object, ...], watch: CallWatch | None = None) -> None:
    """See :meth:`HubConnection.send`."""
    arguments = _Arguments(connection.calls, method, args, watch)
    data = _encode(connection, arguments.message(None, method))
    await trio.lowlevel.checkpoint()
    if not arguments.uploads:
        (await connection.wait_for_outbox(for_answer=False)).put_message(data, "Invocation", method=method)
        return
    call = OneWayCall(connection.calls, method, arguments.uploads)
    await _start(connection, call, data)
    await _feed_and_wait(connection, call, arguments)
    call.result(object)


def _watched(connection: Connection, kind: Kind, method: str) -> AbstractContextManager[CallWatch | None]:
    telemetry = connection.watching.telemetry
    return _NOBODY_WATCHES if telemetry is None else telemetry.call(kind, method)


_NOBODY_WATCHES = nullcontext()


def _stream_call(calls: Calls, method: str, uploads: Sequence[UploadStream], watch: CallWatch | None) -> StreamCall:
    return StreamCall(calls, method, uploads) if watch is None else WatchedStreamCall(calls, method, uploads, watch)


def _upload_stream(calls: Calls, method: str, watch: CallWatch | None) -> UploadStream:
    id_, protocol = calls.next_id(), calls.protocol
    return UploadStream(id_, method, protocol) if watch is None else WatchedUploadStream(id_, method, protocol, watch)


@asynccontextmanager
async def stream(
    connection: Connection,
    method: str,
    args: tuple[object, ...],
    item_type: TypeForm[T],
    max_buffer_size: float,
    overflow: Overflow,
) -> AsyncGenerator[HubStream[T]]:
    """See :meth:`HubConnection.stream`."""
    with _watched(connection, "stream", method) as watch:
        arguments = _Arguments(connection.calls, method, args, watch)
        call = _stream_call(connection.calls, method, arguments.uploads, watch)
        channel = HubStream(connection.calls, call, item_type, max_buffer_size, overflow)
        data = _encode(connection, arguments.stream_message(call, method))
        await trio.lowlevel.checkpoint()
        await _start(connection, call, data)
        del data, args  # not to be kept for as long as the stream is open
        with _unsettled(connection.calls, channel.unsettled):
            async with _feeding(call, arguments):
                try:
                    yield channel
                finally:
                    channel.close()
                    if watch is not None:
                        watch.end(cancelled=True)  # unless it had ended before


@asynccontextmanager
async def upload(
    connection: Connection, method: str, args: tuple[object, ...], result_type: TypeForm[T]
) -> AsyncGenerator[Upload[T]]:
    """See :meth:`HubConnection.upload`."""
    with _watched(connection, "upload", method) as watch:
        arguments = _Arguments(connection.calls, method, args, watch)
        own = _upload_stream(connection.calls, method, watch)
        arguments.uploads = [*arguments.uploads, own]
        call = ResultCall(connection.calls, method, arguments.uploads)
        channel = Upload(call, own, result_type)
        data = _encode(connection, arguments.message(call, method))
        await trio.lowlevel.checkpoint()
        await _start(connection, call, data)
        try:
            async with _feeding(call, arguments):
                try:
                    yield channel
                except Exception as error:
                    call.abandon(describe_failure(error))
                    raise
                channel.close()
                await call.wait()
        except trio.BrokenResourceError as error:
            if not channel.failed_early(error):
                raise
        finally:
            call.give_up()
            channel.close()  # a task that still sends is told so
        channel.settle()  # if the method failed early, its own error replaces the broken channel's


async def _start(connection: Connection, call: Call, data: bytes) -> None:
    """Wait for a place and put the call; from then on it must be given up if it is not over."""
    await trio.lowlevel.checkpoint_if_cancelled()  # what is cancelled already leaves no trace
    outbox = connection.outbox_with_room(call.answered) or await connection.wait_for_outbox(call.answered)
    call.start(outbox, data)
    for upload_stream in call.uploads:
        upload_stream.start(outbox)


async def _feed_and_wait(connection: Connection, call: ResultCall, arguments: _Arguments) -> None:
    """Feed the uploads and wait until the call is over; give it up if that does not come to pass."""
    with _unsettled(connection.calls, Unsettled()):
        async with _feeding(call, arguments, call.uploads_sent):
            await call.wait()


def _feeding(
    call: Call, arguments: _Arguments, all_sent: Callable[[], None] | None = None
) -> AbstractAsyncContextManager[None]:
    """Feed the uploads while the block runs. When it is left the call is given up first, then feeding stops."""
    return _feeding_some(call, arguments, all_sent) if arguments.feeds else _FEEDING_NOTHING


_FEEDING_NOTHING = nullcontext()
"""One for all: a stream may be open for long, and there may be many."""


@asynccontextmanager
async def _feeding_some(call: Call, arguments: _Arguments, all_sent: Callable[[], None] | None) -> AsyncGenerator[None]:
    async with open_tasks() as nursery:
        nursery.start_soon(_feed_all, call, arguments.feeds, all_sent, name=f"trio_signalr uploads of {call.method!r}")
        try:
            yield
        finally:
            call.give_up()


async def _feed_all(
    call: Call, feeds: Sequence[tuple[UploadStream, AsyncIterable[object]]], all_sent: Callable[[], None] | None
) -> None:
    """Send all async iterables of a call, side by side."""
    async with trio.open_nursery() as nursery:
        for upload_stream, items in feeds:
            nursery.start_soon(feed, upload_stream, items, call.upload_failed)
    if all_sent is not None:
        all_sent()


class _unsettled:
    """While the block runs, the end of the connection waits for ``one``. A generator would be larger."""

    __slots__ = ("_all", "_one")

    def __init__(self, calls: Calls, one: Unsettled) -> None:
        self._all: set[Unsettled] = calls.unsettled
        self._one: Unsettled = one

    def __enter__(self) -> None:
        self._all.add(self._one)

    def __exit__(self, *_: object) -> None:
        self._all.discard(self._one)
        self._one.settle()


def _encode(connection: Connection, message: Invocation[object] | StreamInvocation[object]) -> bytes:
    try:
        return connection.protocol.encode(message)
    except PayloadError as error:
        raise PayloadError(f"cannot call {message.target!r}: {error}", path=error.path) from error
