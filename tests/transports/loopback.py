"""A raw HTTP and WebSocket peer on 127.0.0.1: each test writes out what it answers, byte for byte if need be."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import h11
import trio

__all__ = ["Peer", "frame", "serving", "switching"]


class Peer:
    """The server's side of one TCP connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._parser = h11.Connection(h11.SERVER)

    async def request(self) -> h11.Request:
        """Wait for the next request, and drop its body."""
        if self._parser.our_state is h11.DONE:
            self._parser.start_next_cycle()
        request = await self._event()
        assert isinstance(request, h11.Request)
        while type(await self._event()) is not h11.EndOfMessage:
            pass
        return request

    async def _event(self) -> object:
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            self._parser.receive_data(bytes(await self.stream.receive_some()))
        assert not isinstance(event, h11.ConnectionClosed), "the client has closed"
        return event

    async def answer(self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer the request; the connection goes on."""
        fields = [("Content-Length", str(len(body))), *(headers or {}).items()]
        data = self._parser.send(h11.Response(status_code=status, headers=fields))
        assert data is not None
        data += self._parser.send(h11.Data(body)) or b""
        self._parser.send(h11.EndOfMessage())
        await self.stream.send_all(data)

    async def accept(self, then: bytes = b"", headers: Mapping[str, str] | None = None) -> h11.Request:
        """Take a WebSocket upgrade, and send ``then`` in the same segment as the answer."""
        request = await self.request()
        await self.stream.send_all(switching(request, headers) + then)
        return request

    async def receive_frame(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of a client's short, unfragmented frame."""
        first, second = await self._exactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await self._exactly(2))
        mask = await self._exactly(4)
        payload = await self._exactly(length)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))

    async def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self.stream.receive_some(count - len(data))
            assert more, "the client has closed"
            data += more
        return data

    async def gone(self) -> bool:
        """Wait until the client has closed without another word; ``False`` if it said something."""
        try:
            return not await self.stream.receive_some()
        except trio.BrokenResourceError:
            return True


def switching(request: h11.Request, headers: Mapping[str, str] | None = None) -> bytes:
    """The answer that accepts an upgrade."""
    key = dict(request.headers)[b"sec-websocket-key"]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept, **(headers or {})}
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A server's frame."""
    length = len(payload)
    if length < 126:
        head = bytes((length,))
    elif length < 2**16:
        head = b"\x7e" + length.to_bytes(2)
    else:
        head = b"\x7f" + length.to_bytes(8)
    return bytes((opcode | (0x80 if fin else 0),)) + head + payload


@asynccontextmanager
async def serving(
    handler: Callable[[Peer], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve each connection by ``handler``, and yield the URL. What a handler raises fails the test."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if tls is None:
                await handler(Peer(stream))
            else:
                await handler(Peer(trio.SSLStream(stream, tls, server_side=True, https_compatible=True)))

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
