"""What goes out to one client, and what has come in and waits for its turn."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from ..messages import Close
from ..replay import COUNTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._outbox import Outbox
    from ..messages import HubMessage, ReceivedMessage
    from ..protocols import HubProtocol

__all__ = ["Inbox", "Wire"]

CAPACITY = 64 * 1024
"""Bytes received and not handled yet above which nothing more is read, as in ASP.NET Core."""


class Wire:
    """The way to a client: encodes, and puts into the outbox until the connection is over.

    Args:
        protocol: What the client speaks.
        outbox: What its writer takes from.

    Attributes:
        protocol: What the client speaks.
        outbox: What its writer takes from.
    """

    def __init__(self, protocol: HubProtocol, outbox: Outbox) -> None:
        self.protocol = protocol
        self.outbox = outbox
        self._finished = False

    def post(self, message: HubMessage[Any]) -> None:
        """Send a message; for nothing if the connection is over.

        Raises:
            PayloadError: The protocol cannot encode it.
        """
        self.post_raw(self.protocol.encode(message), counted=isinstance(message, COUNTED))

    def post_raw(self, data: bytes, *, counted: bool = False) -> None:
        """Send bytes as they are; for nothing if the connection is over.

        Args:
            data: The bytes.
            counted: Whether they are a message that stateful reconnect numbers.
        """
        if not self._finished:
            self.outbox.put(data, counted=counted)

    async def wait_for_room(self) -> None:
        """Wait while the client is behind; a checkpoint only if it is."""
        await self.outbox.wait_for_room()

    def finish(self) -> None:
        """What has been posted still goes out, nothing else does."""
        self._finished = True


class Inbox:
    """Received messages on their way to the one task that handles them, in order.

    Handling may have to wait: for a free slot, or for a method that takes its time with an upload. What is behind waits
    too. Reading goes on meanwhile, within bounds, or nobody would see that the client has gone. That is why this knows
    whether handling waits: a client that has gone can no longer be waited for.

    Args:
        on_stuck: Called when handling waits though the client has gone.

    Attributes:
        blocked: Whether handling waits.
        peer_gone: Whether the client has gone.
        has_goodbye: Whether the client has said that it goes, even if the one who handles has not got to that yet.
    """

    def __init__(self, on_stuck: Callable[[], None]) -> None:
        self._on_stuck = on_stuck
        self._batches: deque[tuple[list[ReceivedMessage], int]] = deque()
        self._held = 0
        self._limited = True
        self._final: Callable[[], None] | None = None
        self._mail = trio.Event()
        self._room = trio.Event()
        self.blocked: bool = False
        self.peer_gone: bool = False
        self.has_goodbye: bool = False

    # For the reader

    def put(self, messages: list[ReceivedMessage], size: int) -> None:
        """Append what ``size`` bytes have brought."""
        self._batches.append((messages, size))
        self._held += size
        self._mail.set()
        for message in messages:
            if isinstance(message, Close):
                self.has_goodbye = True

    async def wait_for_room(self) -> None:
        """Wait while too much is held."""
        while self._held >= CAPACITY and self._limited:
            self._room = trio.Event()
            await self._room.wait()

    def finish(self, final: Callable[[], None]) -> None:
        """Nothing more will come; ``final`` is called once all that came before is handled. The first one counts."""
        if self._final is None:
            self._final = final
            self._mail.set()

    def peer_left(self) -> None:
        """The client has gone, so that waiting for it makes no sense."""
        self.peer_gone = True
        if self.blocked:
            self._on_stuck()

    def unlimit(self) -> None:
        """Hold any amount from now on."""
        self._limited = False
        self._room.set()

    # For the one who handles

    async def take(self) -> tuple[list[ReceivedMessage], int] | None:
        """Wait for messages; ``None`` when all are handled and :meth:`finish` was called, whose ``final`` has run."""
        while not self._batches:
            if self._final is not None:
                self._final()
                return None
            self._mail = trio.Event()
            await self._mail.wait()
        return self._batches.popleft()

    def done(self, size: int) -> None:
        """What was taken is handled."""
        self._held -= size
        self._room.set()

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """Wait inside this while nothing else of the connection is handled."""
        self.blocked = True
        if self.peer_gone:
            self._on_stuck()
        try:
            yield
        finally:
            self.blocked = False
