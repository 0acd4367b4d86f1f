"""What all connections of one server share."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import trio

from ._methods import Methods
from ._reception import Reception
from ._records import Connected, Disconnected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from ..protocols import HubProtocol
    from ._client import Client
    from ._options import ServerOptions
    from ._records import Event

__all__ = ["Shared"]


class Shared:
    """What all connections of one server share.

    Attributes:
        options: How the server was told to behave.
        protocols: What it speaks, by name.
        methods: What can be called.
        on_connected: Hooks, in order.
        on_disconnected: Hooks, in order.
        clients: Everybody who ever shook hands, by connection id; without ``record``, only those who are there.
        connected: Those who are there now.
        groups: Who of them is in which group.
        reception: How the next ones are received.
        gate: Whether to let in a request with that bearer token; ``None`` lets all in.
        question_ids: Ids for the calls that clients answer.
    """

    def __init__(self, options: ServerOptions, protocols: Iterable[HubProtocol]) -> None:
        self.options = options
        self.protocols: dict[str, HubProtocol] = {protocol.name.casefold(): protocol for protocol in protocols}
        self.methods: Methods = Methods()
        self.on_connected: list[Callable[[Client], object]] = []
        self.on_disconnected: list[Callable[[Client], object]] = []
        self.clients: dict[str, Client] = {}
        self.connected: dict[str, Client] = {}
        self.groups: dict[str, dict[str, Client]] = {}
        self.reception: Reception = Reception()
        self.gate: Callable[[str | None], object] | None = None
        self.question_ids: map[str] = map("s{}".format, count(1))
        self._connection_ids = map("c{}".format, count(1))
        self._observers: list[trio.MemorySendChannel[Event]] = []

    def next_connection_id(self) -> str:
        """A new id, the same in every run."""
        return next(self._connection_ids)

    def joined(self, client: Client) -> None:
        """A client has shaken hands."""
        self.clients[client.connection_id] = self.connected[client.connection_id] = client
        self.emit(Connected(client))

    def left(self, client: Client) -> None:
        """Its connection is over."""
        self.connected.pop(client.connection_id, None)
        if not self.options.record:
            self.clients.pop(client.connection_id, None)
        for name in list(self.groups):
            self.leave(name, client)
        self.emit(Disconnected(client, client.error))

    def join(self, name: str, client: Client) -> None:
        """Be in a group."""
        self.groups.setdefault(name, {})[client.connection_id] = client

    def leave(self, name: str, client: Client) -> None:
        """Be in it no more; without anybody in it, there is none."""
        group = self.groups.get(name, {})
        group.pop(client.connection_id, None)
        if not group:
            self.groups.pop(name, None)

    @property
    def observed(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._observers)

    def emit(self, event: Event) -> None:
        """Tell everybody who wants to know."""
        for observer in self._observers:
            observer.send_nowait(event)

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[trio.MemoryReceiveChannel[Event]]:
        """See :meth:`HubServer.events`."""
        await trio.lowlevel.checkpoint()
        observer, events = trio.open_memory_channel["Event"](math.inf)
        self._observers.append(observer)
        with events:
            try:
                yield events
            finally:
                self._observers.remove(observer)
                observer.close()
