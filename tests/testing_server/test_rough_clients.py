"""Clients of a real port that speak nonsense, half a sentence or nothing: everybody else is served as before.

And the port ends on time whatever they are in the middle of, with no task, socket or warning left.
"""

from __future__ import annotations

import gc
import resource
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from trio_signalr import open_hub
from trio_signalr.testing import HubServer
from trio_signalr.testing._network import SOCKETS

UPGRADE = (
    b"GET /hub HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
NEGOTIATE = b"POST /hub/negotiate?negotiateVersion=1 HTTP/1.1\r\nHost: x\r\n"


def frame(first: int, data: bytes, *, masked: bool = True) -> bytes:
    """A short WebSocket frame, all mask bytes zero."""
    return bytes([first, len(data) | (0x80 if masked else 0)]) + (bytes(4) if masked else b"") + data


NONSENSE = {
    "noise": b"\x00\xff\xfe noise\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "an endless line": b"GET /" + b"a" * 200_000,
    "a path that is no text": b"GET /hub%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an id that is no text": b"GET /hub?id=%ff%00&%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /hub HTTP/1.1\r\n\r\n",
    "a length that is none": NEGOTIATE + b"Content-Length: -5\r\n\r\n",
    "a chunk that is none": NEGOTIATE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "half a body": NEGOTIATE + b"Content-Length: 100\r\n\r\nabc",
    "requests in one go": (NEGOTIATE + b"Content-Length: 0\r\n\r\n") * 5,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    "an upgrade without a key": UPGRADE.replace(b"Sec-WebSocket-Key", b"X"),
    "an upgrade of another version": UPGRADE.replace(b"13", b"12"),
    "an upgrade for an unknown id": UPGRADE.replace(b"/hub", b"/hub?id=nobody") + frame(0x81, b"x"),
}
FRAMES = {
    "unmasked": frame(0x81, b"hi", masked=False),
    "reserved bits": frame(0xF1, b"hi"),
    "reserved opcode": frame(0x85, b"hi"),
    "nothing to continue": frame(0x80, b"hi"),
    "no UTF-8": frame(0x81, b"\xff\xfe"),
    "half a close code": frame(0x88, b"\x00"),
    "an impossible close code": frame(0x88, b"\x03\xe7"),
    "a frame of many petabytes": b"\x81\xff\x7f" + b"\xff" * 7 + bytes(4) + b"x" * 1000,
    "closed twice": frame(0x88, b"\x03\xe8") * 2,
    "more behind the close": frame(0x88, b"\x03\xe8") + frame(0x81, b"hi"),
    "no handshake": frame(0x81, b"\x1e\x1e{}[]"),
    "no hub message": frame(0x81, b'{"protocol":"json","version":1}\x1enonsense\x1e'),
}
ENDS = ["stays", "ends its side", "resets"]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, int]]:
    """A hub on a port; at the end it must stop promptly and leave nothing."""
    server = HubServer()

    @server.method
    def Add(a: int, b: int) -> int:
        return a + b

    tasks = trio.lowlevel.current_statistics().tasks_living
    async with server.serve() as url:
        yield url, urlsplit(url).port or 0
        async with open_hub(url) as hub:
            assert await hub.invoke("Add", 1, 2) == 3, "the others are served"
        left = trio.current_time()
    assert trio.current_time() - left < 10
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert SOCKETS == {}
    gc.collect()  # a socket that was left open would be a warning, and so an error


async def say(stream: trio.SocketStream, data: bytes, end: str) -> bytes:
    """Send it, end in that way, and return what comes within a moment."""
    got = b""
    try:
        await stream.send_all(data)
        if end == "ends its side":
            await stream.send_eof()
        if end == "resets":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b""
        with trio.move_on_after(0.1):
            while piece := await stream.receive_some():
                got += piece
    except trio.BrokenResourceError:
        pass  # it was thrown out
    return got


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_in_place_of_a_request(nonsense: str, end: str) -> None:
    async with serving() as (_, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await say(stream, NONSENSE[nonsense], end)


async def upgraded(port: int) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(UPGRADE)
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
    return stream


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("nonsense", FRAMES)
async def test_nonsense_over_a_websocket(nonsense: str, end: str) -> None:
    async with serving() as (_, port), await upgraded(port) as stream:
        await say(stream, FRAMES[nonsense], end)


async def test_frames_behind_the_request_for_a_websocket_are_heard() -> None:
    """No client should, and hypercorn by itself breaks down over it."""
    hello = frame(0x81, b'{"protocol":"json","version":1}\x1e')
    async with serving() as (_, port):
        for cut in (len(UPGRADE) + len(hello), 40, len(UPGRADE) - 2, len(UPGRADE) + 3):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                whole = UPGRADE + hello
                await stream.send_all(whole[:cut])
                await trio.sleep(0.05)
                got = await say(stream, whole[cut:], "stays")
                assert got.endswith(b"{}\x1e")


async def test_a_request_that_comes_byte_by_byte_delays_nobody() -> None:
    async with serving() as (url, port), trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", port)

        async def dribble() -> None:
            for byte in NEGOTIATE + b"Content-Length: 0\r\n\r\n":
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.005)

        nursery.start_soon(dribble)
        async with open_hub(url) as hub:
            assert await hub.invoke("Add", 1, 2) == 3
        got = b""
        with trio.fail_after(10):
            while b"connectionToken" not in got:
                got += await stream.receive_some()
        await stream.aclose()


async def test_a_crowd_that_never_says_a_word() -> None:
    """Each of them is four sockets in this process: its own, the relay's two, and the server's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 1000
    if hard != resource.RLIM_INFINITY and hard < 4 * count + 500:
        count = (hard - 500) // 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * count + 500), hard))
    try:
        async with AsyncExitStack() as stack, serving() as (_, port):
            for _ in range(count):
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_many_who_negotiate_and_never_come_are_forgotten() -> None:
    server = HubServer(disconnect_timeout=0.2)
    async with server.serve() as url, httpx.AsyncClient(trust_env=False, verify=False) as http:
        tokens = [(await http.post(f"{url}/negotiate?negotiateVersion=1")).json() for _ in range(100)]
        await trio.sleep(0.3)
        await http.post(f"{url}/negotiate?negotiateVersion=1")
        statuses = {(await http.get(f"{url}?id={answer['connectionToken']}")).status_code for answer in tokens}
        assert statuses == {404}


async def test_handshakes_that_never_come_end_by_the_timeout() -> None:
    server = HubServer(handshake_timeout=0.2)
    async with server.serve() as url:
        port = urlsplit(url).port or 0
        streams = [await upgraded(port) for _ in range(50)]
        with trio.fail_after(10):
            for stream in streams:
                got = await stream.receive_some()
                assert b"Handshake was canceled." in got
                await trio.aclose_forcefully(stream)


async def test_a_post_of_many_megabytes_is_taken_in_pieces() -> None:
    """It is one hub message and far too long, so nothing of it need be kept; ASP.NET Core answers 200, then closes."""
    server = HubServer(detailed_errors=True)
    async with server.serve() as url, httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as http:
        token = (await http.post(f"{url}/negotiate?negotiateVersion=1")).json()["connectionToken"]
        hub = f"{url}?id={token}"
        await http.get(hub)
        await http.post(hub, content=b'{"protocol":"json","version":1}\x1e')
        assert (await http.get(hub)).text == "{}\x1e"
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(200):
                yield b"x" * 100_000
                sent += 100_000

        tracemalloc.start()
        assert (await http.post(hub, content=endless())).status_code == 200
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sent == 20_000_000
        assert most < 5_000_000
        assert "The maximum message size of 32768B was exceeded." in (await http.get(hub)).text
        assert (await http.get(hub)).status_code == 204


async def test_one_who_leaves_in_the_middle_of_a_post_is_no_trouble() -> None:
    server = HubServer()
    async with server.serve() as url, httpx.AsyncClient(trust_env=False, verify=False) as http:
        token = (await http.post(f"{url}/negotiate?negotiateVersion=1")).json()["connectionToken"]
        await http.get(f"{url}?id={token}")
        port = urlsplit(url).port or 0
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(f"POST /hub?id={token} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
            await trio.sleep(0.05)
        rest = b'"protocol":"json","version":1}\x1e'  # what came of the other is there
        assert (await http.post(f"{url}?id={token}", content=rest)).status_code == 200
        assert (await http.get(f"{url}?id={token}")).text == "{}\x1e"
