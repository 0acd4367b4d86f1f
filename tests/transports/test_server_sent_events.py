"""The transport of server-sent events: the raw bytes on 127.0.0.1, and by a scripted client what takes time."""

from __future__ import annotations

import gc
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tests.transports.loopback import Peer, serving
from tests.transports.scripted import Script, Trickle
from tests.transports.tls import client_context, server_context
from trio_signalr._http import HubHttp
from trio_signalr.errors import InternalError, TransportError
from trio_signalr.transports._posting import LARGEST_POST
from trio_signalr.transports.server_sent_events import ServerSentEventsTransport, open_server_sent_events

PATH = "/hub?q=1&id=c0nnection"
URL = "http://host" + PATH
STREAM = {"Content-Type": "text/event-stream"}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def nothing_is_forgotten() -> Any:
    yield
    gc.collect()  # an unclosed socket or generator warns now, and warnings are errors


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def ok(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200)


def streaming(*parts: Any) -> tuple[Callable[[httpx.Request], Awaitable[httpx.Response]], Trickle]:
    body = Trickle(*parts)

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=STREAM, stream=body)

    return answer, body


async def forever(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers=STREAM, stream=Trickle(trio.Event()))


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[ServerSentEventsTransport]:
    async with HubHttp(**options) as http, open_server_sent_events(http, url + PATH) as transport:
        yield transport


async def received(transport: ServerSentEventsTransport) -> bytes:
    data = b""
    while more := await transport.receive():
        data += more
    return data


# On the wire


async def test_what_goes_over_the_wire() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        headers = dict(request.headers)
        assert request.target == PATH.encode()
        assert headers[b"authorization"] == b"Bearer t0ken"
        assert headers[b"x-requested-with"] == b"XMLHttpRequest"
        assert headers[b"user-agent"].startswith(b"trio_signalr/")
        assert headers[b"x-own"] == b"1"
        methods.append(request.method)
        if request.method == b"GET":
            assert headers[b"accept"] == b"text/event-stream"
            await peer.stream.send_all(HEAD + chunk(b":\r\n") + chunk(b"da"))
            await peer.stream.send_all(chunk(b"ta: ") + chunk(b"a\x1eb\x1e\r") + chunk(b"\n\r\ndata: c\x1e\r\n\r\n"))
            await sent.wait()
            await peer.stream.send_all(chunk(b"data: d\r\n\r\n") + chunk(b""))
            assert await peer.gone()
        else:
            assert headers[b"content-type"] == b"text/plain;charset=UTF-8"
            assert headers[b"content-length"] == b"3"
            await peer.answer(200)
            sent.set()
            assert await peer.gone()

    methods: list[bytes] = []
    sent = trio.Event()
    async with serving(serve) as url:
        async with connected(url, access_token="t0ken", headers={"X-Own": "1"}) as transport:
            assert transport.name == "server_sent_events"
            assert not transport.inherent_keep_alive
            assert "c0nnection" not in repr(transport)
            await transport.send(b"abc")
            assert await received(transport) == b"a\x1eb\x1ec\x1ed"
            assert await transport.receive() == b"", "it stays at the end"
    assert methods == [b"GET", b"POST"]


@pytest.mark.parametrize("how", ["leave", "aclose", "forcefully", "raise"])
async def test_leaving_drops_the_stream_at_once(how: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(HEAD + chunk(b"data: a\r\n\r\n" * 10))
        assert await peer.gone()
        gone.set()

    gone = trio.Event()
    error = LookupError("mine")
    async with serving(serve) as url, HubHttp() as http:
        try:
            async with open_server_sent_events(http, url) as transport:
                if how == "aclose":
                    await transport.aclose()
                    await gone.wait()
                    await transport.aclose()
                elif how == "forcefully":
                    await trio.aclose_forcefully(transport)
                    await gone.wait()
                elif how == "raise":
                    raise error
        except LookupError as caught:
            assert caught is error
            assert caught.__context__ is None
        await gone.wait()
        for use in (transport.receive(), transport.send(b"a")):
            with pytest.raises(trio.ClosedResourceError):
                await use


@pytest.mark.parametrize("end", [b"", b"5\r\nab", b"nonsense\r\n"])
async def test_a_stream_that_breaks_off(end: bytes) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(HEAD + chunk(b"data: a\r\n\r\n") + end)

    async with serving(serve) as url, connected(url) as transport:
        assert await transport.receive() == b"a"
        errors = []
        for _ in range(2):
            with pytest.raises(TransportError) as caught:
                await transport.receive()
            errors.append(caught.value)
    assert str(errors[0]).startswith(f"The event stream from {url}/hub broke: ")
    assert errors[0].url == f"{url}/hub"
    assert errors[0] is not errors[1], "each raiser has its own"
    assert isinstance(errors[0].__cause__, httpx.RemoteProtocolError)
    assert "c0nnection" not in str(errors[0])


async def test_tls_and_a_proxy_with_a_password() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        assert (request.method, request.target) == (b"CONNECT", b"127.0.0.1:443")
        assert dict(request.headers)[b"proxy-authorization"].startswith(b"Basic ")
        await peer.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        inner = Peer(trio.SSLStream(peer.stream, server_context(), server_side=True, https_compatible=True))
        await inner.request()
        await inner.stream.send_all(HEAD + chunk(b"data: a\n\n") + chunk(b""))
        assert await inner.gone()

    async with serving(serve) as proxy:
        options = {"proxy": proxy.replace("//", "//me:pw@"), "ssl_context": client_context()}
        async with connected("https://127.0.0.1", **options) as transport:
            assert await received(transport) == b"a"


async def test_cancelled_while_opening_it_leaves_nothing() -> None:
    async def serve(peer: Peer) -> None:
        assert await peer.stream.receive_some()
        scope.cancel()
        assert await peer.gone()
        closed.set()

    closed = trio.Event()
    async with serving(serve) as url, HubHttp() as http:
        with trio.CancelScope() as scope:
            async with open_server_sent_events(http, url):
                pytest.fail("it opened")
        assert scope.cancelled_caught
        await closed.wait()


async def test_an_outer_cancel_leaves_the_connection_to_a_shielded_goodbye() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        if request.method == b"GET":
            await peer.stream.send_all(HEAD)
            await posted.wait()
            await peer.stream.send_all(chunk(b"data: bye\n\n"))
            assert await peer.gone()
        else:
            await peer.answer(200)
            posted.set()
            assert await peer.gone()

    posted = trio.Event()
    async with serving(serve) as url, HubHttp() as http:
        with trio.CancelScope() as scope:
            async with open_server_sent_events(http, url) as transport:
                scope.cancel()
                try:
                    await transport.receive()
                finally:
                    with trio.CancelScope(shield=True):
                        await transport.send(b"bye")
                        assert await transport.receive() == b"bye"
                        await transport.aclose()
        assert scope.cancelled_caught


# Opening


async def refused(answer: httpx.Response) -> TransportError:
    async def refuse(_: httpx.Request) -> httpx.Response:
        return answer

    with pytest.raises(TransportError) as caught:
        async with open_server_sent_events(Script(GET=refuse).http(access_token="t0ken"), URL):
            pytest.fail("it opened")
    assert caught.value.status == answer.status_code
    assert caught.value.url == "http://host/hub"
    assert str(caught.value).startswith("Opening an event stream at http://host/hub failed: the server answered ")
    assert not re.search("t0ken|c0nnection", str(caught.value))
    return caught.value


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (400, "Cannot change transports mid-connection", r"400 Bad Request \(Cannot .*\): .*another transport"),
        (401, "t0ken is bad", r"401 Unauthorized \(\*\*\* is bad\): the access token"),
        (403, "", "403 Forbidden: these credentials"),
        (404, "No Connection with that ID", r"404 Not Found \(No Connection with that ID\): wrong path.*sticky"),
        (409, "", "409 Conflict: .* in use already"),
        (500, "oops", r"500 Internal Server Error \(oops\)"),
        (503, "", "503 Service Unavailable: a proxy"),
    ],
)
async def test_refusals(status: int, text: str, words: str) -> None:
    assert re.search(words, str(await refused(httpx.Response(status, text=text))))


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream", ""])
async def test_no_event_stream(kind: str) -> None:
    error = await refused(httpx.Response(200, headers={"Content-Type": kind}, content=b"<html>"))
    assert f"200 with {kind or 'something unnamed'} instead of an event stream" in str(error)


async def test_a_redirect_is_not_followed() -> None:
    error = await refused(httpx.Response(302, headers={"Location": "/login?x=c0nnection"}))
    assert "redirects to http://host/login, a login page" in str(error)


async def test_a_binary_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="text only"):
        async with open_server_sent_events(Script().http(), URL, transfer_format="Binary"):
            pytest.fail("it opened")


async def test_a_silent_server_is_given_up_but_not_a_silent_stream(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        if answers:
            await peer.stream.send_all(HEAD)
            await trio.sleep(10_000)
            await peer.stream.send_all(chunk(b"data: a\n\n"))
        assert await peer.gone()

    answers = False
    async with serving(serve) as url:
        for options in ({}, {"http_client": httpx.AsyncClient(timeout=2)}):
            answers = False
            start = trio.current_time()
            with pytest.raises(TransportError, match="took too long to answer"):
                async with connected(url, **options):
                    pytest.fail("it opened")
            assert trio.current_time() - start == pytest.approx(15)
            answers = True
            async with connected(url, **options) as transport:
                assert await transport.receive() == b"a"


async def test_a_full_pool_says_so(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(HEAD)
        assert await peer.gone()

    limits = httpx.Limits(max_connections=1)
    async with serving(serve) as url, httpx.AsyncClient(limits=limits) as client:
        async with connected(url, http_client=client) as transport:
            with pytest.raises(TransportError, match="pool of the http_client"):
                await transport.send(b"a")
        async with connected(url, http_client=client):
            pass  # there is room again


# Sending


async def test_sending_is_one_post_after_another_and_cut_if_large() -> None:
    script = Script(GET=forever, POST=ok)
    async with open_server_sent_events(script.http(), URL) as transport:
        with assert_checkpoints():
            await transport.send(b"a")
        await transport.send(b"x" * (2 * LARGEST_POST + 1))
    assert [len(body) for body in script.bodies()] == [1, LARGEST_POST, LARGEST_POST, 1]
    assert script.most["POST"] == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "does not know the connection"),
        (413, "too large"),
        (500, "500 Internal"),
        (302, "redirects"),
        (199, "199"),
    ],
)
async def test_a_post_that_is_refused(status: int, words: str) -> None:
    async def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Location": "/x"} if status == 302 else {})

    async with open_server_sent_events(Script(GET=forever, POST=refuse).http(), URL) as transport:
        with pytest.raises(TransportError, match=words) as caught:
            await transport.send(b"a")
    assert caught.value.status == status
    assert str(caught.value).startswith("Sending to http://host/hub failed: ")


async def test_a_post_may_be_held_back_for_long(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        if request.method == b"GET":
            await peer.stream.send_all(HEAD)
        else:
            await trio.sleep(99)
            await peer.answer(200)
            await peer.request()
        assert await peer.gone()

    async with serving(serve) as url, connected(url) as transport:
        await transport.send(b"a")
        with pytest.raises(TransportError, match="took too long to answer"):
            await transport.send(b"b")
        assert trio.current_time() == pytest.approx(199)


# Tokens


class Tokens:
    """Hands out t0ken1, t0ken2, ...; or raises."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def __call__(self) -> str:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.asked += 1
        return f"t0ken{self.asked}"


def guarded(
    *good: str, answer: Callable[[httpx.Request], Awaitable[httpx.Response]]
) -> Callable[[httpx.Request], Awaitable[httpx.Response]]:
    async def guard(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] in [f"Bearer {token}" for token in good]:
            return await answer(request)
        return httpx.Response(401, text="go away")

    return guard


def authorizations(script: Script, method: str) -> list[str]:
    return [each.headers["Authorization"][-6:] for each in script.requests if each.method == method]


async def test_a_token_asked_for_this_request_is_not_asked_for_again() -> None:
    tokens = Tokens()
    script = Script(GET=guarded("other", answer=forever))
    with pytest.raises(TransportError, match="401 Unauthorized"):
        async with open_server_sent_events(script.http(access_token=tokens), URL):
            pytest.fail("it opened")
    assert (tokens.asked, len(script.requests)) == (1, 1)


async def test_a_token_out_of_date_is_replaced_once() -> None:
    tokens = Tokens()
    script = Script(GET=guarded("t0ken2", answer=forever), POST=guarded("t0ken3", answer=ok))
    http = script.http(access_token=tokens)
    await http._token.ask()  # as negotiate does
    async with open_server_sent_events(http, URL) as transport:
        await transport.send(b"a")
        await transport.send(b"b")
        assert authorizations(script, "GET") == ["t0ken1", "t0ken2"]
        assert authorizations(script, "POST") == ["t0ken2", "t0ken3", "t0ken3"]
        script._handlers["POST"] = guarded("t0ken9", answer=ok)
        with pytest.raises(TransportError, match="401 Unauthorized"):
            await transport.send(b"c")
        assert tokens.asked == 4
        assert script.bodies() == [b"a", b"a", b"b", b"c", b"c"]


async def test_a_fixed_token_is_not_tried_twice() -> None:
    script = Script(GET=forever, POST=guarded("other", answer=ok))
    async with open_server_sent_events(script.http(access_token="t0ken"), URL) as transport:
        with pytest.raises(TransportError, match="401"):
            await transport.send(b"a")
    assert script.methods == ["GET", "POST"]


async def test_what_the_token_function_raises_passes_while_opening_and_is_told_later() -> None:
    tokens = Tokens()
    tokens.error = LookupError("t0ken")
    script = Script(GET=forever, POST=guarded("other", answer=ok))
    http = script.http(access_token=tokens)
    with pytest.raises(LookupError) as caught:
        async with open_server_sent_events(http, URL):
            pytest.fail("it opened")
    assert caught.value is tokens.error
    tokens.error = None
    async with open_server_sent_events(http, URL) as transport:
        tokens.error = LookupError("t0ken")
        with pytest.raises(TransportError, match="what the application adds to requests raised LookupError") as told:
            await transport.send(b"a")
    assert told.value.__cause__ is tokens.error
    assert "t0ken" not in str(told.value)


# Receiving


async def test_an_unread_chunk_stops_reading() -> None:
    answer, body = streaming(*[b"data: %d\n\n" % number for number in range(10)])
    async with open_server_sent_events(Script(GET=answer).http(), URL) as transport:
        await wait_all_tasks_blocked()
        assert body.taken == 1
        assert await transport.receive() == b"0"
        await wait_all_tasks_blocked()
        assert body.taken == 2
        assert await received(transport) == b"123456789"
    assert body.closed


async def test_cancelling_receive_loses_nothing() -> None:
    more = trio.Event()
    answer, _ = streaming(b"data: ", more, b"a\n", b"data: b\n\n")
    async with open_server_sent_events(Script(GET=answer).http(), URL) as transport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.receive)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        more.set()
        await wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await transport.receive()
        assert scope.cancelled_caught
        assert await received(transport) == b"a\nb"


async def test_leaving_with_unread_data_leaves_nothing_behind() -> None:
    answer, body = streaming(*[b"data: %d\n\n" % number for number in range(10)])
    async with open_server_sent_events(Script(GET=answer).http(), URL):
        await wait_all_tasks_blocked()
    assert body.closed


async def test_a_bug_in_reading_says_so() -> None:
    answer, _ = streaming(b"data: a\n\n", ZeroDivisionError("bug"))
    async with open_server_sent_events(Script(GET=answer).http(), URL) as transport:
        assert await transport.receive() == b"a"
        with pytest.raises(InternalError, match="bug") as caught:
            await transport.receive()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_an_interrupt_in_the_reader_comes_out_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(*_: object) -> bytes:
        raise KeyboardInterrupt

    answer, _ = streaming(b"data: a\n\n")
    monkeypatch.setattr("trio_signalr.transports._event_stream.EventStreamParser.feed", feed)
    with pytest.raises(KeyboardInterrupt):
        async with open_server_sent_events(Script(GET=answer).http(), URL) as transport:
            await transport.receive()
