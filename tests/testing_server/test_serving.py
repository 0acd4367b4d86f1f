"""HubServer on a real port, treated badly. What goes well there is in tests/aspnetcore and tests/javascript."""

from __future__ import annotations

import gc
import logging
import math
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
import trio

from trio_signalr import HubConnection, HubState, open_hub
from trio_signalr.errors import HandshakeError, HubClosed, NegotiationError, ServerTimeout, TransportError
from trio_signalr.messages import CancelInvocation, Sequence
from trio_signalr.testing import Cancelled, Client, Connected, HubServer
from trio_signalr.testing._network import SOCKETS

WAYS = [
    ("websockets", "json"),
    ("websockets", "messagepack"),
    ("server_sent_events", "json"),
    ("long_polling", "json"),
    ("long_polling", "messagepack"),
]


def make_server(**options: Any) -> HubServer:
    server = HubServer(**options)

    @server.method
    async def Add(a: int, b: int) -> int:
        return a + b

    @server.method
    async def Counter(count: int, delay: float) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            await trio.sleep(delay)

    @server.method
    async def Hold() -> None:
        await trio.sleep_forever()

    @server.method
    async def Big(length: int) -> str:
        return "x" * length

    return server


class Way:
    """One transport, one hub protocol."""

    def __init__(self, transport: str, protocol: str) -> None:
        self.transport = transport
        self.protocol = protocol

    def open(self, url: str, **options: Any) -> AbstractAsyncContextManager[HubConnection]:
        return open_hub(url, transports=[self.transport], protocol=self.protocol, **options)


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(*request.param)


def of(server: HubServer, hub: HubConnection) -> Client:
    return server.client(hub.connection_id)


# The block


async def test_nothing_is_left(way: Way) -> None:
    server = make_server()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with server.serve() as url:
        async with way.open(url) as hub:
            assert await hub.invoke("Add", 1, 2) == 3
            client = of(server, hub)
            assert (client.transport, client.protocol) == (way.transport, way.protocol)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert SOCKETS == {}
    assert client.error is None
    with pytest.raises(NegotiationError):
        async with way.open(url):
            raise AssertionError
    gc.collect()  # a socket that was left open would be a warning, and so an error


@pytest.mark.parametrize("keep_open", [False, True])
async def test_clients_that_stay_too_long(way: Way, keep_open: bool) -> None:
    """The server stops: what ASP.NET Core says then is tested in tests/aspnetcore."""
    server, stopped = make_server(), trio.Event()
    async with trio.open_nursery() as nursery:

        async def stay(url: str, task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(HubClosed) as caught:
                async with way.open(url) as hub:
                    task_status.started()
                    await hub.invoke("Hold")
            assert caught.value.allow_reconnect
            stopped.set()

        async with server.serve() as url:
            await nursery.start(stay, url)
            (client,) = server.clients
            if not keep_open:
                await client.close(allow_reconnect=True)
        with trio.fail_after(5):
            await stopped.wait()
    assert not client.connected
    assert client.running == []


async def test_what_the_block_raises_comes_out_as_it_is(way: Way) -> None:
    error = KeyError("mine")
    server = make_server()
    with pytest.raises(KeyError) as caught:
        async with server.serve() as url, way.open(url):
            raise error
    assert caught.value is error


async def test_a_cancelled_block_ends_at_once(way: Way) -> None:
    server = make_server()
    with trio.fail_after(5), trio.CancelScope() as scope:
        async with server.serve() as url, way.open(url) as hub:
            await hub.send("Hold")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def checkpoints_then_cancel(scope: trio.CancelScope, count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.parametrize("transport", ["websockets", "server_sent_events", "long_polling"])
async def test_cancelled_at_any_moment(transport: str) -> None:
    """Of serving, connecting, calling, leaving."""
    server = make_server()
    tasks = trio.lowlevel.current_statistics().tasks_living
    finished = False
    for count in [*range(12), *range(12, 360, 15)]:
        with trio.fail_after(10), trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(checkpoints_then_cancel, scope, count)
                async with server.serve() as url, open_hub(url, transports=[transport], close_timeout=0.5) as hub:
                    await hub.invoke("Add", 1, 2)
                    finished = True
                nursery.cancel_scope.cancel()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert SOCKETS == {}
    assert finished, "the last ones are late enough"
    gc.collect()


async def test_two_ports_at_once_and_one_after_another(way: Way) -> None:
    server = make_server()
    async with server.serve() as one, server.serve(path="/other") as other:
        async with way.open(one) as here, way.open(other) as there:
            assert await here.invoke("Add", 1, 2) == await there.invoke("Add", 2, 1) == 3
            assert {client.connection_id for client in server.clients} == {here.connection_id, there.connection_id}
            assert len(server.clients) == 2
    port = httpx.URL(one).port or 0
    for _ in range(3):
        with pytest.raises(HubClosed):
            async with server.serve(port=port) as url, way.open(url) as hub:
                assert url == one
                await of(server, hub).drop()
                await trio.sleep_forever()


async def test_a_bug_of_the_server_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_server()
    monkeypatch.setattr(server._shared.methods, "find", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        async with server.serve() as url, open_hub(url, transports=["websockets"]) as hub:
            await hub.invoke("Add", 1, 2)


async def test_where_it_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = make_server()
    async with server.serve(path="/my/hub/") as url:
        assert url.endswith("/my/hub/")
        async with open_hub(url) as hub:
            assert await hub.invoke("Add", 1, 2) == 3
            assert hub.transport == "websockets"
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            assert (await http.get(url.replace("/my/hub/", "/elsewhere"))).status_code == 404
        with pytest.raises(TransportError):
            async with open_hub(url.replace("/my/hub/", "/elsewhere"), skip_negotiation=True):
                raise AssertionError
        port = httpx.URL(url).port or 0
        with pytest.raises(OSError, match=f"no listening at 127.0.0.1, port {port}: .* in use"):
            async with server.serve(port=port):
                raise AssertionError
    async with server.serve("0.0.0.0", port) as url:
        assert url == f"http://127.0.0.1:{port}/hub"
        async with open_hub(url):
            pass
    with pytest.raises(ValueError, match="must begin with"):
        async with server.serve(path="hub"):
            raise AssertionError
    with pytest.raises(ValueError, match="transports must be some of"):
        server.serve(transports=["carrier_pigeons"])
    assert [record.message for record in caplog.records if "Running" in record.message] == []


async def test_without_hypercorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypercorn.trio", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-signalr\[testing\]'"):
        async with make_server().serve():
            raise AssertionError


async def test_mounted_beside_other_routes(way: Way) -> None:
    server = make_server(detailed_errors=True)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or scope["path"].startswith("/deep/hub"):
            return await server.asgi_app(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async with server.serve(path="/deep/hub", app=app) as url:
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            assert (await http.get(url.replace("/deep/hub", "/hello"))).text == "hello"
        with pytest.raises(HubClosed):
            async with way.open(url) as hub:
                assert await hub.invoke("Add", 1, 2) == 3
                await of(server, hub).drop()
                await trio.sleep_forever()


# Cuts and silence


@pytest.mark.parametrize("keep", [False, True])
async def test_drop(way: Way, keep: bool) -> None:
    server = make_server()
    async with server.serve() as url, server.events() as events:
        with pytest.raises(HubClosed) as caught:
            async with way.open(url) as hub:
                client = of(server, hub)
                async with hub.stream("Counter", 10, 1000) as stream:
                    assert await stream.receive() == 0
                    await client.drop(keep=keep)
                    await stream.receive()
        assert caught.value.error is None
        assert caught.value.allow_reconnect
        seen = [event async for event in so_far(events) if isinstance(event, Cancelled)]
        assert [event.by_client for event in seen] == [False]
    assert client.error == "the connection was cut"
    assert client.messages(CancelInvocation) == []


async def so_far(events: trio.MemoryReceiveChannel[Any]) -> AsyncIterator[Any]:
    while events.statistics().current_buffer_used:
        yield events.receive_nowait()


async def test_drop_and_what_was_sent_before(way: Way) -> None:
    server, heard = make_server(), list[int]()
    async with server.serve() as url:
        with pytest.raises(HubClosed):
            async with way.open(url, handlers={"hear": heard.append}) as hub:
                client = of(server, hub)
                for number in range(10):
                    await client.send("hear", number)
                await client.drop(keep=True)
                await trio.sleep_forever()
    assert heard == list(range(10))


async def test_reconnecting_after_a_drop(way: Way) -> None:
    server = make_server()
    async with server.serve() as url, way.open(url, reconnect=lambda context: 0.0) as hub:
        async with hub.state_changes() as changes:
            first = of(server, hub)
            server.refuse(503, times=2)
            server.refuse("busy")
            await first.drop()
            assert [(await changes.receive()).new for _ in range(2)] == [HubState.RECONNECTING, HubState.CONNECTED]
        assert await hub.invoke("Add", 1, 2) == 3
        assert hub.connection_id != first.connection_id


@pytest.mark.parametrize("incoming", [False, True])
async def test_drop_after_some_bytes(incoming: bool) -> None:
    server = make_server()
    async with server.serve() as url:
        with pytest.raises(HubClosed) as caught:
            async with open_hub(url, transports=["websockets"]) as hub:
                of(server, hub).drop_after(20, incoming=incoming)
                await hub.invoke("Big", 100)
        assert caught.value.allow_reconnect
    with pytest.raises(ValueError, match="at least 1"):
        async with server.serve() as url, open_hub(url, transports=["websockets"]) as hub:
            of(server, hub).drop_after(0)


async def test_a_long_answer_is_cut_in_the_middle(way: Way) -> None:
    server = make_server()
    async with server.serve() as url:
        with pytest.raises(HubClosed):
            async with way.open(url) as hub:
                if way.transport == "long_polling":
                    await hub.invoke("Add", 1, 2)  # so that a poll is there
                of(server, hub).drop_after(100_000)
                await hub.invoke("Big", 1_000_000)
                raise AssertionError


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_stateful_reconnect(protocol: str) -> None:
    server = make_server(stateful_reconnect=True)
    async with server.serve() as url:
        async with open_hub(url, protocol=protocol, stateful_reconnect=True) as hub:
            client = of(server, hub)
            async with hub.stream("Counter", 200, 0.002, item_type=int) as stream:
                got = []
                async for number in stream:
                    got.append(number)
                    if number % 20 == 7:
                        await client.drop(keep=number % 40 == 7)
            assert got == list(range(200))
            assert of(server, hub) is client
            assert client.messages(Sequence)
        assert client.error is None
        with pytest.raises(HubClosed, match=r"could not be resumed.*404"):
            async with open_hub(url, protocol=protocol, stateful_reconnect=True) as hub:
                await of(server, hub).drop(forget=True)
                await trio.sleep_forever()


async def test_silence(way: Way) -> None:
    server = make_server()
    async with server.serve() as url:
        with trio.move_on_after(1) as scope, pytest.raises(ServerTimeout):
            async with way.open(url, close_timeout=0.1, server_timeout=0.3) as hub:
                of(server, hub).stall()
                await trio.sleep_forever()
        # A poll may take its time: there, nothing but TCP would ever notice.
        assert scope.cancelled_caught == (way.transport == "long_polling")
        for client in server.clients:
            await client.drop()


async def test_silence_that_ends(way: Way) -> None:
    server = make_server()
    async with server.serve() as url, way.open(url) as hub:
        client = of(server, hub)
        client.stall()
        answers = []
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                answers.append(await hub.invoke("Add", 1, 2))

            nursery.start_soon(call)
            await trio.sleep(0.3)
            assert answers == []
            client.resume()
        assert answers == [3]


async def test_a_client_that_takes_nothing_is_dropped(way: Way) -> None:
    server = make_server(send_timeout=0.3)

    @server.method
    async def Flood() -> AsyncIterator[str]:
        while True:
            yield "x" * 10_000

    async with server.serve() as url:
        with pytest.raises(HubClosed):
            async with way.open(url) as hub:
                client = of(server, hub)
                async with hub.stream("Flood", max_buffer_size=1) as stream:
                    await stream.receive()
                    await client.wait_disconnected()
                    async for _ in stream:
                        pass
                await trio.sleep_forever()
        assert client.error == "the client took nothing for 0.3 s"


# Being received


async def test_refusals(way: Way) -> None:
    server = make_server()
    async with server.serve() as url:
        server.refuse("closed for today")
        with pytest.raises(HandshakeError, match="closed for today"):
            async with way.open(url):
                raise AssertionError
        server.refuse(503)
        with pytest.raises(NegotiationError) as caught:
            async with way.open(url):
                raise AssertionError
        assert caught.value.status == 503
        server.refuse(TransportError("no route"))
        with pytest.raises(NegotiationError) as caught:
            async with way.open(url):
                raise AssertionError
        assert caught.value.status is None
        server.refuse(418, transport=way.transport)
        with pytest.raises(TransportError) as refused:
            async with way.open(url):
                raise AssertionError
        assert refused.value.status == 418
        async with way.open(url):
            pass
    with pytest.raises(TypeError):
        server.refuse("text", transport="websockets")


async def test_falling_back() -> None:
    server = make_server()
    server.refuse(404, transport="websockets", times=math.inf)
    async with server.serve() as url:
        async with open_hub(url) as hub:
            assert hub.transport == "server_sent_events"
        async with open_hub(url, protocol="messagepack") as hub:
            assert hub.transport == "long_polling"
        server.accept()
        async with open_hub(url) as hub:
            assert hub.transport == "websockets"
    async with server.serve(transports=["long_polling", "server_sent_events"]) as url:
        async with open_hub(url) as hub:
            assert hub.transport == "server_sent_events"
        with pytest.raises(TransportError) as caught:
            async with open_hub(url, skip_negotiation=True):
                raise AssertionError
        assert caught.value.status == 404


async def test_tokens(way: Way) -> None:
    server = make_server()
    server.require_token("sesame")
    async with server.serve() as url:
        for token in (None, "open"):
            with pytest.raises(NegotiationError) as caught:
                async with way.open(url, access_token=token):
                    raise AssertionError
            assert caught.value.status == 401
        async with way.open(url, access_token="sesame") as hub:
            request = of(server, hub).request
            assert request.token == "sesame"
            assert "sesame" not in repr(request)
        tokens = iter(["first", "second", "third", "fourth"])
        asked: list[str | None] = []

        async def next_token() -> str:
            return next(tokens)

        async def accept(token: str | None) -> bool:
            asked.append(token)
            return True

        server.require_token(accept)
        async with way.open(url, access_token=next_token):
            pass
        assert asked[0] == "first"
        server.require_token(None)
        async with way.open(url):
            pass


async def test_redirects(way: Way) -> None:
    front, back = make_server(), make_server()
    back.require_token("given")
    async with front.serve() as front_url, back.serve() as back_url:
        front.redirect(f"{back_url}?from=front", access_token="given")
        async with way.open(front_url) as hub:
            assert await hub.invoke("Add", 1, 2) == 3
            request = of(back, hub).request
            assert request.query["from"] == "front"
            assert request.path == "/hub"
        assert len(front.clients) == 0


async def test_a_delayed_handshake(way: Way) -> None:
    server = make_server()
    async with server.serve() as url:
        server.delay(0.2)
        started = trio.current_time()
        async with way.open(url) as hub:
            assert trio.current_time() - started >= 0.2
            assert await hub.invoke("Add", 1, 2) == 3
        server.delay(60)
        with pytest.raises(HandshakeError, match="did not answer"):
            async with way.open(url, handshake_timeout=0.2):
                raise AssertionError


async def test_what_a_request_tells(way: Way) -> None:
    server = make_server()
    async with server.serve() as url, server.events() as events:
        async with way.open(f"{url}?room=1&room=2", headers={"X-Test": "yes"}) as hub:
            connected = await events.receive()
            assert isinstance(connected, Connected)
            request = of(server, hub).request
            assert request.query["room"] == "2"
            assert request.headers["x-test"] == "yes"
    async with server.connect() as hub:
        assert of(server, hub).transport == "memory"


async def test_negotiated_and_never_used(way: Way) -> None:
    server = make_server(disconnect_timeout=0.1)
    async with server.serve() as url, httpx.AsyncClient(trust_env=False, verify=False) as http:
        answer = (await http.post(f"{url}/negotiate?negotiateVersion=1")).json()
        await trio.sleep(0.2)
        assert (await http.get(f"{url}?id={answer['connectionToken']}")).status_code == 404


async def test_a_client_that_stops_polling() -> None:
    server = make_server(disconnect_timeout=0.2)
    async with server.serve() as url, httpx.AsyncClient(trust_env=False, verify=False) as http:
        answer = (await http.post(f"{url}/negotiate?negotiateVersion=1")).json()
        hub = f"{url}?id={answer['connectionToken']}"
        await http.get(hub)
        await http.post(hub, content=b'{"protocol":"json","version":1}\x1e')
        assert (await http.get(hub)).text == "{}\x1e"
        (client,) = server.clients
        with trio.fail_after(5):
            await client.wait_disconnected()
        assert client.error == "the client has not polled for too long"
        assert (await http.get(hub)).status_code == 404


async def test_no_warnings_about_sockets(way: Way) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            server = make_server()
            with pytest.raises(HubClosed):
                async with server.serve() as url, way.open(url) as hub:
                    await of(server, hub).drop()
                    await trio.sleep_forever()
        gc.collect()
