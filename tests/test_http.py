"""HTTP for a hub: what every request carries, whose client it uses, and how failures are told.

Against a mock transport where the request is what matters, against a raw peer on 127.0.0.1 where the network is. Access
tokens and connection tokens must not show up in errors or in anything printed.
"""

from __future__ import annotations

import gzip
import re
import ssl
import sys
import traceback
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.transports.loopback import Peer, serving
from trio_signalr._http import HubHttp, Negotiated, clients, negotiate
from trio_signalr._version import __version__
from trio_signalr.errors import NegotiationError, TransportError

URL = "http://host/hub?q=1"
ANSWER = {
    "negotiateVersion": 1,
    "connectionId": "public",
    "connectionToken": "c0nnection",
    "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
}
BODY = httpx.Response(200, json=ANSWER).content


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Server:
    """Answers a user's client from a list; a callable is called with the request."""

    def __init__(self, *answers: httpx.Response | dict[str, Any] | Callable[[httpx.Request], httpx.Response]) -> None:
        self.answers: Iterator[Any] = iter(answers or [ANSWER])
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self.answers)
        if isinstance(answer, dict):
            return httpx.Response(200, json=answer)
        return answer if isinstance(answer, httpx.Response) else answer(request)

    @property
    def headers(self) -> httpx.Headers:
        return self.requests[-1].headers

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self), **options)

    def http(self, **options: Any) -> HubHttp:
        return HubHttp(http_client=self.client(), **options)


def all_texts(error: BaseException | None) -> str:
    """All that a traceback would print of an exception and what is behind it."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


async def failure(http: HubHttp, url: str = URL) -> NegotiationError:
    with pytest.raises(NegotiationError) as caught:
        await negotiate(http, url)
    return caught.value


# The request


async def test_negotiate_request() -> None:
    server = Server()
    negotiated = await negotiate(server.http(), "ws://host/hub?q=%2F")
    [request] = server.requests
    assert (request.method, str(request.url)) == ("POST", "http://host/hub/negotiate?q=%2F&negotiateVersion=1")
    assert request.content == b""
    assert request.headers["Content-Length"] == "0"
    assert request.headers["X-Requested-With"] == "XMLHttpRequest"
    assert request.headers["Accept"] == "*/*"
    assert "Authorization" not in request.headers
    product = f"trio_signalr/{'.'.join(__version__.split('.')[:2])} ({__version__}; "
    assert request.headers["User-Agent"].startswith(product)
    assert negotiated.connect_url == "http://host/hub?q=%2F&id=c0nnection"
    assert negotiated.answer.connection_id == "public"


async def test_our_own_client_sends_the_same() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def serve(peer: Peer) -> None:
        request = await peer.request()
        assert (request.method, request.target) == (b"POST", b"/hub/negotiate?negotiateVersion=1")
        seen.append(dict(request.headers))
        await peer.answer(200, BODY)
        assert await peer.gone()

    async with serving(serve) as url, HubHttp(access_token="t0ken", headers={"X-Own": "1"}) as http:
        await negotiate(http, f"{url}/hub")
    assert seen[0][b"content-length"] == b"0"
    assert seen[0][b"x-requested-with"] == b"XMLHttpRequest"
    assert seen[0][b"user-agent"].startswith(b"trio_signalr/")
    assert seen[0][b"authorization"] == b"Bearer t0ken"
    assert seen[0][b"x-own"] == b"1"


@pytest.mark.parametrize(("asked", "granted"), [(True, True), (True, False), (False, True), (False, False)])
async def test_stateful_reconnect_counts_when_asked_for_and_granted(asked: bool, granted: bool) -> None:
    server = Server({**ANSWER, "useStatefulReconnect": granted})
    negotiated = await negotiate(server.http(), URL, stateful_reconnect=asked)
    assert ("useStatefulReconnect=true" in str(server.requests[0].url)) == asked
    assert negotiated.stateful_reconnect == (asked and granted)


async def test_headers_of_the_user_win() -> None:
    server = Server()
    await negotiate(
        server.http(headers={"user-agent": "mine", "X-Requested-With": "", "Authorization": "Basic x"}), URL
    )
    assert server.headers["User-Agent"] == "mine"
    assert server.headers["X-Requested-With"] == ""
    assert server.headers["Authorization"] == "Basic x"


async def test_an_empty_user_agent_removes_it() -> None:
    server = Server()
    await negotiate(server.http(headers={"User-Agent": ""}), URL)
    assert "User-Agent" not in server.headers


async def test_what_the_users_client_adds_is_kept() -> None:
    server = Server(ANSWER, ANSWER)
    client = server.client(
        headers={"User-Agent": "app/1", "X-App": "2"}, params={"tenant": "a b"}, cookies={"jar": "1"}, auth=("me", "pw")
    )
    http = HubHttp(http_client=client, headers={"Cookie": "own=2"})
    await negotiate(http, URL)
    assert server.headers["User-Agent"] == "app/1"
    assert server.headers["X-App"] == "2"
    assert server.headers["Cookie"] == "own=2; jar=1"
    assert server.headers["Authorization"].startswith("Basic ")
    assert str(server.requests[0].url) == "http://host/hub/negotiate?q=1&negotiateVersion=1&tenant=a+b"
    await negotiate(HubHttp(http_client=client), "http://host/hub")
    assert server.headers["Cookie"] == "jar=1"


async def test_cookies_come_back() -> None:
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        for _ in range(2):
            request = await peer.request()
            seen.append(dict(request.headers).get(b"cookie", b""))
            await peer.answer(200, BODY, {"Set-Cookie": "affinity=7; Path=/"})
        await peer.gone()

    async with serving(serve) as url, HubHttp() as http:
        await negotiate(http, url)
        await negotiate(http, url)
    assert seen == [b"", b"affinity=7"]


# Access tokens


async def test_a_token_is_asked_for_before_each_request() -> None:
    tokens = iter(["one", "two"])

    async def ask() -> str:
        await trio.lowlevel.checkpoint()
        return next(tokens)

    server = Server(ANSWER, ANSWER)
    http = server.http(access_token=ask, headers={"Authorization": "Basic x"})
    for expected in ("Bearer one", "Bearer two"):
        await negotiate(http, URL)
        assert server.headers["Authorization"] == expected


@pytest.mark.parametrize("nothing", [None, ""])
async def test_no_token_now_means_no_authorization(nothing: str | None) -> None:
    async def ask() -> str | None:
        return nothing

    server = Server()
    await negotiate(server.http(access_token=ask, headers={"Authorization": "Bearer stale"}), URL)
    assert "Authorization" not in server.headers


async def test_a_token_wins_over_a_name_in_the_url() -> None:
    server = Server(ANSWER, ANSWER)
    await negotiate(server.http(access_token="t0ken"), "http://me:pw@host/hub")
    assert server.headers["Authorization"] == "Bearer t0ken"
    await negotiate(server.http(), "http://me:pw@host/hub")
    assert server.headers["Authorization"].startswith("Basic ")


async def test_a_token_wins_over_the_clients_own_auth() -> None:
    server = Server()
    await negotiate(HubHttp(http_client=server.client(auth=("user", "password")), access_token="t"), URL)
    assert server.headers["Authorization"] == "Bearer t"


async def test_what_the_clients_auth_does_beside_the_token_goes_along(nursery: trio.Nursery) -> None:
    class Keys(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            request.headers["X-Key"] = "k"
            request.headers["Authorization"] = "Own"
            response = yield request
            if response.status_code == 401:
                request.headers["X-Key"] = "k2"
                request.headers["Authorization"] = "Own again"
                yield request

    server = Server(httpx.Response(401), ANSWER)
    await negotiate(HubHttp(http_client=server.client(auth=Keys()), access_token="t"), URL)
    sent = [(request.headers["X-Key"], request.headers["Authorization"]) for request in server.requests]
    assert sent == [("k2", "Bearer t")] * 2 or sent == [("k", "Bearer t"), ("k2", "Bearer t")]

    async def no_token() -> None:
        return None

    server = Server()
    await negotiate(HubHttp(http_client=server.client(auth=Keys()), access_token=no_token), URL)
    assert ("Authorization" in server.headers, server.headers["X-Key"]) == (False, "k")


async def test_so_does_the_token_of_a_redirect() -> None:
    server = Server({"url": "https://service/hub", "accessToken": "theirs"}, ANSWER)
    await negotiate(HubHttp(http_client=server.client(auth=("user", "password"))), "https://host/hub")
    assert [request.headers["Authorization"][:7] for request in server.requests] == ["Basic d", "Bearer "]


async def test_what_the_token_function_raises_passes() -> None:
    error = LookupError("no token")

    async def ask() -> str:
        raise error

    server = Server()
    with pytest.raises(LookupError) as caught:
        await negotiate(server.http(access_token=ask), URL)
    assert caught.value is error
    assert server.requests == []


@pytest.mark.parametrize("token", ["t0ken\n", "t0ken\r\nX: y", "t0 ken", "t0kené", b"t0ken", 7])
async def test_an_impossible_token_is_refused_unquoted(token: Any) -> None:
    async def ask() -> Any:
        return token

    server = Server()
    with pytest.raises((TypeError, ValueError), match="access token") as caught:
        await negotiate(server.http(access_token=ask), URL)
    assert "t0" not in all_texts(caught.value)
    assert server.requests == []


# Redirects


async def test_redirects_replace_url_and_token() -> None:
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        return f"app{asked}"

    server = Server(
        {"url": "http://first/client/?hub=x"},
        {"url": "http://second/?negotiateVersion=1&r=a%3D", "accessToken": "service"},
        ANSWER,
        ANSWER,
        ANSWER,
    )
    http = server.http(access_token=ask)
    negotiated = await negotiate(http, URL)
    assert [(str(each.url), each.headers["Authorization"]) for each in server.requests] == [
        ("http://host/hub/negotiate?q=1&negotiateVersion=1", "Bearer app1"),
        ("http://first/client/negotiate?hub=x&negotiateVersion=1", "Bearer app2"),
        ("http://second/negotiate?negotiateVersion=1&r=a%3D", "Bearer service"),
    ]
    assert negotiated.url == "http://second/?negotiateVersion=1&r=a%3D"
    assert negotiated.connect_url == "http://second/?negotiateVersion=1&r=a%3D&id=c0nnection"

    # For another transport: once more at the last URL, with the last token.
    await negotiate(negotiated.http, negotiated.url, max_requests=1)
    assert server.headers["Authorization"] == "Bearer service"
    # Connecting anew starts where it began.
    await negotiate(http, URL)
    assert (server.requests[-1].url.host, server.headers["Authorization"]) == ("host", "Bearer app3")


async def test_a_token_without_a_redirect() -> None:
    server = Server({**ANSWER, "accessToken": "other"}, ANSWER)
    negotiated = await negotiate(server.http(access_token="first"), URL)
    await negotiate(negotiated.http, URL)
    assert [each.headers["Authorization"] for each in server.requests] == ["Bearer first", "Bearer other"]


async def test_the_number_of_redirects_is_limited() -> None:
    server = Server(*[{"url": f"http://host/{number}"} for number in range(200)])
    error = await failure(server.http())
    assert len(server.requests) == 100
    assert "redirection limit exceeded" in str(error)


async def test_a_redirect_to_an_unencrypted_place_is_refused() -> None:
    server = Server({"url": "http://host/hub?x=s3cret"})
    error = await failure(server.http(access_token="t0ken"), "https://host/hub")
    assert "without encryption" in str(error)
    assert len(server.requests) == 1


# Refusals


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401), "401 Unauthorized: the access token is missing, wrong or out of date"),
        (httpx.Response(403), "403 Forbidden: these credentials"),
        (httpx.Response(404), "404 Not Found: no hub is mapped"),
        (httpx.Response(405), "405 Method Not Allowed: no hub"),
        (httpx.Response(500, text="Oh\nno"), "500 Internal Server Error (Oh no)"),
        (httpx.Response(500, text="x" * 300), "500 Internal Server Error (" + "x" * 200 + "...)"),
        (httpx.Response(503, html="<p>busy</p>"), "503 Service Unavailable: a proxy"),
        (httpx.Response(204), "204 No Content"),
        (httpx.Response(418, text="token t0ken is bad"), "418 I'm a teapot (token *** is bad)"),
        (
            httpx.Response(302, headers={"Location": "/login?ReturnUrl=s3cret"}),
            "302 Found: it redirects to http://host/login, a login page perhaps",
        ),
        (
            httpx.Response(307, headers={"Location": "https://host/hub/negotiate?q=1&negotiateVersion=1"}),
            "307 Temporary Redirect: it redirects to https://host/hub/negotiate: use an https URL",
        ),
    ],
)
async def test_refusals(answer: httpx.Response, words: str) -> None:
    error = await failure(Server(answer).http(access_token="t0ken"))
    assert str(error).startswith(f"Negotiating at http://host/hub/negotiate failed: the server answered {words}")
    assert (error.url, error.status) == ("http://host/hub/negotiate", answer.status_code)
    assert not re.search("t0ken|s3cret|q=1", all_texts(error))


async def test_a_web_page_and_an_error_in_the_answer() -> None:
    assert "web page" in str(await failure(Server(httpx.Response(200, html="<html>")).http()))
    error = await failure(Server({"error": "not you"}).http())
    assert (str(error), error.status) == ("The server refused to negotiate: not you", 200)


async def test_the_users_client_may_follow_http_redirects() -> None:
    server = Server(httpx.Response(307, headers={"Location": "http://other/x"}), ANSWER)
    await negotiate(HubHttp(http_client=server.client(follow_redirects=True)), URL)
    assert server.requests[-1].url.host == "other"


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_endless_answer_is_not_read_to_its_end(chunked: bool) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 999999999999"
        await peer.stream.send_all(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.stream.send_all(b"%x\r\n" % 4096 + b" " * 4096 + b"\r\n" if chunked else b" " * 4096)

    async with serving(serve) as url, HubHttp() as http:
        assert "no usable SignalR negotiate answer" in str(await failure(http, url))


async def test_a_compressed_answer_is_not_unpacked() -> None:
    """httpx would: some hundred bytes can stand for gigabytes, the more so packed twice."""

    body = gzip.compress(gzip.compress(b" " * 64 * 2**20))
    assert len(body) < 1000
    statuses = iter([200, 401])

    async def serve(peer: Peer) -> None:
        request = await peer.request()
        assert (b"accept-encoding", b"identity") in request.headers
        await peer.answer(next(statuses), body, {"Content-Encoding": "gzip, gzip"})

    async with serving(serve) as url, HubHttp(headers={"Accept-Encoding": "gzip"}) as http:
        tracemalloc.start()
        try:
            error = await failure(http, url)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 8 * 2**20
        assert str(error).endswith("failed: its body is compressed, which was not asked for")
        assert (await failure(http, url)).status == 401


async def test_nor_is_a_compressed_poll_or_event_stream() -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.answer(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"})

    async with serving(serve) as url, HubHttp() as http:
        answer = await http.request("GET", url, failed="Polling failed", broke="The answer broke off")
        with pytest.raises(TransportError, match=r"^The answer broke off: its body is compressed"):
            await answer.receive()
        await answer.aclose()


@pytest.mark.parametrize("beyond", [1, 100_000])
async def test_an_answer_a_little_too_long_is_told_as_one(beyond: int) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        with suppress(trio.BrokenResourceError):
            await peer.answer(200, b" " * (2**20 + beyond))

    async with serving(serve) as url, HubHttp() as http:
        assert "no usable SignalR negotiate answer" in str(await failure(http, url))
        assert "no usable SignalR negotiate answer" in str(await failure(http, url))  # the client is none the worse


# Network failures


async def test_nobody_listens() -> None:
    async with HubHttp() as http:
        with trio.socket.socket() as taken:
            await taken.bind(("127.0.0.1", 0))
            error = await failure(http, f"http://127.0.0.1:{taken.getsockname()[1]}/hub?q=s3cret")
    assert str(error).startswith("Negotiating at http://127.0.0.1:")
    assert "refused" in str(error)
    assert error.status is None
    assert isinstance(error.__cause__, httpx.ConnectError)
    assert "s3cret" not in all_texts(error)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
async def test_no_proper_http(said: bytes) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(said)

    async with serving(serve) as url, HubHttp() as http:
        error = await failure(http, url)
    assert isinstance(error.__cause__, httpx.RemoteProtocolError)
    assert str(error).startswith(f"Negotiating at {url}/negotiate failed: ")


async def test_a_silent_server_is_given_up(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        assert await peer.gone()

    async with serving(serve) as url, HubHttp() as http:
        start = trio.current_time()
        error = await failure(http, url)
        assert trio.current_time() - start == pytest.approx(15)
    assert "took too long to answer" in str(error)


async def test_the_users_client_keeps_its_timeouts(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        assert await peer.gone()

    async with serving(serve) as url, httpx.AsyncClient(timeout=3, trust_env=False) as client:
        start = trio.current_time()
        await failure(HubHttp(http_client=client), url)
        assert trio.current_time() - start == pytest.approx(3)


async def test_a_full_pool_says_so(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    limits = httpx.Limits(max_connections=1)
    async with serving(serve) as url, httpx.AsyncClient(limits=limits, trust_env=False) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.get, url, timeout=None))
            await wait_all_tasks_blocked()
            error = await failure(HubHttp(http_client=client), url)
            nursery.cancel_scope.cancel()
    assert "pool of the http_client" in str(error)
    assert "max_connections" in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelled_it_leaves_no_socket(scheme: str) -> None:
    closed = trio.Event()

    async def serve(peer: Peer) -> None:
        assert await peer.stream.receive_some()  # a request, or the beginning of TLS
        nursery.cancel_scope.cancel()
        assert await peer.gone()
        closed.set()

    async with serving(serve) as url, HubHttp(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
        async with trio.open_nursery() as nursery:
            await negotiate(http, url.replace("http", scheme, 1))
        await closed.wait()  # while the client is still open


# The client


def test_options_that_exclude_each_other() -> None:
    client = Server().client()
    with pytest.raises(ValueError, match="http_client brings its own"):
        HubHttp(http_client=client, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(ValueError, match="http_client brings its own"):
        HubHttp(http_client=client, proxy="http://proxy")
    with pytest.raises(ValueError, match="proxy"):
        HubHttp(proxy="ftp://proxy")


@pytest.mark.parametrize("headers", [{"X:": "s3cret"}, {"X": "s3cret\n"}, {"X": "s3créet"}, {"": "s3cret"}, {"X": 7}])
def test_impossible_headers_are_refused_unquoted(headers: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="header") as caught:
        HubHttp(headers=headers)
    assert "s3c" not in all_texts(caught.value)


MALFORMED_PROXIES = [
    "http://ada:s3cret@[::1",
    "http://ada:s3cret#x@proxy:1",
    "ada:s3cret@proxy:3128",
    "foo://ada:s3cret@proxy:1",
    "http:/ada:s3cret@proxy:1",
    "http://a[da:s3cret@proxy:1",
    "http://ada:s3cret@xn--\u00fc:1",
]


@pytest.mark.parametrize("proxy", MALFORMED_PROXIES)
def test_a_malformed_proxy_is_refused_unquoted(proxy: str) -> None:
    with pytest.raises(ValueError, match="proxy's URL") as caught:
        HubHttp(proxy=proxy)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("proxy", ["foo://ada:s3cret@proxy:1", "http://ada:s3cret#x@proxy:1"])
async def test_so_is_one_of_the_environment_that_is_malformed(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    async with HubHttp() as http:
        with pytest.raises(ValueError, match="the environment gives a malformed URL") as caught:
            await negotiate(http, URL)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_proxies_of_every_kind_are_taken() -> None:
    for scheme in ("http", "HTTPS", "socks5", "socks5h"):
        HubHttp(proxy=f"{scheme}://ada:s3cret@[::1]:1")
    HubHttp(proxy=httpx.URL("http://proxy"))
    HubHttp(proxy=httpx.Proxy("http://proxy", auth=("ada", "s3cret")))


@pytest.mark.parametrize("host", ["xn--a", "a..b", "a" * 64 + ".com", "\u2603.example", "\u00fc" * 80 + ".example"])
async def test_a_redirect_to_a_host_name_that_cannot_be(host: str) -> None:
    """Of :class:`UnicodeError`, which is what httpx and the resolver raise, nobody would think."""
    async with HubHttp(http_client=Server({"url": f"http://{host}/hub"}).client()) as http:
        assert isinstance(await failure(http), NegotiationError)


async def test_a_hub_at_a_host_name_that_cannot_be() -> None:
    async with HubHttp() as http:
        error = await failure(http, "http://xn--a/hub")
        assert str(error) == "Negotiating at http://xn--a/hub/negotiate failed: the host name is impossible"
        with pytest.raises(TransportError, match="the host name is impossible"):
            await http.upgrade("http://xn--a/hub?id=s3cret", [], hints={})


async def test_the_users_client_is_left_open() -> None:
    client = Server().client()
    async with HubHttp(http_client=client) as http:
        await negotiate(http, URL)
    assert not client.is_closed
    await client.aclose()


async def test_what_the_users_client_raises_passes() -> None:
    error = trio.BrokenResourceError("from a hook")

    async def hook(_: object) -> None:
        raise error

    class Auth(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            if request.method:
                raise error
            yield request

    for options in ({"event_hooks": {"request": [hook]}}, {"event_hooks": {"response": [hook]}}, {"auth": Auth()}):
        with pytest.raises(trio.BrokenResourceError) as caught:
            await negotiate(HubHttp(http_client=Server().client(**options)), URL)
        assert caught.value is error


async def test_plain_http_costs_no_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object, **__: object) -> None:
        pytest.fail("a TLS context was made")

    monkeypatch.setattr(ssl, "create_default_context", no)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    own = clients.Clients(None, None, None)
    own.get(httpx.URL("http://host"))
    await own.aclose()


async def test_one_default_tls_context_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    clients.default_tls.cache_clear()
    used: list[object] = []
    real = httpx.AsyncClient

    def make(**options: Any) -> httpx.AsyncClient:
        used.append(options["verify"])
        return real(**options)

    monkeypatch.setattr(httpx, "AsyncClient", make)
    for _ in range(2):
        own = clients.Clients(None, None, None)
        assert own.get(httpx.URL("https://host")) is own.get(httpx.URL("https://other"))
        await own.aclose()
    assert used[0] is used[1]
    assert isinstance(used[0], ssl.SSLContext)
    assert used[0].verify_mode is ssl.CERT_REQUIRED


@asynccontextmanager
async def forwarding(seen: list[bytes]) -> AsyncIterator[str]:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        seen.append(request.target)
        await peer.answer(200, BODY)
        await peer.gone()

    async with serving(serve) as url:
        yield url


async def test_a_proxy_is_used() -> None:
    seen: list[bytes] = []
    async with forwarding(seen) as proxy, HubHttp(proxy=proxy) as http:
        await negotiate(http, "http://hub.invalid/hub")
    assert seen == [b"http://hub.invalid/hub/negotiate?negotiateVersion=1"]


async def test_so_is_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    async with forwarding(seen) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        async with HubHttp() as http:
            await negotiate(http, "http://hub.invalid/hub")
    assert seen == [b"http://hub.invalid/hub/negotiate?negotiateVersion=1"]


async def test_a_socks_proxy_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    async with HubHttp(proxy="socks5://127.0.0.1:9") as http:
        with pytest.raises(ImportError, match=r"pip install httpx\[socks\]"):
            await negotiate(http, URL)


async def test_nothing_prints_a_secret() -> None:
    http = Server({"url": "http://svc/?x=s3cret", "accessToken": "s3cret"}, ANSWER).http(
        access_token="t0ken", headers={"X-Key": "s3cret"}
    )
    negotiated = await negotiate(http, URL)
    assert isinstance(negotiated, Negotiated)
    for each in (http, http._token, negotiated, negotiated.http, negotiated.http._token, negotiated.answer):
        assert not re.search("t0ken|s3cret|c0nnection", repr(each))
