"""The hub as an ASGI application: which request means what, and what is wrong with it.

It has no task of its own, and so needs no lifespan: whatever runs for a client runs in a request of that client, the
one that opened the transport.

Source: the protocol notes, "Statuses of the hub endpoint", seen on ASP.NET Core 3.1 and 10.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from .._endings import open_tasks
from ..errors import TransportError
from . import _negotiating
from ._entries import Entries, Entry
from ._event_streams import serve_event_stream, wants_event_stream
from ._exchange import Exchange
from ._negotiating import SPELLINGS
from ._network import SOCKETS
from ._polling import Polls, serve_polls
from ._reception import Redirect
from ._user_code import call
from ._websockets import resume_websocket, serve_websocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterator

    import trio

    from ._exchange import Receive, Scope, Send
    from ._reception import Plan
    from ._shared import Shared

__all__ = ["HubApp"]

NO_ID = "Connection ID required"
UNKNOWN_ID = "No Connection with that ID"
OTHER_TRANSPORT = "Cannot change transports mid-connection"
NO_POST = "POST requests are not allowed for WebSocket connections."
NO_DELETE = "Cannot terminate this connection using the DELETE endpoint."
NOT_OFFERED = "{} transport not supported by this end point type"

UNAVAILABLE = 503


class _RefusedError(Exception):
    """A request is to be answered with this status and text."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


class HubApp:
    """An ASGI application for one hub.

    Args:
        shared: What all connections of the server share.
        transports: Names of those that it offers.
    """

    def __init__(self, shared: Shared, transports: Collection[str]) -> None:
        self._shared = shared
        self._transports = frozenset(transports)
        self._entries = Entries()
        self._polls: dict[Entry, Polls] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whatever its path; below ``/negotiate`` it is a negotiation."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        client = tuple(scope.get("client") or ())
        exchange = Exchange(scope, receive, send, SOCKETS.get(client))
        if exchange.method == "WEBSOCKET":
            await receive()  # websocket.connect
        try:
            await self._serve(exchange)
        except _RefusedError as refusal:
            await exchange.answer(refusal.status, str(refusal))

    async def shut_down(self) -> None:
        """End all connections."""
        for entry in self._entries:
            self._forget(entry)
            await entry.end("the server has shut down")

    # All requests

    async def _serve(self, exchange: Exchange) -> None:
        await self._check_token(exchange)
        if exchange.request.path.endswith("/negotiate") and exchange.method != "WEBSOCKET":
            return await self._negotiate(exchange)
        match exchange.method:
            case "WEBSOCKET":
                await self._open_websocket(exchange)
            case "GET" if wants_event_stream(exchange):
                await self._open_event_stream(exchange)
            case "GET":
                await self._poll(exchange)
            case "POST":
                await self._take(exchange)
            case "DELETE":
                await self._delete(exchange)
            case _:
                raise _RefusedError(405)

    async def _check_token(self, exchange: Exchange) -> None:
        gate = self._shared.gate
        if gate is not None and not await call(gate, exchange.request.token):
            raise _RefusedError(401)

    def _find(self, exchange: Exchange) -> Entry:
        token = exchange.option("id")
        if not token:
            raise _RefusedError(400, NO_ID)
        entry = self._entries.find(token)
        if entry is None:
            raise _RefusedError(404, UNKNOWN_ID)
        return entry

    def _check_transport(self, name: str, entry: Entry) -> None:
        """See whether the connection may use that transport."""
        if name not in self._transports:
            raise _RefusedError(404, NOT_OFFERED.format(SPELLINGS[name]))
        if entry.transport not in (None, name):
            raise _RefusedError(400, OTHER_TRANSPORT)

    # Negotiation

    async def _negotiate(self, exchange: Exchange) -> None:
        if exchange.method != "POST":
            raise _RefusedError(405)
        version = _negotiating.version(exchange.option("negotiateVersion"))
        if version is None:
            answer = _negotiating.refused(_negotiating.NO_INTEGER)
        elif isinstance(plan := self._next_plan(exchange), Redirect):
            answer = _negotiating.redirected(plan)
        else:
            answer = self._accept(exchange, version, Entry(self._shared, plan, resumable=self._may_resume(exchange)))
        await exchange.answer(200, answer, "application/json")

    def _may_resume(self, exchange: Exchange) -> bool:
        asked = (exchange.option("useStatefulReconnect") or "").lower() == "true"
        return asked and self._shared.options.stateful_reconnect

    def _accept(self, exchange: Exchange, version: int, entry: Entry) -> bytes:
        if version == 0:
            entry.token = entry.id
        self._entries.add(entry)
        return _negotiating.accepted(version, entry.id, entry.token, self._transports, resumable=entry.resumable)

    # What is planned

    def _next_plan(self, exchange: Exchange) -> Plan:
        with _refusing(exchange):
            return self._shared.reception.next()

    # Transports

    async def _open_websocket(self, exchange: Exchange) -> None:
        if exchange.option("id"):
            entry = self._find(exchange)
        else:  # negotiation was skipped
            entry = Entry(self._shared, self._next_plan(exchange), resumable=False)
        self._check_transport("websockets", entry)
        if entry.transport is not None:
            await self._open_another_websocket(entry, exchange)
            return
        with _refusing(exchange):
            self._shared.reception.check_transport("websockets")
        async with self._open_methods(entry) as methods:
            await serve_websocket(entry, exchange, methods)

    async def _open_another_websocket(self, entry: Entry, exchange: Exchange) -> None:
        if not entry.resumable:
            raise _RefusedError(409)
        with _refusing(exchange):
            self._shared.reception.check_resume()
        if not await resume_websocket(entry, exchange):
            raise _RefusedError(404, UNKNOWN_ID)

    async def _open_event_stream(self, exchange: Exchange) -> None:
        entry = self._find(exchange)
        self._check_transport("server_sent_events", entry)
        if entry.transport is not None:
            raise _RefusedError(409)
        with _refusing(exchange):
            self._shared.reception.check_transport("server_sent_events")
        async with self._open_methods(entry) as methods:
            await serve_event_stream(entry, exchange, methods)

    async def _poll(self, exchange: Exchange) -> None:
        entry = self._find(exchange)
        self._check_transport("long_polling", entry)
        if entry.transport is not None:
            polls = self._polls[entry]
            await polls.answer(exchange)
            if polls.over.is_set():
                self._forget(entry)
            return
        with _refusing(exchange):
            self._shared.reception.check_transport("long_polling")
        polls = self._polls[entry] = Polls(entry, self._shared.options)
        async with self._open_methods(entry) as methods:
            await serve_polls(entry, polls, exchange, methods)

    async def _take(self, exchange: Exchange) -> None:
        """Hand on what a POST brings; it may come before the transport has started."""
        entry = self._find(exchange)
        if entry.transport == "websockets":
            raise _RefusedError(405, NO_POST)
        with entry.network.used(exchange.socket):
            try:
                complete = await entry.bring(exchange.read_some)
            except TransportError:
                raise _RefusedError(404, UNKNOWN_ID) from None
            if complete:
                await exchange.answer(200)

    async def _delete(self, exchange: Exchange) -> None:
        entry = self._find(exchange)
        if entry.transport != "long_polling":
            raise _RefusedError(400, NO_DELETE)
        self._forget(entry)
        entry.leave()
        await exchange.answer(202)

    @asynccontextmanager
    async def _open_methods(self, entry: Entry) -> AsyncGenerator[trio.Nursery]:
        """A nursery for a connection's hub methods. Behind the block, requests do not find the connection any more."""
        async with open_tasks(outlive=True) as methods:
            try:
                yield methods
            finally:
                self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        self._entries.remove(entry)
        if (polls := self._polls.pop(entry, None)) is not None:
            polls.over.set()


@contextmanager
def _refusing(exchange: Exchange) -> Iterator[None]:
    """What is raised in this refuses the request: with the status that it has, or else by a broken connection."""
    try:
        yield
    except Exception as error:
        status = getattr(error, "status", None)
        if status is None and exchange.socket is not None:
            exchange.socket.cut()
        raise _RefusedError(status or UNAVAILABLE, str(error)) from error


async def _live(receive: Receive, send: Send) -> None:
    """Say yes to a server that asks before it starts and stops."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
