"""A hub peer that does nothing by itself: the test reads every message and writes every answer.

It stands at the other end of a memory transport, so what happens is deterministic to the byte.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_signalr._hub import HubConnection, run_hub
from trio_signalr._link import Link
from trio_signalr._open import connection_options
from trio_signalr.messages import (
    UNSET,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    ReceivedMessage,
    StreamInvocation,
    StreamItem,
)
from trio_signalr.protocols import HubProtocol, JsonHubProtocol
from trio_signalr.protocols.handshake import HandshakeReader, encode_response, parse_request
from trio_signalr.transports._memory import MemoryTransport, memory_transport_pair

M = TypeVar("M")


class Peer:
    """The server's end of one connection, handshake already answered."""

    def __init__(self, transport: MemoryTransport, protocol: HubProtocol) -> None:
        self.transport = transport
        self.protocol = protocol
        self._handshake = HandshakeReader(parse_request)
        self._shaken = False
        self._parser = protocol.parser()
        self._ready: list[ReceivedMessage] = []
        self.reads = 0  # transport messages received

    async def receive(self) -> ReceivedMessage:
        """The next message that is no ping."""
        while True:
            while not self._ready:
                await self._read()
            message = self._ready.pop(0)
            if not isinstance(message, Ping):
                return message

    async def expect(self, kind: type[M]) -> M:
        """The next message, which must be of this kind."""
        message = await self.receive()
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message!r}"
        return message

    async def rest(self) -> list[ReceivedMessage]:
        """All that has come once the client has nothing more to do for now."""
        await wait_all_tasks_blocked()
        while self.transport.pending:
            await self._read()
            await wait_all_tasks_blocked()
        rest, self._ready = self._ready, []
        return [message for message in rest if not isinstance(message, Ping)]

    async def rest_of_connection(self) -> list[ReceivedMessage]:
        """All that is still to be read from a connection that the client has ended."""
        with pytest.raises(trio.EndOfChannel):
            while True:
                await self._read()
        rest, self._ready = self._ready, []
        return [message for message in rest if not isinstance(message, Ping)]

    async def send(self, *messages: HubMessage[Any]) -> None:
        """Send messages, as one transport message."""
        await self.transport.send(b"".join(map(self.protocol.encode, messages)))

    async def items(self, invocation_id: str, *items: object) -> None:
        await self.send(*[StreamItem(invocation_id, item) for item in items])

    async def complete(self, invocation_id: str, result: object = UNSET, *, error: str | None = None) -> None:
        await self.send(Completion(invocation_id, result, error))

    def arguments(self, message: Invocation[Any] | StreamInvocation[Any]) -> list[Any]:
        return [self.protocol.decode_payload(payload, Any) for payload in message.arguments]

    def value(self, payload: Any) -> Any:
        return self.protocol.decode_payload(payload, Any)

    async def _read(self) -> None:
        data = await self.transport.receive()
        if not data:
            raise trio.EndOfChannel
        self.reads += 1
        if not self._shaken:
            self._shaken = self._handshake.feed(data) is not None
            data = self._handshake.rest
        self._ready += self._parser.feed(data)


class PeerConnector:
    """Connects to a new :class:`Peer` each time, or fails as told."""

    def __init__(self, handshake: bytes | None = None) -> None:
        self.peers: list[Peer] = []
        self.attempts: list[float] = []
        self.failures: list[Exception] = []
        self._handshake = encode_response() if handshake is None else handshake
        self.opened: Callable[[], None] = lambda: None

    @property
    def peer(self) -> Peer:
        """The one connected last."""
        return self.peers[-1]

    @asynccontextmanager
    async def open_link(self, protocol: HubProtocol, *, max_message_size: float) -> AsyncGenerator[Link]:
        self.attempts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        ours, theirs = memory_transport_pair()
        await theirs.send(self._handshake)
        self.peers.append(Peer(theirs, protocol))
        self.opened()
        try:
            yield Link(ours, f"connection {len(self.peers)}")
        finally:
            await trio.aclose_forcefully(ours)


@asynccontextmanager
async def open_peer(
    protocol: HubProtocol | None = None,
    *,
    connector: PeerConnector | None = None,
    handlers: dict[str, Callable[..., object]] | None = None,
    reconnect: Any = None,
    on_connected: Any = None,
    **options: float,
) -> AsyncGenerator[tuple[HubConnection, Peer]]:
    """A hub connected to a peer, and the peer."""
    connector = connector or PeerConnector()
    settings = connection_options(reconnect=reconnect, on_connected=on_connected, **options)
    async with run_hub(connector, protocol or JsonHubProtocol(), settings, handlers) as hub:
        yield hub, connector.peer
