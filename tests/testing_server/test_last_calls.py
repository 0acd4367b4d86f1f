"""What becomes of methods whose caller leaves: plain ones are carried out, whatever waits for the client ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr import HubClosed, open_hub
from trio_signalr.messages import Close
from trio_signalr.testing import Called, Cancelled, Client, Completed, Disconnected, HubServer

from .raw import open_raw

TRANSPORTS = ["websockets", "server_sent_events", "long_polling"]


class Notes:
    """What methods and hooks have done, and when."""

    def __init__(self, server: HubServer) -> None:
        self.seen: list[tuple[str, float]] = []
        self._began = trio.current_time()
        server.on_disconnected(lambda client: self.add("disconnected"))

        @server.method
        async def Note(text: str, seconds: float) -> None:
            try:
                await trio.sleep(seconds)
            except trio.Cancelled:
                self.add(f"{text} was cancelled")
                raise
            self.add(text)

        @server.method
        async def Stream(text: str) -> AsyncIterator[int]:
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                self.add(f"{text} ended")

    def add(self, text: str) -> None:
        self.seen.append((text, trio.current_time() - self._began))


async def test_a_call_right_before_leaving_is_carried_out(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    notes = Notes(server)
    async with server.connect(protocol=protocol) as hub:
        await hub.send("Note", "told", 3)
    assert notes.seen == [("disconnected", 0), ("told", 3)]


async def test_calls_that_wait_for_their_turn_are_carried_out_one_by_one(
    autojump_clock: MockClock, protocol: str
) -> None:
    server = HubServer()
    notes = Notes(server)
    async with server.connect(protocol=protocol) as hub:
        for number in range(4):
            await hub.send("Note", f"{number}", 1)
    assert notes.seen == [("0", 1), ("1", 2), ("2", 3), ("disconnected", 3), ("3", 4)]


async def test_calls_side_by_side_are_all_carried_out(autojump_clock: MockClock) -> None:
    server = HubServer(max_parallel_invocations=10)
    notes = Notes(server)
    async with server.connect() as hub:
        for number in range(10):
            await hub.send("Note", f"{number}", number / 4)
    texts = [(f"{number}", number / 4) for number in range(10)]
    assert sorted(notes.seen) == [*texts, ("disconnected", 0)]


async def test_a_slow_greeting_holds_up_the_last_call_and_loses_none(autojump_clock: MockClock) -> None:
    server = HubServer()
    notes = Notes(server)

    @server.on_connected
    async def greet(client: Client) -> None:
        await trio.sleep(2)
        notes.add("greeted")

    async with server.connect() as hub:
        await hub.send("Note", "told", 1)
    assert notes.seen == [("greeted", 2), ("disconnected", 2), ("told", 3)]


async def test_the_events_tell_of_the_end_of_the_connection_first(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    Notes(server)
    async with server.events() as events:
        async with server.connect(protocol=protocol) as hub:
            await hub.send("Note", "told", 3)
        client = server.client(hub.connection_id)
        seen = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
    told = [event for event in seen if isinstance(event, Called | Completed | Disconnected)]
    assert told == [
        Called(client, "Note", ("told", 3), None),
        Disconnected(client, None),
        Completed(client, "Note", None, None),
    ]


async def test_what_takes_too_long_is_cancelled(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    notes = Notes(server)
    async with server.events() as events:
        async with server.connect(protocol=protocol) as hub:
            await hub.send("Note", "first", 3)
            await hub.send("Note", "second", 3)
            await hub.send("Note", "third", 3)
        seen = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
    texts = [("first", 3), ("second was cancelled", 5), ("third was cancelled", 5), ("disconnected", 5)]
    assert sorted(notes.seen) == sorted(texts)
    assert [event.by_client for event in seen if isinstance(event, Cancelled)] == [False, False]


async def test_streams_end_at_once(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    notes = Notes(server)
    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Stream", "stream", id_="1")
        await raw.call("Note", "told", 3, id_="2")
        await raw.send(Close())
    assert sorted(notes.seen) == [("disconnected", 0), ("stream ended", 0), ("told", 3)]


async def test_streams_end_at_once_though_other_calls_wait_for_their_turn(
    autojump_clock: MockClock, protocol: str
) -> None:
    server = HubServer()
    notes = Notes(server)
    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Stream", "early", id_="1")
        await raw.call("Note", "first", 1, id_="2")
        await raw.call("Note", "second", 1, id_="3")
        await raw.call_stream("Stream", "late", id_="4")
        await wait_all_tasks_blocked()
    texts = [("early ended", 0), ("first", 1), ("late ended", 1), ("disconnected", 1), ("second", 2)]
    assert sorted(notes.seen) == sorted(texts)


async def test_an_answer_that_nobody_takes_any_more_loses_no_call(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    notes = Notes(server)
    async with open_raw(server, protocol) as raw:
        for id_ in ("1", "2", "3", "4"):
            await raw.call("Note", id_, 1.125, id_=id_)
    assert notes.seen == [("1", 1.125), ("2", 2.25), ("3", 3.375), ("disconnected", 3.375), ("4", 4.5)]


async def test_an_upload_fails_and_its_method_goes_on(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    notes = Notes(server)

    @server.method
    async def Take(items: AsyncIterator[int]) -> None:
        with pytest.raises(HubClosed):
            async for item in items:
                notes.add(f"item {item}")
        await trio.sleep(1)
        notes.add("taken")

    async with open_raw(server, protocol) as raw:
        await raw.call("Take", streams=("9",))
        await wait_all_tasks_blocked()
    assert notes.seen == [("disconnected", 0), ("taken", 1)]


async def test_a_question_fails_and_its_method_goes_on(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer(max_parallel_invocations=2)
    notes = Notes(server)

    @server.method
    async def Ask() -> None:
        with pytest.raises(HubClosed):
            await server.caller.invoke("Question")
        await trio.sleep(1)
        notes.add("asked")

    async with open_raw(server, protocol) as raw:
        await raw.call("Ask")
        await wait_all_tasks_blocked()
    assert notes.seen == [("disconnected", 0), ("asked", 1)]


async def test_a_method_can_learn_that_its_caller_has_gone(autojump_clock: MockClock) -> None:
    server = HubServer()
    notes = Notes(server)

    @server.method
    async def Wait() -> None:
        await server.caller.wait_disconnected()
        notes.add("noticed")
        assert not server.caller.connected
        await server.caller.send("Nobody", "there")

    async with server.connect() as hub:
        await hub.send("Wait")
    assert sorted(notes.seen) == [("disconnected", 0), ("noticed", 0)]


@pytest.mark.parametrize("way", ["drop", "close", "cable"])
async def test_plain_methods_go_on_though_the_connection_is_lost(
    autojump_clock: MockClock, way: str, protocol: str
) -> None:
    server = HubServer()
    notes = Notes(server)
    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Stream", "stream", id_="1")
        await raw.call("Note", "told", 3, id_="2")
        await wait_all_tasks_blocked()
        if way == "cable":
            raw.transport.cut("somebody fell over it")
            await raw.client.wait_disconnected()
        else:
            await (raw.client.drop() if way == "drop" else raw.client.close())
        assert raw.client.running[-1:] == ["Note"]
        assert trio.current_time() == 0
    assert sorted(notes.seen) == [("disconnected", 0), ("stream ended", 0), ("told", 3)]


async def test_a_method_outlives_the_connection_that_it_ends(autojump_clock: MockClock, protocol: str) -> None:
    server, after = HubServer(), list[bool]()

    @server.method
    async def Leave() -> None:
        await server.caller.drop()
        await trio.sleep(1)
        after.append(server.caller.connected)

    async with open_raw(server, protocol) as raw:
        await raw.call("Leave")
        await wait_all_tasks_blocked()
    assert after == [False]


async def test_a_client_that_the_server_closes_does_not_wait_for_its_methods(
    autojump_clock: MockClock, protocol: str
) -> None:
    server = HubServer()
    Notes(server)
    async with open_raw(server, protocol) as raw:
        await raw.call("Note", "told", 3)
        await raw.send(Close())
        assert await raw.rest_of_connection() == [Close()]
        assert trio.current_time() == 0


async def test_what_the_block_raises_comes_out_behind_the_last_calls(autojump_clock: MockClock) -> None:
    server, error = HubServer(), LookupError("mine")
    notes = Notes(server)
    with pytest.raises(LookupError) as caught:
        async with server.connect() as hub:
            await hub.send("Note", "told", 3)
            raise error
    assert caught.value is error
    assert notes.seen == [("disconnected", 0), ("told", 3)]


async def test_cancelling_the_block_cancels_the_last_calls_too(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    notes = Notes(server)
    with trio.move_on_after(1) as scope:
        async with server.connect(protocol=protocol) as hub:
            await hub.send("Note", "told", 3)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 1
    assert ("told was cancelled", 1) in notes.seen


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_port_that_closes_waits_for_the_last_calls_of_who_has_left(transport: str) -> None:
    server = HubServer()
    notes = Notes(server)
    async with server.serve() as url:
        async with open_hub(url, transports=[transport]) as hub:
            await hub.send("Note", "first", 0.1)
            await hub.send("Note", "second", 0.1)
    assert [text for text, _ in notes.seen] == ["first", "disconnected", "second"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_port_that_closes_cancels_the_methods_of_who_is_still_there(transport: str) -> None:
    server = HubServer()
    notes = Notes(server)
    async with trio.open_nursery() as nursery:
        async with server.serve() as url:

            async def stay(*, task_status: trio.TaskStatus[None]) -> None:
                with pytest.raises(HubClosed):
                    async with open_hub(url, transports=[transport]) as hub:
                        await hub.invoke("Note", "greeting", 0)
                        async with server.events() as events:
                            await hub.send("Note", "told", 30)
                            while not isinstance(await events.receive(), Called):
                                pass
                        task_status.started()
                        await trio.sleep_forever()

            await nursery.start(stay)
            left_at = trio.current_time()
        assert trio.current_time() - left_at < 4
    assert "told was cancelled" in [text for text, _ in notes.seen]
