"""What may stand in front of a server: TLS, a Unix socket, a proxy. All of it on this machine, bytes passed unread."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.transports.loopback import Peer

__all__ = ["ConnectProxy", "open_proxy", "open_socks_proxy", "open_tls_gate", "open_unix_gate"]


@asynccontextmanager
async def open_tls_gate(port: int, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Take TLS connections and pass what is in them on to ``port`` of 127.0.0.1; yield the https URL."""

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError:
            return  # one of us did not like the other's certificate
        await _pass_on(tls, await trio.open_tcp_stream("127.0.0.1", port))

    async with _listening(serve) as gate:
        yield f"https://127.0.0.1:{gate}"


@asynccontextmanager
async def open_unix_gate(port: int, path: Path) -> AsyncIterator[None]:
    """Take connections on a Unix socket at ``path`` and pass them on to ``port`` of 127.0.0.1."""

    async def serve(stream: trio.SocketStream) -> None:
        await _pass_on(stream, await trio.open_tcp_stream("127.0.0.1", port))

    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(path))
    sock.listen()
    async with _serving(serve, trio.SocketListener(sock)):
        yield


@dataclass
class ConnectProxy:
    """A proxy that makes tunnels.

    Attributes:
        url: Its URL, without credentials.
        tunnels: Where to, for each that was made.
        refused: The same for those that it refused, for want of credentials.
    """

    url: str = ""
    tunnels: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def with_credentials(self, credentials: str) -> str:
        """The URL with ``"user:password"``."""
        return self.url.replace("//", f"//{credentials}@")


@asynccontextmanager
async def open_proxy(credentials: str | None = None) -> AsyncIterator[ConnectProxy]:
    """Run a proxy that asks for these credentials, if any."""
    proxy = ConnectProxy()
    wanted = None if credentials is None else b"Basic " + base64.b64encode(credentials.encode())

    async def serve(stream: trio.SocketStream) -> None:
        request = await Peer(stream).request()
        target = request.target.decode()
        assert request.method == b"CONNECT", "for https a proxy is asked for tunnels only"
        if dict(request.headers).get(b"proxy-authorization") != wanted:
            proxy.refused.append(target)
            await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        proxy.tunnels.append(target)
        host, _, port = target.rpartition(":")
        server = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _pass_on(stream, server)

    async with _listening(serve) as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy


@asynccontextmanager
async def open_socks_proxy() -> AsyncIterator[ConnectProxy]:
    """Run a SOCKS 5 proxy that lets everybody in."""
    proxy = ConnectProxy()

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()  # the ways to log in that the client knows
        await stream.send_all(b"\x05\x00")  # none is needed
        request = bytes(await stream.receive_some())
        assert request[:4] in (b"\x05\x01\x00\x01", b"\x05\x01\x00\x03"), "connect, to an IPv4 address or a name"
        host = socket.inet_ntoa(request[4:8]) if request[3] == 1 else request[5:-2].decode()
        port = int.from_bytes(request[-2:])
        proxy.tunnels.append(f"{host}:{port}")
        server = await trio.open_tcp_stream(host, port)
        await stream.send_all(b"\x05\x00\x00\x01" + bytes(6))
        await _pass_on(stream, server)

    async with _listening(serve) as port:
        proxy.url = f"socks5://127.0.0.1:{port}"
        yield proxy


@asynccontextmanager
async def _listening(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with _serving(serve, listener):
        yield listener.socket.getsockname()[1]


@asynccontextmanager
async def _serving(
    serve: Callable[[trio.SocketStream], Awaitable[None]], listener: trio.SocketListener
) -> AsyncIterator[None]:
    async def serve_and_close(stream: trio.SocketStream) -> None:
        async with stream:
            await serve(stream)

    failure = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve_and_close, [listener])
        try:
            yield
        except Exception as error:
            failure = error  # to leave the nursery as it is, not in a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _pass_on(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Pass bytes both ways until either side ends, then end both."""

    async def pump(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some(65536):
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()

    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(pump, one, other)
        nursery.start_soon(pump, other, one)
