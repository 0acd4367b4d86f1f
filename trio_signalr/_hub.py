"""What users hold: the hub of an ``open_hub`` block, and the block itself.

::

    the block's own task
    └─ helpers        reader, writer, timers; shielded once connected; leave last, after the goodbye
       └─ handlers    user functions; cancelled when the block was left, every awaited answer still gets sent
          └─ body     the user's block; cancelled first
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from . import _calling, _typed
from ._connection import LEFT, Connection
from ._endings import choose_error, raise_as_is, tell_history
from ._flow import DEFAULT_MAX_BUFFER_SIZE, Overflow
from ._starting import start
from .errors import HubClosed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    from typing_extensions import TypeForm

    from ._connection import ConnectionOptions
    from ._handlers import Handler, Registration
    from ._link import Connector
    from ._states import HubState, StateChange
    from ._streams import HubStream
    from ._uploads import Upload
    from .errors import CloseReport
    from .protocols import HubProtocol

__all__ = ["HubConnection", "run_hub"]

T = TypeVar("T")
T2 = TypeVar("T2")
T3 = TypeVar("T3")


class HubConnection:
    """A connected hub; made by :func:`open_hub`, and of use inside its block.

    Any number of tasks may use it at once.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Facts

    @property
    def state(self) -> HubState:
        """Where the connection is in its life."""
        return self._connection.states.current

    @property
    def connection_id(self) -> str | None:
        """What the server calls this connection; ``None`` if negotiation was skipped."""
        return self._connection.connection_id

    @property
    def transport(self) -> str | None:
        """Name of the transport in use, as ``open_hub(transports=...)`` spells it."""
        return self._connection.transport

    @property
    def protocol(self) -> str:
        """Name of the hub protocol in use."""
        return self._connection.protocol.name

    @property
    def close_report(self) -> CloseReport | None:
        """How the connection ended, or the last one if it was reconnected; ``None`` if none has ended yet."""
        ending = self._connection.last
        return None if ending is None else ending.report

    def __repr__(self) -> str:
        return f"<HubConnection {self.state.value}, {self.protocol} over {self.transport}>"

    @asynccontextmanager
    async def state_changes(self) -> AsyncGenerator[trio.abc.ReceiveChannel[StateChange]]:
        """Follow the state of the connection for the length of the block.

        Yields:
            A receive channel of :class:`StateChange`, in order, from now on; it ends after ``CLOSED``. Its buffer has
            no limit.

        Checkpoint: entering is one.
        Tasks: any number, each with a channel of its own.
        """
        await trio.lowlevel.checkpoint()
        with self._connection.states.followed() as changes:
            yield changes

    # Calls

    @overload
    async def invoke(self, method: str, *args: object) -> Any: ...
    @overload
    async def invoke(self, method: str, *args: object, result_type: TypeForm[T]) -> T: ...
    async def invoke(self, method: str, *args: object, result_type: Any = Any) -> Any:
        """Call a hub method and wait for its answer.

        Args:
            method: Name as the server spells it.
            *args: Values that the hub protocol can encode. An async iterable is an upload: it is streamed to the
                method while the call lasts, and closed after that if it has an ``aclose``.
            result_type: The answer is converted to it; ``Any`` leaves it as decoded.

        Returns:
            The answer, as ``result_type``; ``None`` if the method returns nothing.

        Raises:
            InvocationError: The method failed on the server; the text is the server's.
            PayloadError: An argument cannot be encoded (nothing was sent), or the answer does not fit ``result_type``.
            HubClosed: The connection ended first; ``.sent`` says whether the call went out.
            trio.ClosedResourceError: The ``open_hub`` block was left already.
            Exception: What an async iterable among the arguments raised.

        Cancellation: one CancelInvocation if the call was written, otherwise nothing; a late answer is dropped.
        Checkpoint: always.
        Tasks: any number at once.
        Source: HubProtocol.md, "Invocations".
        """
        telemetry = self._connection.watching.telemetry
        if telemetry is None:
            return await _calling.invoke(self._connection, method, args, result_type)
        with telemetry.call("invoke", method) as watch:
            return await _calling.invoke(self._connection, method, args, result_type, watch)

    async def send(self, method: str, *args: object) -> None:
        """Call a hub method without waiting for an answer; not even its failure is told.

        Returns when the call is on its way; with async iterables among the arguments, when they are exhausted and
        their streams completed.

        Args:
            method: Name as the server spells it.
            *args: As for :meth:`invoke`.

        Raises:
            PayloadError: An argument cannot be encoded; nothing was sent.
            HubClosed: The connection ended first; ``.sent`` says whether the call went out.
            trio.ClosedResourceError: The ``open_hub`` block was left already.
            Exception: What an async iterable among the arguments raised.

        Cancellation: nothing was sent; with uploads, they are completed with an error.
        Checkpoint: always.
        Tasks: any number at once.
        """
        telemetry = self._connection.watching.telemetry
        if telemetry is None:
            await _calling.send(self._connection, method, args)
            return
        with telemetry.call("send", method) as watch:
            await _calling.send(self._connection, method, args, watch)

    @overload
    def stream(
        self, method: str, *args: object, max_buffer_size: float = ..., overflow: Overflow = ...
    ) -> AbstractAsyncContextManager[HubStream[Any]]: ...
    @overload
    def stream(
        self,
        method: str,
        *args: object,
        item_type: TypeForm[T],
        max_buffer_size: float = ...,
        overflow: Overflow = ...,
    ) -> AbstractAsyncContextManager[HubStream[T]]: ...
    def stream(
        self,
        method: str,
        *args: object,
        item_type: Any = Any,
        max_buffer_size: float = DEFAULT_MAX_BUFFER_SIZE,
        overflow: Overflow = "pause",
    ) -> AbstractAsyncContextManager[HubStream[Any]]:
        """Call a streaming method, and receive what it sends, for the length of the block.

        ::

            async with hub.stream("Counter", 10, 500, item_type=int) as counter:
                async for number in counter:
                    print(number)

        Leaving the block before the stream has ended, in whatever way, tells the server to stop.

        Args:
            method: Name as the server spells it.
            *args: As for :meth:`invoke`. What an async iterable raises comes out of the stream's ``receive``.
            item_type: Each item is converted to it when it is taken; ``Any`` leaves it as decoded.
            max_buffer_size: Items received and not taken yet, at most; ``math.inf`` for no limit. With ``"pause"`` it
                is a mark: what one read brings can go beyond it, and so does what comes while a task waits for
                something else from this connection.
            overflow: What happens at that limit. ``"pause"``: reading stops until items are taken, so that the server
                feels it (ASP.NET Core gives up on a client that takes nothing for about 10 s). ``"drop_oldest"``: the
                oldest item is forgotten. ``"error"``: the stream is cancelled and ends with :exc:`StreamOverflow`.

        Yields:
            A :class:`HubStream` of items as ``item_type``.

        Raises:
            PayloadError: An argument cannot be encoded; nothing was sent.
            HubClosed: The connection ended; see also :meth:`HubStream.receive`.
            trio.ClosedResourceError: The ``open_hub`` block was left already.

        Cancellation: one CancelInvocation if the call was written and has not ended; late items are dropped.
        Checkpoint: entering is one and may wait for room; leaving is none, and never waits for the server.
        Tasks: any number of streams at once.
        Source: HubProtocol.md, "Streaming".
        """
        return _calling.stream(self._connection, method, args, item_type, max_buffer_size, overflow)

    @overload
    def upload(self, method: str, *args: object) -> AbstractAsyncContextManager[Upload[Any]]: ...
    @overload
    def upload(
        self, method: str, *args: object, result_type: TypeForm[T]
    ) -> AbstractAsyncContextManager[Upload[T]]: ...
    def upload(self, method: str, *args: object, result_type: Any = Any) -> AbstractAsyncContextManager[Upload[Any]]:
        """Call a method that takes a stream, and send into it, for the length of the block.

        ::

            async with hub.upload("UploadStream", result_type=int) as upload:
                await upload.send("word")
            print(upload.result)

        Leaving the block normally ends the stream and waits for the answer. Leaving it by an exception ends the stream
        with an error, and waits for nothing.

        Args:
            method: Name as the server spells it.
            *args: As for :meth:`invoke`; this upload is the last of the method's streams.
            result_type: The answer is converted to it; ``Any`` leaves it as decoded.

        Yields:
            An :class:`Upload`, whose ``result`` is there after the block.

        Raises:
            InvocationError: The method failed, before or after the end of the upload.
            PayloadError: An argument cannot be encoded (nothing was sent), or the answer does not fit ``result_type``.
            HubClosed: The connection ended first; ``.sent`` says whether the call went out.
            trio.ClosedResourceError: The ``open_hub`` block was left already.

        Cancellation: CancelInvocation, then the stream is completed with an error.
        Checkpoint: entering is one and may wait for room; leaving normally waits for the answer.
        Tasks: any number of uploads at once.
        Source: HubProtocol.md, "Client streaming".
        """
        return _calling.upload(self._connection, method, args, result_type)

    def typed(self, description: TypeForm[T]) -> T:
        """Return this hub as described by a class: its methods are the hub's.

        ::

            class Chat(Protocol):
                async def Add(self, a: int, b: int) -> int: ...

                @streaming
                def Counter(self, count: int, delay: int) -> AsyncIterator[int]: ...


            chat = hub.typed(Chat)
            total = await chat.Add(1, 2)
            async with chat.Counter(10, 500) as counter:
                async for number in counter:
                    print(number)

        Each public method stands for the hub method of its name: an ``async def`` is called as by :meth:`invoke`, with
        its return annotation as ``result_type``. One that is annotated to return ``AsyncIterator[T]``,
        ``AsyncIterable[T]`` or ``trio.abc.ReceiveChannel[T]`` is called as by :meth:`stream`; type checkers know that
        from :func:`streaming`. A parameter annotated as ``AsyncIterable[T]`` is an upload: pass any async iterable.

        The limits: number and names of arguments are checked at run time, their types by type checkers only. What has
        no place here is called by name: :meth:`send`, an :meth:`upload` block, and a stream's buffer options. A
        :class:`trio_signalr.testing.HubServer` takes the same class, or one that implements it.

        Args:
            description: A class or ``typing.Protocol`` whose methods have annotations. It is never instantiated.

        Returns:
            An object with these methods, which type checkers take for a ``description``.

        Raises:
            TypeError: It is no class, an annotation cannot be resolved, or a parameter can be passed by name only.

        Checkpoint: never.
        Tasks: any number at once, as for the methods named above.
        """
        typed: T = _typed.typed_hub(self, description)
        return typed

    # What the server calls

    def on(self, target: str, handler: Handler) -> Registration:
        """Have ``handler`` called when the server calls ``target``.

        Calls of one target are handled in order, one after another; targets side by side. A server that awaits an
        answer gets what the handler returns; such calls run any number at once. What a handler raises ends the
        ``open_hub`` block, with that exception; to answer an error on purpose, raise :exc:`HubException`.

        Args:
            target: Name as the server spells it, case included.
            handler: A function or async function. Its parameters' annotations are the types that the arguments are
                converted to. Arguments that do not fit are told to a server that awaits an answer, and otherwise end
                the block with :exc:`PayloadError`.

        Returns:
            The registration: a context manager, or call its ``remove()``.

        Raises:
            TypeError: The handler is not callable, or its annotations cannot be resolved.
            trio.ClosedResourceError: The ``open_hub`` block was left already.

        Checkpoint: never.
        Source: HubProtocol.md, "Invocations", and the .NET client's ``On``.
        """
        self._check_open()
        return self._connection.handlers.add(target, handler)

    @overload
    def subscribe(
        self, target: str, type1: TypeForm[T], /, *, max_buffer_size: float = ..., overflow: Overflow = ...
    ) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[tuple[T]]]: ...
    @overload
    def subscribe(
        self,
        target: str,
        type1: TypeForm[T],
        type2: TypeForm[T2],
        /,
        *,
        max_buffer_size: float = ...,
        overflow: Overflow = ...,
    ) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[tuple[T, T2]]]: ...
    @overload
    def subscribe(
        self,
        target: str,
        type1: TypeForm[T],
        type2: TypeForm[T2],
        type3: TypeForm[T3],
        /,
        *,
        max_buffer_size: float = ...,
        overflow: Overflow = ...,
    ) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[tuple[T, T2, T3]]]: ...
    @overload
    def subscribe(
        self, target: str, *types: Any, max_buffer_size: float = ..., overflow: Overflow = ...
    ) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[tuple[Any, ...]]]: ...
    @asynccontextmanager
    async def subscribe(
        self,
        target: str,
        *types: Any,
        max_buffer_size: float = DEFAULT_MAX_BUFFER_SIZE,
        overflow: Overflow = "pause",
    ) -> AsyncGenerator[trio.abc.ReceiveChannel[tuple[Any, ...]]]:
        """Receive the arguments of the server's calls of ``target``, for the length of the block.

        Args:
            target: Name as the server spells it, case included.
            *types: One for each argument; none at all takes any number of any kind.
            max_buffer_size: Calls received and not taken yet; as for :meth:`stream`.
            overflow: As for :meth:`stream`.

        Yields:
            A receive channel of tuples. A call whose arguments do not fit makes that ``receive`` raise
            :exc:`PayloadError`; the next one goes on. An answer that the server awaits is none of its business: without
            a handler the server is told that there is no result.

        Raises:
            trio.ClosedResourceError: The ``open_hub`` block was left already.

        Checkpoint: entering is one.
        Tasks: any number of subscriptions at once, one receiver each.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        with self._connection.handlers.subscribed(target, types, max_buffer_size, overflow) as subscription:
            if (ending := self._connection.ending) is not None:
                subscription.finish(lambda: ending.for_call(None))
            yield subscription

    def _check_open(self) -> None:
        if self._connection.ending is LEFT:
            raise LEFT.for_call(None)


@asynccontextmanager
async def run_hub(
    connector: Connector,
    protocol: HubProtocol,
    options: ConnectionOptions,
    handlers: Mapping[str, Handler] | None = None,
    url: str | None = None,
) -> AsyncGenerator[HubConnection]:
    """Connect by ``connector`` and keep the hub going for the length of the block."""
    failures: list[Exception] = []
    body_scope = trio.CancelScope()

    def user_code_failed(error: Exception) -> None:
        if isinstance(error, HubClosed) and connection.loss is not None:
            return  # the loss itself, as a handler's call saw it: it comes out in its own time
        failures.append(error)
        body_scope.cancel()

    connection = Connection(connector, protocol, options, user_code_failed, body_scope.cancel, url)
    connection.hub = hub = HubConnection(connection)
    for target, handler in (handlers or {}).items():
        connection.handlers.add(target, handler)
    body_error: BaseException | None = None
    came_out: BaseException | None = None
    try:
        async with _open_tree(connection) as helpers:
            try:
                with body_scope:
                    await start(helpers, connection.run, name="trio_signalr connection")
                    connection.shield()
                    yield hub
            except BaseException as error:
                body_error = error
                raise
    except BaseException as error:
        came_out = error
    chosen = choose_error(came_out, body_error, failures)
    if chosen is None and body_scope.cancelled_caught and connection.loss is not None:
        chosen = connection.loss.for_block()
    del body_error, came_out
    tell_history(chosen)
    if chosen is not None:
        raise_as_is(chosen)


@asynccontextmanager
async def _open_tree(connection: Connection) -> AsyncGenerator[trio.Nursery]:
    """The nurseries around the user's block, and the order of leaving them."""
    async with trio.open_nursery() as helpers:
        try:
            async with trio.open_nursery() as handlers:
                connection.handlers.start(handlers)
                try:
                    yield helpers
                finally:
                    connection.leave()
        finally:
            await connection.aclose()
