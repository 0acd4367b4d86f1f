"""connect(): one block for both sides, and what leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr._hub import HubConnection
from trio_signalr.errors import HubClosed
from trio_signalr.messages import CancelInvocation, Close, Completion, Invocation
from trio_signalr.testing import Called, Cancelled, Connected, Disconnected, HubServer, Received
from trio_signalr.testing._calls import Calls


def holding_server() -> HubServer:
    server = HubServer()

    @server.method
    async def Hold(*anything: str) -> None:
        await trio.sleep_forever()

    @server.method
    async def HoldStream() -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    return server


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_no_task_is_left(autojump_clock: MockClock, protocol: str) -> None:
    server, before = holding_server(), tasks()
    async with server.connect(protocol=protocol) as hub:
        await hub.send("Hold")
        assert tasks() > before
    assert tasks() == before


async def test_body_error_is_the_same_object(autojump_clock: MockClock, protocol: str) -> None:
    error = KeyError("mine")
    server = holding_server()
    with pytest.raises(KeyError) as caught:
        async with server.connect(protocol=protocol) as hub:
            await hub.send("Hold")
            raise error
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert server.client("c1").messages(Close) == [Close()]


async def test_group_of_the_body_stays_that_group() -> None:
    group = ExceptionGroup("mine", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with holding_server().connect():
            raise group
    assert caught.value is group


async def test_cancelled_body_says_goodbye(autojump_clock: MockClock, protocol: str) -> None:
    server = holding_server()
    with trio.move_on_after(3) as scope:
        async with server.connect(protocol=protocol) as hub:
            await hub.invoke("Hold")
    assert scope.cancelled_caught
    assert trio.current_time() == 3
    sent = server.client("c1").messages()
    assert [type(message) for message in sent] == [Invocation, CancelInvocation, Close]
    assert server.client("c1").error is None


async def test_cancelled_hook_does_not_keep_the_block(autojump_clock: MockClock) -> None:
    server = holding_server()

    @server.on_disconnected
    async def linger(client: object) -> None:
        await trio.sleep(100)

    with trio.move_on_after(3):
        async with server.connect():
            await trio.sleep_forever()
    assert trio.current_time() == 3
    async with server.connect():
        pass
    assert trio.current_time() == 103


async def test_cancelled_while_connecting(autojump_clock: MockClock) -> None:
    server = holding_server()
    server.ignore_handshake()
    before = tasks()
    with trio.move_on_after(3):
        async with server.connect():
            raise AssertionError
    assert trio.current_time() == 3
    assert tasks() == before


async def test_leaving_while_stalled(autojump_clock: MockClock, protocol: str) -> None:
    server = holding_server()
    async with server.connect(protocol=protocol) as hub:
        client = server.client(hub.connection_id)
        client.stall()
        await hub.send("Hold")
    assert client.messages() == [Invocation("Hold", []), Close()]
    assert trio.current_time() < 10


async def test_leaving_a_full_connection(autojump_clock: MockClock) -> None:
    server = holding_server()
    async with server.connect() as hub:
        await hub.send("Hold")
        with trio.move_on_after(1):
            while True:
                await hub.send("Hold", "x" * 10_000)
    assert not server.client(hub.connection_id).connected


async def test_bug_of_the_server_comes_out(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    bug = RuntimeError("bug")

    def broken(self: Calls, invocation_id: str) -> None:
        raise bug

    monkeypatch.setattr(Calls, "cancel", broken)
    with pytest.raises(RuntimeError) as caught:
        async with holding_server().connect(protocol=protocol) as hub:
            async with hub.stream("HoldStream") as stream:
                await stream.receive()
            await trio.sleep_forever()
    assert caught.value is bug


async def test_ctrl_c_in_a_method_comes_out(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with server.connect(protocol=protocol) as hub:
            await hub.invoke("Interrupt")


async def test_many_clients(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Say(text: str) -> None:
        await server.clients.send("Said", server.caller.connection_id, text)

    async with server.connect(protocol=protocol) as one, server.connect() as other:
        async with one.subscribe("Said", str, str) as here, other.subscribe("Said", str, str) as there:
            await one.invoke("Say", "hello")
            assert await here.receive() == await there.receive() == ("c1", "hello")


async def test_options_reach_the_client(autojump_clock: MockClock) -> None:
    server = HubServer(keep_alive_interval=100)
    with pytest.raises(HubClosed, match="7 s"):
        async with server.connect(server_timeout=7):
            await trio.sleep_forever()
    with pytest.raises(ValueError, match="close_timeout"):
        async with server.connect(close_timeout=-1):
            raise AssertionError
    with pytest.raises(TypeError):
        async with server.connect(nonsense=1):  # type: ignore[call-arg]
            raise AssertionError


async def test_reconnecting(autojump_clock: MockClock, protocol: str) -> None:
    server, ids = holding_server(), []

    async def joined(hub: HubConnection) -> None:
        ids.append(hub.connection_id)

    async with server.connect(protocol=protocol, reconnect=True, on_connected=joined) as hub:
        await server.client(hub.connection_id).drop()
        await trio.sleep(1)
        assert hub.connection_id == "c2"
        server.refuse("not yet", times=2)
        await server.client("c2").close(allow_reconnect=True)
        await trio.sleep(60)
        assert list(server.clients) == [server.client(hub.connection_id)]
    assert ids == ["c1", "c2", "c5"]
    assert list(server.clients) == []


async def test_everything_that_happens(protocol: str) -> None:
    server = holding_server()
    async with server.events() as events:
        async with server.connect(protocol=protocol) as hub:
            client = server.client(hub.connection_id)
            async with hub.stream("HoldStream") as stream:
                await stream.receive()
        await wait_all_tasks_blocked()
        seen = []
        with pytest.raises(trio.WouldBlock):
            while True:
                seen.append(events.receive_nowait())
    call = client.messages()[0]
    assert [event for event in seen if not isinstance(event, Cancelled)] == [
        Connected(client),
        Received(client, client.received[0]),
        Received(client, call),
        Called(client, "HoldStream", (), "1"),
        Received(client, CancelInvocation("1")),
        Received(client, Close()),
        Disconnected(client, None),
    ]
    assert [event for event in seen if isinstance(event, Cancelled)] == [Cancelled(client, "HoldStream", "1", True)]


async def test_answer_of_a_stranger_means_nothing(protocol: str) -> None:
    server = holding_server()
    async with server.connect(protocol=protocol) as hub:
        await server.client(hub.connection_id).send_message(Completion("1234", 1))
        await wait_all_tasks_blocked()
        assert hub.connection_id == "c1"
