"""Staying connected to the real server: through cuts at any byte, a killed server, and consumers that stop."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.relay import Connection, Relay, open_relay
from trio_signalr import HubClosed, HubConnection, HubState, InvocationError, open_hub

Sent = dict[str, bool | None]


@pytest.fixture
async def relay(aspnetcore: HubProcess) -> AsyncIterator[Relay]:
    async with open_relay("127.0.0.1", aspnetcore.port) as relay:
        yield relay


@pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])
@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_cuts_at_any_byte_never_give_a_wrong_item_and_failed_calls_say_whether_they_were_sent(
    aspnetcore: HubProcess, relay: Relay, protocol: str, stateful: bool, probe: Probe
) -> None:
    chance = random.Random(f"{protocol} {stateful}")
    failed: Sent = {}
    succeeded: list[str] = []
    done = trio.Event()

    def soon(connection: Connection) -> None:
        direction: Any = chance.choice(["to_server", "to_client"])
        connection.cut_after(chance.randrange(600, 4000), direction, reset=chance.random() < 0.5)

    async def count_cuts() -> None:
        await relay.wait(lambda: len(relay.connections) > 25)
        relay.on_connection = None
        done.set()

    async def streams(hub: HubConnection) -> None:
        while not done.is_set():
            expected = 0
            try:
                async with hub.stream("Counter", 300, 1, item_type=int) as items:
                    async for number in items:
                        assert number == expected
                        expected += 1
            except HubClosed:
                continue
            assert expected == 300

    async def calls(hub: HubConnection) -> None:
        count = 0
        while not done.is_set():
            count += 1
            try:
                await hub.invoke("Record", probe.name, f"call {count}")
            except HubClosed as error:
                failed[f"call {count}"] = error.sent
            else:
                succeeded.append(f"call {count}")
            await trio.sleep(0.002)

    async def uploads(hub: HubConnection) -> None:
        async def numbers() -> AsyncIterator[int]:
            for number in range(50):
                yield number
                await trio.sleep(0.001)

        while not done.is_set():
            try:
                assert await hub.invoke("UploadChannel", numbers(), result_type=int) == sum(range(50))
            except HubClosed:
                pass
            except InvocationError as error:
                assert "closed" in str(error) or "canceled" in str(error)  # other texts are mistakes

    relay.on_connection = soon
    async with open_hub(
        relay.url("/hub"),
        protocol=protocol,
        transports=["websockets"],
        reconnect=lambda _: 0.0,
        stateful_reconnect=stateful,
    ) as hub:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count_cuts)
                for task in (streams, calls, uploads):
                    nursery.start_soon(task, hub)
        assert await hub.invoke("Add", 1, 1) == 2
    executed = Counter(await probe.events())
    assert set(executed.values()) <= {1}, "nothing is executed twice"
    assert set(succeeded) <= set(executed), "what was answered was executed"
    for call, sent in failed.items():
        if sent is False:
            assert call not in executed, "what was not sent was not executed"


async def test_a_killed_server_that_comes_back_is_found_again(start_aspnetcore: Callable[..., HubProcess]) -> None:
    server = start_aspnetcore()
    joined: list[str | None] = []
    news = 0

    async def join(hub: HubConnection) -> None:
        joined.append(hub.connection_id)
        await hub.invoke("JoinGroup", "readers")

    def on_news(_: Any) -> None:
        nonlocal news
        news += 1

    async with open_hub(
        server.url("/hub"), reconnect=lambda _: 0.2, on_connected=join, handlers={"news": on_news}
    ) as hub:
        async with hub.state_changes() as changes:
            await trio.to_thread.run_sync(server.kill)
            assert (await changes.receive()).new is HubState.RECONNECTING
            await trio.to_thread.run_sync(server.start)
            assert await hub.invoke("Add", 1, 1) == 2, "a call made meanwhile waits"
            assert (await changes.receive()).new is HubState.CONNECTED
        await hub.invoke("SendToGroup", "readers", "news", 1)
        with trio.fail_after(5):
            while not news:
                await hub.invoke("Add", 1, 1)
    assert len(set(joined)) == 2


@pytest.mark.parametrize(("seconds", "survives"), [(5, True), (15, False)])
async def test_a_consumer_that_stops_with_a_full_pipe(aspnetcore: HubProcess, seconds: float, survives: bool) -> None:
    count = 2_000_000

    async def consume() -> int:
        async with open_hub(aspnetcore.url("/hub")) as hub:
            async with hub.stream("Counter", count, 0, item_type=int) as items:
                assert await items.receive() == 0
                await trio.sleep(seconds)
                got = 1
                async for number in items:
                    assert number == got
                    got += 1
                    if survives and got == 200_000:
                        return got
        return got

    if survives:
        assert await consume() == 200_000
    else:
        with pytest.raises(HubClosed, match=r"reading was paused for 1\d s because a buffer was full"):
            await consume()
