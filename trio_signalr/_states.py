"""The states of a hub's connection, and who wants to hear of their changes."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class States:
    """The current state, and a channel for everybody who follows it.

    Attributes:
        current: The state now.
    """

    def __init__(self) -> None:
        self.current = HubState.CONNECTING
        self._changed = trio.Event()
        self._followers: set[trio.MemorySendChannel[StateChange]] = set()

    def change(self, new: HubState, connection_id: str | None = None, error: Exception | None = None) -> None:
        """Go to ``new`` and tell everybody; after ``CLOSED`` there is nothing more to tell."""
        change = StateChange(self.current, new, connection_id, error)
        if new is self.current:
            return
        self.current = new
        self._changed.set()
        self._changed = trio.Event()
        for follower in self._followers:
            follower.send_nowait(change)
            if new is HubState.CLOSED:
                follower.close()

    async def wait_for_change(self) -> None:
        """Wait for the next change; a checkpoint."""
        await self._changed.wait()

    @contextmanager
    def followed(self) -> Iterator[trio.MemoryReceiveChannel[StateChange]]:
        """A channel of the changes from now on, for the length of the block. Its buffer has no limit: they are few."""
        send, receive = trio.open_memory_channel[StateChange](math.inf)
        self._followers.add(send)
        if self.current is HubState.CLOSED:
            send.close()
        with send, receive:
            try:
                yield receive
            finally:
                self._followers.discard(send)
