"""Long polling: the raw bytes on 127.0.0.1, and by a scripted client what takes time."""

from __future__ import annotations

import gc
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_asgi
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.transports.loopback import Peer, serving
from tests.transports.scripted import Script, Trickle
from tests.transports.tls import client_context, server_context
from trio_signalr._http import HubHttp
from trio_signalr.errors import TransportError
from trio_signalr.transports.long_polling import LongPollingTransport, open_long_polling

PATH = "/hub?q=1&id=c0nnection"
URL = "http://host" + PATH


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def nothing_is_forgotten() -> Any:
    yield
    gc.collect()  # an unclosed socket or generator warns now, and warnings are errors


class Polled(Script):
    """Answers polls from a list; an event there holds the poll back; when the list is over, for ever.

    Attributes:
        ended: How polls were cut short: "cancelled".
    """

    def __init__(self, *answers: Any, post: int = 200, delete: int | Exception = 202) -> None:
        super().__init__(GET=self._poll, POST=self._post, DELETE=self._delete)
        self._answers = list(answers)
        self._statuses = (post, delete)
        self.ended: list[str] = []
        self.is_cancelled = False

    async def _poll(self, _: httpx.Request) -> httpx.Response:
        while self._answers:
            answer = self._answers.pop(0)
            if isinstance(answer, trio.Event):
                await answer.wait()
            elif isinstance(answer, Exception):
                raise answer
            elif isinstance(answer, bytes):
                return httpx.Response(200, content=answer, headers={"Content-Type": "application/octet-stream"})
            elif isinstance(answer, Trickle):
                return httpx.Response(200, stream=answer)
            elif isinstance(answer, int):
                return httpx.Response(answer)
            else:
                assert isinstance(answer, httpx.Response)
                return answer
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append("cancelled")
        raise AssertionError

    async def _post(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(self._statuses[0])

    async def _delete(self, _: httpx.Request) -> httpx.Response:
        assert not self.under_way["GET"], "the poll has to end first"
        if isinstance(self._statuses[1], Exception):
            raise self._statuses[1]
        return httpx.Response(self._statuses[1])

    @asynccontextmanager
    async def connected(self, **options: Any) -> AsyncIterator[LongPollingTransport]:
        async with open_long_polling(self.http(**options), URL, transfer_format="Text") as transport:
            yield transport


async def received(transport: LongPollingTransport) -> bytes:
    data = b""
    while more := await transport.receive():
        data += more
    return data


# On the wire


async def test_what_goes_over_the_wire() -> None:
    async def serve(peer: Peer) -> None:
        while not over.is_set():
            request = await peer.request()
            headers = dict(request.headers)
            seen.append(request.method)
            assert request.target == PATH.encode()
            assert headers[b"authorization"] == b"Bearer t0ken"
            assert headers[b"x-requested-with"] == b"XMLHttpRequest"
            assert headers[b"x-own"] == b"1"
            if request.method == b"POST":
                assert headers[b"content-type"] == b"application/octet-stream"
                await peer.answer(200)
                sent.set()
            elif len(seen) == 1:
                await peer.answer(200)
            elif not sent.is_set():
                await sent.wait()
                await peer.answer(200, b"\x00\xff", {"Content-Type": "application/octet-stream"})
            else:
                over.set()
                await peer.answer(204)
        await peer.gone()

    seen: list[bytes] = []
    sent, over = trio.Event(), trio.Event()
    async with serving(serve) as url, HubHttp(access_token="t0ken", headers={"X-Own": "1"}) as http:
        async with open_long_polling(http, url + PATH, transfer_format="Binary") as transport:
            assert transport.name == "long_polling"
            assert transport.inherent_keep_alive
            assert "c0nnection" not in repr(transport)
            await transport.send(b"abc")
            assert await received(transport) == b"\x00\xff"
            over.set()
            await transport.aclose()
    assert sorted(seen) == [b"GET", b"GET", b"GET", b"POST"], "no DELETE once the server has ended it"


async def test_tls_and_a_proxy_with_a_password() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        assert (request.method, request.target) == (b"CONNECT", b"127.0.0.1:443")
        assert dict(request.headers)[b"proxy-authorization"].startswith(b"Basic ")
        await peer.stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        inner = Peer(trio.SSLStream(peer.stream, server_context(), server_side=True, https_compatible=True))
        for status in (200, 204):
            await inner.request()
            await inner.answer(status)
        assert await inner.gone()

    async with serving(serve) as proxy:
        async with HubHttp(proxy=proxy.replace("//", "//me:pw@"), ssl_context=client_context()) as http:
            async with open_long_polling(http, "https://127.0.0.1", transfer_format="Text") as transport:
                assert await transport.receive() == b""


async def test_http_2_serves_polls_and_posts_on_one_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        polls = len([method for method in methods if method == "GET"])
        methods.append(scope["method"])
        if scope["method"] == "POST":
            posted.set()
        elif polls == 1:
            await posted.wait()
        status = 204 if polls == 2 else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"abc" if polls == 1 and scope["method"] == "GET" else b""})

    methods: list[str] = []
    posted, stop = trio.Event(), trio.Event()
    config = Config()
    config.bind = ["127.0.0.1:0"]
    async with trio.open_nursery() as nursery:
        serve_app: Any = partial(serve_asgi, app, config, shutdown_trigger=stop.wait)
        [url] = await nursery.start(serve_app)
        async with httpx.AsyncClient(http1=False, http2=True) as client:
            http = HubHttp(http_client=client)
            async with open_long_polling(http, url, transfer_format="Text") as transport:
                await wait_all_tasks_blocked()
                await transport.send(b"x")
                assert await received(transport) == b"abc"
        stop.set()
    assert sorted(methods) == ["GET", "GET", "GET", "POST"]


async def test_cancelled_while_opening_it_leaves_nothing() -> None:
    async def serve(peer: Peer) -> None:
        assert await peer.stream.receive_some()
        scope.cancel()
        assert await peer.gone()
        closed.set()

    closed = trio.Event()
    async with serving(serve) as url, HubHttp() as http:
        with trio.CancelScope() as scope:
            async with open_long_polling(http, url, transfer_format="Text"):
                pytest.fail("it opened")
        assert scope.cancelled_caught
        await closed.wait()


async def test_leaving_without_a_goodbye_drops_the_poll() -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.answer(200)
        await peer.request()
        polling.set()
        assert await peer.gone()
        gone.set()

    polling, gone = trio.Event(), trio.Event()
    async with serving(serve) as url, HubHttp() as http:
        async with open_long_polling(http, url, transfer_format="Text"):
            await polling.wait()
        await gone.wait()


# Opening


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (204, "", "204 No Content: the server has ended the connection already"),
        (400, "Cannot change transports mid-connection", r"400 Bad Request \(Cannot .*\): .*another transport"),
        (401, "t0ken is bad", r"401 Unauthorized \(\*\*\* is bad\): the access token"),
        (403, "", "403 Forbidden: these credentials"),
        (404, "No Connection with that ID", r"404 Not Found \(No Connection with that ID\): wrong path.*sticky"),
        (500, "oops", r"500 Internal Server Error \(oops\)"),
    ],
)
async def test_refusals(status: int, text: str, words: str) -> None:
    with pytest.raises(TransportError) as caught:
        async with Polled(httpx.Response(status, text=text)).connected(access_token="t0ken"):
            pytest.fail("it opened")
    assert (caught.value.status, caught.value.url) == (status, "http://host/hub")
    assert str(caught.value).startswith("Long polling at http://host/hub failed: the server answered ")
    assert re.search(words, str(caught.value))
    assert not re.search("t0ken|c0nnection", str(caught.value))


async def test_a_web_page_is_no_poll() -> None:
    with pytest.raises(TransportError, match="200 with a web page: wrong path, or a login page"):
        async with Polled(httpx.Response(200, html="<html>")).connected():
            pytest.fail("it opened")


async def test_a_silent_server_is_given_up(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        assert await peer.gone()

    async with serving(serve) as url, HubHttp() as http:
        with pytest.raises(TransportError, match="took too long to answer"):
            async with open_long_polling(http, url, transfer_format="Text"):
                pytest.fail("it opened")
    assert trio.current_time() == pytest.approx(15)


# Polling


async def test_polls_follow_one_another_and_never_overlap() -> None:
    script = Polled(b"", b"a", b"", b"", b"b\x1ec", 204)
    async with script.connected() as transport:
        assert await received(transport) == b"ab\x1ec"
        assert await transport.receive() == b""
    assert script.methods == ["GET"] * 6
    assert script.most == {"GET": 1}


async def test_what_the_first_poll_brings_is_not_lost() -> None:
    async with Polled(b"early", 204).connected() as transport:
        assert await received(transport) == b"early"


async def test_an_unread_chunk_stops_polling() -> None:
    body = Trickle(b"a", b"b")
    script = Polled(b"", body, b"c", 204)
    async with script.connected() as transport:
        await wait_all_tasks_blocked()
        assert (body.taken, len(script.requests)) == (1, 2)
        assert await received(transport) == b"abc"


async def test_cancelling_receive_loses_nothing() -> None:
    more = trio.Event()
    script = Polled(b"", more, Trickle(b"a", b"b"), 204)
    async with script.connected() as transport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.receive)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        more.set()
        await wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await transport.receive()
        assert scope.cancelled_caught
        assert await received(transport) == b"ab"
    assert script.methods == ["GET"] * 3


async def test_a_poll_without_an_answer_is_given_up_after_100_s_and_tried_again(autojump_clock: MockClock) -> None:
    script = Polled(b"", trio.Event(), trio.Event(), b"a", 204)
    async with script.connected() as transport:
        assert await transport.receive() == b"a"
    assert trio.current_time() == pytest.approx(200)
    assert script.most["GET"] == 1


async def test_an_answer_that_stops_in_the_middle_ends_the_connection(autojump_clock: MockClock) -> None:
    async with Polled(b"", Trickle(b"a", trio.Event())).connected() as transport:
        assert await transport.receive() == b"a"
        with pytest.raises(TransportError, match="broke off: nothing came for 100 s"):
            await transport.receive()


async def test_a_reader_that_takes_its_time_is_no_reason_to_give_up(autojump_clock: MockClock) -> None:
    async with Polled(b"", Trickle(b"a", b"b"), 204).connected() as transport:
        await trio.sleep(1000)
        assert await received(transport) == b"ab"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 503, 302, 205])
async def test_any_other_status_is_an_error(status: int) -> None:
    async with Polled(b"", b"a", status).connected(access_token="t0ken") as transport:
        assert await transport.receive() == b"a"
        errors = []
        for _ in range(2):
            with pytest.raises(TransportError, match=f"Polling http://host/hub failed: the server .* {status}") as told:
                await transport.receive()
            errors.append(told.value)
        assert errors[0] is not errors[1]
        assert errors[0].status == status
        await transport.aclose()


async def test_a_poll_that_breaks() -> None:
    script = Polled(b"", httpx.ReadError("reset"))
    async with script.connected() as transport:
        with pytest.raises(TransportError, match="Polling http://host/hub failed: reset") as caught:
            await transport.receive()
        assert isinstance(caught.value.__cause__, httpx.ReadError)
        await transport.aclose()
    assert script.methods == ["GET", "GET"], "no DELETE for a connection that is broken"


async def test_a_token_that_expires_while_polling() -> None:
    tokens = iter(["t0ken2", "t0ken3"])

    async def ask() -> str:
        return next(tokens)

    unauthorized = [httpx.Response(401) for _ in range(2)]
    script = Polled(b"", unauthorized[0], b"a", unauthorized[1], 401)
    http = script.http(access_token=ask)
    http._token.asked, http._token.last = True, "t0ken1"  # by negotiate
    async with open_long_polling(http, URL, transfer_format="Text") as transport:
        assert await transport.receive() == b"a"
        with pytest.raises(TransportError, match="401"):
            await transport.receive()
    sent = [request.headers["Authorization"][7:] for request in script.requests]
    assert sent == ["t0ken1", "t0ken1", "t0ken2", "t0ken2", "t0ken3"]


# Leaving


@pytest.mark.parametrize("delete", [202, 404, 500, httpx.ConnectError("gone")])
async def test_goodbye_ends_the_poll_first_and_then_the_connection(delete: int | Exception) -> None:
    script = Polled(b"", delete=delete)
    async with script.connected() as transport:
        await wait_all_tasks_blocked()
        await transport.send(b"bye")
        await transport.aclose()
        assert script.methods == ["GET", "GET", "POST", "DELETE"]
        assert script.ended == ["cancelled"]
        await transport.aclose()
        for use in (transport.receive(), transport.send(b"a")):
            with pytest.raises(trio.ClosedResourceError):
                await use
    assert script.methods == ["GET", "GET", "POST", "DELETE"]


async def test_no_delete_after_204() -> None:
    script = Polled(b"", 204)
    async with script.connected() as transport:
        assert await transport.receive() == b""
        await transport.aclose()
    assert script.methods == ["GET", "GET"]


async def test_a_forceful_goodbye_says_nothing() -> None:
    script = Polled(b"")
    async with script.connected() as transport:
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(transport)
    assert script.methods == ["GET", "GET"]
    assert script.ended == ["cancelled"]


async def test_goodbye_wakes_who_receives() -> None:
    async with Polled(b"").connected() as transport, trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.receive()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await transport.aclose()


async def test_a_second_goodbye_waits_for_the_first() -> None:
    script = Polled(b"")
    async with script.connected() as transport, trio.open_nursery() as nursery:
        await wait_all_tasks_blocked()
        nursery.start_soon(transport.aclose)
        nursery.start_soon(transport.aclose)
    assert script.methods == ["GET", "GET", "DELETE"]


async def test_the_caller_bounds_a_goodbye_that_nobody_answers(autojump_clock: MockClock) -> None:
    async def silence(_: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    script = Polled(b"")
    script._handlers["DELETE"] = silence
    async with script.connected() as transport:
        with trio.move_on_after(5) as scope:
            await transport.aclose()
        assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5)


async def test_an_outer_cancel_leaves_the_connection_to_a_shielded_goodbye() -> None:
    bye = trio.Event()
    script = Polled(b"", bye, b"bye")
    with trio.CancelScope() as scope:
        async with script.connected() as transport:
            await wait_all_tasks_blocked()
            scope.cancel()
            try:
                await transport.receive()
            finally:
                bye.set()
                with trio.CancelScope(shield=True):
                    assert await transport.receive() == b"bye"
                    await transport.aclose()
    assert scope.cancelled_caught
    assert script.methods[-1] == "DELETE"
