"""What a transport owes to the connection above it."""

from __future__ import annotations

from abc import abstractmethod

import trio

__all__ = ["Transport"]


class Transport(trio.abc.AsyncResource):
    """A connection that carries bytes both ways; where they are cut means nothing.

    One task receives, one task sends. Both methods translate every error of the network into
    :class:`~trio_signalr.errors.TransportError`.

    Attributes:
        name: As ``open_hub(transports=...)`` spells it.
        inherent_keep_alive: ``True`` where the transport itself keeps the connection alive (long polling), so that
            neither side pings and silence means nothing.
    """

    name: str
    inherent_keep_alive: bool = False

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code that the peer sent; ``None`` until then, and on other transports."""
        return None

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Hand ``data`` over. Cancelled or failed, the connection is beyond use.

        Raises:
            TransportError: The connection is broken.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """Wait for the next bytes, at least one; ``b""`` when the peer has ended the connection in an orderly way.

        Cancelling it loses nothing.

        Raises:
            TransportError: The connection broke.
            ProtocolError: The peer sent more in one piece than the limit allows.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """End the connection in the transport's own polite way; cancelled, do it at once without manners.

        The caller bounds the time. Never raises about a peer that is already gone.
        """
