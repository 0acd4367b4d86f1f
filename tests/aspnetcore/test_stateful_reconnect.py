"""Stateful reconnect against the real server, through a relay that cuts."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.relay import Connection, Relay, open_relay
from trio_signalr import HubClosed, HubState, open_hub
from trio_signalr._open import as_protocol
from trio_signalr.messages import Ack, Sequence


@pytest.fixture(params=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def relay(aspnetcore: HubProcess) -> AsyncIterator[Relay]:
    async with open_relay("127.0.0.1", aspnetcore.port) as relay:
        yield relay


def open_stateful(relay: Relay, protocol: str, path: str = "/hub", **options: Any) -> Any:
    return open_hub(relay.url(path), protocol=protocol, transports=["websockets"], stateful_reconnect=True, **options)


async def numbers(count: int, pause: float = 0.0) -> AsyncGenerator[int]:
    for number in range(count):
        if pause:
            await trio.sleep(pause)
        yield number


async def test_a_cut_is_not_noticed(relay: Relay, protocol: str, probe: Probe) -> None:
    async with open_stateful(relay, protocol, f"/hub?probe={probe.name}") as hub, trio.open_nursery() as nursery:
        answers = []

        async def call() -> None:
            answers.append(await hub.invoke("Slow", 800))

        nursery.start_soon(call)
        async with hub.stream("Counter", 20, 50, item_type=int) as stream:
            got = [await stream.receive() for _ in range(5)]
            relay.cut()
            got += [number async for number in stream]
        assert got == list(range(20))
        await hub.invoke("Slow", 500)  # long enough for an Ack
        assert hub.state is HubState.CONNECTED
        assert await probe.events() == ["connected"], "the hub has not noticed anything"
    assert answers == ["slow"]
    messages = relay.client_messages(as_protocol(protocol))
    assert any(isinstance(message, Sequence) for message in messages)
    assert any(isinstance(message, Ack) for message in messages)
    negotiations = [request for request in relay.requests if request.method == "POST"]
    assert len(negotiations) == 1, "resuming takes no negotiation"


async def test_a_server_without_it_gives_an_ordinary_connection(relay: Relay, protocol: str) -> None:
    with pytest.raises(HubClosed):
        async with open_stateful(relay, protocol, "/detailed") as hub:
            assert await hub.invoke("Add", 1, 2) == 3
            relay.cut()
            await trio.sleep_forever()
    assert not any(isinstance(m, Sequence | Ack) for m in relay.client_messages(as_protocol(protocol)))


async def test_what_exceeds_the_servers_buffer_flows_because_we_acknowledge(relay: Relay, protocol: str) -> None:
    async with open_stateful(relay, protocol) as hub:
        async with hub.stream("Counter", 50_000, 0, item_type=int) as stream:
            assert [number async for number in stream] == list(range(50_000))
    async with open_stateful(relay, protocol, "/small-buffer") as hub:  # 1,000 bytes: an Ack for every 26 items
        async with hub.stream("Counter", 60, 0, item_type=int) as stream:
            assert [number async for number in stream] == list(range(60))


async def test_what_exceeds_our_buffer_waits_until_the_server_acknowledges(relay: Relay, protocol: str) -> None:
    async with open_stateful(relay, protocol) as hub:
        assert await hub.invoke("UploadChannel", numbers(8_000), result_type=int) == sum(range(8_000))


async def test_a_server_that_has_forgotten_us_is_a_loss(relay: Relay, protocol: str, aspnetcore: HubProcess) -> None:
    with pytest.raises(HubClosed, match=r"could not be resumed: .*404"):
        async with open_stateful(relay, protocol) as hub:
            await hub.invoke("Add", 1, 1)
            connector: Any = hub._connection._session._link
            reopen = connector.reopen

            @asynccontextmanager
            async def elsewhere() -> AsyncGenerator[Any]:
                from trio_signalr._http import HubHttp
                from trio_signalr.transports.websockets import open_websocket

                async with HubHttp() as http:
                    url = relay.url("/hub?id=unknown")
                    async with open_websocket(http, url, transfer_format="Text") as transport:
                        yield transport

            assert reopen is not None
            object.__setattr__(connector, "reopen", elsewhere)
            relay.cut()
            await trio.sleep_forever()


async def test_a_failed_resume_is_tried_again(relay: Relay, protocol: str) -> None:
    async with open_stateful(relay, protocol) as hub:
        await hub.invoke("Add", 1, 1)
        relay.refuse()
        relay.cut()
        async with trio.open_nursery() as nursery:
            answers = []

            async def call() -> None:
                answers.append(await hub.invoke("Add", 2, 2))

            nursery.start_soon(call)
            await trio.sleep(1.5)
            assert answers == []
            relay.accept()
        assert answers == [4]


async def test_leaving_while_resuming_ends_at_once(relay: Relay, protocol: str) -> None:
    async with open_stateful(relay, protocol) as hub:
        await hub.invoke("Add", 1, 1)
        relay.refuse()
        relay.cut()
        await trio.sleep(0.5)
        left_at = trio.current_time()
    assert trio.current_time() - left_at < 1


async def test_an_upload_whose_method_answers_early_does_not_spoil_the_numbers(relay: Relay, protocol: str) -> None:
    async with open_stateful(relay, protocol) as hub:
        for _ in range(5):
            # Slowly: a method that ends while its 10 items of buffer are full makes ASP.NET Core drop the connection.
            assert await hub.invoke("UploadFirst", numbers(300, 0.001), 3) == [0, 1, 2]
            assert await hub.invoke("Add", 1, 1) == 2
            relay.cut(reset=False)
            with trio.fail_after(10):
                assert await hub.invoke("Add", 2, 2) == 4
                assert await hub.invoke("Add", 3, 3) == 6


def is_between_messages(connection: Connection) -> bool:
    """Whether all that the server was sent on a WebSocket are whole frames: ours never end within a message."""
    data = bytes(connection.to_server)
    upgrade = data.lower().find(b"upgrade: websocket")  # behind the negotiation, on the same connection
    end_of_head = data.find(b"\r\n\r\n", upgrade)
    if upgrade < 0 or end_of_head < 0:
        return False
    frames = data[end_of_head + 4 :]
    position = 0
    while position < len(frames):
        length = frames[position + 1] & 0x7F if position + 1 < len(frames) else 0
        extended = {126: 2, 127: 8}.get(length, 0)
        if extended:
            length = int.from_bytes(frames[position + 2 : position + 2 + extended], "big")
        position += 2 + extended + 4 + length
    return position == len(frames)


@pytest.mark.parametrize("seed", [1, 2])
async def test_200_cuts_lose_double_and_reorder_nothing(relay: Relay, protocol: str, seed: int, probe: Probe) -> None:
    """A stream runs down, uploads run up and end between cuts, and calls go both ways."""
    chance = random.Random(seed)
    asked: list[int] = []
    cuts = 0
    done = trio.Event()

    async def on_ask(number: int) -> str:
        asked.append(number)
        return f"answer {number}"

    async def cut() -> None:
        nonlocal cuts
        while cuts < 200:
            await trio.sleep(chance.uniform(0.005, 0.06))
            if relay.open_connections and all(map(is_between_messages, relay.open_connections)):
                relay.cut(reset=False)  # a reset could take back what was sent, in the middle of a message
                cuts += 1
        done.set()

    async def stream() -> None:
        expected = 0
        async with hub.stream("Counter", 1_000_000, 1, item_type=int) as items:
            while not done.is_set():
                assert await items.receive() == expected
                expected += 1
        assert expected > 100

    sent = 0

    async def long_upload() -> None:
        async def items() -> AsyncIterator[int]:
            nonlocal sent
            while not done.is_set():
                yield sent
                sent += 1
                await trio.sleep(0.002)

        assert await hub.invoke("UploadChannel", items(), result_type=int) == sum(range(sent))
        assert sent > 100

    async def short_uploads() -> None:
        while not done.is_set():
            count = chance.randrange(20)
            assert await hub.invoke("UploadChannel", numbers(count, 0.001), result_type=int) == sum(range(count))

    async def calls() -> None:
        number = 0
        while not done.is_set():
            assert await hub.invoke("Add", number, 1, result_type=int) == number + 1
            number += 1

    async def questions() -> None:
        number = 0
        while not done.is_set():
            assert await hub.invoke("AskMe", "ask", number) == f"answer {number}"
            number += 1
        assert asked == list(range(number))

    async with open_stateful(relay, protocol, handlers={"ask": on_ask}) as hub:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for task in (cut, stream, long_upload, short_uploads, calls, questions):
                    nursery.start_soon(task)
    assert cuts == 200
