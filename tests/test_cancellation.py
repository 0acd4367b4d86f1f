"""Every operation, cancelled at each of its checkpoints: no task is left, no entry in a table, no half message."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.peer import Peer, PeerConnector, open_peer
from trio_signalr._hub import HubConnection
from trio_signalr.messages import CancelInvocation, Close, Completion, Invocation, StreamInvocation, StreamItem

Operation = Callable[[HubConnection], Awaitable[object]]


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before the n-th step of the tasks that run in it."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.root: trio.lowlevel.Task | None = None
        self.left = step
        self.fired = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.root is None or not self._is_inside(task):
            return
        if self.left == 0 and not self.fired:
            self.fired = True
            self.scope.cancel()
        self.left -= 1

    def _is_inside(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None:
            if task is self.root:
                return True
            parent = task.parent_nursery
            task = None if parent is None else parent.parent_task
        return False


async def cancelled_at(step: int, operation: Callable[[], Awaitable[object]]) -> bool:
    """Run an operation and cancel it before its n-th step; whether it got that far."""
    scope = trio.CancelScope()
    instrument = CancelAtStep(scope, step)

    async def run() -> None:
        instrument.root = trio.lowlevel.current_task()
        with scope:
            await operation()

    trio.lowlevel.add_instrument(instrument)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return instrument.fired


async def numbers() -> AsyncGenerator[int]:
    for number in range(3):
        yield number
        await trio.lowlevel.checkpoint()


async def invoke(hub: HubConnection) -> None:
    assert await hub.invoke("Method", 1, result_type=int) == 42


async def send(hub: HubConnection) -> None:
    await hub.send("Method", 1)


async def stream(hub: HubConnection) -> None:
    async with hub.stream("Method", item_type=int) as items:
        assert [item async for item in items] == [0, 1, 2]


async def stream_half(hub: HubConnection) -> None:
    async with hub.stream("Method", item_type=int) as items:
        await items.receive()
        await items.aclose()


async def batches(hub: HubConnection) -> None:
    async with hub.stream("Method", item_type=int) as items:
        assert sum([sum(batch) async for batch in items.batches()]) == 3


async def upload(hub: HubConnection) -> None:
    async with hub.upload("Method", result_type=int) as items:
        await items.send(1)
        await items.send(2)
        await items.aclose()
    assert items.result == 42


async def invoke_with_iterables(hub: HubConnection) -> None:
    assert await hub.invoke("Method", numbers(), 1, numbers()) == 42


async def send_with_iterables(hub: HubConnection) -> None:
    await hub.send("Method", numbers(), numbers())


async def duplex(hub: HubConnection) -> None:
    async with hub.stream("Method", numbers(), item_type=int) as items:
        assert [item async for item in items] == [0, 1, 2]


async def upload_beside_iterable(hub: HubConnection) -> None:
    async with hub.upload("Method", numbers(), result_type=int) as items:
        await items.send(1)
    assert items.result == 42


async def subscribe(hub: HubConnection) -> None:
    async with hub.subscribe("news") as news:
        await hub.send("Method")
        with trio.move_on_after(0.001):
            await news.receive()


async def state_changes(hub: HubConnection) -> None:
    async with hub.state_changes() as changes:
        with trio.move_on_after(0.001):
            await changes.receive()


OPERATIONS: list[Operation] = [
    *(invoke, send, stream, stream_half, batches, upload, invoke_with_iterables, send_with_iterables),
    *(duplex, upload_beside_iterable, subscribe, state_changes),
]


class Server:
    """Answers what comes, and checks that it is in order."""

    def __init__(self) -> None:
        self.calls: dict[str, list[str]] = {}  # in flight: the uploads of each
        self.streaming: set[str] = set()
        self.cancelled: set[str] = set()
        self.open_uploads: set[str] = set()

    async def serve(self, peer: Peer) -> None:
        with suppress(trio.EndOfChannel, trio.BrokenResourceError):
            while True:
                await self._on_message(peer, await peer.receive())

    async def _on_message(self, peer: Peer, message: Any) -> None:
        if isinstance(message, Invocation | StreamInvocation):
            self.open_uploads.update(message.stream_ids)
            if message.invocation_id is not None:
                self.calls[message.invocation_id] = message.stream_ids
            if isinstance(message, StreamInvocation):
                self.streaming.add(message.invocation_id)
                await peer.items(message.invocation_id, 0, 1)
        elif isinstance(message, StreamItem):
            assert message.invocation_id in self.open_uploads, "an item of a stream that was never opened, or is over"
        elif isinstance(message, Completion):
            self.open_uploads.remove(message.invocation_id)
        elif isinstance(message, CancelInvocation):
            assert message.invocation_id not in self.cancelled, "cancelled twice"
            self.cancelled.add(message.invocation_id)
            self.calls.pop(message.invocation_id, None)
        await self._answer(peer)

    async def _answer(self, peer: Peer) -> None:
        """Complete the calls whose uploads are all here."""
        for id_, uploads in list(self.calls.items()):
            if not self.open_uploads.intersection(uploads):
                del self.calls[id_]
                if id_ in self.streaming:
                    await peer.items(id_, 2)
                await peer.complete(id_, *([] if id_ in self.streaming else [42]))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_cancelled_at_every_step(operation: Operation) -> None:
    step = 0
    while True:
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
            server = Server()
            nursery.start_soon(server.serve, peer)
            await wait_all_tasks_blocked()
            before = trio.lowlevel.current_statistics().tasks_living
            fired = await cancelled_at(step, partial(operation, hub))
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == before, "a task is left"
            connection = hub._connection
            assert len(connection.calls) == 0, "a call is left"
            assert not connection.calls.unsettled
            assert not connection._flow.paused
            assert connection._flow._waiting == 0
            assert server.open_uploads == set(), "an upload was never ended"
            assert server.calls == {}, "a call was neither answered nor cancelled"
            assert await hub.invoke("Method") == 42, "the connection lives"
            nursery.cancel_scope.cancel()
        if not fired:
            break
        step += 1
    assert step >= 1, "it has checkpoints"


async def test_opening_and_leaving_cancelled_at_every_step() -> None:
    step = 0
    while True:
        connector = PeerConnector()
        before = trio.lowlevel.current_statistics().tasks_living

        async def operation(connector: PeerConnector = connector) -> None:
            async with open_peer(connector=connector) as (hub, _peer):
                await hub.send("Method")

        fired = await cancelled_at(step, operation)
        assert trio.lowlevel.current_statistics().tasks_living == before, "a task is left"
        for peer in connector.peers:
            rest = await peer.rest_of_connection()
            assert not rest or rest[-1] == Close() or all(isinstance(m, Invocation) for m in rest)
        if not fired:
            break
        step += 1
    assert step > 8
