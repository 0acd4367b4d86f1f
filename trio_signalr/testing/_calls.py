"""Hub methods at work: who runs, in what order, and what the client is told at the end.

Plain calls of one client take turns: there are as many slots as may run side by side, and a call that finds none keeps
everything behind it waiting, as in ASP.NET Core. Streaming methods and those with uploads need no slot.
"""

from __future__ import annotations

from contextlib import aclosing, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import trio

from .._tools import Pace
from ..errors import HubException, PayloadError
from ..messages import Completion, StreamInvocation, StreamItem
from . import _texts
from ._records import Called, Cancelled, Completed
from ._texts import describe
from ._uploads import Upload
from ._user_code import call, cancellation_alone, logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Iterator
    from contextlib import AbstractAsyncContextManager

    from msgspec import Raw

    from ..messages import Invocation
    from ._client import Client
    from ._methods import Method
    from ._shared import Shared
    from ._uploads import Uploads
    from ._wire import Inbox, Wire

__all__ = ["Calls", "Context", "context"]


class Context:
    """What user code runs for: a hub method's call, or a hook.

    Attributes:
        client: Whose it is.
        is_hook: Whether it is a hook.
    """

    def __init__(self, client: Client, slot: trio.Semaphore | None = None, *, is_hook: bool = False) -> None:
        self.client = client
        self.is_hook = is_hook
        self._slot = slot

    @property
    def has_slot(self) -> bool:
        """Whether other plain calls may wait for this one to end."""
        return self._slot is not None

    def release_slot(self) -> None:
        """Let the next plain call run."""
        if self._slot is not None:
            self._slot.release()
            self._slot = None


context: ContextVar[Context | None] = ContextVar("trio_signalr.testing", default=None)
"""What the current task runs for; its child tasks inherit it."""


@runtime_checkable
class _Closable(Protocol):
    def aclose(self) -> Awaitable[object]: ...


class _RefusedError(Exception):
    """A call that is to be answered with this text."""


class Calls:
    """All hub methods that run for one client.

    Args:
        client: Who calls.
        shared: What all connections of the server share.
        wire: The way to the client.
        inbox: Whose messages wait while no slot is free.
        uploads: Where the calls' uploads come in.
    """

    def __init__(self, client: Client, shared: Shared, wire: Wire, inbox: Inbox, uploads: Uploads) -> None:
        self.client = client
        self.shared = shared
        self.wire = wire
        self.uploads = uploads
        self._inbox = inbox
        self._slots = trio.Semaphore(shared.options.max_parallel_invocations)
        self._running: dict[Call, None] = {}
        self._hooks: set[trio.CancelScope] = set()
        self._changed = trio.Event()
        self._streams_end = False
        self._all_end = False

    def __iter__(self) -> Iterator[Call]:
        return iter(self._running)

    async def start(self, message: Invocation[Raw] | StreamInvocation[Raw], nursery: trio.Nursery) -> None:
        """Run the method that ``message`` calls, or tell the client why that cannot be."""
        new = self._prepare(message)
        if new is None:
            return
        if not (new.streamed or new.uploads):
            new.context = Context(self.client, await self._take_slot())
        self._running[new] = None
        self._cancel_what_must_end()
        for upload in new.uploads:
            self.uploads.add(upload)
        nursery.start_soon(new.run, name=f"trio_signalr.testing {new.method.name!r}")

    def _prepare(self, message: Invocation[Raw] | StreamInvocation[Raw]) -> Call | None:
        """Return the call, or answer it if it cannot be made."""
        try:
            method, arguments = self._bind(message)
            self._check(message, method)
        except _RefusedError as refusal:
            if message.invocation_id:
                self.wire.post(Completion(message.invocation_id, error=str(refusal)))
            return None
        return Call(self, message, method, arguments)

    def _bind(self, message: Invocation[Raw] | StreamInvocation[Raw]) -> tuple[Method, list[Any]]:
        """Find the method and convert its arguments."""
        try:
            method = self.shared.methods.find(message.target)
            if method is None:
                raise HubException(_texts.NO_METHOD)
            return method, method.bind(message.arguments, self.wire.protocol)
        except HubException as error:
            raise self._refused(_texts.BAD_CALL.format(message.target), error) from error
        except (PayloadError, TypeError) as error:  # TypeError: nothing can be converted to its type
            raise self._refused(_texts.BAD_CALL.format(message.target), _texts.invalid_data(error)) from error

    def _check(self, message: Invocation[Raw] | StreamInvocation[Raw], method: Method) -> None:
        """See that the method can be called in this way, now."""
        streamed, target, id_ = isinstance(message, StreamInvocation), message.target, message.invocation_id
        if streamed != method.streaming:
            text = _texts.MUST_NOT_STREAM if streamed else _texts.MUST_STREAM
            raise _RefusedError(text.format(target))
        if streamed and any(running.streamed and running.id == id_ for running in self):
            raise _RefusedError(_texts.ID_IN_USE.format(id_))
        if len(message.stream_ids) != len(method.uploads):
            text = _texts.STREAM_COUNT.format(len(message.stream_ids), len(method.uploads))
            raise self._refused(_texts.METHOD_FAILED.format(target), HubException(text))

    def _refused(self, head: str, error: Exception) -> _RefusedError:
        return _RefusedError(describe(head, error, detailed=self.shared.options.detailed_errors))

    async def _take_slot(self) -> trio.Semaphore:
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            with self._inbox.blocking():
                await self._slots.acquire()
        return self._slots

    def cancel(self, invocation_id: str) -> None:
        """Cancel what runs under that id, at the client's wish."""
        for running in self:
            if running.id == invocation_id:
                running.cancelled_by_client = True
                running.scope.cancel()

    def cancel_streams(self) -> None:
        """The client has gone: no stream runs beyond its next checkpoint, not even one that is started from now on."""
        self._streams_end = True
        self._cancel_what_must_end()

    def cancel_all(self) -> None:
        """Nothing runs on beyond its next checkpoint, not even what is started from now on."""
        self._all_end = True
        self._cancel_what_must_end()

    def _cancel_what_must_end(self) -> None:
        if not (self._streams_end or self._all_end):
            return  # as nearly always, and there may be thousands
        for running in self:
            if self._all_end or running.streamed:
                running.scope.cancel()
        for scope in self._hooks if self._all_end else ():
            scope.cancel()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Run other user code in this, which :meth:`cancel_all` is for too."""
        with trio.CancelScope() as scope:
            self._hooks.add(scope)
            self._cancel_what_must_end()
            try:
                yield
            finally:
                self._hooks.discard(scope)

    def forget(self, ended: Call) -> None:
        """It is over."""
        self._running.pop(ended, None)
        for upload in ended.uploads:
            self.uploads.forget(upload)
        self._changed.set()

    async def wait_ended(self) -> None:
        """Wait until nothing runs; a checkpoint only if something does."""
        while self._running:
            self._changed = trio.Event()
            await self._changed.wait()


class Call:
    """One hub method at work.

    Attributes:
        method: What runs.
        id: The client's id for it; ``None`` if it wants no answer.
        streamed: Whether the answer is a stream.
        uploads: What the client streams to it.
        context: What ``server.caller`` is read from.
        scope: What it runs in.
        cancelled_by_client: Whether the client sent a CancelInvocation for it.
    """

    def __init__(
        self,
        owner: Calls,
        message: Invocation[Raw] | StreamInvocation[Raw],
        method: Method,
        arguments: list[Any],
    ) -> None:
        capacity = owner.shared.options.stream_buffer_capacity
        ids_and_types = zip(message.stream_ids, method.uploads.values(), strict=True)
        self._owner = owner
        self._wire = owner.wire
        self._target = message.target
        self._arguments = arguments
        self._name = f"hub method {method.name!r}"
        self.method = method
        self.id: str | None = message.invocation_id or None  # an empty one counts as none
        self.streamed: bool = method.streaming
        self.uploads: list[Upload] = [Upload(id_, type_, capacity) for id_, type_ in ids_and_types]
        self.context: Context = Context(owner.client)
        self.scope: trio.CancelScope = trio.CancelScope()
        self.cancelled_by_client = False

    async def run(self) -> None:
        """Run the method and tell the client how it ended; what it raises stays here."""
        owner, ended, error = self._owner, False, None
        context.set(self.context)
        owner.shared.emit(Called(owner.client, self.method.name, tuple(self._arguments), self.id))
        try:
            with cancellation_alone(self._name), self.scope:
                error = await (self._stream() if self.streamed else self._answer())
                ended = True
            if not ended:
                self._tell_cancelled()
        except Exception as exc:  # in a group with the cancellation, which the scope has taken out
            head = _texts.STREAM_FAILED if self.streamed else _texts.METHOD_FAILED.format(self._target)
            error, ended = self._fail(head, exc), True
        finally:
            owner.forget(self)
            self.context.release_slot()
            owner.shared.emit(self._record(error, ended=ended))

    async def _answer(self) -> Exception | None:
        """Run a plain method, send what it returns, and return what it raised."""
        try:
            self._complete(await self._call())
        except Exception as error:
            return self._fail(_texts.METHOD_FAILED.format(self._target), error)
        return None

    async def _stream(self) -> Exception | None:
        """Run a streaming method, send what it yields, and return what it raised."""
        head = _texts.METHOD_FAILED.format(self._target)
        try:
            source = await self._call()
            if not hasattr(type(source), "__aiter__"):
                return self._refuse(_texts.NO_STREAM.format(self._target))
            head = _texts.STREAM_FAILED
            await self._send_items(source)
        except Exception as error:
            return self._fail(head, error)
        self._post(Completion(self.id or ""))
        return None

    async def _call(self) -> Any:
        arguments = self.method.merge(self._arguments, [upload.reader for upload in self.uploads])
        return await call(self.method.function, *arguments)

    async def _send_items(self, source: AsyncIterable[object]) -> None:
        """Send items as they come, no faster than the client takes them."""
        pace = Pace()
        closing: AbstractAsyncContextManager[object]
        closing = aclosing(source) if isinstance(source, _Closable) else nullcontext()
        async with closing:
            async for item in source:
                await pace.checkpoint()
                await self._wire.wait_for_room()
                self._post(StreamItem(self.id or "", item))

    # What the client is told

    def _complete(self, result: object) -> None:
        """Void methods answer null, as those of .NET do."""
        self._post(Completion(self.id or "", result))

    def _fail(self, head: str, error: Exception) -> Exception:
        if not isinstance(error, HubException):
            logger.error("%s failed", self._name, exc_info=error)
        detailed = self._owner.shared.options.detailed_errors
        self._post(Completion(self.id or "", error=describe(head, error, detailed=detailed)))
        return error

    def _refuse(self, text: str) -> Exception:
        self._post(Completion(self.id or "", error=text))
        return TypeError(text)

    def _tell_cancelled(self) -> None:
        """A stream just ends; a plain call has no result to show, and its Completion must come all the same."""
        if self.streamed:
            self._post(Completion(self.id or ""))
        else:
            self._post(Completion(self.id or "", error=_texts.METHOD_FAILED.format(self._target)))

    def _post(self, message: StreamItem[object] | Completion[object]) -> None:
        """Send, unless the client wants no answer."""
        if self.id is not None:
            self._wire.post(message)

    def _record(self, error: Exception | None, *, ended: bool) -> Completed | Cancelled:
        client, name = self._owner.client, self.method.name
        if ended:
            return Completed(client, name, self.id, error)
        return Cancelled(client, name, self.id, self.cancelled_by_client)
