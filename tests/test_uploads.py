"""Uploads: pushed through a channel, or fed from async iterables among the arguments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import Peer, open_peer
from trio_signalr.errors import HubClosed, HubException, InvocationError, PayloadError
from trio_signalr.messages import CancelInvocation, Completion, Invocation, StreamInvocation, StreamItem
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol


@pytest.fixture(params=[JsonHubProtocol, MessagePackHubProtocol], ids=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> HubProtocol:
    made: HubProtocol = request.param()
    return made


async def numbers(count: int) -> AsyncGenerator[int]:
    for number in range(count):
        yield number


async def collect(peer: Peer, id_: str) -> list[Any]:
    """The items of an upload up to its normal end."""
    items = []
    while isinstance(message := await peer.receive(), StreamItem):
        assert message.invocation_id == id_
        items.append(peer.value(message.item))
    assert message == Completion(id_)
    return items


def spelled(messages: list[Any], peer: Peer) -> list[tuple[object, ...]]:
    """Messages in a form that can be compared."""
    spelling: list[tuple[object, ...]] = []
    for message in messages:
        if isinstance(message, StreamItem):
            spelling.append(("item", message.invocation_id, peer.value(message.item)))
        elif isinstance(message, Completion):
            spelling.append(("end", message.invocation_id, message.error))
        elif isinstance(message, CancelInvocation):
            spelling.append(("cancel", message.invocation_id))
        else:
            spelling.append((type(message).__name__,))
    return spelling


# Push style


async def test_an_upload_sends_the_invocation_then_items_then_the_end_and_has_a_result(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):

        async def serve() -> None:
            message = await peer.expect(Invocation)
            assert (message.target, peer.arguments(message)) == ("UploadStream", ["label"])
            assert len(message.stream_ids) == 1
            assert message.stream_ids[0] != message.invocation_id
            words = await collect(peer, message.stream_ids[0])
            await peer.complete(str(message.invocation_id), " ".join(words))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with hub.upload("UploadStream", "label", result_type=str) as upload:
                assert isinstance(upload, trio.abc.SendChannel)
                for word in ("hello", "big", "world"):
                    await upload.send(word)
                with pytest.raises(RuntimeError, match="not answered"):
                    upload.result  # noqa: B018  # the property raises
            assert upload.result == "hello big world"


async def test_closing_an_upload_ends_the_stream_and_refuses_further_items() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

        async def push() -> None:
            async with hub.upload("UploadStream") as upload:
                await upload.send(1)
                await upload.aclose()
                await upload.aclose()
                with pytest.raises(trio.ClosedResourceError):
                    await upload.send(2)

        nursery.start_soon(push)
        message = await peer.expect(Invocation)
        assert await collect(peer, message.stream_ids[0]) == [1]
        await peer.complete(str(message.invocation_id))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("secret"), "Stream errored by client: ValueError"),
        (HubException("for you"), "for you"),
        (ExceptionGroup("many", [OSError()]), "Stream errored by client: ExceptionGroup"),
    ],
)
async def test_leaving_by_an_exception_ends_the_stream_with_a_short_text(error: Exception, text: str) -> None:
    async with open_peer() as (hub, peer):
        with pytest.raises(type(error)) as caught:
            async with hub.upload("UploadStream") as upload:
                await upload.send(1)
                raise error
        assert caught.value is error
        message, *rest = await peer.rest()
        assert isinstance(message, Invocation)
        (id_,) = message.stream_ids
        assert spelled(rest, peer) == [("item", id_, 1), ("end", id_, text)]


@pytest.mark.parametrize("where", ["in the block", "waiting for the answer"])
async def test_cancelling_sends_cancel_invocation_first_and_then_ends_the_stream(where: str) -> None:
    async with open_peer() as (hub, peer):
        with trio.CancelScope() as scope:
            async with hub.upload("UploadStream") as upload:
                await upload.send(1)
                message, *_ = await peer.rest()
                assert isinstance(message, Invocation)
                if where == "in the block":
                    scope.cancel()
                    await upload.send(2)
                else:
                    await upload.aclose()
                    await peer.rest()
                    scope.cancel()
        assert scope.cancelled_caught
        assert isinstance(message, Invocation)
        (id_,) = message.stream_ids
        expected: list[tuple[object, ...]] = [("cancel", message.invocation_id)]
        if where == "in the block":
            expected.append(("end", id_, "Stream canceled by client."))
        assert spelled(await peer.rest(), peer) == expected


async def test_a_method_that_fails_early_raises_its_error_in_place_of_the_broken_channel() -> None:
    async with open_peer() as (hub, peer):
        with pytest.raises(InvocationError, match="enough") as caught:
            async with hub.upload("UploadStream") as upload:
                message = await peer.expect(Invocation)
                await peer.complete(str(message.invocation_id), error="enough")
                await wait_all_tasks_blocked()
                await upload.send(1)
        assert caught.value.method == "UploadStream"
        assert await peer.rest() == []


async def test_a_method_that_answers_early_has_set_the_result_before_send_raises() -> None:
    async with open_peer() as (hub, peer):
        with pytest.raises(trio.BrokenResourceError):
            async with hub.upload("UploadStream", result_type=int) as upload:
                message = await peer.expect(Invocation)
                await peer.complete(str(message.invocation_id), 42)
                await wait_all_tasks_blocked()
                try:
                    await upload.send(1)
                finally:
                    assert upload.result == 42
        assert await peer.rest() == [], "nothing more is sent for an upload whose method is over"


async def test_a_caught_broken_upload_still_tells_how_the_method_ended() -> None:
    async with open_peer() as (hub, peer):
        with pytest.raises(InvocationError, match="enough"):
            async with hub.upload("UploadStream") as upload:
                message = await peer.expect(Invocation)
                await peer.complete(str(message.invocation_id), error="enough")
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BrokenResourceError):
                    await upload.send(1)


async def test_an_item_that_cannot_be_encoded_is_not_sent_and_the_upload_goes_on() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

        async def push() -> None:
            async with hub.upload("UploadStream") as upload:
                with pytest.raises(PayloadError, match="'UploadStream'") as caught:
                    await upload.send({"deep": object()})
                assert caught.value.path == "$.item.deep"
                await upload.send(1)

        nursery.start_soon(push)
        message = await peer.expect(Invocation)
        assert await collect(peer, message.stream_ids[0]) == [1]
        await peer.complete(str(message.invocation_id))


async def test_a_second_sender_is_told_at_once(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer):
        await peer.rest()
        peer.transport.stall(outgoing=False)
        with trio.CancelScope() as scope:
            async with hub.upload("UploadStream") as upload, trio.open_nursery() as nursery:

                async def flood() -> None:
                    while True:
                        await upload.send("x" * 10_000)

                nursery.start_soon(flood)
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await upload.send(1)
                scope.cancel()
        peer.transport.resume()


async def test_a_lost_connection_breaks_an_upload() -> None:
    with pytest.raises(HubClosed) as outer:
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

            async def flood() -> None:
                with pytest.raises(HubClosed) as caught:
                    async with hub.upload("UploadStream") as upload:
                        while True:
                            await upload.send("x" * 10_000)
                assert caught.value.sent is True

            nursery.start_soon(flood)
            await peer.expect(Invocation)
            await wait_all_tasks_blocked()
            peer.transport.cut()
            await trio.sleep_forever()
    assert outer.value.sent is None


async def test_a_lost_connection_fails_an_upload_that_waits_for_its_answer() -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

            async def push() -> None:
                with pytest.raises(HubClosed) as caught:
                    async with hub.upload("UploadStream"):
                        pass
                assert caught.value.sent is True

            nursery.start_soon(push)
            await peer.expect(Invocation)
            peer.transport.cut()
            await trio.sleep_forever()


# Async iterables as arguments


async def test_iterables_are_uploaded_in_parameter_order_beside_plain_arguments(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        results = []

        async def call() -> None:
            results.append(await hub.invoke("UploadTwo", "a", numbers(3), "b", numbers(2), result_type=int))

        nursery.start_soon(call)
        message = await peer.expect(Invocation)
        assert peer.arguments(message) == ["a", "b"]
        first, second = message.stream_ids
        received: dict[str, list[object]] = {first: [], second: []}
        ended: list[str] = []
        while len(ended) < 2:
            part = await peer.receive()
            if isinstance(part, StreamItem):
                received[part.invocation_id].append(peer.value(part.item))
            else:
                assert isinstance(part, Completion)
                ended.append(part.invocation_id)
        assert received == {first: [0, 1, 2], second: [0, 1]}
        await peer.complete(str(message.invocation_id), 5)
        await wait_all_tasks_blocked()
        assert results == [5]


async def test_a_memory_channel_is_an_upload_and_is_closed_when_the_call_is_over() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[int](0)
        nursery.start_soon(hub.invoke, "UploadStream", receive)
        message = await peer.expect(Invocation)
        await send.send(1)
        assert isinstance(await peer.receive(), StreamItem)
        await peer.complete(str(message.invocation_id))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await send.send(2)
        assert await peer.rest() == [], "an early answer ends the upload, and nothing is sent for it any more"


async def test_send_with_iterables_returns_when_they_are_sent() -> None:
    async with open_peer() as (hub, peer):
        await hub.send("UploadStream", numbers(2))
        message, *rest = await peer.rest()
        assert isinstance(message, Invocation)
        assert message.invocation_id is None
        (id_,) = message.stream_ids
        assert spelled(rest, peer) == [("item", id_, 0), ("item", id_, 1), ("end", id_, None)]


async def boom(error: Exception) -> AsyncIterator[int]:
    yield 1
    raise error


@pytest.mark.parametrize("way", ["invoke", "send", "stream"])
async def test_what_an_iterable_raises_comes_out_as_it_is_and_ends_its_stream_with_an_error(way: str) -> None:
    async with open_peer() as (hub, peer):
        error = ValueError("boom")
        with pytest.raises(ValueError, match="boom") as caught:
            if way == "invoke":
                await hub.invoke("UploadStream", boom(error))
            elif way == "send":
                await hub.send("UploadStream", boom(error))
            else:
                async with hub.stream("Transform", boom(error)) as stream:
                    await stream.receive()
        assert caught.value is error
        message, *rest = await peer.rest()
        assert isinstance(message, Invocation | StreamInvocation)
        (id_,) = message.stream_ids
        expected: list[tuple[object, ...]] = [("item", id_, 1), ("end", id_, "Stream errored by client: ValueError")]
        if way == "stream":
            expected.append(("cancel", str(message.invocation_id)))
        assert spelled(rest, peer) == expected


async def test_an_item_of_an_iterable_that_cannot_be_encoded_counts_as_its_failure() -> None:
    async def bad() -> AsyncIterator[object]:
        yield object()

    async with open_peer() as (hub, peer):
        with pytest.raises(PayloadError):
            await hub.invoke("UploadStream", bad())
        _, end = await peer.rest()
        assert isinstance(end, Completion)
        assert end.error is not None


@pytest.mark.parametrize("way", ["invoke", "send", "stream"])
async def test_cancelling_a_call_with_iterables(way: str) -> None:
    cleaned = []

    async def endless() -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            cleaned.append(True)

    async with open_peer() as (hub, peer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if way == "stream":

                    async def stream() -> None:
                        async with hub.stream("Transform", endless(), endless()) as out:
                            await out.receive()

                    nursery.start_soon(stream)
                else:
                    nursery.start_soon(getattr(hub, way), "UploadTwo", endless(), endless())
                message, *_ = await peer.rest()
                assert isinstance(message, Invocation | StreamInvocation)
                scope.cancel()
        assert cleaned == [True, True]
        assert isinstance(message, Invocation | StreamInvocation)
        ends: list[tuple[object, ...]] = [("end", id_, "Stream canceled by client.") for id_ in message.stream_ids]
        cancel: list[tuple[object, ...]] = [] if way == "send" else [("cancel", message.invocation_id)]
        assert spelled(await peer.rest(), peer) == cancel + ends
        assert len(hub._connection.calls) == 0


async def test_upload_and_stream_in_one_call(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:

        async def serve() -> None:
            message = await peer.expect(StreamInvocation)
            for _ in range(3):
                item = await peer.expect(StreamItem)
                await peer.items(message.invocation_id, 2 * peer.value(item.item))
            assert await peer.receive() == Completion(message.stream_ids[0])
            await peer.complete(message.invocation_id)

        nursery.start_soon(serve)
        async with hub.stream("Transform", numbers(3), item_type=int) as out:
            assert [item async for item in out] == [0, 2, 4]


async def test_an_upload_may_stand_beside_iterables_and_comes_last() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

        async def push() -> None:
            async with hub.upload("UploadTwo", numbers(1)) as upload:
                await upload.send("own")

        nursery.start_soon(push)
        message = await peer.expect(Invocation)
        first, last = message.stream_ids
        await wait_all_tasks_blocked()
        received = {await_item for await_item in spelled(await peer.rest(), peer)}
        assert received == {("item", first, 0), ("end", first, None), ("item", last, "own"), ("end", last, None)}
        await peer.complete(str(message.invocation_id))


async def test_a_failing_iterable_beside_an_upload_fails_the_upload() -> None:
    async with open_peer() as (hub, peer):
        error = ValueError("boom")
        with pytest.raises(ValueError, match="boom") as caught:
            async with hub.upload("UploadTwo", boom(error)) as upload:
                await wait_all_tasks_blocked()
                await upload.send(1)
        assert caught.value is error
        await peer.rest()


async def test_an_upload_waits_when_the_connection_is_behind_and_memory_stays_flat(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer):
        await peer.rest()
        peer.transport.stall(outgoing=False)
        produced = 0

        async def flood() -> AsyncIterator[str]:
            nonlocal produced
            while True:
                produced += 1
                yield "x" * 1000

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.invoke, "UploadStream", flood())
                await wait_all_tasks_blocked()
                assert 100 < produced < 600
                scope.cancel()
        peer.transport.resume()


async def test_a_hundred_thousand_items_leave_in_few_transport_messages() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
        nursery.start_soon(hub.invoke, "UploadStream", numbers(100_000))
        message = await peer.expect(Invocation)
        assert await collect(peer, message.stream_ids[0]) == list(range(100_000))
        assert peer.reads < 5_000
        await peer.complete(str(message.invocation_id))


async def test_other_tasks_run_while_an_iterable_never_waits() -> None:
    async with open_peer() as (hub, _peer), trio.open_nursery() as nursery:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.lowlevel.checkpoint()
                ticks += 1

        nursery.start_soon(tick)
        await hub.send("UploadStream", numbers(2_000))
        assert ticks > 2_000 / 100
        nursery.cancel_scope.cancel()


async def test_the_end_of_the_block_cancels_an_upload_by_a_task_outside_of_it() -> None:
    ended = []
    async with trio.open_nursery() as nursery:
        async with open_peer() as (hub, peer):

            async def outsider() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    async with hub.upload("UploadStream") as upload:
                        await trio.lowlevel.checkpoint()
                        while True:
                            await upload.send(1)
                            await wait_all_tasks_blocked()
                ended.append(True)

            nursery.start_soon(outsider)
            message = await peer.expect(Invocation)
    assert ended == [True]
    rest = [entry for entry in spelled(await peer.rest_of_connection(), peer) if entry[0] != "item"]
    (id_,) = message.stream_ids
    assert rest == [("cancel", message.invocation_id), ("end", id_, "Stream canceled by client."), ("Close",)]
