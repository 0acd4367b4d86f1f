"""Connections that clients reach by HTTP: from their negotiation on, whatever requests they come by."""

from __future__ import annotations

import math
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from ..errors import TransportError
from ..transports._memory import memory_transport_pair
from ._incoming import Incoming
from ._network import Network
from ._transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ._reception import Plan
    from ._records import Request
    from ._shared import Shared

__all__ = ["Entries", "Entry"]


class Entry:
    """One such connection.

    Args:
        shared: What all connections of the server share.
        plan: How to receive it.
        resumable: Whether negotiation has promised stateful reconnect.

    Attributes:
        id: The connection id.
        token: What requests have to name.
        resumable: Whether negotiation has promised stateful reconnect.
        transport: Name of the transport; ``None`` until it has started.
        near: HTTP's end of what goes to and fro; the hub has the other.
        network: The sockets by which the client is there.
        deadline: When a connection that nobody starts is forgotten.
    """

    def __init__(self, shared: Shared, plan: Plan, *, resumable: bool) -> None:
        self._shared = shared
        self._plan = plan
        self._incoming: Incoming | None = None
        self.id = shared.next_connection_id()
        self.token = secrets.token_urlsafe(16)
        self.resumable = resumable
        self.transport: str | None = None
        self.near, self._far = memory_transport_pair()
        self.network = Network()
        self._posting = trio.StrictFIFOLock()
        self.deadline = trio.current_time() + shared.options.disconnect_timeout

    def start(self, name: str, request: Request) -> HttpTransport:
        """Make it a connection over that transport, which :meth:`run` serves."""
        self.transport = name
        self.deadline = math.inf
        transport = HttpTransport(name, self._far, self.network)
        self._incoming = Incoming(
            self._shared,
            transport,
            connection_id=self.id,
            plan=self._plan,
            request=request,
            resumable=self.resumable and name == "websockets",
        )
        return transport

    async def run(self, methods: trio.Nursery) -> None:
        """Serve the client until it has gone; its hub methods run in that nursery, some even longer."""
        assert self._incoming is not None, "it was not started"
        await self._incoming.run(methods)

    def resume(self, transport: HttpTransport) -> bool:
        """Go on with another transport; ``False`` if it is too late."""
        return self._incoming is not None and self._incoming.resume(transport)

    async def bring(self, read: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Take in what a request brings, as fast as the hub takes it; ``False`` if the client leaves in between.

        Args:
            read: Returns the next piece of it; ``b""`` at the end, ``None`` if the client has left.

        Raises:
            TransportError: The hub had ended the connection before. If it does so in between, it ignores the rest.
        """
        async with self._posting:
            if data := await read():
                await self.near.send(data)
            with suppress(TransportError):
                while data and (data := await read()):
                    await self.near.send(data)
            while data:
                data = await read()
        return data is not None

    def leave(self) -> None:
        """The client says that it has gone, once all that it has sent is handled."""
        self.near.end()

    async def end(self, error: str) -> None:
        """End it at the server's wish, with ``error`` for the hooks to see."""
        if self._incoming is None or not self._incoming.end(error):
            await self.near.aclose()


class Entries:
    """All of them, by token."""

    def __init__(self) -> None:
        self._by_token: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._by_token.values()))

    def add(self, entry: Entry) -> None:
        """A new one; those that were negotiated long ago and never used are forgotten on this occasion."""
        now = trio.current_time()
        self._by_token = {token: other for token, other in self._by_token.items() if other.deadline > now}
        self._by_token[entry.token] = entry

    def find(self, token: str) -> Entry | None:
        """Return the connection of that token; ``None`` if it is over, or was never there."""
        entry = self._by_token.get(token)
        if entry is not None and entry.deadline <= trio.current_time():
            self.remove(entry)
            return None
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget it."""
        self._by_token.pop(entry.token, None)
