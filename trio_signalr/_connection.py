"""The life of a hub's connection, as one task: connect, run sessions, hand the end on.

The order at the end matters. Waiting calls fail first, so that they see the error and not a cancellation. Then open
streams hand over what they hold, for as long as somebody keeps taking. Only then is the user's block cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import trio

from ._calls import Calls
from ._endings import Ending
from ._flow import Flow
from ._handlers import Handlers
from ._session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from ._calls import Unsettled
    from ._session import SessionOptions
    from ._tools import Outbox
    from .protocols import HubProtocol
    from .transports import Transport

__all__ = ["Connection", "Connector", "HubState", "Link"]

LEFT = Ending("left", "the block of this hub was left: nothing can be called any more")


class HubState(Enum):
    """Where a hub's connection is in its life."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Link:
    """An open transport.

    Attributes:
        transport: It.
        connection_id: What the server calls us; ``None`` if negotiation was skipped.
    """

    transport: Transport
    connection_id: str | None


class Connector(Protocol):
    """Knows how to reach the hub."""

    def open_link(self, protocol: HubProtocol, options: SessionOptions) -> AbstractAsyncContextManager[Link]:
        """Open a transport to the hub, for the length of the block."""
        ...


class Connection:
    """Everything about a hub that outlives its sessions, and the task that runs them.

    Attributes:
        protocol: The hub protocol.
        calls: Calls in flight.
        handlers: What the server may call.
        state: Where it is.
        connection_id: As the server named it.
        transport: Name of the transport in use.
        ending: Why no call can be made any more.
        loss: Why the connection is over for good, if that was not the user's doing.
    """

    def __init__(
        self,
        connector: Connector,
        protocol: HubProtocol,
        options: SessionOptions,
        handler_failed: Callable[[Exception], None],
        lost: Callable[[], None],
    ) -> None:
        flow = Flow()
        self._connector = connector
        self._options = options
        self._lost = lost  # cancels the user's block
        self._flow = flow
        self._session: Session | None = None
        self._scope = trio.CancelScope()
        self._finished = False
        self.protocol = protocol
        self.calls = Calls(protocol, flow)
        self.handlers = Handlers(protocol, flow, handler_failed)
        self.state = HubState.CONNECTING
        self.connection_id: str | None = None
        self.transport: str | None = None
        self.ending: Ending | None = None
        self.loss: Ending | None = None

    # For calls

    def outbox(self) -> Outbox:
        """Where a call may be put now.

        Raises:
            HubClosed: The connection is over, or what else ended it; ``.sent`` is ``False``.
            trio.ClosedResourceError: The user's block was left.
        """
        if self.ending is not None:
            raise self.ending.for_call(sent=False)
        assert self._session is not None, "no user code runs before the first session"
        return self._session.outbox

    async def wait_for_outbox(self) -> Outbox:
        """Wait until a call may be put, and return where; no checkpoint in between, none at all if there is room.

        Raises:
            Exception: As :meth:`outbox`.
        """
        outbox = self.outbox()
        while not outbox.has_room:
            await outbox.wait_for_room()
            outbox = self.outbox()
        return outbox

    # For the owner of the block

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Connect, report as started, and go on until the connection is over for good."""
        with self._scope:
            async with self._connector.open_link(self.protocol, self._options) as link:
                session = await self._open_session(link)
                task_status.started()
                ending = await session.run()
                await self._finish(ending, link.transport)

    def shield(self) -> None:
        """Go on when the user's block is cancelled, for the goodbye's sake; only once :meth:`run` has started."""
        self._scope.shield = True

    def leave(self) -> None:
        """The user's block is over: no new calls; open ones are cancelled on the server, then told."""
        self.ending = LEFT
        self.calls.leave_all(LEFT)
        self.handlers.close()

    async def aclose(self) -> None:
        """Say goodbye, within ``close_timeout``, and stop. The only shielded wait there is."""
        session = self._session
        with trio.move_on_after(self._options.close_timeout, shield=True):
            if session is not None and session.ending is None:
                await session.goodbye()
        self.state = HubState.CLOSED
        self._scope.cancel()

    async def _open_session(self, link: Link) -> Session:
        session = Session(link.transport, self.protocol, self._options, self.calls, self.handlers, self._flow)
        self._session = session
        self.connection_id = link.connection_id
        self.transport = link.transport.name
        await session.handshake()
        self.state = HubState.CONNECTED
        return session

    async def _finish(self, ending: Ending, transport: Transport) -> None:
        """The connection is over for good: tell the calls, let streams be emptied, then end the user's block."""
        self.state = HubState.CLOSED
        if self.ending is None:
            self.ending = ending
        self.loss = ending
        unsettled = [*self.calls.unsettled, *self.handlers.unsettled()]
        self.calls.lose_all(ending)
        self.handlers.lose_all(ending)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_transport, ending, transport)
            await self._wait_until_settled(unsettled)
            self._lost()

    async def _wait_until_settled(self, unsettled: list[Unsettled]) -> None:
        """Wait until everybody has what is his, but only for those who keep coming for it."""
        progress = trio.Event()
        for one in unsettled:
            one.on_progress = lambda: progress.set()
        while not all(one.settled for one in unsettled):
            progress = trio.Event()
            with trio.move_on_after(self._options.close_timeout) as scope:
                await progress.wait()
            if scope.cancelled_caught:
                return

    async def _close_transport(self, ending: Ending, transport: Transport) -> None:
        """Close politely if there is somebody to be polite to."""
        if ending.kind == "timeout":
            await trio.aclose_forcefully(transport)
        else:
            with trio.move_on_after(self._options.close_timeout):
                await transport.aclose()
