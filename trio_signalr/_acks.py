"""Acknowledging what was received, for stateful reconnect: in time, and before the server stops to wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .messages import Ack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._outbox import ReplayOutbox
    from .messages import ReceivedMessage
    from .protocols import HubProtocol
    from .replay import Replay

__all__ = ["Acks"]

ACK_DELAY = 1.0
"""Seconds after which a received message is acknowledged at the latest."""

ACK_SIZE = 32 * 1024
"""Bytes after which it is acknowledged at once: a server stops at 100,000 that are not."""

STUCK_AFTER = 2.0
"""Seconds without an Ack, while we wait for one, after which the server may be in need of help."""


class Acks:
    """Counts what is received, and says so to the server; and looks after what it says of ours."""

    __slots__ = ("_outbox", "_protocol", "_replay", "_size", "_urgent", "_wanted")

    def __init__(self, protocol: HubProtocol, replay: Replay, outbox: ReplayOutbox) -> None:
        self._protocol = protocol
        self._replay = replay
        self._outbox = outbox
        self._size = 0  # bytes since the last Ack
        self._wanted = trio.Event()
        self._urgent = trio.Event()

    def read(self, size: int) -> None:
        """So many bytes came from the transport."""
        self._size += size

    def fresh(self, messages: Iterable[Any]) -> list[ReceivedMessage]:
        """Count the messages, and leave out those that were sent again for nothing."""
        fresh = [message for message in messages if self._replay.received(message)]
        self._wanted.set()
        if self._size >= ACK_SIZE:
            self._urgent.set()
        return fresh

    async def acknowledge(self) -> None:
        """Tell the server what was received: a second after something came, or at once after a lot. Never returns."""
        acknowledged = 0
        while True:
            await self._wanted.wait()
            with trio.move_on_after(ACK_DELAY):
                await self._urgent.wait()
            self._wanted, self._urgent, self._size = trio.Event(), trio.Event(), 0
            if self._replay.latest_received > acknowledged:
                acknowledged = self._replay.latest_received
                self._outbox.put_message(self._protocol.encode(Ack(acknowledged)), "Ack", counted=False)

    async def unstick(self) -> None:
        """Help a server that acknowledges nothing: what fills our buffer may be for streams that it does not know.

        Never returns.
        """
        before = mended = None
        while True:
            await trio.sleep(STUCK_AFTER)
            stuck_at = self._outbox.stuck_at
            if stuck_at is not None and stuck_at == before and stuck_at != mended:
                mended = stuck_at
                self._outbox.mend(stuck_at)
            before = stuck_at
