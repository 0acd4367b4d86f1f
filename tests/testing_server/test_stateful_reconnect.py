"""Stateful reconnect, on both sides of one process, to the tenth of a second."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.testing_server.raw import PROTOCOLS
from trio_signalr._hub import HubConnection
from trio_signalr._states import HubState
from trio_signalr.errors import HubClosed, TransportError
from trio_signalr.messages import Ack, Completion, Invocation, Sequence
from trio_signalr.testing import Client, HubServer
from trio_signalr.testing._line import Line


def make_server(**options: Any) -> HubServer:
    server = HubServer(stateful_reconnect=True, max_parallel_invocations=4, **options)

    @server.method
    async def Counter(count: int, delay: float) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            await trio.sleep(delay)

    @server.method
    async def Slow(delay: float) -> str:
        await trio.sleep(delay)
        return "slow"

    @server.method
    async def Add(a: int, b: int) -> int:
        return a + b

    @server.method
    async def Sum(items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @server.method
    async def First(items: trio.abc.ReceiveChannel[int]) -> int:
        return await items.receive()

    @server.method
    async def Ask(question: int) -> str:
        return str(await server.caller.invoke("answer", question, result_type=str))

    return server


def of(server: HubServer, hub: HubConnection) -> Client:
    return server.client(hub.connection_id)


async def numbers(count: int, pause: float = 0.0) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        await trio.sleep(pause)


async def test_what_fills_gaps_is_counted_by_the_javascript_client_too(
    autojump_clock: MockClock, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not count what only clients send, a CancelInvocation for one."""
    server, resent = make_server(), list[bytes]()
    attach = Line.attach

    def noting(self: Line, transport: Any, resend: Any) -> None:
        resent.extend(again := list(resend))
        attach(self, transport, again)

    monkeypatch.setattr(Line, "attach", noting)
    async with server.connect(stateful_reconnect=True, protocol=protocol) as hub:
        for _ in range(3):
            await hub.invoke("Add", 1, 2)
        await of(server, hub).drop()
        await trio.sleep(2)  # everything is acknowledged, but not beyond the last Sequence
        resent.clear()
        await of(server, hub).drop()
        assert await hub.invoke("Add", 1, 2) == 3
    first, *fillers = PROTOCOLS[protocol].parser().feed(b"".join(resent))
    assert first == Sequence(1)
    assert [type(message) for message in fillers[:3]] == [Completion] * 3


@pytest.mark.parametrize("keep", [False, True])
async def test_a_cut_is_not_noticed(autojump_clock: MockClock, protocol: str, keep: bool) -> None:
    server = make_server()
    async with server.connect(stateful_reconnect=True, protocol=protocol) as hub, hub.state_changes() as changes:
        id_, client = hub.connection_id, of(server, hub)
        async with hub.stream("Counter", 50, 0.1, item_type=int) as stream:
            got = []
            async for number in stream:
                got.append(number)
                if number % 10 == 5:
                    await client.drop(keep=keep)
        assert got == list(range(50))
        assert hub.connection_id == id_
        assert client.connected
        with trio.move_on_after(1) as silence:
            await changes.receive()
        assert silence.cancelled_caught
        assert len(client.messages(Sequence)) == 5
    assert client.error is None


async def test_a_call_lives_on_while_the_client_is_away(autojump_clock: MockClock) -> None:
    server = make_server()
    async with server.connect(stateful_reconnect=True) as hub:
        started = trio.current_time()
        server.refuse(TransportError("the network is down"), times=4)
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                assert await hub.invoke("Slow", 0.5) == "slow"

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            await of(server, hub).drop()
        # At once, then 0.1, 0.2, 0.5 and 0.5 s later.
        assert trio.current_time() - started == pytest.approx(1.3)


async def test_the_client_gives_up_after_15_seconds(autojump_clock: MockClock) -> None:
    server = make_server()
    started = trio.current_time()
    with pytest.raises(HubClosed, match="could not be resumed: the network is down"):
        async with server.connect(stateful_reconnect=True) as hub:
            client = of(server, hub)
            server.refuse(TransportError("the network is down"), times=math.inf)
            await client.drop()
            await trio.sleep_forever()
    assert trio.current_time() - started == pytest.approx(14.8)  # the last attempt before 15 s have passed
    assert client.error == "the connection was cut"


async def test_the_server_forgets_when_its_time_is_over(autojump_clock: MockClock) -> None:
    server = make_server(disconnect_timeout=5)
    started = trio.current_time()
    with pytest.raises(HubClosed, match="could not be resumed: the server has forgotten connection c1"):
        async with server.connect(stateful_reconnect=True) as hub:
            server.refuse(TransportError("the network is down"), times=12)
            await of(server, hub).drop()
            await trio.sleep_forever()
    assert trio.current_time() - started == pytest.approx(5.3)  # the first attempt that gets through


async def test_404_ends_it_at_once(autojump_clock: MockClock) -> None:
    server = make_server()
    started = trio.current_time()
    with pytest.raises(HubClosed, match="could not be resumed: the server has forgotten connection c1"):
        async with server.connect(stateful_reconnect=True) as hub:
            await of(server, hub).drop(forget=True)
            await trio.sleep_forever()
    assert trio.current_time() == started


async def test_a_forgotten_client_reconnects_if_it_wants(autojump_clock: MockClock) -> None:
    server = make_server()
    async with server.connect(stateful_reconnect=True, reconnect=True) as hub:
        first = of(server, hub)
        await first.drop(forget=True)
        await trio.sleep(0.1)
        assert await hub.invoke("Add", 1, 2) == 3
        assert hub.connection_id != first.connection_id
        assert not first.connected


@pytest.mark.parametrize(("server_has", "client_wants"), [(False, True), (True, False)])
async def test_both_have_to_want_it(autojump_clock: MockClock, server_has: bool, client_wants: bool) -> None:
    server = HubServer(stateful_reconnect=server_has)
    with pytest.raises(HubClosed):
        async with server.connect(stateful_reconnect=client_wants) as hub:
            await trio.sleep(5)
            assert of(server, hub).messages(Ack, Sequence) == []
            await of(server, hub).drop()
            await trio.sleep_forever()


async def test_streams_are_cancelled_when_the_client_does_not_come_back(autojump_clock: MockClock) -> None:
    server = make_server(disconnect_timeout=5)
    with pytest.raises(HubClosed):
        async with server.connect(stateful_reconnect=True) as hub, hub.stream("Counter", 1000, 1):
            client = of(server, hub)
            await hub.send("Slow", 1000)
            await wait_all_tasks_blocked()
            server.refuse(TransportError("down"), times=math.inf)
            dropped_at = trio.current_time()
            await client.drop()
            await trio.sleep(4.9)
            assert client.running == ["Counter", "Slow"]
            await client.wait_disconnected()
            assert trio.current_time() - dropped_at == pytest.approx(5)
            assert client.running == ["Slow"]
            await trio.sleep_forever()


async def test_everything_is_acknowledged_within_a_second(autojump_clock: MockClock, protocol: str) -> None:
    server = make_server()
    async with server.connect(stateful_reconnect=True, protocol=protocol) as hub:
        replay = hub._connection._session._replay  # type: ignore[union-attr]
        assert replay is not None
        await hub.invoke("Add", 1, 2)
        assert replay.size > 0
        await trio.sleep(1.01)
        assert replay.size == 0
        assert [ack.sequence_id for ack in of(server, hub).messages(Ack)] == [1]


async def test_uploads_that_end_early_do_not_spoil_the_numbers(autojump_clock: MockClock, protocol: str) -> None:
    server = make_server()
    async with server.connect(stateful_reconnect=True, protocol=protocol) as hub:
        for _ in range(5):
            assert await hub.invoke("First", numbers(100, 0.001)) == 0
            await of(server, hub).drop()
            assert await hub.invoke("Add", 2, 2) == 4
        sent = of(server, hub).messages(Invocation)
        assert [message.target for message in sent] == ["First", "Add"] * 5


async def test_a_client_that_leaves_while_it_is_away(autojump_clock: MockClock) -> None:
    server = make_server()
    async with server.connect(stateful_reconnect=True) as hub:
        client = of(server, hub)
        server.refuse(TransportError("down"), times=math.inf)
        await client.drop()
        await trio.sleep(2)
    assert trio.current_time() == 2, "nobody waits for anybody"
    assert not client.connected


async def test_reconnected_in_the_middle_of_a_message(autojump_clock: MockClock) -> None:
    """As in ASP.NET Core: half a message stays in the server's input, and spoils the next one."""
    server = make_server()
    async with server.connect(stateful_reconnect=True, reconnect=True) as hub:
        client = of(server, hub)
        client.drop_after(10, incoming=True)
        with pytest.raises(HubClosed) as caught:
            await hub.invoke("Add", 1, 1)
        assert caught.value.error == "Connection closed with an error."
        assert await hub.invoke("Add", 2, 2) == 4
        assert hub.connection_id != client.connection_id


async def test_100_cuts_lose_double_and_reorder_nothing(autojump_clock: MockClock, protocol: str) -> None:
    chance = random.Random(1)
    server = make_server()
    asked: list[int] = []
    done = trio.Event()

    def answer(question: int) -> str:
        asked.append(question)
        return f"answer {question}"

    async def cut() -> None:
        for _ in range(100):
            await trio.sleep(chance.uniform(0.001, 1.5))
            if chance.random() < 0.3:
                server.refuse(TransportError("down"), times=chance.randrange(1, 5))
            await client.drop(keep=chance.random() < 0.5)
        server.accept()
        done.set()

    async def stream() -> None:
        expected = 0
        async with hub.stream("Counter", 1_000_000, 0.03, item_type=int) as items:
            while not done.is_set():
                assert await items.receive() == expected
                expected += 1

    async def upload() -> None:
        while not done.is_set():
            count = chance.randrange(30)
            assert await hub.invoke("Sum", numbers(count, 0.02), result_type=int) == sum(range(count))

    async def ask() -> None:
        number = 0
        while not done.is_set():
            assert await hub.invoke("Ask", number) == f"answer {number}"
            number += 1
            await trio.sleep(0.05)
        assert asked == list(range(number))

    async with server.connect(stateful_reconnect=True, protocol=protocol, handlers={"answer": answer}) as hub:
        client = of(server, hub)
        async with trio.open_nursery() as nursery:
            for task in (cut, stream, upload, ask):
                nursery.start_soon(task)
        assert hub.state is HubState.CONNECTED
        assert len(client.messages(Completion)) >= len(asked)
