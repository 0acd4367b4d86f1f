"""A client that does nothing by itself: the test writes every message and reads every answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_signalr.messages import HubMessage, Invocation, Ping, StreamInvocation
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.protocols.handshake import HandshakeReader, encode_request, parse_response
from trio_signalr.testing import Client, HubServer
from trio_signalr.testing._connect import open_server_side
from trio_signalr.testing._records import plain
from trio_signalr.transports._memory import MemoryTransport

PROTOCOLS: dict[str, HubProtocol] = {"json": JsonHubProtocol(), "messagepack": MessagePackHubProtocol()}


class RawClient:
    """The client's end of a connection."""

    def __init__(
        self, transport: MemoryTransport, protocol: HubProtocol, server: HubServer, connection_id: str
    ) -> None:
        self.transport = transport
        self.protocol = protocol
        self._server = server
        self._connection_id = connection_id
        self._parser = protocol.parser()
        self._ready: list[HubMessage[Any]] = []

    @property
    def client(self) -> Client:
        """What the server holds of it."""
        return self._server.client(self._connection_id)

    async def shake_hands(self) -> None:
        await self.transport.send(encode_request(self.protocol.name, 1))
        reader = HandshakeReader(parse_response)
        while reader.feed(await self.transport.receive()) is None:
            pass
        self._take(reader.rest)

    async def send(self, *messages: HubMessage[Any]) -> None:
        """Send messages, as one transport message."""
        await self.send_bytes(b"".join(map(self.protocol.encode, messages)))

    async def send_bytes(self, data: bytes) -> None:
        await self.transport.send(data)

    async def call(self, target: str, *arguments: Any, id_: str | None = "1", streams: tuple[str, ...] = ()) -> None:
        await self.send(Invocation(target, list(arguments), id_, list(streams)))

    async def call_stream(self, target: str, *arguments: Any, id_: str = "1", streams: tuple[str, ...] = ()) -> None:
        await self.send(StreamInvocation(target, list(arguments), id_, list(streams)))

    async def receive(self) -> HubMessage[Any]:
        """The next message that is no ping; ``EndOfChannel`` at the end of the connection."""
        while not self._ready:
            await self._read()
        return self._ready.pop(0)

    async def rest(self) -> list[HubMessage[Any]]:
        """All that has come once the server has nothing more to do for now."""
        await wait_all_tasks_blocked()
        while self.transport.pending:
            await self._read()
            await wait_all_tasks_blocked()
        rest, self._ready = self._ready, []
        return rest

    async def rest_of_connection(self) -> list[HubMessage[Any]]:
        """All that comes until the server ends the connection."""
        try:
            while True:
                await self._read()
        except trio.EndOfChannel:
            rest, self._ready = self._ready, []
            return rest

    async def _read(self) -> None:
        data = await self.transport.receive()
        if not data:
            raise trio.EndOfChannel
        self._take(data)

    def _take(self, data: bytes) -> None:
        messages = [plain(message, self.protocol) for message in self._parser.feed(data)]
        self._ready += [message for message in messages if not isinstance(message, Ping)]


@asynccontextmanager
async def open_wire(server: HubServer, protocol: str = "json") -> AsyncGenerator[RawClient]:
    """A connection on which nothing was said yet."""
    codec = PROTOCOLS[protocol]
    async with open_server_side(server._shared, ()) as connector:
        async with connector.open_link(codec, max_message_size=2**20) as link:
            assert isinstance(link.transport, MemoryTransport)
            assert link.connection_id is not None
            yield RawClient(link.transport, codec, server, link.connection_id)


@asynccontextmanager
async def open_raw(server: HubServer, protocol: str = "json") -> AsyncGenerator[RawClient]:
    """A connection that has shaken hands."""
    async with open_wire(server, protocol) as raw:
        await raw.shake_hands()
        yield raw
