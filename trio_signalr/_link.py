"""How a connection reaches its hub: the seam between the life of a connection and the ways to a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from .protocols import HubProtocol
    from .transports import Transport

__all__ = ["Connector", "Link"]


@dataclass(frozen=True, slots=True)
class Link:
    """An open transport.

    Attributes:
        transport: It.
        connection_id: What the server calls us; ``None`` if negotiation was skipped.
        reopen: Opens another transport to the same connection on the server, for the length of its block; ``None`` if
            the server does not have stateful reconnect. A :exc:`TransportError` with status 404 is final.
        url: Where it leads, after redirects and without secrets; ``None`` in memory.
    """

    transport: Transport
    connection_id: str | None
    reopen: Callable[[], AbstractAsyncContextManager[Transport]] | None = None
    url: str | None = None


class Connector(Protocol):
    """Knows how to reach the hub, each time anew."""

    def open_link(self, protocol: HubProtocol, *, max_message_size: float) -> AbstractAsyncContextManager[Link]:
        """Open a transport to the hub, for the length of the block."""
        ...
