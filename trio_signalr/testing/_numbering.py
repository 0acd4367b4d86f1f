"""Stateful reconnect, on the server: which messages each side has seen, and what is to be sent again.

The arithmetic is that of :mod:`trio_signalr.replay`, which the client uses too; acknowledging is the server's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._outbox import ReplayOutbox
from ..errors import ProtocolError
from ..messages import Ack, Completion, Sequence
from ..replay import Replay
from ._texts import LOST_MESSAGES

if TYPE_CHECKING:
    from ..messages import ReceivedMessage
    from ..protocols import HubProtocol
    from ._line import Line
    from ._wire import Wire

__all__ = ["Numbering"]

FILLER: Completion[object] = Completion("no such call")
"""What every client counts and ignores; the JavaScript client does not count a CancelInvocation."""

ACK_INTERVAL = 1.0
"""Seconds after which what has come is acknowledged."""


class Numbering:
    """The numbers of one connection's messages, over all its transports.

    Args:
        protocol: What the client speaks.

    Attributes:
        outbox: Numbers what is sent, and keeps it until the client has seen it.
    """

    def __init__(self, protocol: HubProtocol) -> None:
        self._replay = Replay(protocol, FILLER)
        self._acknowledged = 0
        self._ack_wanted = trio.Event()
        self.outbox: ReplayOutbox = ReplayOutbox(self._replay)

    def fresh(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Count received messages, and leave out those that were sent again for nothing.

        Raises:
            ProtocolError: The client says that some were lost.
        """
        fresh = []
        for message in messages:
            if isinstance(message, Ack):
                self.outbox.acknowledged(message.sequence_id)
            try:
                new = self._replay.received(message)
            except ProtocolError as error:
                raise ProtocolError(LOST_MESSAGES) from error
            if new or isinstance(message, Sequence):
                fresh.append(message)
        self._ack_wanted.set()
        return fresh

    async def acknowledge(self, line: Line, wire: Wire) -> None:
        """Tell the client what has come, so that it need not keep it."""
        while True:
            await self._ack_wanted.wait()
            await trio.sleep(ACK_INTERVAL)
            self._ack_wanted = trio.Event()
            if self._replay.latest_received > self._acknowledged and not line.lost:
                self._acknowledged = self._replay.latest_received
                wire.post(Ack(self._acknowledged))

    def resend(self) -> list[bytes]:
        """Return what has to go first over another transport."""
        self._acknowledged = 0  # the last Ack may be lost
        return self.outbox.resend()

    def reconnected(self) -> None:
        """From here on, what comes has come over another transport."""
        self._replay.reconnected()
