"""The server itself, by raw HTTP and WebSockets: what the other tests here build on, before any client of ours."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.aspnetcore.websocket import raw_websocket

RS = "\x1e"
Json = dict[str, Any]


class RawHub:
    """Hub messages as dicts over a WebSocket, nothing else."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket
        self._received: deque[Json] = deque()

    async def send(self, *messages: Json) -> None:
        await self._websocket.send_message("".join(json.dumps(message) + RS for message in messages))

    async def receive(self) -> Json:
        """The next message that is no ping."""
        while True:
            while not self._received:
                text = await self._websocket.get_message()
                assert isinstance(text, str)
                assert text.endswith(RS)
                self._received.extend(json.loads(record) for record in text[:-1].split(RS))
            message = self._received.popleft()
            if message.get("type") != 6:
                return message

    async def call(self, target: str, *arguments: object) -> Any:
        await self.send({"type": 1, "invocationId": "call", "target": target, "arguments": arguments})
        completion = await self.receive()
        assert completion["type"] == 3, completion
        assert "error" not in completion
        return completion["result"]


@asynccontextmanager
async def raw_hub(url: str, headers: dict[str, str] | None = None) -> AsyncIterator[RawHub]:
    """A connection after its handshake, without negotiation."""
    async with raw_websocket(url, headers) as websocket:
        hub = RawHub(websocket)
        await hub.send({"protocol": "json", "version": 1})
        assert await hub.receive() == {}
        yield hub


async def negotiate(url: str, *, version: int = 1, token: str | None = None, **query: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        params = {"negotiateVersion": str(version), **query}
        return await client.post(url + "/negotiate", params=params, headers=headers)


@pytest.mark.parametrize(
    ("path", "transports"),
    [
        ("/hub", ["WebSockets", "ServerSentEvents", "LongPolling"]),
        ("/websockets", ["WebSockets"]),
        ("/sse", ["ServerSentEvents"]),
        ("/longpolling", ["LongPolling"]),
    ],
)
async def test_endpoints_offer_their_transports(aspnetcore: HubProcess, path: str, transports: list[str]) -> None:
    answer = (await negotiate(aspnetcore.url(path))).json()
    assert [each["transport"] for each in answer["availableTransports"]] == transports


async def test_only_some_endpoints_allow_stateful_reconnect(aspnetcore: HubProcess) -> None:
    allowing = []
    for path in ("/hub", "/small-buffer", "/detailed", "/parallel"):
        answer = (await negotiate(aspnetcore.url(path), useStatefulReconnect="true")).json()
        if answer.get("useStatefulReconnect"):
            allowing.append(path)
    assert allowing == ["/hub", "/small-buffer"]


async def test_a_negotiated_websocket_answers_calls(aspnetcore: HubProcess) -> None:
    answer = (await negotiate(aspnetcore.url())).json()
    async with raw_hub(aspnetcore.url(id=answer["connectionToken"])) as hub:
        assert await hub.call("ConnectionId") == answer["connectionId"]
        assert await hub.call("Add", 1, 2) == 3
        assert await hub.call("Echo", {"a": [1, None, "ü"]}) == {"a": [1, None, "ü"]}
        assert await hub.call("Void") is None
        assert await hub.call("TransportName") == "WebSockets"


async def test_cancelling_a_stream_fires_its_token(aspnetcore: HubProcess, probe: Probe) -> None:
    """A CancelInvocation reaches the hub method, and the probe tells so, for both kinds of stream."""
    for method in ("WatchedCounter", "WatchedCounterChannel"):
        probe = aspnetcore.probe()
        async with raw_hub(aspnetcore.url()) as hub:
            await hub.send({"type": 4, "invocationId": "1", "target": method, "arguments": [probe.name, 2, 10**6]})
            assert await hub.receive() == {"type": 2, "invocationId": "1", "item": 0}
            assert await probe.events() == ["started"]
            await hub.send({"type": 5, "invocationId": "1"})
            assert await hub.receive() == {"type": 3, "invocationId": "1"}
            assert await probe.wait("finished") == ["started", "cancelled", "finished: 1"]


async def test_a_stream_that_ends_is_not_cancelled(aspnetcore: HubProcess, probe: Probe) -> None:
    async with raw_hub(aspnetcore.url()) as hub:
        await hub.send({"type": 4, "invocationId": "1", "target": "WatchedCounter", "arguments": [probe.name, 3, 0]})
        assert [(await hub.receive())["type"] for _ in range(4)] == [2, 2, 2, 3]
        assert await probe.wait("finished") == ["started", "finished: 3"]


async def test_a_held_method_ends_when_the_test_says_so(aspnetcore: HubProcess, probe: Probe) -> None:
    async with raw_hub(aspnetcore.url()) as hub:
        await hub.send({"type": 1, "invocationId": "1", "target": "Held", "arguments": [probe.name]})
        await probe.wait("started")
        await probe.record("go")
        assert await hub.receive() == {"type": 3, "invocationId": "1", "result": "held"}
        assert await probe.events() == ["started", "go", "finished"]


async def test_uploads_arrive_and_their_errors_are_seen(aspnetcore: HubProcess, probe: Probe) -> None:
    async with raw_hub(aspnetcore.url()) as hub:
        await hub.send(
            {"type": 1, "invocationId": "1", "target": "UploadTwo", "arguments": ["both"], "streamIds": ["a", "b"]},
            {"type": 2, "invocationId": "b", "item": "one"},
            {"type": 2, "invocationId": "a", "item": 1},
            {"type": 2, "invocationId": "a", "item": 2},
            {"type": 2, "invocationId": "b", "item": "two"},
            {"type": 3, "invocationId": "a"},
            {"type": 3, "invocationId": "b"},
        )
        assert (await hub.receive())["result"] == "both: 3, one two"

        await hub.send(
            {
                "type": 1,
                "invocationId": "2",
                "target": "UploadWatched",
                "arguments": [probe.name],
                "streamIds": ["c"],
            },
            {"type": 2, "invocationId": "c", "item": 5},
            {"type": 3, "invocationId": "c", "error": "client boom"},
        )
        assert "client boom" in (await hub.receive())["error"]
        assert await probe.events() == ["started", "item: 5", "reader failed: client boom"]


async def test_the_hub_can_ask_its_caller(aspnetcore: HubProcess) -> None:
    async with raw_hub(aspnetcore.url()) as hub:
        for answer, result in [({"result": "fine"}, "fine"), ({"error": "no"}, "error: no")]:
            await hub.send({"type": 1, "invocationId": "1", "target": "AskMe", "arguments": ["Question", 42]})
            question = await hub.receive()
            assert (question["target"], question["arguments"]) == ("Question", [42])
            await hub.send({"type": 3, "invocationId": question["invocationId"], **answer})
            assert (await hub.receive())["result"] == result


@pytest.mark.parametrize(("path", "detailed"), [("/hub", False), ("/detailed", True)])
async def test_error_texts_follow_the_endpoint(aspnetcore: HubProcess, path: str, detailed: bool) -> None:
    async with raw_hub(aspnetcore.url(path)) as hub:
        await hub.send({"type": 1, "invocationId": "1", "target": "Fail", "arguments": []})
        assert ("secret" in (await hub.receive())["error"]) is detailed
        await hub.send({"type": 1, "invocationId": "2", "target": "FailPublic", "arguments": []})
        assert "public message" in (await hub.receive())["error"]


async def test_parallel_calls_run_side_by_side(aspnetcore: HubProcess) -> None:
    """Eight calls are all started before one may end: one after another they would never be."""
    probes = [aspnetcore.probe() for _ in range(8)]
    async with raw_hub(aspnetcore.url("/parallel")) as hub:
        for probe in probes:
            await hub.send({"type": 1, "invocationId": probe.name, "target": "Held", "arguments": [probe.name]})
        for probe in probes:
            await probe.wait("started")
        for probe in reversed(probes):
            await probe.record("go")
            assert (await hub.receive())["invocationId"] == probe.name


async def test_connections_are_counted_and_followed(aspnetcore: HubProcess, probe: Probe) -> None:
    async with raw_hub(aspnetcore.url(probe=probe.name, trace=probe.name)) as hub:
        await hub.call("Notify", "hello")
        assert await aspnetcore.control.connections(probe) == 1
        assert await probe.events() == ["GET /hub 101", "connected", "notified: hello"]
    assert (await probe.wait("disconnected"))[-1] == "disconnected"
    assert await aspnetcore.control.connections(probe) == 0


async def test_only_good_tokens_are_let_in(aspnetcore: HubProcess) -> None:
    url = aspnetcore.url("/authorized")
    assert (await negotiate(url)).status_code == 401
    assert (await negotiate(url, token="bad")).status_code == 401
    assert (await negotiate(url, token="good")).status_code == 200

    limited = f"good-for-2-requests-{aspnetcore.probe().name}"
    assert [(await negotiate(url, token=limited)).status_code for _ in range(3)] == [200, 200, 401]

    token = f"good-{aspnetcore.probe().name}"
    async with raw_hub(url, {"Authorization": f"Bearer {token}"}) as hub:
        assert await hub.call("Token") == token
        assert await hub.call("UserName") == "tester"
    await aspnetcore.control.revoke(token)
    assert (await negotiate(url, token=token)).status_code == 401


async def test_the_cookie_of_negotiate_is_needed(aspnetcore: HubProcess) -> None:
    url = aspnetcore.url("/cookie")
    answer = await negotiate(url)
    async with httpx.AsyncClient(trust_env=False) as client:
        refused = await client.get(url, params={"id": answer.json()["connectionToken"]})
    assert (refused.status_code, refused.text) == (400, "The cookie 'affinity' that negotiate had set is missing.")
    cookie = {"Cookie": f"affinity={answer.cookies['affinity']}"}
    async with raw_hub(f"{url}?id={answer.json()['connectionToken']}", cookie) as hub:
        assert await hub.call("Add", 1, 2) == 3


async def test_redirect_names_the_hub_and_a_token(aspnetcore: HubProcess) -> None:
    answer = (await negotiate(aspnetcore.url("/redirect"))).json()
    assert answer == {"url": aspnetcore.url("/hub"), "accessToken": "redirected"}


async def test_early_speaks_before_it_is_asked(aspnetcore: HubProcess) -> None:
    async with raw_hub(aspnetcore.url("/early")) as hub:
        assert await hub.receive() == {"type": 1, "target": "Early", "arguments": ["early"]}


async def test_abort_on_connect_closes(aspnetcore: HubProcess) -> None:
    async with raw_hub(aspnetcore.url("/abort-on-connect")) as hub:
        assert await hub.receive() == {"type": 7, "error": "Connection closed with an error."}


async def test_impatient_gives_up_on_a_client_that_stops_pinging(aspnetcore: HubProcess, probe: Probe) -> None:
    async with raw_hub(aspnetcore.url("/impatient", probe=probe.name)) as hub:
        await hub.send({"type": 6})
        closing = await hub.receive()
        assert closing["type"] == 7
        assert "ClientTimeoutInterval" in closing["error"]
        assert closing["allowReconnect"] is True


async def test_a_server_of_ones_own_can_be_killed_and_restarted(
    start_aspnetcore: Callable[..., HubProcess],
) -> None:
    """It comes back at the same address."""
    server = start_aspnetcore()
    url = server.url()
    async with raw_hub(url) as hub:
        server.kill()
        with pytest.raises(ConnectionClosed):
            await hub.receive()
    server.start()
    assert server.url() == url
    async with raw_hub(url) as hub:
        assert await hub.call("Add", 1, 2) == 3
    server.restart()
    assert server.url() == url
    async with raw_hub(url) as hub:
        assert await hub.call("Add", 1, 2) == 3
