"""The hub that a command talks to: how to reach it, and what to show of the connection's life."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._open import open_hub
from .._states import HubState
from ..negotiation import without_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._hub import HubConnection
    from .running import Run
    from .screen import Screen

__all__ = ["Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A hub, and how to reach it.

    Attributes:
        url: The hub's URL.
        protocol: Name of the hub protocol.
        options: Further ones for ``open_hub``.
    """

    url: str
    protocol: str = "json"
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def reconnects(self) -> bool:
        """Whether a lost connection is followed by another."""
        return self.options.get("reconnect") is not None

    @asynccontextmanager
    async def open(self, run: Run, **options: Any) -> AsyncGenerator[HubConnection]:
        """Connect for the length of the block, and show what becomes of the connection."""
        async with open_hub(self.url, protocol=self.protocol, **self.options, **options) as hub:
            run.connected = True
            run.screen.status(f"connected to {without_secrets(self.url)}, {hub.protocol} over {hub.transport}")
            run.nursery.start_soon(_show_changes, hub, run.screen)
            yield hub


async def _show_changes(hub: HubConnection, screen: Screen) -> None:
    async with hub.state_changes() as changes:
        async for change in changes:
            if change.new is HubState.RECONNECTING:
                screen.warn(f"connection lost, trying to reconnect: {change.error}")
            elif change.new is HubState.CONNECTED:
                screen.note(f"connected again, {hub.protocol} over {hub.transport}")
