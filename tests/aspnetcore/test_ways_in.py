"""Every way in to the real server: tokens, cookies, redirects, single transports, fallback, TLS, proxies, sockets.

And every way out: whatever the transport, the server learns that the client has left.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.gates import open_proxy, open_socks_proxy, open_tls_gate, open_unix_gate
from tests.relay import Relay, open_relay
from tests.transports.tls import client_context, server_context
from trio_signalr import HubClosed, HubConnection, NegotiationError, TransportError, open_hub
from trio_signalr.messages import Close, Ping
from trio_signalr.protocols import JsonHubProtocol

NAMES = {
    "websockets": "WebSockets",
    "server_sent_events": "ServerSentEvents",
    "long_polling": "LongPolling",
}
each_transport = pytest.mark.parametrize("transport", NAMES)
each_posting_transport = pytest.mark.parametrize("transport", ["server_sent_events", "long_polling"])


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def relay(aspnetcore: HubProcess) -> AsyncIterator[Relay]:
    async with open_relay("127.0.0.1", aspnetcore.port) as relay:
        yield relay


async def check(hub: HubConnection, transport: str) -> None:
    """It works, by the transport that both sides believe in."""
    assert hub.transport == transport
    assert await hub.invoke("TransportName") == NAMES[transport]
    assert await hub.invoke("Add", 1, 2, result_type=int) == 3
    async with hub.stream("Counter", 100, 0, item_type=int) as stream:
        assert [number async for number in stream] == list(range(100))


class Tokens:
    """An access token function that notes how often it was asked: ``good-1-...``, ``good-2-...``."""

    def __init__(self, probe: Probe, prefix: str = "good") -> None:
        self._probe = probe
        self._prefix = prefix
        self.given: list[str] = []

    async def __call__(self) -> str:
        await trio.lowlevel.checkpoint()
        self.given.append(f"{self._prefix}-{len(self.given) + 1}-{self._probe.name}")
        return self.given[-1]


# Tokens


@each_transport
async def test_a_good_token_opens_the_door(aspnetcore: HubProcess, transport: str) -> None:
    url = aspnetcore.url("/authorized")
    async with open_hub(url, transports=[transport], access_token="good-fixed") as hub:
        await check(hub, transport)
        assert await hub.invoke("Token") == "good-fixed"
        assert await hub.invoke("UserName") == "tester"
        assert await hub.invoke("Query", "access_token") is None, "in the header only"


@pytest.mark.parametrize("token", [None, "bad"])
async def test_without_a_good_token_it_stays_shut(aspnetcore: HubProcess, token: str | None) -> None:
    with pytest.raises(NegotiationError, match="401 Unauthorized: the access token is missing, wrong") as caught:
        async with open_hub(aspnetcore.url("/authorized"), access_token=token):
            pytest.fail("it opened")
    assert caught.value.status == 401
    assert caught.value.url == aspnetcore.url("/authorized/negotiate")


async def test_without_a_good_token_websockets_stay_shut_too(aspnetcore: HubProcess) -> None:
    with pytest.raises(TransportError, match="401 Unauthorized") as caught:
        async with open_hub(aspnetcore.url("/authorized"), access_token="bad", skip_negotiation=True):
            pytest.fail("it opened")
    assert caught.value.status == 401


@pytest.mark.parametrize(("transport", "asked"), [("websockets", 2), ("server_sent_events", 1), ("long_polling", 1)])
async def test_how_often_a_token_is_asked_for(aspnetcore: HubProcess, probe: Probe, transport: str, asked: int) -> None:
    tokens = Tokens(probe)
    async with open_hub(aspnetcore.url("/authorized"), transports=[transport], access_token=tokens) as hub:
        await check(hub, transport)
        assert await hub.invoke("Token") == tokens.given[asked - 1]
    assert len(tokens.given) == asked


async def test_a_token_that_expires_while_long_polling(aspnetcore: HubProcess, probe: Probe) -> None:
    tokens = Tokens(probe, "good-for-7-requests")
    url = aspnetcore.url("/authorized")
    async with open_hub(url, transports=["long_polling"], access_token=tokens) as hub:
        async with hub.stream("Counter", 60, 5, item_type=int) as stream:
            expected = 0
            async for number in stream:
                assert number == expected
                expected += 1
                if number % 10 == 0:
                    assert await hub.invoke("Add", number, 1) == number + 1
        assert expected == 60
    assert len(tokens.given) > 3


@each_posting_transport
async def test_a_revoked_token_is_replaced(aspnetcore: HubProcess, probe: Probe, transport: str) -> None:
    tokens = Tokens(probe)
    async with open_hub(aspnetcore.url("/authorized"), transports=[transport], access_token=tokens) as hub:
        await check(hub, transport)
        await aspnetcore.control.revoke(tokens.given[0])
        await check(hub, transport)
    assert len(tokens.given) in (2, 3)  # a poll and a POST may both have met the refusal


@each_posting_transport
async def test_a_revoked_token_without_another_ends_the_connection(
    aspnetcore: HubProcess, probe: Probe, transport: str
) -> None:
    token = f"good-{probe.name}"
    with pytest.raises(HubClosed, match="401 Unauthorized") as caught:
        async with open_hub(aspnetcore.url("/authorized"), transports=[transport], access_token=token) as hub:
            await aspnetcore.control.revoke(token)
            await hub.invoke("Add", 1, 2)
            await trio.sleep_forever()
    assert isinstance(caught.value.__cause__, TransportError)
    assert caught.value.__cause__.status == 401
    assert token not in f"{caught.value} {caught.value.__cause__}"


# Cookies, redirects, headers


@each_transport
async def test_the_cookie_of_negotiate_comes_back(aspnetcore: HubProcess, transport: str) -> None:
    async with open_hub(aspnetcore.url("/cookie"), transports=[transport]) as hub:
        await check(hub, transport)


@each_transport
async def test_a_redirect_brings_its_own_token_for_this_connection_only(
    aspnetcore: HubProcess, probe: Probe, transport: str
) -> None:
    tokens = Tokens(probe)
    lost: list[str] = []

    def again(_: object) -> float | None:
        lost.append("lost")
        return 0 if len(lost) == 1 else None

    with pytest.raises(HubClosed):
        async with open_relay("127.0.0.1", aspnetcore.port) as relay:
            url = relay.url("/redirect")  # and the real server redirects to where it was asked
            async with open_hub(url, transports=[transport], access_token=tokens, reconnect=again) as hub:
                await check(hub, transport)
                assert await hub.invoke("Token") == "redirected"
                assert len(tokens.given) == 1
                async with hub.state_changes() as changes:
                    relay.cut()
                    if transport != "long_polling":  # which may have been between two polls
                        while (await changes.receive()).new.name != "CONNECTED":
                            pass
                        assert len(tokens.given) == 2, "the second connection began with the app's own"
                        assert await hub.invoke("Token") == "redirected"
                    relay.refuse()
                    relay.cut()
                await trio.sleep_forever()


@each_transport
async def test_headers_go_with_every_request(aspnetcore: HubProcess, relay: Relay, transport: str) -> None:
    headers = {"X-Mine": "7", "User-Agent": "app/1"}
    async with open_hub(relay.url("/hub?tenant=a%2Fb"), transports=[transport], headers=headers) as hub:
        await check(hub, transport)
        assert await hub.invoke("Header", "X-Mine") == "7"
        assert await hub.invoke("Query", "tenant") == "a/b"
    assert len(relay.requests) >= 2
    for request in relay.requests:
        assert (request.headers["x-mine"], request.headers["user-agent"]) == ("7", "app/1")
        assert "tenant=a%2Fb" in request.target


# Which transport


@pytest.mark.parametrize(
    ("path", "transport"),
    [("/websockets", "websockets"), ("/sse", "server_sent_events"), ("/longpolling", "long_polling")],
)
async def test_endpoints_that_offer_one_transport(aspnetcore: HubProcess, path: str, transport: str) -> None:
    async with open_hub(aspnetcore.url(path)) as hub:
        await check(hub, transport)
    [other, *_] = [name for name in NAMES if name != transport]
    with pytest.raises(NegotiationError, match=f"{NAMES[transport]}: not among the transports allowed here"):
        async with open_hub(aspnetcore.url(path), transports=[other]):
            pytest.fail("it opened")


async def test_messagepack_does_not_go_over_server_sent_events(aspnetcore: HubProcess) -> None:
    with pytest.raises(NegotiationError, match="ServerSentEvents: cannot carry Binary"):
        async with open_hub(aspnetcore.url("/sse"), protocol="messagepack"):
            pytest.fail("it opened")
    async with open_hub(
        aspnetcore.url(), protocol="messagepack", transports=["server_sent_events", "long_polling"]
    ) as hub:
        await check(hub, "long_polling")


class Refusing(httpx.AsyncHTTPTransport):
    """A network that lets some requests not through."""

    def __init__(self, *, upgrades: bool = False, streams: bool = False) -> None:
        super().__init__()
        self._upgrades = upgrades
        self._streams = streams

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._upgrades and "upgrade" in request.headers:
            return httpx.Response(503)
        if self._streams and request.headers.get("Accept") == "text/event-stream":
            raise httpx.ReadError("cut")
        return await super().handle_async_request(request)


@pytest.mark.parametrize(
    ("network", "transport", "negotiations"),
    [
        ({}, "websockets", 1),
        ({"upgrades": True}, "server_sent_events", 2),
        ({"upgrades": True, "streams": True}, "long_polling", 3),
    ],
)
async def test_falling_back(
    aspnetcore: HubProcess, probe: Probe, network: dict[str, bool], transport: str, negotiations: int
) -> None:
    async with httpx.AsyncClient(transport=Refusing(**network)) as client:
        async with open_hub(aspnetcore.url(trace=probe.name), http_client=client) as hub:
            await check(hub, transport)
    assert (await probe.events()).count("POST /hub/negotiate 200") == negotiations


async def test_everything_fails(aspnetcore: HubProcess) -> None:
    async with httpx.AsyncClient(transport=Refusing(upgrades=True, streams=True)) as client:
        with pytest.raises(TransportError, match=r"Unable to connect .*: Opening a WebSocket .* 503 .*cut.*not among"):
            async with open_hub(aspnetcore.url(), http_client=client, transports=["websockets", "server_sent_events"]):
                pytest.fail("it opened")


async def test_a_wrong_path(aspnetcore: HubProcess) -> None:
    with pytest.raises(NegotiationError, match="404 Not Found: no hub is mapped at this path") as caught:
        async with open_hub(aspnetcore.url("/nothing")):
            pytest.fail("it opened")
    assert caught.value.status == 404


# The user's own client


class Challenged(httpx.Auth):
    """Answers a refusal with a token."""

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers.pop("Authorization", None)
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = "Bearer good-after-a-challenge"
            yield request


@each_transport
async def test_an_auth_flow_answers_the_challenge_on_every_leg(
    aspnetcore: HubProcess, probe: Probe, transport: str
) -> None:
    seen: list[str] = []

    async def note(request: httpx.Request) -> None:
        seen.append(request.method)

    hooks = {"request": [note]}
    async with httpx.AsyncClient(auth=Challenged(), event_hooks=hooks, headers={"X-Mine": "7"}) as client:
        url = aspnetcore.url("/authorized", trace=probe.name)
        async with open_hub(url, transports=[transport], http_client=client) as hub:
            await check(hub, transport)
            assert await hub.invoke("Token") == "good-after-a-challenge"
            assert await hub.invoke("Header", "X-Mine") == "7"
        assert not client.is_closed
    events = await probe.events()
    assert events[:2] == ["POST /authorized/negotiate 401", "POST /authorized/negotiate 200"]
    assert events[2].startswith("GET /authorized 401")
    assert events[3] == f"GET /authorized {101 if transport == 'websockets' else 200}"
    assert seen[:4] == ["POST", "POST", "GET", "GET"]


@each_transport
async def test_a_unix_socket(aspnetcore: HubProcess, tmp_path: Path, transport: str) -> None:
    path = tmp_path / "hub.sock"
    async with open_unix_gate(aspnetcore.port, path):
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            async with open_hub("http://hub.invalid/hub", transports=[transport], http_client=client) as hub:
                await check(hub, transport)


@pytest.mark.parametrize("option", ["ssl_context", "proxy"])
async def test_options_that_belong_to_the_client(aspnetcore: HubProcess, option: str) -> None:
    options: dict[str, Any] = {"ssl_context": client_context(), "proxy": "http://127.0.0.1:1"}
    async with httpx.AsyncClient() as client:
        with pytest.raises(ValueError, match="http_client brings its own TLS and proxies"):
            async with open_hub(aspnetcore.url(), http_client=client, **{option: options[option]}):
                pytest.fail("it opened")


@each_transport
async def test_a_pool_that_is_too_small_says_so(aspnetcore: HubProcess, transport: str) -> None:
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(5, pool=0.1)
    async with httpx.AsyncClient(limits=limits, timeout=timeout) as client:
        async with open_hub(aspnetcore.url("/websockets"), http_client=client):
            with pytest.raises((NegotiationError, TransportError), match="pool of the http_client"):
                async with open_hub(aspnetcore.url(), transports=[transport], http_client=client):
                    pytest.fail("it opened")


# TLS and proxies


@each_transport
async def test_a_private_authority(aspnetcore: HubProcess, transport: str) -> None:
    async with open_tls_gate(aspnetcore.port, server_context()) as url:
        async with open_hub(f"{url}/hub", transports=[transport], ssl_context=client_context()) as hub:
            await check(hub, transport)
        async with httpx.AsyncClient(verify=client_context()) as client:
            async with open_hub(f"{url}/hub", transports=[transport], http_client=client) as hub:
                await check(hub, transport)
        with pytest.raises(NegotiationError, match="certificate verify failed"):
            async with open_hub(f"{url}/hub", transports=[transport]):
                pytest.fail("it opened")


@each_transport
async def test_a_required_client_certificate(aspnetcore: HubProcess, transport: str) -> None:
    async with open_tls_gate(aspnetcore.port, server_context(asks_for_certificate=True)) as url:
        context = client_context(with_certificate=True)
        async with open_hub(f"{url}/hub", transports=[transport], ssl_context=context) as hub:
            await check(hub, transport)
        with pytest.raises(NegotiationError) as caught:
            async with open_hub(f"{url}/hub", transports=[transport], ssl_context=client_context()):
                pytest.fail("it opened")
        assert caught.value.status is None


@each_transport
@pytest.mark.parametrize("credentials", [None, "me:s3cret"])
async def test_a_proxy_makes_tunnels_for_every_leg(
    aspnetcore: HubProcess, transport: str, credentials: str | None
) -> None:
    async with open_tls_gate(aspnetcore.port, server_context()) as url, open_proxy(credentials) as proxy:
        proxy_url = proxy.with_credentials(credentials) if credentials else proxy.url
        options: dict[str, Any] = {"transports": [transport], "ssl_context": client_context()}
        async with open_hub(f"{url}/hub", proxy=proxy_url, **options) as hub:
            await check(hub, transport)
        assert set(proxy.tunnels) == {url.removeprefix("https://")}
        assert proxy.refused == []


async def test_a_proxy_that_refuses_says_so_without_its_password(aspnetcore: HubProcess) -> None:
    async with open_proxy("me:right") as proxy:
        with pytest.raises(NegotiationError, match="the proxy refused: 407") as caught:
            async with open_hub("https://127.0.0.1:1/hub", proxy=proxy.with_credentials("me:wr0ng")):
                pytest.fail("it opened")
        assert len(proxy.refused) == 1
    assert "wr0ng" not in str(caught.value)


@each_transport
async def test_the_proxies_of_the_environment(
    aspnetcore: HubProcess, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    async with open_tls_gate(aspnetcore.port, server_context()) as url, open_proxy() as proxy:
        options: dict[str, Any] = {"transports": [transport], "ssl_context": client_context()}
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with open_hub(f"{url}/hub", **options) as hub:
            await check(hub, transport)
        assert proxy.tunnels
        proxy.tunnels.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with open_hub(f"{url}/hub", **options) as hub:
            await check(hub, transport)
        assert proxy.tunnels == []


@each_transport
async def test_a_plain_proxy_forwards(aspnetcore: HubProcess, transport: str) -> None:
    """Without TLS there are no tunnels; here the server itself understands what a proxy is sent."""
    async with open_hub("http://hub.invalid/hub", proxy=aspnetcore.base_url, transports=[transport]) as hub:
        await check(hub, transport)


@each_transport
@pytest.mark.parametrize("secure", [False, True])
async def test_a_socks_proxy(aspnetcore: HubProcess, transport: str, secure: bool) -> None:
    async with open_tls_gate(aspnetcore.port, server_context()) as url, open_socks_proxy() as proxy:
        url = url if secure else aspnetcore.base_url
        options: dict[str, Any] = {"transports": [transport], "ssl_context": client_context()}
        async with open_hub(f"{url}/hub", proxy=proxy.url, **options) as hub:
            await check(hub, transport)
        assert set(proxy.tunnels) == {url.partition("//")[2]}


async def test_a_redirect_may_not_give_up_encryption(aspnetcore: HubProcess) -> None:
    async with open_tls_gate(aspnetcore.port, server_context()) as url:
        with pytest.raises(NegotiationError, match=r"redirects to http://.*, without encryption: refused"):
            async with open_hub(f"{url}/redirect", ssl_context=client_context(), access_token="t0ken"):
                pytest.fail("it opened")


@pytest.mark.skipif(os.name == "nt", reason="the message is another one")
async def test_nobody_listens() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        with pytest.raises(NegotiationError, match="Connection refused"):
            async with open_hub(f"http://127.0.0.1:{taken.getsockname()[1]}/hub"):
                pytest.fail("it opened")


# Staying


async def test_long_polling_outlives_polls_and_the_timeouts_of_others(
    aspnetcore: HubProcess, relay: Relay, probe: Probe
) -> None:
    """The server would end a client that pings once and is silent for 2 s then; polls end after 1 s."""
    options: dict[str, Any] = {"keep_alive_interval": 0.2, "server_timeout": 0.5}
    async with open_hub(relay.url("/impatient"), transports=["long_polling"], **options) as hub:
        await relay.wait(lambda: len([each for each in relay.requests if each.method == "GET"]) >= 5)
        await check(hub, "long_polling")
    assert Ping() not in relay.client_messages(JsonHubProtocol())


async def test_server_sent_events_are_kept_alive(aspnetcore: HubProcess, relay: Relay) -> None:
    options: dict[str, Any] = {"keep_alive_interval": 0.3, "server_timeout": 2}
    async with open_hub(relay.url("/impatient"), transports=["server_sent_events"], **options) as hub:
        await relay.wait(lambda: relay.client_messages(JsonHubProtocol()).count(Ping()) > 9)
        await check(hub, "server_sent_events")


# Leaving


@each_transport
@pytest.mark.parametrize("way", ["leave", "cancel", "raise"])
async def test_the_server_sees_everybody_leave(
    aspnetcore: HubProcess, relay: Relay, probe: Probe, transport: str, way: str
) -> None:
    with trio.CancelScope() as scope:
        try:
            async with open_hub(relay.url(f"/hub?probe={probe.name}"), transports=[transport]) as hub:
                await check(hub, transport)
                assert await aspnetcore.control.connections(probe) == 1
                if way == "cancel":
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
                elif way == "raise":
                    raise LookupError
        except LookupError:
            assert way == "raise"
    assert scope.cancelled_caught == (way == "cancel")
    assert await probe.wait("disconnected") == ["connected", "disconnected"]
    assert await aspnetcore.control.connections(probe) == 0
    assert relay.client_messages(JsonHubProtocol())[-1] == Close()
    deletes = [request.method for request in relay.requests].count("DELETE")
    assert deletes <= (transport == "long_polling")


@each_transport
@pytest.mark.parametrize("fate", ["resume", "cut"])
async def test_leaving_a_silent_server_is_seen_when_it_hears_again(
    aspnetcore: HubProcess, relay: Relay, probe: Probe, transport: str, fate: str
) -> None:
    url = relay.url(f"/hub?probe={probe.name}")
    async with open_hub(url, transports=[transport], close_timeout=0.3) as hub:
        await check(hub, transport)
        relay.stall()
        left_at = trio.current_time()
    assert trio.current_time() - left_at < 2
    if fate == "resume":
        relay.resume()
    else:
        relay.cut()
    # With nothing but silence the server waits 15 s for the next poll.
    await probe.wait("disconnected", within=30)
    assert await aspnetcore.control.connections(probe) == 0


@each_transport
async def test_a_server_that_stops_ends_the_connection(
    start_aspnetcore: Callable[..., HubProcess], transport: str
) -> None:
    server = start_aspnetcore()
    with pytest.raises(HubClosed) as caught:
        async with open_hub(server.url(), transports=[transport]):
            await trio.to_thread.run_sync(server.stop)
            await trio.sleep_forever()
    assert caught.value.allow_reconnect
