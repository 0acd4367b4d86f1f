"""connect(): every option of open_hub, and what those about HTTP mean where there is none."""

from __future__ import annotations

import inspect
import ssl
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from trio_signalr import open_hub
from trio_signalr.errors import HubClosed, NegotiationError, TransportError
from trio_signalr.testing import HubServer
from trio_signalr.testing._connect import HTTP_OPTIONS, ConnectOptions


def spelled(annotation: Any) -> set[str]:
    """The types that an annotation allows."""
    return set(getattr(annotation, "__forward_arg__", str(annotation)).split(" | "))


def test_every_option_of_open_hub_is_there_with_its_types() -> None:
    theirs = {
        name: spelled(parameter.annotation)
        for name, parameter in inspect.signature(open_hub).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    protocol = inspect.signature(HubServer.connect).parameters["protocol"]
    ours = {name: spelled(annotation) for name, annotation in ConnectOptions.__annotations__.items()}
    assert {"protocol": spelled(protocol.annotation), **ours} == theirs
    assert ours.keys() > HTTP_OPTIONS


async def test_the_defaults_of_open_hub_are_taken() -> None:
    defaults: Any = {
        name: parameter.default
        for name, parameter in inspect.signature(open_hub).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    server = HubServer()
    async with server.connect(**defaults) as hub:
        assert (hub.connection_id, hub.protocol, hub.transport) == ("c1", "json", "memory")
    assert dict(server.client("c1").request.headers) == {}


async def test_a_token_is_judged_like_one_that_came_by_http() -> None:
    server = HubServer()
    server.require_token("sesame")
    for token in (None, "open"):
        with pytest.raises(NegotiationError, match=r"401.*the access token is missing, wrong or out of date") as caught:
            async with server.connect(access_token=token):
                raise AssertionError
        assert caught.value.status == 401
    async with server.connect(access_token="sesame") as hub:
        assert server.client(hub.connection_id).request.token == "sesame"
        assert "sesame" not in repr(server.client(hub.connection_id).request)
    server.require_token(None)
    async with server.connect():
        pass


async def test_a_token_is_asked_for_again_when_reconnecting_until_it_is_a_good_one(autojump_clock: MockClock) -> None:
    server, asked_at = HubServer(), list[float]()

    async def token() -> str:
        asked_at.append(trio.current_time())
        return f"token-{len(asked_at)}"

    async def good(token: str | None) -> bool:
        return token in ("token-1", "token-4")

    server.require_token(good)
    async with server.connect(access_token=token, reconnect=True) as hub:
        await server.client(hub.connection_id).drop()
        await trio.sleep(60)
        assert server.client(hub.connection_id).request.token == "token-4"
    assert asked_at == [0, 0, 2, 12]


async def test_a_token_is_asked_for_when_resuming(autojump_clock: MockClock) -> None:
    server, tokens = HubServer(stateful_reconnect=True), list[str]()

    async def token() -> str:
        tokens.append(f"token-{len(tokens)}")
        return tokens[-1]

    async with server.connect(access_token=token, stateful_reconnect=True) as hub:
        await server.client(hub.connection_id).drop()
        await trio.sleep(1)
        assert hub.connection_id == "c1"
    assert tokens == ["token-0", "token-1"]


async def test_what_a_token_function_raises_comes_out() -> None:
    async def token() -> str:
        raise LookupError("no token today")

    with pytest.raises(LookupError, match="no token today"):
        async with HubServer().connect(access_token=token):
            raise AssertionError


async def test_headers_arrive() -> None:
    server = HubServer()
    async with server.connect(headers={"X-Tenant": "7", "Authorization": "Bearer mine"}) as hub:
        request = server.client(hub.connection_id).request
        assert dict(request.headers) == {"x-tenant": "7", "authorization": "Bearer mine"}
        assert request.token == "mine"

    async def no_token() -> None:
        return None

    async with server.connect(headers={"Authorization": "Bearer mine"}, access_token=no_token) as hub:
        assert server.client(hub.connection_id).request.token is None, "the function's word is final"
    with pytest.raises(ValueError, match="X-Bad"):
        async with server.connect(headers={"X-Bad": "two\nlines"}):
            raise AssertionError


async def test_without_negotiation_there_is_no_id_and_nothing_to_resume() -> None:
    server = HubServer(stateful_reconnect=True)
    with pytest.raises(HubClosed):
        async with server.connect(skip_negotiation=True, stateful_reconnect=True) as hub:
            assert hub.connection_id is None
            (client,) = server.clients
            await client.drop()
            await trio.sleep_forever()
    server.refuse(503)
    with pytest.raises(TransportError) as caught:
        async with server.connect(skip_negotiation=True):
            raise AssertionError
    assert caught.value.status == 503
    with pytest.raises(ValueError, match="only WebSockets work without negotiation"):
        async with server.connect(skip_negotiation=True, transports=["long_polling"]):
            raise AssertionError


async def test_transports_must_carry_the_protocol() -> None:
    server = HubServer(stateful_reconnect=True)
    async with server.connect(transports="server_sent_events") as hub:
        assert hub.transport == "memory"
    with pytest.raises(NegotiationError, match="ServerSentEvents"):
        async with server.connect(transports=["server_sent_events"], protocol="messagepack"):
            raise AssertionError
    with pytest.raises(ValueError, match="transports must be some of"):
        async with server.connect(transports=["carrier_pigeons"]):
            raise AssertionError
    with pytest.raises(HubClosed):  # only WebSockets are resumed
        async with server.connect(transports=["long_polling"], stateful_reconnect=True) as hub:
            await server.client(hub.connection_id).drop()
            await trio.sleep_forever()


async def test_what_needs_a_network_is_refused() -> None:
    server = HubServer()
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        impossible: list[Any] = [
            {"http_client": client},
            {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
            {"proxy": "http://proxy"},
        ]
        for options in impossible:
            with pytest.raises(ValueError, match=rf"{next(iter(options))} .* HubServer\.serve"):
                async with server.connect(**options):
                    raise AssertionError


async def test_a_refusal_by_status_is_what_it_is_on_a_port() -> None:
    server = HubServer()
    server.refuse(503)
    with pytest.raises(NegotiationError) as caught:
        async with server.connect():
            raise AssertionError
    assert caught.value.status == 503
    async with server.connect():
        pass
