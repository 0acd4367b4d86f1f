"""What things cost, in figures that do not depend on the machine: passes of the scheduler, messages, frames, steps.

tests/benchmarks measures speed. What is counted here is why it is what it is, and must not creep up unnoticed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from tests.peer import Peer, open_peer
from trio_signalr import HubConnection
from trio_signalr.messages import Completion, HubMessage, Invocation, StreamInvocation, StreamItem
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.transports._frames import FrameMerger

ITEMS = 10_000
READ_SIZE = 64 * 1024


@pytest.fixture(params=[JsonHubProtocol, MessagePackHubProtocol], ids=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> HubProtocol:
    made: HubProtocol = request.param()
    return made


class Counted(trio.abc.Instrument):
    """Counts passes of the scheduler, and the steps of one task."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self._task = task
        self.passes = 0
        self.steps = 0

    def before_io_wait(self, timeout: float) -> None:
        self.passes += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += task is self._task


@contextmanager
def counting() -> Iterator[Counted]:
    """Count while the block runs; steps are those of the task that enters it."""
    counted = Counted(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(counted)
    try:
        yield counted
    finally:
        trio.lowlevel.remove_instrument(counted)


async def answer_calls(peer: Peer) -> None:
    while True:
        message = await peer.expect(Invocation)
        await peer.complete(str(message.invocation_id), 3)


async def fill(hub: HubConnection, peer: Peer) -> None:
    """Let all items of the stream that was just opened arrive."""
    id_ = (await peer.expect(StreamInvocation)).invocation_id
    await peer.items(id_, *range(ITEMS))
    await peer.complete(id_)
    await wait_all_tasks_blocked()


async def test_passes_of_the_scheduler_for_one_call_after_another(protocol: HubProtocol) -> None:
    calls = 200
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        nursery.start_soon(answer_calls, peer)
        await hub.invoke("Add", 1, 2)
        with counting() as counted:
            for _ in range(calls):
                await hub.invoke("Add", 1, 2)
        nursery.cancel_scope.cancel()
    assert counted.passes / calls < 6.5, "caller, writer and its transport, the peer here, reader, caller"
    assert counted.steps == calls, "a call waits once, for its answer"


async def test_transport_messages_for_the_items_of_an_upload(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:

        async def send() -> None:
            async with hub.upload("UploadChannel") as upload:
                for number in range(ITEMS):
                    await upload.send(number)

        nursery.start_soon(send)
        id_ = str((await peer.expect(Invocation)).invocation_id)
        before, received = peer.reads, 0
        while not isinstance(await peer.receive(), Completion):
            received += 1
        assert received == ITEMS
        assert peer.reads - before <= ITEMS / 16
        await peer.complete(id_)


async def test_transport_messages_for_calls_that_wait_for_room() -> None:
    calls, size = 2_000, 1_000
    async with open_peer() as (hub, peer):
        before = peer.reads
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                nursery.start_soon(hub.send, "Notify", "x" * size)
            for _ in range(calls):
                await peer.expect(Invocation)
        assert peer.reads - before <= calls / 32


async def test_frames_that_wsproto_sees_for_items_sent_one_by_one() -> None:
    server, client = Connection(ConnectionType.SERVER), Connection(ConnectionType.CLIENT)
    protocol, frames = JsonHubProtocol(), FrameMerger()
    texts = [protocol.encode(StreamItem("1", number)).decode() for number in range(ITEMS)]
    wire = b"".join(server.send(TextMessage(text)) for text in texts)
    received: list[str] = []
    reads = 0
    for start in range(0, len(wire), READ_SIZE):
        reads += 1
        client.receive_data(frames.feed(wire[start : start + READ_SIZE]))
        received += [event.data for event in client.events() if isinstance(event, TextMessage)]
    assert "".join(received) == "".join(texts)
    assert len(received) <= 3 * reads, "one for all whole frames of a read, and the frame that the cut goes through"


async def test_steps_of_the_task_that_receives_items(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        async with hub.stream("Counter", item_type=int, max_buffer_size=math.inf) as stream:
            await fill(hub, peer)
            with counting() as counted:
                assert [number async for number in stream] == list(range(ITEMS))
    assert ITEMS / 64 < counted.steps < ITEMS / 24, "others run every few dozen items, no more and no less"


async def test_steps_of_the_task_that_receives_batches(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        async with hub.stream("Counter", item_type=int, max_buffer_size=math.inf) as stream:
            await fill(hub, peer)
            with counting() as counted:
                batches = [batch async for batch in stream.batches(max_size=1_000)]
    assert [len(batch) for batch in batches] == [1_000] * (ITEMS // 1_000)
    assert counted.steps <= len(batches) + 2


async def test_memory_of_one_transport_message_that_is_very_large(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), hub.stream("Large", max_buffer_size=math.inf) as stream:
        id_ = (await peer.expect(StreamInvocation)).invocation_id
        item: HubMessage[object] = StreamItem(id_, "x" * 300_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, *[item] * 30)
            await stream.receive()
            assert stream.statistics().current_buffer_used < 8, (
                "it is handed over in parts, and the rest waits as bytes"
            )


async def test_steps_of_tasks_that_receive_from_many_streams(protocol: HubProtocol) -> None:
    streams, large = 100, 2**20
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        steps: list[int] = []

        async def receive() -> None:
            async with hub.stream("Counter", max_buffer_size=math.inf) as stream:
                with counting() as counted:
                    steps.append(len([item async for item in stream]) - sent)
                steps[-1] += counted.steps

        for _ in range(streams):
            nursery.start_soon(receive)
        ids = [str((await peer.expect(StreamInvocation)).invocation_id) for _ in range(streams)]
        messages = b"".join(protocol.encode(StreamItem(id_, 7)) for id_ in ids)
        sent = large // len(messages)
        await peer.transport.send(messages * sent)
        await wait_all_tasks_blocked()
        await peer.send(*map(Completion, ids))
    waits = 2  # for the items, and for the end
    assert max(steps) <= waits + sent / 24, "woken once by all that came together, not for each part of it"


async def test_items_that_are_still_taken_after_a_cancellation_from_elsewhere(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        async with hub.stream("Counter", item_type=int, max_buffer_size=math.inf) as stream:
            await fill(hub, peer)
            taken = taken_before = 0

            async def cancel() -> None:
                nonlocal taken_before
                while taken < 1_000:
                    await trio.lowlevel.checkpoint()
                taken_before = taken
                nursery.cancel_scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                async for _ in stream:
                    taken += 1
            assert taken - taken_before <= 36


async def test_one_large_message_of_the_transport_lets_other_tasks_run(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), hub.stream("Counter", max_buffer_size=math.inf) as stream:
        id_ = (await peer.expect(StreamInvocation)).invocation_id
        item = protocol.encode(StreamItem(id_, 7))
        await peer.transport.send(item * (2**20 // len(item)))
        with counting() as counted:
            await wait_all_tasks_blocked()
        assert counted.passes >= 15, "one for each 66 KiB"
        assert stream.statistics().current_buffer_used == 2**20 // len(item)


async def test_memory_of_a_stream_whose_consumer_is_slow(protocol: HubProtocol) -> None:
    mark = 100
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        async with hub.stream("Counter", item_type=int, max_buffer_size=mark) as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            sent = 0

            async def flood() -> None:
                nonlocal sent
                while True:
                    await peer.items(id_, *range(50))
                    sent += 50

            nursery.start_soon(flood)
            await stream.receive()
            most_used = most_under_way = 0
            for taken in range(1, 2_000):
                await wait_all_tasks_blocked()
                await stream.receive()
                most_used = max(most_used, stream.statistics().current_buffer_used)
                most_under_way = max(most_under_way, sent - taken)
        nursery.cancel_scope.cancel()
    assert most_used < mark + 50, "what one transport message brings may be too much"
    assert most_under_way < 50_000, "the rest waits in the transport, and then in the server"
