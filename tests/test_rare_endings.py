"""Endings that meet something else under way: a hook, a handler, a full buffer, a second connection."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import PeerConnector, open_peer
from trio_signalr._hub import HubConnection
from trio_signalr._states import HubState
from trio_signalr.errors import HubClosed
from trio_signalr.messages import CancelInvocation, Close, Completion, Invocation, Ping, StreamInvocation, StreamItem


class JoinsAgain:
    """An ``on_connected`` that calls the hub on every connection but the first."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self, hub: HubConnection) -> None:
        self.runs += 1
        if self.runs > 1:
            await hub.invoke("Join")


async def test_a_close_for_good_while_on_connected_calls_after_a_reconnect_ends_the_block(
    autojump_clock: MockClock,
) -> None:
    connector = PeerConnector()

    async def close_the_second() -> None:
        await trio.sleep(1)
        await connector.peer.expect(Invocation)
        await connector.peer.send(Close())

    with trio.move_on_after(1000) as scope:
        with pytest.raises(HubClosed):
            async with open_peer(connector=connector, on_connected=JoinsAgain(), reconnect=lambda _: 0.0) as (_, peer):
                peer.transport.cut()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(close_the_second)
                    await trio.sleep_forever()
    assert not scope.cancelled_caught, "the block went on although the server had closed the connection for good"
    assert len(connector.peers) == 2


async def test_leaving_cancels_a_call_that_a_handler_has_in_flight(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer):

        async def handler() -> None:
            await hub.invoke("X")

        hub.on("go", handler)
        await peer.send(Invocation("go", []))
        id_ = (await peer.expect(Invocation)).invocation_id
    assert await peer.rest_of_connection() == [CancelInvocation(str(id_)), Close()]


async def test_leaving_also_answers_the_server_that_awaits_a_handler_with_a_call_in_flight(
    autojump_clock: MockClock,
) -> None:
    async with open_peer() as (hub, peer):

        async def handler() -> None:
            await hub.invoke("X")

        hub.on("go", handler)
        await peer.send(Invocation("go", [], "s1"))
        id_ = (await peer.expect(Invocation)).invocation_id
    cancel, answer, goodbye = await peer.rest_of_connection()
    assert cancel == CancelInvocation(str(id_))
    assert isinstance(answer, Completion)
    assert answer.invocation_id == "s1"
    assert answer.error is not None, "a handler that was cut short has no result"
    assert goodbye == Close()


async def test_leaving_while_on_connected_calls_after_a_reconnect_raises_nothing(autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    async with open_peer(connector=connector, on_connected=JoinsAgain(), reconnect=lambda _: 0.0) as (_hub, peer):
        peer.transport.cut()
        await trio.sleep(1)
        assert len(connector.peers) == 2
        id_ = (await connector.peer.expect(Invocation)).invocation_id
    assert await connector.peer.rest_of_connection() == [CancelInvocation(str(id_)), Close()]


async def test_a_hub_that_closes_during_on_connected_is_not_entered_even_if_the_hook_swallows_it(
    autojump_clock: MockClock,
) -> None:
    connector = PeerConnector()

    async def joined(hub: HubConnection) -> None:
        try:
            await hub.invoke("Join")
        except HubClosed:
            return

    async def refuse() -> None:
        await trio.sleep(1)
        await connector.peer.expect(Invocation)
        await connector.peer.send(Close("no"))

    entered = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(HubClosed) as caught:
            async with open_peer(connector=connector, on_connected=joined):
                entered = True
                await trio.sleep_forever()
    assert not entered, "the body ran with a hub that was closed"
    assert caught.value.error == "no"


async def test_a_handler_that_fails_ends_an_on_connected_that_never_would(autojump_clock: MockClock) -> None:
    connector = PeerConnector()

    async def joined(_hub: HubConnection) -> None:
        await trio.sleep_forever()

    def bad() -> None:
        raise ValueError("mine")

    async def serve() -> None:
        await trio.sleep(1)
        await connector.peer.send(Invocation("bad", []))
        while True:
            await trio.sleep(5)
            await connector.peer.send(Ping())

    with trio.move_on_after(100) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(ValueError, match="mine"):
                async with open_peer(connector=connector, on_connected=joined, handlers={"bad": bad}):
                    pass
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught, "the failure waited for on_connected"


async def test_leaving_while_reconnecting_ends_a_subscription_of_another_task(autojump_clock: MockClock) -> None:
    ended = False

    async def follow(hub: HubConnection) -> None:
        nonlocal ended
        with pytest.raises(trio.ClosedResourceError):
            async with hub.subscribe("x") as received:
                await received.receive()
        ended = True

    with trio.move_on_after(1000) as scope:
        async with trio.open_nursery() as nursery:
            async with open_peer(reconnect=lambda _: 100.0) as (hub, peer):
                nursery.start_soon(follow, hub)
                await wait_all_tasks_blocked()
                peer.transport.cut()
                await wait_all_tasks_blocked()
    assert not scope.cancelled_caught, "the subscription waited for a hub that is gone"
    assert ended


async def test_a_reader_that_sends_a_lot_does_not_deadlock_with_a_stream_that_pauses(
    autojump_clock: MockClock,
) -> None:
    read = 0
    with trio.move_on_after(20) as scope:
        async with open_peer() as (hub, peer):

            async def serve() -> None:
                id_ = (await peer.expect(StreamInvocation)).invocation_id
                for _ in range(40):
                    await peer.items(id_, "x" * 20_000)  # in all, more than the transport holds
                await peer.complete(id_)
                while True:
                    await peer.receive()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                async with hub.stream("S", max_buffer_size=2) as stream:
                    async for _ in stream:
                        read += 1
                        for _ in range(20):
                            await hub.send("T", "y" * 50_000)
                nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught, "both sides waited for the other one to read"
    assert read == 40


async def test_an_upload_whose_block_has_failed_is_closed(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, _peer):
        with pytest.raises(KeyError):
            async with hub.upload("U") as upload:
                raise KeyError
        with pytest.raises(trio.ClosedResourceError):
            await upload.send(1)


async def test_items_that_come_after_an_upload_failed_its_stream_pause_nothing(autojump_clock: MockClock) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise KeyError("mine")

    async with open_peer() as (hub, peer):
        async with hub.stream("S", numbers(), max_buffer_size=2) as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            with pytest.raises(KeyError, match="mine"):
                await stream.receive()
            await peer.items(id_, 1, 2, 3)
            await wait_all_tasks_blocked()
            assert stream.statistics().current_buffer_used == 0, "items were kept that nobody will receive"
            assert not hub._connection._flow.paused, "a stream that is over stopped the reading"


async def test_all_that_wait_for_room_see_the_hub_close(autojump_clock: MockClock) -> None:
    seen: list[HubClosed] = []
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer):

            async def send() -> None:
                try:
                    await hub.send("T", "x")
                except HubClosed as error:
                    seen.append(error)

            session = hub._connection._session
            assert session is not None
            for _ in range(10):
                if session.outbox.has_room:
                    await hub.send("T", "y" * 60_000)
                await wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(send)
                await wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 30, "there was room, so this test proves nothing"
                await peer.send(Close("bye"))
                await trio.sleep_forever()
    assert len(seen) == 30


async def test_a_loss_that_hits_a_call_of_a_handler_and_one_of_the_body_comes_out_alone(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (hub, peer):

            async def handler() -> None:
                await hub.invoke("X")

            async def close() -> None:
                await peer.expect(Invocation)
                await peer.send(Close("bye"))

            hub.on("go", handler)
            await peer.send(Invocation("go", []))
            await peer.expect(Invocation)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(close)
                with pytest.raises(HubClosed) as in_body:
                    await hub.invoke("Y")
            raise in_body.value
    assert caught.value.error == "bye"


async def test_a_loss_that_hits_a_call_of_a_handler_lets_the_body_read_what_a_stream_holds(
    autojump_clock: MockClock,
) -> None:
    got: list[int] = []
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (hub, peer):

            async def handler() -> None:
                await hub.invoke("X")

            hub.on("go", handler)
            await peer.send(Invocation("go", []))
            await peer.expect(Invocation)
            async with hub.stream("S", item_type=int) as stream:
                id_ = (await peer.expect(StreamInvocation)).invocation_id
                await peer.send(*[StreamItem(id_, number) for number in range(5)], Close("bye"))
                async for number in stream:
                    got.append(number)
                    await trio.sleep(0.1)
    assert got == [0, 1, 2, 3, 4]
    assert caught.value.sent is True


async def test_a_hub_closed_that_on_connected_raises_fails_what_waits_on_that_connection(
    autojump_clock: MockClock,
) -> None:
    connector = PeerConnector()
    lost: list[HubClosed] = []
    runs = 0

    async with trio.open_nursery() as outer:

        async def call(hub: HubConnection) -> None:
            try:
                await hub.invoke("Background")
            except HubClosed as error:
                lost.append(error)

        async def joined(hub: HubConnection) -> None:
            nonlocal runs
            runs += 1
            if runs == 2:
                outer.start_soon(call, hub)
                await trio.sleep(1)
                raise HubClosed("another hub's")

        async with open_peer(connector=connector, on_connected=joined, reconnect=lambda _: 0.0) as (hub, peer):
            peer.transport.cut()
            await trio.sleep(5)
            assert len(connector.peers) == 3, "the hook's failure is one more reason to reconnect"
            assert hub.state is HubState.CONNECTED
            assert len(lost) == 1, "the call still waits for an answer on a connection that is gone"
            outer.cancel_scope.cancel()
