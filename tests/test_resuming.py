"""Stateful reconnect where it is rare: what is lost, retried, counted and given up while a connection is resumed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import Peer, PeerConnector, open_peer
from trio_signalr._hub import HubConnection
from trio_signalr._link import Link
from trio_signalr.errors import HubClosed, TransportError
from trio_signalr.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Ping,
    Sequence,
    StreamInvocation,
)
from trio_signalr.protocols import HubProtocol
from trio_signalr.transports import Transport
from trio_signalr.transports._memory import MemoryTransport, memory_transport_pair


class StatefulConnector(PeerConnector):
    """Its connections can be resumed: each time with a new :class:`Peer`, or not, as told."""

    def __init__(self) -> None:
        super().__init__()
        self.resumed: list[Peer] = []
        self.reopen_failures: list[Exception] = []
        self.prepare: Callable[[MemoryTransport], None] = lambda _: None  # gets the server's end of a new transport

    @asynccontextmanager
    async def open_link(self, protocol: HubProtocol, *, max_message_size: float) -> AsyncGenerator[Link]:
        @asynccontextmanager
        async def reopen() -> AsyncGenerator[Transport]:
            await trio.lowlevel.checkpoint()
            if self.reopen_failures:
                raise self.reopen_failures.pop(0)
            ours, theirs = memory_transport_pair()
            peer = Peer(theirs, protocol)
            peer._shaken = True  # hands are shaken once in a connection
            self.prepare(theirs)
            self.resumed.append(peer)
            try:
                yield ours
            finally:
                await trio.aclose_forcefully(ours)

        async with super().open_link(protocol, max_message_size=max_message_size) as link:
            yield Link(link.transport, link.connection_id, reopen)


async def test_flow_control_still_stops_the_reading_after_resuming(autojump_clock: MockClock) -> None:
    connector = StatefulConnector()
    async with open_peer(connector=connector, server_timeout=1000.0) as (hub, peer):
        async with hub.stream("S", max_buffer_size=2) as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            await peer.items(id_, 1, 2, 3)
            await wait_all_tasks_blocked()
            assert hub._connection._flow.paused
            peer.transport.cut()
            await hub.send("Poke")  # nobody reads, so it is the writer that notices
            await trio.sleep(5)
            resumed = connector.resumed[0]
            await resumed.send(Sequence(4))
            for number in range(50):
                await resumed.items(id_, number)
            await trio.sleep(1)
            assert stream.statistics().current_buffer_used < 10, "the new transport was read although a buffer is full"


async def test_a_call_that_was_never_written_again_does_not_claim_to_be_sent(autojump_clock: MockClock) -> None:
    connector = StatefulConnector()

    def break_and_be_forgotten(transport: MemoryTransport) -> None:
        transport.cut()
        connector.reopen_failures.append(TransportError("gone", status=404))

    connector.prepare = break_and_be_forgotten
    with pytest.raises(HubClosed) as caught:
        async with open_peer(connector=connector) as (hub, peer):
            await wait_all_tasks_blocked()
            peer.transport.cut()
            await hub.invoke("X")
    assert len(connector.resumed) == 1
    assert caught.value.sent is None


async def test_an_item_that_crosses_the_end_of_its_upload_is_followed_by_a_sequence(autojump_clock: MockClock) -> None:
    # ASP.NET Core does not count the items of a stream that it does not know any more.
    connector = StatefulConnector()
    async with open_peer(connector=connector) as (hub, peer):
        session = hub._connection._session
        assert session is not None
        async with hub.upload("U") as upload:
            id_ = str((await peer.expect(Invocation)).invocation_id)
            await peer.send(Ack(1))
            await wait_all_tasks_blocked()
            await upload.send("a")  # in the same tick as the reader learns of the end:
            session._incoming.receive(peer.protocol.encode(Completion(id_, 1)), trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.invoke, "Once")
            got = await peer.rest()
            nursery.cancel_scope.cancel()
    assert any(isinstance(message, Sequence) for message in got), "nothing mends the numbers, so calls may run twice"


async def test_a_token_function_that_fails_while_resuming_is_asked_again(autojump_clock: MockClock) -> None:
    connector = StatefulConnector()
    connector.reopen_failures = [ValueError("token 1"), ValueError("token 2")]
    with pytest.raises(ExceptionGroup) as caught:
        async with open_peer(connector=connector, reconnect=lambda _: 0.0) as (hub, peer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.invoke, "X")
                await wait_all_tasks_blocked()
                peer.transport.cut()
                await trio.sleep(60)  # the resumed connection stays silent, and is lost
    assert len(connector.resumed) == 1, "one failure of the token function was enough to give up"
    assert [isinstance(error, HubClosed) for error in caught.value.exceptions] == [True], (
        "a call fails with HubClosed, whatever failed underneath"
    )


async def test_items_for_a_method_that_is_over_do_not_fill_the_replay_buffer_for_ever(
    autojump_clock: MockClock,
) -> None:
    connector = StatefulConnector()

    async def items() -> AsyncIterator[str]:
        for _ in range(40):
            yield "x" * 5000

    with trio.move_on_after(120) as scope:
        async with open_peer(connector=connector) as (hub, peer):

            async def acknowledge() -> None:
                # As ASP.NET Core, whose method is over at once: items are not counted.
                latest, next_ = 0, 1
                while True:
                    message = await peer.receive()
                    if isinstance(message, Sequence):
                        next_ = message.sequence_id
                    elif isinstance(message, Invocation | Completion | CancelInvocation):
                        latest = max(latest, next_)
                        next_ += 1
                    await peer.send(Ack(latest), Ping())

            async def ping() -> None:
                while True:
                    await trio.sleep(5)
                    await peer.send(Ping())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(acknowledge)
                nursery.start_soon(ping)
                await hub.send("Typo", items())
                nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught, "the hub waited for acknowledgements that never come"


async def test_transports_that_break_at_once_are_given_up_after_a_while(autojump_clock: MockClock) -> None:
    connector = StatefulConnector()

    def break_at_once(transport: MemoryTransport) -> None:
        if len(connector.resumed) < 500:  # if it is tried without end, end it
            transport.cut()

    connector.prepare = break_at_once
    with pytest.raises(HubClosed):
        async with open_peer(connector=connector) as (_hub, peer):
            await wait_all_tasks_blocked()
            lost = trio.current_time()
            peer.transport.cut()
            await trio.sleep_forever()
    assert 10 < len(connector.resumed) < 100, "tried for the whole window, but not in a hurry"
    assert trio.current_time() - lost <= 15, "the server keeps a lost connection for 15 s only"


async def test_a_later_connection_that_cannot_be_resumed_fails_its_calls_and_is_replaced(
    autojump_clock: MockClock,
) -> None:
    connector = StatefulConnector()
    lost: list[HubClosed] = []

    async def call(hub: HubConnection) -> None:
        try:
            await hub.invoke("X")
        except HubClosed as error:
            lost.append(error)

    async with open_peer(connector=connector, reconnect=lambda _: 0.0) as (hub, peer):
        await peer.send(Close(allow_reconnect=True))
        await trio.sleep(1)
        assert len(connector.peers) == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, hub)
            await wait_all_tasks_blocked()
            connector.reopen_failures = [ValueError("token")] * 1000
            connector.peer.transport.cut()
            await trio.sleep(10)
            assert len(connector.peers) == 2, "resuming is tried for 15 s first"
            assert not lost
            await trio.sleep(10)
            assert len(connector.peers) == 3, "reconnecting did not take over"
            assert len(lost) == 1, "the call still waits for an answer on a connection that is gone"
            nursery.cancel_scope.cancel()
    assert not connector.resumed


async def test_a_handlers_failure_comes_out_though_the_body_ends_with_a_group_of_cancellations(
    autojump_clock: MockClock,
) -> None:
    async def bad() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        with trio.move_on_after(1):
            async with open_peer(handlers={"bad": bad}) as (_hub, peer):
                await peer.send(Invocation("bad", []))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    nursery.start_soon(trio.sleep_forever)
