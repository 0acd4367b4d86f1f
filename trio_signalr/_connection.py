"""The life of a hub's connection, as one task: connect, run sessions one after another, hand the end on.

The order at an end matters. Waiting calls fail first, so that they see the error and not a cancellation. If that was
the last session, open streams then hand over what they hold, for as long as somebody keeps taking. Only then is the
user's block cancelled.
"""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

from ._calls import Calls, Unsettled
from ._endings import Ending, open_tasks
from ._flow import Flow
from ._handlers import Handlers
from ._logs import CONNECTION
from ._session import Session
from ._states import HubState, States
from ._watching import Watching
from .errors import HubClosed
from .retry import RetryContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from ._link import Connector
    from ._outbox import Outbox
    from ._session import SessionOptions
    from .protocols import HubProtocol
    from .retry import RetryPolicy
    from .transports import Transport

__all__ = ["LEFT", "Connection", "ConnectionOptions"]

_GIVEN_UP = Ending("closed", "the connection was given up before it was ready", allow_reconnect=True)

LEFT = Ending("left", "the block of this hub was left: nothing can be called any more")

_greeting: ContextVar[Session | None] = ContextVar("_greeting", default=None)
"""The session whose ``on_connected`` this task belongs to: its calls need not wait for the others' turn."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What :func:`open_hub` was asked for, as far as it is about connecting again and again."""

    session: SessionOptions
    reconnect: RetryPolicy | None = None
    on_connected: Callable[[Any], Awaitable[object]] | None = None


class Connection:
    """Everything about a hub that outlives its sessions, and the task that runs them.

    Attributes:
        hub: What the user holds; handed to ``on_connected``.
        protocol: The hub protocol.
        calls: Calls in flight.
        handlers: What the server may call.
        states: Where it is, and who follows that.
        connection_id: As the server named it last.
        transport: Name of the transport in use, or used last.
        ending: Why no call can be made any more.
        loss: Why the connection is over for good, if that was not the user's doing.
        last: Why the last session ended; ``None`` before.
        watching: Told of every step.
    """

    def __init__(
        self,
        connector: Connector,
        protocol: HubProtocol,
        options: ConnectionOptions,
        user_code_failed: Callable[[Exception], None],
        lost: Callable[[], None],
        url: str | None = None,
    ) -> None:
        flow = Flow()
        self._connector = connector
        self._options = options
        self._user_code_failed = user_code_failed
        self._lost = lost  # cancels the user's block
        self._flow = flow
        self._session: Session | None = None
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._greeting = trio.CancelScope()  # of on_connected
        self.hub: object = None
        self.protocol = protocol
        self.calls: Calls = Calls(protocol, flow)
        self.handlers: Handlers = Handlers(protocol, flow, user_code_failed)
        self.states: States = States()
        self.connection_id: str | None = None
        self.transport: str | None = None
        self.ending: Ending | None = None
        self.loss: Ending | None = None
        self.last: Ending | None = None
        self.watching: Watching = Watching(url)
        if self.watching.telemetry is not None:
            self.handlers.watch = self.watching.telemetry.handling

    # For calls

    def outbox_with_room(self, for_answer: bool) -> Outbox | None:
        """Where a call may be put at once; ``None`` if that takes waiting, or raising."""
        outbox = self._open_outbox() if self.ending is None else None
        if outbox is None or not (outbox.has_room_for_call if for_answer else outbox.has_room):
            return None
        return outbox

    async def wait_for_outbox(self, for_answer: bool) -> Outbox:
        """Wait until a call may be put, and return where; no checkpoint in between, none at all if there is room.

        Args:
            for_answer: Whether the caller is going to wait for an answer.

        Raises:
            HubClosed: The connection is over, or what else ended it; ``.sent`` is ``False``.
            trio.ClosedResourceError: The user's block was left.
        """
        while True:
            if self.ending is not None:
                raise self.ending.for_call(sent=False)
            if (outbox := self.outbox_with_room(for_answer)) is not None:
                return outbox
            outbox = self._open_outbox()
            if outbox is None:
                await self.states.wait_for_change()
            else:
                one = Unsettled()
                self.calls.unsettled.add(one)  # the end waits until we have seen it
                try:
                    await outbox.wait_for_room()  # our turn now, though others may stand in line behind us
                finally:
                    self.calls.unsettled.discard(one)
                    one.settle()
                if self._is_current(outbox):
                    return outbox

    def _is_current(self, outbox: Outbox) -> bool:
        return self.ending is None and outbox is self._open_outbox()

    def _open_outbox(self) -> Outbox | None:
        """The current session's outbox, if this task may use it now."""
        session = self._session
        if session is None or session.ending is not None:
            return None
        if self.states.current is HubState.CONNECTED or _greeting.get() is session:
            return session.outbox
        return None

    # For the owner of the block

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Connect, report as started, and go on until the connection is over for good."""
        self.watching.enter()
        with self._scope:
            try:
                ending = await self._live_first(task_status.started)
                while self._may_reconnect(ending):
                    next_ending = await self._reconnect(ending)
                    if next_ending is None:
                        break
                    ending = next_ending
            finally:
                self.watching.closed("the hub's block was left")
                self._done.set()

    def shield(self) -> None:
        """Go on when the user's block is cancelled, for the goodbye's sake; only once :meth:`run` has started."""
        self._scope.shield = True

    def leave(self) -> None:
        """The user's block is over: no new calls; open ones are cancelled on the server, then told."""
        self.ending = LEFT
        self.handlers.close()  # first: user code is cancelled, and does not see its calls fail
        self._greeting.cancel()
        self.calls.leave_all(LEFT)

    async def aclose(self) -> None:
        """Say goodbye, within ``close_timeout``, and stop. The only shielded wait there is."""
        session = self._session
        if session is not None:
            with trio.move_on_after(self._options.session.close_timeout, shield=True):
                if session.ending is None:
                    await session.goodbye()
                await self._done.wait()
        self.states.change(HubState.CLOSED)
        self.handlers.lose_all(LEFT)
        self._scope.cancel()

    # One connection after another

    async def _live_first(self, started: Callable[[], None]) -> Ending:
        try:
            return await self._live(started)
        except BaseException as error:
            self.watching.failed(error)
            raise

    async def _live(self, started: Callable[[], None] | None = None) -> Ending:
        """Connect, stay connected for as long as it lasts, part; return why it ended.

        Raises:
            Exception: Connecting failed.
        """
        options = self._options.session
        async with self._connector.open_link(self.protocol, max_message_size=options.max_message_size) as link:
            session = Session(link, self.protocol, options, self.calls, self.handlers, self._flow)
            session.on_resume = self.watching.resumed
            self.connection_id = link.connection_id
            self.transport = link.transport.name
            await session.handshake()
            self._session = session
            self.watching.connected(link, self.protocol.name, session.outbox.recorder)
            try:
                await self._run_session(session, started)
                ending = session.ending
                assert ending is not None, "a session is over for no reason"
                await self._part(ending, session.transport)
                self.last = ending = replace(ending, code=session.transport.close_code)
                if self.loss is not None:
                    self.loss = ending
            finally:
                self._session = None
                self.watching.disconnected(session.ending or _GIVEN_UP, session.transport.close_code)
                if session.ending is None:  # given up alive: what its calls wait for will not come
                    self.calls.lose_all(_GIVEN_UP)
            return ending

    async def _run_session(self, session: Session, started: Callable[[], None] | None) -> None:
        """Run the session until it is over, and the user's ``on_connected`` at its beginning."""
        async with open_tasks() as nursery:
            over = trio.Event()
            self._greeting = greeting = trio.CancelScope()
            nursery.start_soon(self._watch, session, over, greeting, name="trio_signalr session")
            if await self._greet(session, greeting, first=started is not None):
                self.states.change(HubState.CONNECTED, self.connection_id)
                if started is not None:
                    started()
            await over.wait()

    async def _watch(self, session: Session, over: trio.Event, greeting: trio.CancelScope) -> None:
        """Run the session; no checkpoint between its end and telling everybody whom it concerns."""
        ending = await session.run()
        if self._may_reconnect(ending):
            self.watching.lost(ending)
            self.calls.lose_all(ending.as_loss())
        else:
            self._end(ending)
        greeting.cancel()
        over.set()

    async def _greet(self, session: Session, scope: trio.CancelScope, *, first: bool) -> bool:
        """Run ``on_connected``; while it runs only its own calls go out. Whether others may follow.

        Raises:
            HubClosed: The session ended meanwhile.
            Exception: On the first connection, what ``on_connected`` raised.
        """
        try:
            with scope:
                with self._apart(first):
                    await self._call_on_connected(session)
        except Exception as error:
            if first or isinstance(error, HubClosed):
                raise
            self._user_code_failed(error)
            return False
        if session.ending is not None:
            raise session.ending.for_block()
        return self.ending is None

    def _apart(self, first: bool) -> AbstractContextManager[None]:
        """On a reconnect, what is traced belongs to nothing that went on before."""
        telemetry = self.watching.telemetry
        return nullcontext() if first or telemetry is None else telemetry.apart()

    async def _call_on_connected(self, session: Session) -> None:
        if self._options.on_connected is not None:
            CONNECTION.debug("running on_connected")
            token = _greeting.set(session)
            try:
                await self._options.on_connected(self.hub)
            finally:
                _greeting.reset(token)

    def _may_reconnect(self, ending: Ending) -> bool:
        return self._options.reconnect is not None and ending.allow_reconnect and self.ending is None

    async def _reconnect(self, loss: Ending) -> Ending | None:
        """Try until a connection has lived again, and return why that one ended; ``None`` if it is over for good."""
        lost_at = trio.current_time()
        error: Exception = loss.for_block()
        for attempt in count():
            delay = self._ask_policy(RetryContext(attempt, trio.current_time() - lost_at, error))
            if delay is None:
                break
            self.states.change(HubState.RECONNECTING, error=error)
            self.watching.retrying(attempt, delay)
            await trio.sleep(delay)
            try:
                return await self._live()
            except Exception as failure:
                self.watching.retry_failed(attempt, failure)
                if self.ending is not None:  # over for good, or the block was left meanwhile
                    if self.ending is not LEFT:
                        await self._finish()
                    return None
                error = failure
        self._end(loss if attempt == 0 else _gave_up(loss, attempt, error))
        await self._finish()
        return None

    def _ask_policy(self, context: RetryContext) -> float | None:
        assert self._options.reconnect is not None, "nobody asked for this"
        try:
            return self._options.reconnect(context)
        except Exception as error:
            self._user_code_failed(error)
            return None

    # The end of it all

    def _end(self, ending: Ending) -> None:
        """No connection will follow: tell the calls and subscriptions, and all that is still going to be called."""
        self.watching.closed(ending.text)
        self.last = ending
        if ending.kind != "left":
            self.loss = ending
        if self.ending is None:
            self.ending = ending
        self.states.change(HubState.CLOSED, error=None if ending.kind == "left" else ending.for_block())
        self.calls.lose_all(ending)
        self.handlers.lose_all(ending)

    async def _finish(self) -> None:
        """Let everybody take what is his, then end the user's block."""
        unsettled = [*self.calls.unsettled, *self.handlers.unsettled(), *self.states.unsettled()]
        await self._wait_until_settled(unsettled)
        self._lost()

    async def _wait_until_settled(self, unsettled: list[Unsettled]) -> None:
        """Wait until everybody has what is his, but only for those who keep coming for it."""
        progress = trio.Event()
        for one in unsettled:
            one.on_progress = lambda: progress.set()
        while not all(one.settled for one in unsettled):
            progress = trio.Event()
            with trio.move_on_after(self._options.session.close_timeout) as scope:
                await progress.wait()
            if scope.cancelled_caught:
                return

    async def _part(self, ending: Ending, transport: Transport) -> None:
        """Close the transport; if it was the last one, let everything be taken meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_transport, ending, transport)
            if self.ending is not None:
                await self._finish()

    async def _close_transport(self, ending: Ending, transport: Transport) -> None:
        """Close politely if there is somebody to be polite to, and nothing to hurry for."""
        if ending.kind == "timeout" or self.ending is None:
            await trio.aclose_forcefully(transport)
        else:
            with trio.move_on_after(self._options.session.close_timeout):
                await transport.aclose()


def _gave_up(loss: Ending, attempts: int, error: Exception) -> Ending:
    count = f"{attempts} attempts to reconnect" if attempts > 1 else "an attempt to reconnect"
    text = f"{loss.text}; {count} failed{', the last one' if attempts > 1 else ''}: {error}"
    return replace(loss, text=text, cause=error, attempts=attempts)
