"""Ctrl-C while a task is about to wait, or about to be woken: trio.Event is protected from it there, and so are we."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.peer import open_peer
from trio_signalr._flow import Flow
from trio_signalr.messages import StreamInvocation


@pytest.fixture
def interrupt_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Raise SIGINT the next time that the flow's method was called."""

    def interrupt_in(name: str) -> None:
        original = getattr(Flow, name)

        def interrupted(self: Flow) -> None:
            original(self)
            monkeypatch.setattr(Flow, name, original)
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Flow, name, interrupted)

    return interrupt_in


def test_an_interrupted_receive_leaves_the_stream_as_it_was(interrupt_in: Callable[[str], None]) -> None:
    async def main() -> None:
        async with open_peer() as (hub, peer), hub.stream("Counter") as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            interrupt_in("add_waiting")
            with pytest.raises(KeyboardInterrupt):
                await stream.receive()
            assert hub._connection.calls.flow._waiting == 0
            await peer.items(id_, 1)
            await wait_all_tasks_blocked()
            assert await stream.receive() == 1

    trio.run(main)


def test_an_interrupted_invoke_does_not_count_as_waiting(interrupt_in: Callable[[str], None]) -> None:
    async def main() -> None:
        async with open_peer() as (hub, _):
            interrupt_in("add_waiting")
            with pytest.raises(KeyboardInterrupt):
                await hub.invoke("Add")
            assert hub._connection.calls.flow._waiting == 0

    trio.run(main)


def test_a_task_that_is_woken_by_an_interrupted_one_is_woken(interrupt_in: Callable[[str], None]) -> None:
    async def main() -> None:
        async with open_peer() as (hub, _), hub.stream("Counter") as stream:
            told = trio.Event()

            async def receive() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await stream.receive()
                told.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                interrupt_in("remove_waiting")
                with pytest.raises(KeyboardInterrupt):
                    await stream.aclose()
                await told.wait()
            assert hub._connection.calls.flow._waiting == 0

    trio.run(main)
