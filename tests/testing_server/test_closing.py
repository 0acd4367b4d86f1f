"""The end of a connection: who closes, what is said, what becomes of the methods."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr.errors import HubClosed, PayloadError
from trio_signalr.messages import CancelInvocation, Close, Completion, Invocation, Ping
from trio_signalr.testing import Cancelled, Client, Disconnected, HubServer

from .raw import open_raw

HEAD = "Connection closed with an error."


async def test_client_s_close_is_answered(protocol: str) -> None:
    async with open_raw(HubServer(), protocol) as raw:
        await raw.send(Close())
        assert await raw.rest_of_connection() == [Close()]
        await wait_all_tasks_blocked()
        assert raw.client.error is None
        assert not raw.client.connected


async def test_client_s_close_with_an_error(protocol: str) -> None:
    async with open_raw(HubServer(), protocol) as raw:
        await raw.send(Close("it broke"))
        assert await raw.rest_of_connection() == [Close()]
        await wait_all_tasks_blocked()
        assert raw.client.error == "it broke"


async def test_nothing_behind_a_close_is_handled(protocol: str) -> None:
    server, seen = HubServer(), list[object]()
    server.method(seen.append, name="Note")
    async with open_raw(server, protocol) as raw:
        await raw.send(Invocation("Note", [1]), Close(), Invocation("Note", [2]))
        await raw.rest_of_connection()
    assert seen == [1]


@pytest.mark.parametrize("detailed", [False, True])
async def test_garbage(detailed: bool, protocol: str) -> None:
    garbage = {"json": b"garbage\x1e", "messagepack": b"\x01\xc0"}[protocol]
    async with open_raw(HubServer(detailed_errors=detailed), protocol) as raw:
        await raw.call("Unknown")
        await raw.send_bytes(garbage)
        answer, close = await raw.rest_of_connection()
        assert isinstance(answer, Completion)  # what came before is still handled
        assert isinstance(close, Close)
        assert close.allow_reconnect
        assert close.error is not None
        assert (
            close.error == HEAD if not detailed else close.error.startswith(f"{HEAD} InvalidDataException: malformed")
        )


@pytest.mark.parametrize("detailed", [False, True])
async def test_message_over_the_limit(detailed: bool, protocol: str) -> None:
    async with open_raw(HubServer(detailed_errors=detailed), protocol) as raw:
        await raw.call("Unknown", "x" * 32_768)
        detail = (
            " InvalidDataException: The maximum message size of 32768B was exceeded. "
            "The message size can be configured in AddHubOptions."
        )
        assert await raw.rest_of_connection() == [Close(HEAD + (detail if detailed else ""), allow_reconnect=True)]


async def test_many_small_messages_are_no_large_one(protocol: str) -> None:
    server, seen = HubServer(max_message_size=100), list[int]()
    server.method(seen.append, name="Note")
    async with open_raw(server, protocol) as raw:
        await raw.send(*[Invocation("Note", [number]) for number in range(100)])
        await wait_all_tasks_blocked()
        assert seen == list(range(100))


async def test_server_closes(protocol: str) -> None:
    async with open_raw(HubServer(), protocol) as raw:
        await raw.client.send("Last", "words")
        await raw.client.close("maintenance", allow_reconnect=True)
        assert not raw.client.connected
        last = [Invocation("Last", ["words"]), Close("maintenance", allow_reconnect=True)]
        assert await raw.rest_of_connection() == last
        assert raw.client.error == "maintenance"
        await raw.client.close()  # again: nothing


async def test_what_a_client_sees_of_a_close(protocol: str) -> None:
    server = HubServer()
    with pytest.raises(HubClosed, match="maintenance") as caught:
        async with server.connect(protocol=protocol) as hub:
            await server.client(hub.connection_id).close("maintenance", allow_reconnect=True)
            await trio.sleep_forever()
    assert caught.value.error == "maintenance"
    assert caught.value.allow_reconnect


async def test_method_closes_its_own_connection(protocol: str) -> None:
    server, after = HubServer(), []

    @server.method
    async def Abort() -> None:
        try:
            await server.caller.close()
        finally:
            after.append(server.caller.connected)

    async with open_raw(server, protocol) as raw:
        await raw.call("Abort")
        assert await raw.rest_of_connection() == [Close()]
    assert after == [False]


async def test_drop(protocol: str) -> None:
    server = HubServer()
    with pytest.raises(HubClosed) as caught:
        async with server.connect(protocol=protocol) as hub:
            client = server.client(hub.connection_id)
            await client.drop()
            assert not client.connected
            assert client.error == "the connection was cut"
            await trio.sleep_forever()
    assert caught.value.error is None
    assert caught.value.allow_reconnect


@pytest.mark.parametrize("keep", [False, True])
async def test_drop_and_what_is_under_way(keep: bool, protocol: str) -> None:
    async with open_raw(HubServer(), protocol) as raw:
        for number in range(3):
            await raw.client.send("Item", number)
        await raw.client.drop(keep=keep)
        got = []
        with pytest.raises(Exception, match="the connection was cut"):
            while True:
                got.append(await raw.receive())
    assert got == ([Invocation("Item", [number]) for number in range(3)] if keep else [])


async def test_drop_while_stalled(protocol: str) -> None:
    async with open_raw(HubServer(), protocol) as raw:
        raw.client.stall()
        await raw.client.send("Item")
        await raw.client.drop(keep=True)
        assert not raw.client.connected


async def test_raw_bytes_and_any_message(protocol: str) -> None:
    async with open_raw(HubServer(), protocol) as raw:
        await raw.client.send_message(Completion("77", "for nobody"))
        await raw.client.send_raw(raw.protocol.encode(Close("surprise"))[:-1])
        assert await raw.receive() == Completion("77", "for nobody")
        await raw.client.send_raw(raw.protocol.encode(Close("surprise"))[-1:])
        assert await raw.receive() == Close("surprise")
        assert raw.client.connected


async def test_stall_and_resume(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    server.method(lambda: trio.current_time(), name="Now")
    async with open_raw(server, protocol) as raw:
        for stalled in ({"incoming": True, "outgoing": False}, {"incoming": False, "outgoing": True}, {}):
            began = trio.current_time()
            raw.client.stall(**stalled)
            await raw.call("Now")
            with trio.move_on_after(7):
                await raw.receive()
                raise AssertionError
            assert trio.current_time() == began + 7
            raw.client.resume()
            assert await raw.receive() == Completion("1", began + (0 if stalled.get("incoming") is False else 7))


async def test_call_that_waits_when_the_client_leaves(autojump_clock: MockClock, protocol: str) -> None:
    """All that was sent is looked at; what waits behind a method that never ends is started when that is cancelled."""
    server, seen = HubServer(), list[object]()

    @server.method
    async def Hold(number: int) -> None:
        seen.append(number)
        await trio.sleep_forever()

    async with server.connect(protocol=protocol) as hub:
        client = server.client(hub.connection_id)
        for number in range(5):
            await hub.send("Hold", number)
    assert seen == [0, 1, 2, 3, 4]
    assert client.error is None


async def test_a_stream_s_end_comes_before_the_disconnect(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Hold() -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async with server.events() as events:
        async with open_raw(server, protocol) as raw:
            await raw.call_stream("Hold")
            await wait_all_tasks_blocked()
        client = raw.client
        seen = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
    assert seen[-2:] == [Cancelled(client, "Hold", "1", by_client=False), Disconnected(client, None)]


async def test_what_clients_sent(protocol: str) -> None:
    server = HubServer()
    async with server.connect(protocol=protocol) as hub:
        client = server.client(hub.connection_id)
        await hub.send("Unknown", 1, [True, None])
        with trio.CancelScope() as scope:
            async with hub.stream("Unknown"):
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert isinstance(client.received[0], Ping)
    assert client.messages(Invocation) == [Invocation("Unknown", [1, [True, None]])]
    assert client.messages(CancelInvocation, Close)[-1] == Close()
    assert client.messages() == [message for message in client.received if not isinstance(message, Ping)]
    assert client.received == client.received


async def test_recording_can_be_left_out() -> None:
    server = HubServer(record=False)
    async with server.connect() as hub:
        client = server.client(hub.connection_id)
        await hub.send("Unknown")
    assert client.received == []


async def test_hooks(protocol: str) -> None:
    server, seen = HubServer(), list[object]()

    @server.on_connected
    def came(client: Client) -> None:
        assert server.caller is client
        seen.append(f"{client.connection_id} came")

    @server.on_connected
    async def slowly(client: Client) -> None:
        await trio.lowlevel.checkpoint()
        seen.append("and was greeted")

    @server.on_disconnected
    async def went(client: Client) -> None:
        await trio.lowlevel.checkpoint()
        assert server.caller is client
        assert client not in list(server.clients)
        seen.append(f"{client.connection_id} went: {client.error}")

    server.method(lambda: seen.append("called"), name="Call")
    async with server.connect(protocol=protocol) as hub:
        await hub.invoke("Call")
    assert seen == ["c1 came", "and was greeted", "called", "c1 went: None"]


@pytest.mark.parametrize("detailed", [False, True])
async def test_on_connected_that_raises(detailed: bool, protocol: str) -> None:
    server, seen = HubServer(detailed_errors=detailed), []

    @server.on_connected
    async def refuse(client: Client) -> None:
        raise ValueError("not you")

    server.on_disconnected(lambda client: seen.append(client))
    async with open_raw(server, protocol) as raw:
        text = HEAD + (" ValueError: not you" if detailed else "")
        assert await raw.rest_of_connection() == [Close(text)]
    assert seen == []  # as in ASP.NET Core: who never came never goes


async def test_on_disconnected_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    server, seen = HubServer(), list[object]()

    @server.on_disconnected
    async def fail(client: Client) -> None:
        raise ValueError("oh")

    server.on_disconnected(lambda client: seen.append(client.connection_id))
    async with server.connect():
        pass
    assert seen == ["c1"]
    assert "ValueError: oh" in caplog.text


async def test_hook_cannot_ask_its_client() -> None:
    server = HubServer(max_parallel_invocations=5)

    @server.on_connected
    async def ask(client: Client) -> None:
        with pytest.raises(RuntimeError, match="hook"):
            await client.invoke("Question")

    async with server.connect():
        pass


async def test_hook_that_waits_for_ever_ends_with_its_client(autojump_clock: MockClock) -> None:
    server, ends = HubServer(), []

    @server.on_connected
    async def wait(client: Client) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(client.connection_id)

    async with server.connect():
        await wait_all_tasks_blocked()
    assert ends == ["c1"]


@pytest.mark.parametrize("how", ["leave", "drop"])
async def test_failing_hook_beside_a_cancellation(
    autojump_clock: MockClock, how: str, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    server, gone = HubServer(), list[str]()

    @server.on_connected
    async def fail(client: Client) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the hook")

    server.on_disconnected(lambda client: gone.append(client.connection_id))
    async with open_raw(server, protocol) as raw:
        await wait_all_tasks_blocked()
        if how == "drop":
            await raw.client.drop()
    assert "in the hook" in caplog.text


async def test_client_that_is_cut_off(protocol: str) -> None:
    server, ends = HubServer(), list[str | None]()
    server.on_disconnected(lambda client: ends.append(client.error))
    async with open_raw(server, protocol) as raw:
        raw.transport.cut("somebody fell over the cable")
        await raw.client.wait_disconnected()
        assert raw.client.error == "somebody fell over the cable"
        await raw.client.close()
        await raw.client.send("Nothing")
    assert ends == ["somebody fell over the cable"]


async def test_closing_in_a_hook(protocol: str) -> None:
    server, seen = HubServer(), list[str]()

    @server.on_connected
    async def close(client: Client) -> None:
        await client.close("no vacancies")

    server.on_disconnected(lambda client: seen.append(f"{client.error}"))
    async with open_raw(server, protocol) as raw:
        assert await raw.rest_of_connection() == [Close("no vacancies")]
    assert seen == ["no vacancies"]


async def test_close_that_cannot_be_encoded() -> None:
    async with open_raw(HubServer(), "json") as raw:
        with pytest.raises(PayloadError):
            await raw.client.close("\ud800")
        assert raw.client.connected


async def test_writing_fails_before_reading_does(autojump_clock: MockClock) -> None:
    """Half of a connection is gone: reading is given a moment to tell why, then that is the end."""
    async with open_raw(HubServer()) as raw:
        raw.transport._incoming.break_("reset by peer", keep=False)
        await raw.client.send("Anything")
        await raw.client.wait_disconnected()
        assert raw.client.error == "reset by peer"
        assert trio.current_time() == 1
