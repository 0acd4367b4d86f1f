"""The states of a hub's connection, and who wants to hear of their changes."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import trio

from ._flow import Flow
from ._streams import BufferedChannel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._calls import Unsettled

__all__ = ["HubState", "StateChange", "States"]


class HubState(Enum):
    """Where a hub's connection is in its life."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StateChange:
    """One step in the life of a hub's connection.

    Attributes:
        old: The state before.
        new: The state now.
        connection_id: What the server calls the connection in the new state; ``None`` if there is none, or if
            negotiation was skipped.
        error: Why the connection was lost; ``None`` for a step that is no loss.
    """

    old: HubState
    new: HubState
    connection_id: str | None
    error: Exception | None


class StateChanges(BufferedChannel[StateChange]):
    """A receive channel of state changes; made by :meth:`HubConnection.state_changes`."""

    def __init__(self) -> None:
        # A flow of its own: waiting for a change is no reason to go on reading. No limit: changes are few.
        super().__init__(Flow(), math.inf, "pause", "state changes")


class States:
    """The current state, and a channel for everybody who follows it.

    Attributes:
        current: The state now.
    """

    def __init__(self) -> None:
        self.current: HubState = HubState.CONNECTING
        self._changed = trio.Event()
        self._followers: set[StateChanges] = set()

    def change(self, new: HubState, connection_id: str | None = None, error: Exception | None = None) -> None:
        """Go to ``new`` and tell everybody; after ``CLOSED`` there is nothing more to tell."""
        if new is self.current:
            return
        change = StateChange(self.current, new, connection_id, error)
        self.current = new
        self._changed.set()
        self._changed = trio.Event()
        for follower in self._followers:
            follower.put([change])
            if new is HubState.CLOSED:
                follower.finish(trio.EndOfChannel)

    async def wait_for_change(self) -> None:
        """Wait for the next change; a checkpoint."""
        await self._changed.wait()

    @contextmanager
    def followed(self) -> Iterator[StateChanges]:
        """A channel of the changes from now on, for the length of the block."""
        changes = StateChanges()
        if self.current is HubState.CLOSED:
            changes.finish(trio.EndOfChannel)
        self._followers.add(changes)
        try:
            yield changes
        finally:
            self._followers.discard(changes)
            changes.close()

    def unsettled(self) -> Iterator[Unsettled]:
        """Followers who have not heard everything yet."""
        return (follower.unsettled for follower in self._followers)
