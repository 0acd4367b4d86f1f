"""Server streams, to the byte and to the item."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import Peer, open_peer
from trio_signalr._hub import HubConnection
from trio_signalr._session import PIECE
from trio_signalr._streams import HubStream
from trio_signalr.errors import HubClosed, InvocationError, PayloadError, ProtocolError, StreamOverflow
from trio_signalr.messages import (
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    StreamInvocation,
    StreamItem,
)
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol


@pytest.fixture(params=[JsonHubProtocol, MessagePackHubProtocol], ids=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> HubProtocol:
    made: HubProtocol = request.param()
    return made


async def opened(peer: Peer) -> str:
    """The id of the stream that the client has just opened."""
    return (await peer.expect(StreamInvocation)).invocation_id


async def test_items_come_in_order_and_typed_and_then_the_end(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), hub.stream("Counter", 3, item_type=int) as stream:
        assert isinstance(stream, trio.abc.ReceiveChannel)
        message = await peer.expect(StreamInvocation)
        assert (message.target, peer.arguments(message)) == ("Counter", [3])
        await peer.items(message.invocation_id, 0, 1, 2)
        await peer.complete(message.invocation_id)
        assert [item async for item in stream] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await stream.receive()
            with pytest.raises(trio.EndOfChannel):
                stream.receive_nowait()
    assert await peer.rest_of_connection() == [Close()], "nothing is cancelled that has ended"


async def test_items_before_an_error_are_delivered_before_it() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter") as stream:
        id_ = await opened(peer)
        await peer.items(id_, 1, 2)
        await peer.complete(id_, error="ran out")
        assert [await stream.receive(), await stream.receive()] == [1, 2]
        errors = []
        for _ in range(2):
            with pytest.raises(InvocationError, match=r"^ran out$") as caught:
                await stream.receive()
            assert caught.value.method == "Counter"
            errors.append(caught.value)
        assert errors[0] is not errors[1]


@pytest.mark.parametrize("way", ["break", "exception", "deadline", "cancel", "aclose", "end of block"])
async def test_leaving_a_stream_early_sends_exactly_one_cancel_invocation(way: str, autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer):

        async def consume(stream: HubStream[object], scope: trio.CancelScope) -> None:
            if way == "aclose":
                await stream.aclose()
                await stream.aclose()
                with pytest.raises(trio.ClosedResourceError):
                    await stream.receive()
            async for _ in stream:
                if way == "break":
                    break
                if way == "exception":
                    raise LookupError("mine")
                if way == "cancel":
                    scope.cancel()
                if way == "end of block":
                    return

        try:
            with trio.move_on_after(5) as scope:
                async with hub.stream("Counter") as stream:
                    id_ = await opened(peer)
                    await peer.items(id_, 0)
                    try:
                        await consume(stream, scope)
                    except trio.ClosedResourceError:
                        assert way == "aclose"
        except LookupError as error:
            assert way == "exception"
            assert error.__context__ is None
        assert await peer.rest() == [CancelInvocation(id_)]
        await peer.items(id_, 1, 2)
        await peer.complete(id_)
        assert await peer.rest() == [], "late items and the late Completion are dropped"
        assert len(hub._connection.calls) == 0
        with pytest.raises(trio.ClosedResourceError):
            stream.receive_nowait()


async def test_leaving_never_waits_for_the_server() -> None:
    async with open_peer() as (hub, peer):
        await peer.rest()
        with trio.CancelScope() as scope:
            async with hub.stream("Counter"):
                await opened(peer)
                peer.transport.stall()
                scope.cancel()
                await trio.lowlevel.checkpoint()
        peer.transport.resume()


async def test_receive_nowait_behaves_as_memory_channels_do() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
        with pytest.raises(trio.WouldBlock):
            stream.receive_nowait()
        await peer.items(await opened(peer), 7)
        await wait_all_tasks_blocked()
        assert stream.receive_nowait() == 7
        with pytest.raises(trio.WouldBlock):
            stream.receive_nowait()


async def test_loops_and_calls_of_receive_may_take_turns() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
        id_ = await opened(peer)
        await peer.items(id_, *range(300))
        await peer.complete(id_)
        taken: list[int] = []
        async for item in stream:
            taken.append(item)
            assert stream.statistics().current_buffer_used == 300 - len(taken)
            if len(taken) > 280:
                continue
            if len(taken) % 3 == 0:
                taken.append(await stream.receive())
            if len(taken) % 5 == 0:
                taken.append(stream.receive_nowait())
            if len(taken) % 70 == 0:
                taken += await anext(stream.batches(max_size=4))
        assert taken == list(range(300))


async def test_items_that_a_loop_was_about_to_take_survive_its_cancellation_and_the_end_of_the_connection() -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
            await peer.items(await opened(peer), *range(200))
            await wait_all_tasks_blocked()
            taken: list[int] = []
            with trio.CancelScope() as scope:
                async for item in stream:
                    taken.append(item)
                    if item == 10:
                        scope.cancel()
            assert taken == list(range(11))
            await peer.transport.aclose()
            await wait_all_tasks_blocked()
            assert stream.statistics().current_buffer_used == 189
            async for item in stream:
                taken.append(item)
    assert taken == list(range(200))


async def test_a_loop_that_is_behind_with_drop_oldest_never_takes_what_was_dropped() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", max_buffer_size=4, overflow="drop_oldest") as stream:
        id_ = await opened(peer)
        await peer.items(id_, *range(10))
        await wait_all_tasks_blocked()
        taken = []
        async for item in stream:
            taken.append(item)
            if item == 7:
                await peer.items(id_, *range(10, 20))
                await peer.complete(id_)
                await wait_all_tasks_blocked()
        assert taken == [6, 7, 16, 17, 18, 19]


async def test_a_second_receiver_is_told_at_once() -> None:
    async with open_peer() as (hub, _peer), hub.stream("Counter") as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.receive()
        with pytest.raises(trio.BusyResourceError):
            stream.receive_nowait()
        with pytest.raises(trio.BusyResourceError):
            await anext(stream.batches())
        nursery.cancel_scope.cancel()


async def test_closing_wakes_a_receiver() -> None:
    async with open_peer() as (hub, _peer), hub.stream("Counter") as stream, trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await stream.aclose()


async def test_an_item_that_does_not_fit_ends_that_stream_only(protocol: HubProtocol) -> None:
    class Point(msgspec.Struct):
        x: int

    async with open_peer(protocol) as (hub, peer):
        async with hub.stream("Points", item_type=Point) as stream:
            id_ = await opened(peer)
            await peer.items(id_, {"x": 1}, {"x": "one"}, {"x": 2})
            assert await stream.receive() == Point(1)
            for _ in range(2):
                with pytest.raises(PayloadError, match="'Points'") as caught:
                    await stream.receive()
                assert caught.value.path == "$.x"
            assert await peer.rest() == [CancelInvocation(id_)]
        await hub.send("Fine")
        assert isinstance(await peer.receive(), Invocation)


async def test_batches_are_lists_of_what_is_ready_at_least_one() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
        id_ = await opened(peer)
        await peer.items(id_, *range(10))
        await wait_all_tasks_blocked()
        batches = stream.batches(max_size=4)
        assert [await anext(batches) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.items, id_, 10, 11)
            assert await anext(stream.batches()) == [10, 11]
        await peer.items(id_, 12)
        await peer.complete(id_)
        assert [batch async for batch in batches] == [[12]]
    with pytest.raises(ValueError, match="max_size"):
        stream.batches(max_size=0)


async def test_a_batch_ends_before_an_item_that_does_not_fit() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
        await peer.items(await opened(peer), 1, 2, "three", 4)
        await wait_all_tasks_blocked()
        batches = stream.batches()
        assert await anext(batches) == [1, 2]
        with pytest.raises(PayloadError):
            await anext(batches)


# Flow control


async def test_a_slow_consumer_stops_the_reader_at_its_mark() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int, max_buffer_size=10) as stream:
        id_ = await opened(peer)
        for number in range(100):
            await peer.items(id_, number)
        await wait_all_tasks_blocked()
        assert stream.statistics().current_buffer_used == 10
        for number in range(100):
            assert await stream.receive() == number
            await wait_all_tasks_blocked()
            assert stream.statistics().current_buffer_used <= 10


async def test_one_large_read_stops_being_handled_once_the_waiting_consumer_has_its_item(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), hub.stream("Counter", max_buffer_size=10) as stream:
        id_ = await opened(peer)
        one = protocol.encode(StreamItem(id_, 7))
        many = 200_000 // len(one)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive)
            await wait_all_tasks_blocked()
            await peer.transport.send(one * many)
            await wait_all_tasks_blocked()
        assert 10 <= stream.statistics().current_buffer_used <= PIECE / len(one)
        assert [await stream.receive() for _ in range(many - 1)] == [7] * (many - 1), "the rest waits, and is not lost"


async def test_a_receiver_that_is_cancelled_within_a_large_read_loses_nothing() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter") as stream, hub.stream("Counter") as other:
        id_, other_id = await opened(peer), await opened(peer)
        scope = trio.CancelScope()

        async def receive() -> None:
            with scope:
                await stream.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await peer.send(StreamItem(id_, 1), *[StreamItem(other_id, "x" * PIECE)] * 20)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            assert stream.statistics().current_buffer_used == 0, "it comes with the rest of what was read"
            scope.cancel()
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert stream.receive_nowait() == 1
        assert other.statistics().current_buffer_used == 20


async def test_items_of_a_large_read_come_before_what_ends_the_connection_behind_them() -> None:
    received: list[int] = []
    with pytest.raises(ProtocolError):
        async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream, hub.stream("Counter"):
            id_, other_id = await opened(peer), await opened(peer)
            messages: list[HubMessage[object]] = [StreamItem(other_id, "x" * PIECE)] * 20
            messages = [StreamItem(id_, 1), *messages, StreamItem(id_, 2)]
            await peer.transport.send(b"".join(map(peer.protocol.encode, messages)) + b"nonsense\x1e")
            while True:
                received.append(await stream.receive())
    assert received == [1, 2]


async def test_the_end_of_a_stream_within_a_large_read_comes_after_its_items() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter") as stream, hub.stream("Counter"):
        id_, other_id = await opened(peer), await opened(peer)
        large = [StreamItem(other_id, "x" * PIECE)] * 4
        await peer.send(*large, StreamItem(id_, 1), *large, Completion(id_), *large)
        assert [item async for item in stream] == [1]


@pytest.mark.parametrize("overflow", ["error", "drop_oldest"])
async def test_a_large_read_gives_consumers_that_could_lose_items_their_turn_in_between(overflow: Any) -> None:
    async with open_peer() as (hub, peer):
        async with (
            hub.stream("Counter", item_type=str, max_buffer_size=3, overflow=overflow) as stream,
            trio.open_nursery() as nursery,
        ):
            id_ = await opened(peer)
            received: list[str] = []

            async def receive() -> None:
                async for item in stream:
                    received.append(item)

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            items = [str(number).rjust(PIECE) for number in range(50)]
            await peer.send(*[StreamItem(id_, item) for item in items])
            await peer.complete(id_)
        assert received == items


async def test_a_loop_that_invokes_does_not_deadlock() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

        async def serve() -> None:
            id_ = await opened(peer)
            for number in range(50):
                await peer.items(id_, number)
            for _ in range(50):
                message = await peer.expect(Invocation)
                await peer.complete(str(message.invocation_id), *peer.arguments(message))
            await peer.complete(id_)

        nursery.start_soon(serve)
        async with hub.stream("Counter", item_type=int, max_buffer_size=4) as stream:
            assert [await hub.invoke("Echo", n, result_type=int) async for n in stream] == list(range(50))


async def test_waiting_on_an_empty_stream_keeps_reading_going_past_a_full_one() -> None:
    async with open_peer() as (hub, peer):
        async with hub.stream("Full", max_buffer_size=1) as full, hub.stream("Empty", item_type=int) as empty:
            full_id, empty_id = await opened(peer), await opened(peer)
            for number in range(5):
                await peer.items(full_id, number)
            await wait_all_tasks_blocked()
            assert full.statistics().current_buffer_used == 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.items, empty_id, 42)
                assert await empty.receive() == 42
            assert full.statistics().current_buffer_used == 5, "the mark is soft while somebody waits"


@pytest.mark.parametrize("leave", ["close", "end"])
async def test_leaving_a_full_stream_lets_reading_go_on(leave: str) -> None:
    async with open_peer() as (hub, peer), hub.stream("Other", item_type=int) as other:
        other_id = await opened(peer)
        async with hub.stream("Full", max_buffer_size=1) as full:
            id_ = await opened(peer)
            await peer.items(id_, *range(5))
            if leave == "end":
                await peer.complete(id_)
            await peer.items(other_id, 1)
            await wait_all_tasks_blocked()
            if leave == "end":
                assert [await full.receive() for _ in range(5)] == list(range(5))
        await wait_all_tasks_blocked()
        assert other.receive_nowait() == 1


async def test_drop_oldest_keeps_reading_and_counts() -> None:
    async with open_peer() as (hub, peer):
        async with hub.stream("Counter", item_type=int, max_buffer_size=3, overflow="drop_oldest") as stream:
            id_ = await opened(peer)
            for number in range(10):
                await peer.items(id_, number)
            await peer.complete(id_)
            await wait_all_tasks_blocked()
            assert stream.statistics().dropped == 7
            assert [n async for n in stream] == [7, 8, 9]


async def test_error_delivers_what_it_holds_then_fails_and_cancels_on_the_server() -> None:
    async with open_peer() as (hub, peer):
        async with hub.stream("Counter", item_type=int, max_buffer_size=3, overflow="error") as stream:
            id_ = await opened(peer)
            await peer.items(id_, *range(10))
            assert await peer.rest() == [CancelInvocation(id_)]
            assert [await stream.receive() for _ in range(3)] == [0, 1, 2]
            for _ in range(2):
                with pytest.raises(StreamOverflow, match="'Counter'"):
                    await stream.receive()
            assert issubclass(StreamOverflow, trio.BrokenResourceError)


@pytest.mark.parametrize("options", [{"max_buffer_size": 0}, {"overflow": "explode"}])
async def test_options_that_make_no_sense_send_nothing(options: dict[str, Any]) -> None:
    async with open_peer() as (hub, peer):
        with pytest.raises(ValueError, match=r"max_buffer_size|overflow"):
            async with hub.stream("Counter", **options):
                raise AssertionError("not reached")
        assert await peer.rest() == []


# The connection's end


async def test_a_lost_connection_hands_over_what_it_holds_and_then_says_so() -> None:
    with pytest.raises(HubClosed) as outer:
        async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
            await peer.items(await opened(peer), 1, 2, 3)
            await wait_all_tasks_blocked()
            peer.transport.cut()
            await wait_all_tasks_blocked()
            got = []
            with pytest.raises(HubClosed) as caught:
                async for number in stream:
                    got.append(number)
                    await trio.lowlevel.checkpoint()
            assert got == [1, 2, 3]
            assert caught.value.sent is True
            await trio.sleep_forever()
    assert outer.value.allow_reconnect is True
    assert str(outer.value) == "the connection was cut"


async def test_a_completed_stream_still_hands_over_what_it_holds_when_the_connection_is_lost() -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
            id_ = await opened(peer)
            await peer.items(id_, 1, 2, 3)
            await peer.complete(id_)
            await peer.send(Close())
            await wait_all_tasks_blocked()
            assert [number async for number in stream] == [1, 2, 3]
            await trio.sleep_forever()


async def test_whoever_does_not_take_is_not_waited_for_beyond_close_timeout(autojump_clock: MockClock) -> None:
    with pytest.raises(HubClosed):
        async with open_peer(close_timeout=5) as (hub, peer), hub.stream("Counter") as stream:
            await peer.items(await opened(peer), 1, 2, 3)
            await wait_all_tasks_blocked()
            lost_at = trio.current_time()
            peer.transport.cut()
            await trio.sleep(3)
            await stream.receive()
            await trio.sleep(4)
            await stream.receive()
            try:
                await trio.sleep_forever()
            finally:
                assert trio.current_time() == pytest.approx(lost_at + 3 + 4 + 5)


async def test_many_streams_at_once_keep_apart() -> None:
    async with open_peer() as (hub, peer):
        results: dict[int, list[int]] = {}

        async def consume(number: int) -> None:
            async with hub.stream("Counter", number, item_type=int) as stream:
                results[number] = [item async for item in stream]

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(consume, number)
            opens = [await peer.expect(StreamInvocation) for _ in range(1000)]
            ids = {message.invocation_id: peer.arguments(message)[0] for message in opens}
            for step in range(3):
                await peer.send(*[StreamItem(id_, number * 10 + step) for id_, number in ids.items()])
            await peer.send(*[Completion(id_) for id_ in ids])
        assert results == {number: [number * 10 + step for step in range(3)] for number in range(1000)}


async def fairly(hub: HubConnection, stream: HubStream[int]) -> int:
    """Count how often another task runs while the stream is emptied."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.lowlevel.checkpoint()
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        async for _ in stream:
            pass
        nursery.cancel_scope.cancel()
    return ticks


async def test_a_task_is_not_starved_by_a_stream_that_has_items_ready() -> None:
    async with open_peer() as (hub, peer):
        async with hub.stream("Counter", item_type=int, max_buffer_size=math.inf) as stream:
            id_ = await opened(peer)
            await peer.items(id_, *range(10_000))
            await peer.complete(id_)
            await wait_all_tasks_blocked()
            assert await fairly(hub, stream) > 10_000 / 100


async def test_a_cancel_from_the_loop_itself_ends_it_at_the_next_item() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
        await peer.items(await opened(peer), *range(100))
        await wait_all_tasks_blocked()
        seen = []
        with trio.CancelScope() as scope:
            async for number in stream:
                seen.append(number)
                if number == 10:
                    scope.cancel()
        assert seen == list(range(11))
        assert await stream.receive() == 11, "a cancelled receive loses nothing"


async def test_an_item_that_does_not_fit_comes_after_those_before_it_and_the_server_is_told_at_once(
    protocol: HubProtocol,
) -> None:
    async with open_peer(protocol) as (hub, peer), hub.stream("Counter", item_type=int) as stream:
        id_ = await opened(peer)
        await peer.items(id_, 0, 1, "two", 3)
        assert await peer.rest() == [CancelInvocation(id_)]
        assert [await stream.receive(), await stream.receive()] == [0, 1]
        errors = []
        for _ in range(2):
            with pytest.raises(PayloadError, match="an item of stream 'Counter'") as caught:
                await stream.receive()
            assert caught.value.path == "$"
            errors.append(caught.value)
        assert errors[0] is not errors[1]


async def test_a_type_that_nothing_can_be_converted_to_is_a_type_error(protocol: HubProtocol) -> None:
    class Odd:
        pass

    async with open_peer(protocol) as (hub, peer), hub.stream("Counter", item_type=Odd) as stream:
        await peer.items(await opened(peer), 0, 1)
        with pytest.raises(TypeError, match="Odd"):
            await stream.receive()
