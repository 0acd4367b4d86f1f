"""The WebSocket transport against a raw peer on 127.0.0.1: opening, refusals, messages, every way to end.

Each test leaves through ``serving``, whose peers check that the client's socket is gone; a forgotten one fails the test
by its ResourceWarning, too.
"""

from __future__ import annotations

import gc
import itertools
import math
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpcore
import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_asgi
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.transports.loopback import Peer, frame, serving, switching
from tests.transports.tls import client_context, server_context
from trio_signalr._http import HubHttp, negotiate
from trio_signalr.errors import InternalError, ProtocolError, TransportError
from trio_signalr.transports.websockets import WebSocketTransport, open_websocket

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
NORMAL = b"\x03\xe8"
PATH = "/hub?q=1&id=c0nnection"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def nothing_is_forgotten() -> Any:
    yield
    gc.collect()  # an unclosed socket or generator warns now, and warnings are errors


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[WebSocketTransport]:
    async with HubHttp() as http:
        async with open_websocket(http, url + PATH, **{"transfer_format": "Text", **options}) as transport:
            yield transport


async def refused(url: str, http: HubHttp | None = None) -> TransportError:
    async with http or HubHttp(access_token="t0ken") as http:
        with pytest.raises(TransportError) as caught:
            async with open_websocket(http, url + PATH, transfer_format="Text"):
                pytest.fail("it opened")
    error = caught.value
    assert error.url == f"{url}/hub"
    assert not re.search("t0ken|c0nnection", f"{error} {error!r} {error.__cause__} {error.__cause__!r}")
    return error


# Opening


async def test_the_upgrade_request() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.accept()
        assert (request.method, request.target) == (b"GET", b"/hub?q=1&id=c0nnection")
        headers = dict(request.headers)
        assert headers[b"host"] == url.removeprefix("http://").encode()
        assert headers[b"upgrade"] == b"websocket"
        assert headers[b"connection"].lower() == b"upgrade"
        assert headers[b"sec-websocket-version"] == b"13"
        assert b"sec-websocket-protocol" not in headers
        assert b"sec-websocket-extensions" not in headers
        assert headers[b"authorization"] == b"Bearer t0ken"
        assert headers[b"x-requested-with"] == b"XMLHttpRequest"
        assert headers[b"user-agent"].startswith(b"trio_signalr/")
        assert headers[b"x-own"] == b"1"
        assert await peer.gone()

    async with serving(serve) as url, HubHttp(access_token="t0ken", headers={"X-Own": "1"}) as http:
        async with open_websocket(http, url.replace("http", "ws") + PATH, transfer_format="Text") as transport:
            assert transport.name == "websockets"
            assert not transport.inherent_keep_alive
            assert transport.close_code is None
            assert "c0nnection" not in repr(transport)


async def test_cookies_of_negotiate_and_one_connection_for_both() -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        body = b'{"connectionId":"x","availableTransports":[]}'
        await peer.answer(200, body, {"Set-Cookie": "affinity=7; Path=/"})
        request = await peer.accept()
        assert dict(request.headers)[b"cookie"] == b"affinity=7"
        assert request.target == b"/hub?q=1&id=x"
        assert await peer.gone()

    async with serving(serve) as url, HubHttp() as http:
        negotiated = await negotiate(http, f"{url}/hub?q=1")
        async with open_websocket(negotiated.http, negotiated.connect_url, transfer_format="Text"):
            pass


async def test_a_token_is_asked_for_before_each_upgrade() -> None:
    tokens = iter(["one", "two"])
    seen: list[bytes] = []

    async def ask() -> str:
        await trio.lowlevel.checkpoint()
        return next(tokens)

    async def serve(peer: Peer) -> None:
        seen.append(dict((await peer.accept()).headers)[b"authorization"])
        assert await peer.gone()

    async with serving(serve) as url, HubHttp(access_token=ask) as http:
        for _ in range(2):
            async with open_websocket(http, url, transfer_format="Text"):
                pass
    assert seen == [b"Bearer one", b"Bearer two"]


async def test_the_users_client_serves_the_upgrade() -> None:
    seen: list[str] = []

    class Auth(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            request.headers["X-Auth"] = "0"
            response = yield request
            if response.status_code == 401:
                request.headers["X-Auth"] = response.headers["X-Nonce"]
                yield request

    async def hook(request: httpx.Request) -> None:
        seen.append(request.headers["X-Auth"])

    async def serve(peer: Peer) -> None:
        request = await peer.request()
        await peer.answer(401, b"again", {"X-Nonce": "7"})
        request = await peer.accept()
        headers = dict(request.headers)
        assert (headers[b"x-auth"], headers[b"cookie"], headers[b"user-agent"]) == (b"7", b"a=b", b"app/1")
        assert await peer.gone()

    async with serving(serve) as url:
        async with httpx.AsyncClient(
            auth=Auth(), cookies={"a": "b"}, headers={"User-Agent": "app/1"}, event_hooks={"request": [hook]}
        ) as client:
            async with HubHttp(http_client=client) as http, open_websocket(http, url, transfer_format="Text"):
                pass
            assert not client.is_closed
            pool = client._transport._pool  # type: ignore[attr-defined]
            assert pool.connections == []  # the socket's place in it is free again
    assert seen == ["0", "7"]


@pytest.mark.parametrize("error", [LookupError("mine"), trio.BrokenResourceError("mine"), trio.ClosedResourceError()])
@pytest.mark.parametrize("where", ["request hook", "response hook", "token", "auth"])
async def test_what_the_user_raises_while_opening_comes_out_as_it_is(where: str, error: Exception) -> None:
    async def fail(*_: object) -> Any:
        raise error

    class Auth(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            yield request
            raise error

    async def serve(peer: Peer) -> None:
        if where != "request hook" and where != "token":
            await peer.accept()
        assert await peer.gone()

    options: dict[str, Any] = {"auth": Auth()} if where == "auth" else {}
    if "hook" in where:
        options["event_hooks"] = {where.split()[0]: [fail]}
    async with serving(serve) as url, httpx.AsyncClient(**options) as client:
        http = HubHttp(http_client=client, access_token=fail if where == "token" else None)
        with pytest.raises(type(error)) as caught:
            async with open_websocket(http, url, transfer_format="Text"):
                pytest.fail("it opened")
    assert caught.value is error


# Not opening


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (400, b"Cannot change transports mid-connection", {}, r"400 Bad Request \(Cannot change .*\): a proxy"),
        (401, b"", {}, "401 Unauthorized: the access token is missing"),
        (401, b"t0ken is bad", {}, r"401 Unauthorized \(\*\*\* is bad\)"),
        (403, b"", {}, "403 Forbidden: these credentials"),
        (404, b"No Connection with that ID", {}, r"404 Not Found \(No Connection with that ID\): wrong path, .*sticky"),
        (409, b"", {}, "409 Conflict: the connection has a WebSocket already"),
        (500, b"oops", {}, r"500 Internal Server Error \(oops\)$"),
        (200, b"<html>Hi</html>", {"Content-Type": "text/html"}, "200 OK: this is no WebSocket endpoint"),
        (302, b"", {"Location": "/login?token=t0ken"}, "302 Found: it redirects to .*/login, a login page"),
        (503, b"", {}, "503 Service Unavailable: a proxy"),
    ],
)
async def test_refusals(status: int, body: bytes, headers: dict[str, str], words: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.answer(status, body, {"Content-Type": "text/plain", **headers})
        assert await peer.gone()

    async with serving(serve) as url:
        error = await refused(url)
    assert error.status == status
    assert re.search(words, str(error))
    assert str(error).startswith(f"Opening a WebSocket to {url}/hub failed: the server answered ")


async def test_a_refusal_need_not_be_complete() -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nhalf")

    async with serving(serve) as url:
        assert (await refused(url)).status == 404


async def test_the_body_of_a_refusal_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nhalf")
        assert await peer.gone()

    async with serving(serve) as url:
        assert (await refused(url)).status == 404
    assert trio.current_time() < 5


@pytest.mark.parametrize("answer", [b"", b"\x00\x01\x02", b"220 smtp\r\n", b"HTTP/1.1 101 Switching"])
async def test_no_proper_http(answer: bytes) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(answer)

    async with serving(serve) as url:
        error = await refused(url)
    assert error.status is None
    assert isinstance(error.__cause__, httpx.RemoteProtocolError)


@pytest.mark.parametrize(
    ("original", "replacement"),
    [
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: Upgrade", b"Connection: close"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
    ],
)
async def test_no_proper_websocket_handshake(original: bytes, replacement: bytes) -> None:
    async def serve(peer: Peer) -> None:
        await peer.stream.send_all(
            switching(await peer.request()).replace(original, replacement) + frame(TEXT, b"hello")
        )
        assert await peer.gone()

    async with serving(serve) as url:
        error = await refused(url)
    assert error.status == 101
    assert "not as a WebSocket has to" in str(error)


async def test_nobody_listens() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        error = await refused(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "refused" in str(error)


async def test_a_silent_server_is_given_up(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        assert await peer.gone()

    async with serving(serve) as url:
        # A stateful reconnect may take 5 s on the server: a short read timeout of the user's does not hold here.
        for http in (HubHttp(), HubHttp(http_client=httpx.AsyncClient(timeout=2))):
            start = trio.current_time()
            error = await refused(url, http)
            assert trio.current_time() - start == pytest.approx(15)
            assert "took too long to answer" in str(error)


async def test_a_full_pool_says_so(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.gone()

    limits = httpx.Limits(max_connections=1)
    async with serving(serve) as url, httpx.AsyncClient(limits=limits) as client:
        http = HubHttp(http_client=client)
        async with open_websocket(http, url, transfer_format="Text"):
            error = await refused(url, http)
        assert "no connection became free in the pool of the http_client" in str(error)
        async with open_websocket(http, url, transfer_format="Text"):
            pass  # there is room again


async def test_a_client_that_cannot_upgrade() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(101)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        assert "cannot hand over" in str(await refused("http://host", HubHttp(http_client=client)))


async def test_http_2_cannot_upgrade_and_says_so() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    config = Config()
    config.bind = ["127.0.0.1:0"]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        serve_app: Any = partial(serve_asgi, app, config, shutdown_trigger=stop.wait)
        [url] = await nursery.start(serve_app)
        async with httpx.AsyncClient(http1=False, http2=True) as client:
            error = await refused(url, HubHttp(http_client=client))
        stop.set()
    assert "HTTP/2" in str(error)
    assert "http2=False" in str(error)


async def test_a_dropped_http_2_connection_says_so_too() -> None:
    async def serve(peer: Peer) -> None:
        assert await peer.stream.receive_some()

    async with serving(serve) as url, httpx.AsyncClient(http1=False, http2=True) as client:
        assert "http2=False" in str(await refused(url, HubHttp(http_client=client)))


# TLS and proxies


async def test_tls_serves_both_legs_on_one_connection() -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.answer(200, b'{"connectionId":"x","availableTransports":[]}')
        await peer.accept(frame(TEXT, b"a") * 100)
        assert await peer.receive_frame() == (TEXT, b"b")
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        await peer.stream.send_all(END)
        assert await peer.gone()

    async with serving(serve, tls=server_context()) as url, HubHttp(ssl_context=client_context()) as http:
        negotiated = await negotiate(http, url)
        async with open_websocket(negotiated.http, negotiated.connect_url, transfer_format="Text") as transport:
            assert await transport.receive() == b"a" * 100
            await transport.send(b"b")
            await transport.aclose()


async def test_a_certificate_that_nobody_knows() -> None:
    async def serve(peer: Peer) -> None:
        assert await peer.gone()

    async with serving(serve, tls=server_context()) as url:
        assert "certificate verify failed" in str(await refused(url))


async def test_through_a_proxy() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.accept(frame(TEXT, b"a"))
        assert request.target == b"http://hub.invalid/hub"
        assert await peer.gone()

    async with serving(serve) as proxy, HubHttp(proxy=proxy) as http:
        async with open_websocket(http, "ws://hub.invalid/hub", transfer_format="Text") as transport:
            assert await transport.receive() == b"a"


async def test_through_a_proxy_with_tls() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        assert (request.method, request.target) == (b"CONNECT", b"127.0.0.1:443")
        assert dict(request.headers)[b"proxy-authorization"].startswith(b"Basic ")
        await peer.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        inner = Peer(trio.SSLStream(peer.stream, server_context(), server_side=True, https_compatible=True))
        await inner.accept(frame(TEXT, b"a"))
        assert await inner.gone()

    async with serving(serve) as proxy:
        async with HubHttp(proxy=proxy.replace("//", "//me:pw@"), ssl_context=client_context()) as http:
            async with open_websocket(http, "wss://127.0.0.1/hub", transfer_format="Text") as transport:
                assert await transport.receive() == b"a"


async def test_a_proxy_that_refuses() -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        assert await peer.gone()

    async with serving(serve) as proxy:
        assert "proxy refused: 407" in str(await refused("https://127.0.0.1", HubHttp(proxy=proxy)))


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_cancelled_while_opening_it_leaves_nothing(scheme: str) -> None:
    closed = trio.Event()

    async def serve(peer: Peer) -> None:
        assert await peer.stream.receive_some()
        scope.cancel()
        assert await peer.gone()
        closed.set()

    async with serving(serve) as url, HubHttp(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
        with trio.CancelScope() as scope:
            with pytest.raises(trio.Cancelled):  # alone
                async with open_websocket(http, url.replace("http", scheme), transfer_format="Text"):
                    pytest.fail("it opened")
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        await closed.wait()


# Messages


async def test_text_and_binary_out() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        frames.append(await peer.receive_frame())
        assert await peer.gone()

    frames: list[tuple[int, bytes]] = []
    async with serving(serve) as url:
        async with connected(url, transfer_format="Text") as transport:
            await transport.send("é\x1e".encode())
        async with connected(url, transfer_format="Binary") as transport:
            await transport.send(b"\xff\x00")
    assert sorted(frames) == [(TEXT, b"\xc3\xa9\x1e"), (BINARY, b"\xff\x00")]


async def received(transport: WebSocketTransport) -> bytes:
    """All bytes until the orderly end."""
    data = b""
    while more := await transport.receive():
        data += more
    return data


END = frame(CLOSE, NORMAL)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param(frame(TEXT, "é".encode()) + frame(BINARY, b"\xff"), b"\xc3\xa9\xff", id="either kind"),
        pytest.param(frame(TEXT) + frame(BINARY) + frame(TEXT, b"a"), b"a", id="empty ones skipped"),
        pytest.param(
            frame(TEXT, b"a\xc3", fin=False) + frame(CONTINUATION, b"\xa9", fin=False) + frame(CONTINUATION, b"b"),
            "aéb".encode(),
            id="fragments",
        ),
        pytest.param(
            frame(TEXT, b"a", fin=False) + frame(PING, b"?") + frame(CONTINUATION, b"b") + frame(TEXT, b"c"),
            b"abc",
            id="ping between fragments",
        ),
        pytest.param(frame(TEXT, b"ab") * 1000, b"ab" * 1000, id="many"),
        pytest.param(frame(TEXT, b"x" * 2**21), b"x" * 2**21, id="two megabytes in one frame"),
        pytest.param(
            frame(TEXT, b"x" * 2**20, fin=False) + frame(CONTINUATION, b"x" * 2**20),
            b"x" * 2**21,
            id="two megabytes in two",
        ),
    ],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["in the segment of the answer", "later"])
async def test_messages_in(frames: bytes, expected: bytes, at_once: bool) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frames + END if at_once else b"")
        if not at_once:
            await wait_all_tasks_blocked()
            await peer.stream.send_all(frames + END)
        while not await peer.gone():
            pass

    async with serving(serve) as url, connected(url, max_message_size=2**21) as transport:
        assert await received(transport) == expected
        assert transport.close_code == 1000


async def test_frames_in_pieces() -> None:
    frames = frame(TEXT, b"a" * 200) + frame(PING, b"?") + frame(TEXT, b"b") + END

    async def serve(peer: Peer) -> None:
        await peer.accept()
        for byte in frames:
            await peer.stream.send_all(bytes((byte,)))
            await wait_all_tasks_blocked()
        assert await peer.receive_frame() == (PONG, b"?")
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        assert await peer.gone()

    async with serving(serve) as url, connected(url) as transport:
        assert await received(transport) == b"a" * 200 + b"b"


async def test_cancelling_receive_loses_nothing() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        await peer.stream.send_all(frame(TEXT, b"a"))
        assert await peer.gone()

    go = trio.Event()
    async with serving(serve) as url, connected(url) as transport:
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.receive()
        go.set()
        await wait_all_tasks_blocked(0.01)
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.receive()
        assert await transport.receive() == b"a"


async def test_an_unread_message_stops_reading() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        with pytest.raises(trio.BrokenResourceError):
            for sent.count in itertools.count(1):
                await peer.stream.send_all(frame(BINARY, b"x" * 60_000))

    sent = SimpleNamespace(count=0)
    async with serving(serve) as url, connected(url):
        await wait_all_tasks_blocked(0.05)
        before = sent.count
        await wait_all_tasks_blocked(0.05)
        assert sent.count == before > 0


# Sizes


@pytest.mark.parametrize("kind", [TEXT, BINARY])
async def test_a_message_beyond_the_limit(kind: int) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(kind, b"good") + frame(PING))
        await peer.stream.send_all(frame(kind, b"x" * (1000 + 2**20 + 1)))
        assert await peer.receive_frame() == (PONG, b"")
        opcode, payload = await peer.receive_frame()
        assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2))
        assert await peer.gone()

    async with serving(serve) as url, connected(url, max_message_size=1000) as transport:
        await wait_all_tasks_blocked(0.01)
        assert await transport.receive() == b"good"
        for _ in range(2):
            with pytest.raises(ProtocolError, match="larger than max_message_size=1000 bytes"):
                await transport.receive()
        with pytest.raises(ProtocolError, match="larger than"):
            await transport.send(b"a")
        assert transport.close_code is None
        await transport.aclose()


async def test_there_is_room_for_several_hub_messages_in_one() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(TEXT, b"x" * (1000 + 2**20)) + END)
        while not await peer.gone():
            pass

    async with serving(serve) as url, connected(url, max_message_size=1000) as transport:
        assert len(await received(transport)) == 1000 + 2**20


async def test_no_limit() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(TEXT, b"x" * 3_000_000) + END)
        while not await peer.gone():
            pass

    async with serving(serve) as url, connected(url, max_message_size=math.inf) as transport:
        assert len(await received(transport)) == 3_000_000


async def test_a_peer_that_closes_with_1009_is_not_our_limit() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(CLOSE, (1009).to_bytes(2) + b"too big for me"))
        await peer.receive_frame()

    async with serving(serve) as url, connected(url) as transport:
        with pytest.raises(TransportError, match="1009 MESSAGE_TOO_BIG: too big for me"):
            await transport.receive()
        assert transport.close_code == 1009


# The server ends it


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        ((1001).to_bytes(2), 1001, "with code 1001 GOING_AWAY$"),
        ((1011).to_bytes(2) + b"oops", 1011, "with code 1011 INTERNAL_ERROR: oops$"),
        ((4000).to_bytes(2) + b"mine", 4000, "with code 4000.*: mine$"),
        (b"", 1005, "with code 1005 NO_STATUS_RCVD$"),
    ],
)
async def test_close_codes(payload: bytes, code: int, words: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(TEXT, b"last") + frame(CLOSE, payload))
        assert (await peer.receive_frame())[0] == CLOSE
        assert await peer.gone()

    async with serving(serve) as url, connected(url) as transport:
        assert await transport.receive() == b"last"
        for _ in range(2):
            with pytest.raises(TransportError, match=words) as caught:
                await transport.receive()
            assert caught.value.url == f"{url}/hub"
        with pytest.raises(TransportError, match=words):
            await transport.send(b"a")
        assert transport.close_code == code
        await transport.aclose()


async def test_an_orderly_end_is_no_error_but_sending_fails() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(END)
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        assert await peer.gone()

    async with serving(serve) as url, connected(url) as transport:
        assert await transport.receive() == b""
        assert await transport.receive() == b""
        with pytest.raises(TransportError, match="The server has closed the WebSocket"):
            await transport.send(b"a")
        await transport.aclose()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_connection(reset: bool) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(TEXT, b"last") + frame(TEXT, b"half")[:3])
        await go.wait()
        if reset:
            peer.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # type: ignore[attr-defined]

    go = trio.Event()
    async with serving(serve) as url, connected(url) as transport:
        assert await transport.receive() == b"last"
        go.set()
        words = "connection broke: .*reset" if reset else "dropped the WebSocket connection without closing it"
        for _ in range(2):
            with pytest.raises(TransportError, match=words):
                await transport.receive()
        with pytest.raises(TransportError, match=words):
            await transport.send(b"a")
        assert transport.close_code is None
        await transport.aclose()


async def test_a_cut_while_sending() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.receive_some()

    async with serving(serve) as url, connected(url, transfer_format="Binary") as transport:
        with pytest.raises(TransportError):
            while True:
                await transport.send(bytes(1_000_000))
        await transport.aclose()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(TEXT, b"\xff"), "rules of WebSockets: .*decode"),
        (frame(TEXT, b"\xc3") + frame(TEXT, b"\xa9"), "rules of WebSockets: .*decode"),
        (b"\x81\x81\0\0\0\0a", "rules of WebSockets: .*masked"),
        (frame(CONTINUATION, b"a"), "rules of WebSockets: unexpected CONTINUATION"),
    ],
)
async def test_a_peer_that_breaks_the_rules(data: bytes, words: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(BINARY, b"good") + data)
        assert await peer.gone()

    async with serving(serve) as url, connected(url) as transport:
        assert await transport.receive() == b"good"
        with pytest.raises(ProtocolError, match=words):
            await transport.receive()
        assert transport.close_code is None
        await transport.aclose()


async def test_a_write_timeout_of_the_users_client(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async with serving(serve) as url, httpx.AsyncClient(timeout=httpx.Timeout(None, write=3)) as client:
        async with open_websocket(HubHttp(http_client=client), url, transfer_format="Binary") as transport:
            with pytest.raises(TransportError, match="write timeout"):
                await transport.send(bytes(50_000_000))


async def test_a_network_backend_of_the_users_client_sees_all_bytes() -> None:
    seen = {"read": 0, "written": 0}

    class Watched(httpcore.AsyncNetworkStream):
        def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
            self.stream = stream

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            data = await self.stream.read(max_bytes, timeout)
            seen["read"] += len(data)
            return data

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            await self.stream.write(buffer, timeout)
            seen["written"] += len(buffer)

        async def aclose(self) -> None:
            await self.stream.aclose()

        def get_extra_info(self, info: str) -> Any:
            return self.stream.get_extra_info(info)

    class Transport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if "network_stream" in response.extensions:
                response.extensions["network_stream"] = Watched(response.extensions["network_stream"])
            return response

    async def serve(peer: Peer) -> None:
        await peer.accept()
        for _ in range(3):
            await peer.stream.send_all(frame(TEXT, b"x" * 1000))
            await peer.receive_frame()
        assert await peer.gone()

    async with serving(serve) as url, httpx.AsyncClient(transport=Transport(), timeout=None) as client:
        async with open_websocket(HubHttp(http_client=client), url, transfer_format="Text") as transport:
            for _ in range(3):
                assert await transport.receive() == b"x" * 1000
                await transport.send(b"y" * 1000)
            assert min(seen.values()) > 3000


async def test_an_idle_socket_has_no_timeout(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(3600)
        await peer.stream.send_all(frame(TEXT, b"a"))
        assert await peer.gone()

    async with serving(serve) as url, httpx.AsyncClient(timeout=1) as client:
        async with open_websocket(HubHttp(http_client=client), url, transfer_format="Text") as transport:
            assert await transport.receive() == b"a"


# We end it


async def test_goodbye() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept(frame(TEXT, b"unread") * 3)
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        await peer.stream.send_all(frame(TEXT, b"late") + END)
        assert await peer.gone()

    async with serving(serve) as url, connected(url) as transport:
        await transport.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await transport.receive()
        with pytest.raises(trio.ClosedResourceError):
            await transport.send(b"a")
        await transport.aclose()


async def test_goodbye_while_another_task_receives() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        await peer.stream.send_all(END)
        assert await peer.gone()

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await transport.receive()

    async with serving(serve) as url, connected(url) as transport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await transport.aclose()


async def test_a_silent_peer_holds_the_goodbye_no_longer_than_the_caller_says(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        assert await peer.gone()

    async with serving(serve) as url, connected(url) as transport:
        with trio.move_on_after(5, shield=True) as scope:
            await transport.aclose()
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_a_peer_that_takes_nothing_either(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        await released.wait()

    released = trio.Event()
    async with serving(serve) as url, connected(url, transfer_format="Binary") as transport:
        with trio.move_on_after(1):
            await transport.send(bytes(50_000_000))
        with trio.move_on_after(5):
            await transport.aclose()
        assert trio.current_time() == pytest.approx(6, abs=0.1)
        released.set()


async def test_forceful_closing_says_nothing() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.gone()
        closed.set()

    closed = trio.Event()
    async with serving(serve) as url, connected(url) as transport:
        await trio.aclose_forcefully(transport)
        await closed.wait()
        with pytest.raises(trio.ClosedResourceError):
            await transport.receive()


@pytest.mark.parametrize("last", [frame(PING, b"?"), frame(TEXT, b"x" * 2**21), b"\x83\x00"])
async def test_what_upsets_the_reader_while_closing_does_not_hold_the_goodbye(last: bytes) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        with pytest.raises(trio.BrokenResourceError):
            await peer.stream.send_all(last)
            await peer.gone()
            raise trio.BrokenResourceError

    async with serving(serve) as url, connected(url, max_message_size=1000) as transport:
        with trio.fail_after(2):
            await transport.aclose()


async def test_an_outer_cancellation_leaves_the_goodbye_its_reader() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.receive_frame() == (CLOSE, NORMAL)
        await peer.stream.send_all(END)
        assert await peer.gone()

    async with serving(serve) as url:
        with trio.CancelScope() as outer:
            async with connected(url) as transport:
                try:
                    outer.cancel()
                    await transport.receive()
                finally:
                    with trio.move_on_after(5, shield=True) as goodbye:
                        await transport.aclose()
                    assert not goodbye.cancelled_caught
        assert outer.cancelled_caught


# Leaving the block


async def test_the_error_of_the_block_comes_out_as_it_is() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.gone()

    cause, context = LookupError("cause"), LookupError("context")
    for error in (
        ValueError("mine"),
        ExceptionGroup("mine", [ValueError()]),
        KeyboardInterrupt(),
        StopAsyncIteration(),
    ):
        error.__cause__, error.__context__ = cause, context
        async with serving(serve) as url, HubHttp() as http:
            with pytest.raises(BaseException) as caught:  # noqa: PT011
                async with open_websocket(http, url, transfer_format="Text"):
                    raise error
            assert caught.value is error
            assert error.__cause__ is cause
            assert error.__context__ is context


async def test_cancelling_the_block_is_an_ordinary_cancellation() -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        assert await peer.gone()

    async with serving(serve) as url:
        with trio.CancelScope() as scope:
            async with connected(url) as transport:
                scope.cancel()
                await transport.receive()
        assert scope.cancelled_caught


async def test_what_the_reader_dies_of_reaches_receive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        await peer.stream.send_all(frame(TEXT, b"a"))
        assert await peer.gone()

    go = trio.Event()
    bug = RuntimeError("a bug")

    def feed(_: bytes) -> bytes:
        raise bug

    async with serving(serve) as url, connected(url) as transport:
        monkeypatch.setattr(transport._stream._frames, "feed", feed)
        go.set()
        with pytest.raises(InternalError, match="a bug") as caught:
            await transport.receive()
        assert caught.value.__cause__ is bug
        await transport.aclose()


async def test_an_interrupt_in_the_reader_comes_out_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        await peer.stream.send_all(frame(TEXT, b"a"))
        assert await peer.gone()

    go = trio.Event()

    def feed(_: bytes) -> bytes:
        raise KeyboardInterrupt

    async with serving(serve) as url:
        async with HubHttp() as http:
            with pytest.raises(KeyboardInterrupt):
                async with open_websocket(http, url, transfer_format="Text") as transport:
                    monkeypatch.setattr(transport._stream._frames, "feed", feed)
                    go.set()
                    await transport.receive()
