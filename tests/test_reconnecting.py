"""Automatic reconnect: when, how often, and what calls, streams and handlers live through; on a clock that jumps."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import PeerConnector, open_peer
from trio_signalr._hub import HubConnection
from trio_signalr._states import HubState, StateChange
from trio_signalr.errors import HubClosed, InvocationError, ProtocolError, ServerTimeout, TransportError
from trio_signalr.messages import Close, Completion, Invocation, StreamInvocation
from trio_signalr.protocols.handshake import encode_response
from trio_signalr.retry import RetryContext, RetryDelays


def failing(count: int) -> PeerConnector:
    """Connects once, then fails so often."""
    connector = PeerConnector()

    def opened() -> None:
        if len(connector.peers) == 1:
            connector.failures = [TransportError(f"refused {n + 1}") for n in range(count)]

    connector.opened = opened
    return connector


async def test_true_tries_after_0_2_10_and_30_seconds_and_then_gives_up(autojump_clock: MockClock) -> None:
    connector = failing(10)
    with pytest.raises(HubClosed) as caught:
        async with open_peer(connector=connector, reconnect=True) as (_hub, peer):
            lost = trio.current_time()
            peer.transport.cut()
            await trio.sleep_forever()
    assert [round(at - lost, 3) for at in connector.attempts[1:]] == [0, 2, 12, 42]
    assert "the connection was cut; 4 attempts to reconnect failed, the last one: refused 4" in str(caught.value)
    assert isinstance(caught.value.__cause__, TransportError)
    assert caught.value.report is not None
    assert caught.value.report.attempts == 4


async def test_it_reconnects_with_a_new_id_and_goes_on(autojump_clock: MockClock) -> None:
    connector = failing(2)
    async with open_peer(connector=connector, reconnect=True) as (hub, peer):
        assert hub.connection_id == "connection 1"
        peer.transport.cut()
        await trio.sleep(11)
        assert hub.state is HubState.RECONNECTING
        await trio.sleep(2)
        assert hub.state is HubState.CONNECTED
        assert hub.connection_id == "connection 2"
        await hub.send("Still here")
        await connector.peer.expect(Invocation)


async def test_calls_in_flight_fail_and_calls_made_meanwhile_wait(autojump_clock: MockClock) -> None:
    connector = failing(1)
    async with open_peer(connector=connector, reconnect=True) as (hub, peer), trio.open_nursery() as nursery:
        events: list[Any] = []

        async def in_flight() -> None:
            try:
                await hub.invoke("InFlight")
            except HubClosed as error:
                events.append(("lost", error.sent))
            events.append(("again", await hub.invoke("Again"), trio.current_time() - lost))

        nursery.start_soon(in_flight)
        await peer.expect(Invocation)
        await wait_all_tasks_blocked()
        lost = trio.current_time()
        peer.transport.cut()
        await trio.sleep(3)
        message = await connector.peer.expect(Invocation)
        assert message.target == "Again"
        await connector.peer.complete(str(message.invocation_id), 5)
        await wait_all_tasks_blocked()
        assert events == [("lost", True), ("again", 5, pytest.approx(3))]


async def test_the_callers_deadline_bounds_a_call_that_waits(autojump_clock: MockClock) -> None:
    connector = failing(100)
    async with open_peer(connector=connector, reconnect=lambda _: 60.0) as (hub, peer):
        peer.transport.cut()
        await trio.sleep(1)
        with trio.move_on_after(5) as scope:
            await hub.invoke("Waiting")
        assert scope.cancelled_caught
        with trio.move_on_after(5) as scope:
            async with hub.stream("Waiting"):
                pass
        assert scope.cancelled_caught


async def test_a_stream_of_a_lost_connection_delivers_what_it_holds_and_then_fails() -> None:
    connector = PeerConnector()
    async with open_peer(connector=connector, reconnect=True) as (hub, peer):
        async with hub.stream("Counter", item_type=int) as stream:
            await peer.items((await peer.expect(StreamInvocation)).invocation_id, 1, 2)
            await wait_all_tasks_blocked()
            peer.transport.cut()
            await wait_all_tasks_blocked()
            assert [await stream.receive() for _ in range(2)] == [1, 2]
            with pytest.raises(HubClosed) as caught:
                await stream.receive()
            assert caught.value.sent is True
        assert await connector.peer.rest() == [], "nothing of the old connection reaches the new one"


async def test_handlers_and_subscriptions_stay(autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    got: list[object] = []
    async with open_peer(connector=connector, reconnect=True, handlers={"n": got.append}) as (hub, _peer):
        async with hub.subscribe("n", int) as numbers:
            for number in range(3):
                await connector.peer.send(Invocation("n", [number]))
                await wait_all_tasks_blocked()
                connector.peer.transport.cut()
                await wait_all_tasks_blocked()
            assert got == [0, 1, 2]
            assert [await numbers.receive() for _ in range(3)] == [(0,), (1,), (2,)]


async def test_state_changes_tell_the_story_in_order(autojump_clock: MockClock) -> None:
    connector = failing(1)
    changes: list[StateChange] = []
    async with trio.open_nursery() as nursery:
        async with open_peer(connector=connector, reconnect=True) as (hub, peer):

            async def follow() -> None:
                async with hub.state_changes() as states:
                    async for change in states:
                        changes.append(change)

            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            peer.transport.cut()
            await trio.sleep(3)
    steps = [(change.old.name, change.new.name, change.connection_id) for change in changes]
    assert steps == [
        ("CONNECTED", "RECONNECTING", None),
        ("RECONNECTING", "CONNECTED", "connection 2"),
        ("CONNECTED", "CLOSED", None),
    ]
    assert isinstance(changes[0].error, HubClosed)
    assert changes[1].error is None
    assert changes[2].error is None


async def test_state_changes_end_after_a_final_loss(autojump_clock: MockClock) -> None:
    changes: list[StateChange] = []
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer), hub.state_changes() as states, trio.open_nursery() as nursery:

            async def follow() -> None:
                changes.extend([change async for change in states])

            nursery.start_soon(follow)
            await peer.send(Close("why"))
            await trio.sleep_forever()
    assert [change.new for change in changes] == [HubState.CLOSED]
    assert isinstance(changes[0].error, HubClosed)


@pytest.mark.parametrize("close", [Close(), Close("error", False)])
async def test_a_close_without_allow_reconnect_is_final(close: Close) -> None:
    connector = PeerConnector()
    with pytest.raises(HubClosed):
        async with open_peer(connector=connector, reconnect=True) as (_hub, peer):
            await peer.send(close)
            await trio.sleep_forever()
    assert len(connector.attempts) == 1


@pytest.mark.parametrize("way", ["close", "orderly end", "silence", "garbage"])
async def test_every_other_loss_is_repaired(way: str, autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    async with open_peer(connector=connector, reconnect=True) as (hub, peer), trio.open_nursery() as nursery:
        errors: list[Exception] = []

        async def call() -> None:
            try:
                await hub.invoke("Slow")
            except HubClosed as error:
                errors.append(error)

        nursery.start_soon(call)
        await peer.expect(Invocation)
        if way == "close":
            await peer.send(Close("restarting", True))
        elif way == "orderly end":
            await peer.transport.aclose()
        elif way == "garbage":
            await peer.transport.send(b"garbage\x1e")
        else:
            await trio.sleep(30)
        await trio.sleep(1)
        assert hub.connection_id == "connection 2"
        (error,) = errors
        assert isinstance(error, ServerTimeout) == (way == "silence")
        if way == "garbage":
            assert isinstance(error.__cause__, ProtocolError), "with reconnect a broken protocol counts as a loss"


async def test_the_first_connect_is_not_tried_again() -> None:
    connector = PeerConnector()
    connector.failures.append(TransportError("refused"))
    with pytest.raises(TransportError, match="refused"):
        async with open_peer(connector=connector, reconnect=True):
            raise AssertionError("not reached")
    assert len(connector.attempts) == 1


async def test_a_refused_handshake_is_a_failed_attempt(autojump_clock: MockClock) -> None:
    connector = PeerConnector()

    def opened() -> None:
        connector._handshake = encode_response("overloaded" if len(connector.peers) < 3 else None)

    connector.opened = opened
    async with open_peer(connector=connector, reconnect=True) as (hub, peer):
        peer.transport.cut()
        await trio.sleep(13)
        assert hub.connection_id == "connection 4"


async def test_the_policy_is_told_attempts_elapsed_time_and_the_error(autojump_clock: MockClock) -> None:
    asked: list[tuple[int, float, str]] = []

    def policy(context: RetryContext) -> float | None:
        asked.append((context.previous_attempts, round(context.elapsed, 3), str(context.error)))
        return [1.0, 5.0, None][context.previous_attempts]

    with pytest.raises(HubClosed, match="2 attempts"):
        async with open_peer(connector=failing(9), reconnect=policy) as (_hub, peer):
            peer.transport.cut()
            await trio.sleep_forever()
    assert asked == [(0, 0, "the connection was cut"), (1, 1, "refused 1"), (2, 6, "refused 2")]


async def test_a_policy_that_refuses_at_once_means_no_reconnecting_at_all(autojump_clock: MockClock) -> None:
    changes: list[HubState] = []
    with pytest.raises(HubClosed) as caught:
        async with open_peer(reconnect=lambda _: None) as (hub, peer), hub.state_changes() as states:
            peer.transport.cut()
            changes = [change.new async for change in states]
            await trio.sleep_forever()
    assert str(caught.value) == "the connection was cut"
    assert changes == [HubState.CLOSED]


async def test_a_policy_that_raises_ends_the_block_with_that_exception(autojump_clock: MockClock) -> None:
    error = ZeroDivisionError("policy")

    def policy(_: RetryContext) -> float:
        raise error

    with pytest.raises(ZeroDivisionError) as caught:
        async with open_peer(reconnect=policy) as (_hub, peer):
            peer.transport.cut()
            await trio.sleep_forever()
    assert caught.value is error


@pytest.mark.parametrize("when", ["delay", "attempt"])
async def test_leaving_ends_a_delay_or_an_attempt_at_once(when: str, autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    policy = RetryDelays(1000) if when == "delay" else RetryDelays(0)

    def opened() -> None:
        connector._handshake = b"{"  # later ones are never answered

    connector.opened = opened
    async with open_peer(connector=connector, reconnect=policy, handshake_timeout=1000) as (_hub, peer):
        peer.transport.cut()
        await trio.sleep(1)
        left_at = trio.current_time()
    assert trio.current_time() == left_at
    assert len(connector.attempts) == (1 if when == "delay" else 2)


async def test_with_the_server_away_for_ten_minutes_the_attempts_follow_the_policy_and_nothing_else(
    autojump_clock: MockClock,
) -> None:
    connector = failing(1000)
    async with open_peer(connector=connector, reconnect=lambda context: 0 if not context.previous_attempts else 30) as (
        hub,
        peer,
    ):
        lost = trio.current_time()
        peer.transport.cut()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(hub.invoke, "Waiting")
            await trio.sleep(601)
            nursery.cancel_scope.cancel()
    assert [round(at - lost) for at in connector.attempts[1:]] == list(range(0, 601, 30))


# on_connected


async def test_on_connected_runs_after_every_handshake_before_other_calls(autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    ids: list[str | None] = []

    async def join(hub: HubConnection) -> None:
        ids.append(hub.connection_id)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:  # tasks that it starts go out at once, too
            nursery.start_soon(hub.send, "Join")

    async with open_peer(connector=connector, reconnect=True, on_connected=join) as (hub, peer):
        await peer.expect(Invocation)
        peer.transport.cut()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.send, "Other")
            assert (await connector.peer.expect(Invocation)).target == "Join"
            assert (await connector.peer.expect(Invocation)).target == "Other"
    assert ids == ["connection 1", "connection 2"]


@pytest.mark.parametrize("connection", [1, 2])
async def test_what_on_connected_raises_ends_the_block(connection: int, autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    error = LookupError("mine")

    async def fail(hub: HubConnection) -> None:
        if len(connector.peers) == connection:
            raise error

    reached = False
    with pytest.raises(LookupError) as caught:
        async with open_peer(connector=connector, reconnect=True, on_connected=fail) as (_hub, peer):
            reached = True
            peer.transport.cut()
            await trio.sleep_forever()
    assert caught.value is error
    assert reached == (connection == 2)


async def test_an_invocation_error_in_on_connected_ends_the_block_too(autojump_clock: MockClock) -> None:
    connector = PeerConnector()

    async def join(hub: HubConnection) -> None:
        await hub.invoke("Join")

    async def serve() -> None:
        await wait_all_tasks_blocked()
        await connector.peer.complete(str((await connector.peer.expect(Invocation)).invocation_id), error="no")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(InvocationError, match="no"):
            async with open_peer(connector=connector, on_connected=join):
                raise AssertionError("not reached")


async def test_a_loss_during_on_connected_while_reconnecting_is_a_failed_attempt(autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    calls = 0

    async def join(hub: HubConnection) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 3):
            connector.peer.transport.cut()
        if calls == 2:
            await hub.invoke("Join")  # fails with HubClosed
        elif calls == 3:
            await trio.sleep_forever()  # is cancelled

    async with open_peer(connector=connector, reconnect=True, on_connected=join) as (hub, peer):
        peer.transport.cut()
        await trio.sleep(13)
        assert hub.connection_id == "connection 4"
        assert calls == 4


async def test_a_loss_during_the_first_on_connected_leaves_open_hub(autojump_clock: MockClock) -> None:
    connector = PeerConnector()

    async def join(hub: HubConnection) -> None:
        connector.peer.transport.cut()
        await hub.invoke("Join")

    with pytest.raises(HubClosed):
        async with open_peer(connector=connector, reconnect=True, on_connected=join):
            raise AssertionError("not reached")


async def test_leaving_during_on_connected_says_goodbye(autojump_clock: MockClock) -> None:
    connector = PeerConnector()

    async def join(hub: HubConnection) -> None:
        if len(connector.peers) == 2:
            await trio.sleep_forever()

    async with open_peer(connector=connector, reconnect=True, on_connected=join) as (_hub, peer):
        peer.transport.cut()
        await trio.sleep(1)
        left_at = trio.current_time()
    assert trio.current_time() == left_at
    assert (await connector.peer.rest_of_connection())[-1:] == [Close()]


async def test_answers_of_an_old_connection_are_not_sent_on_the_new_one(autojump_clock: MockClock) -> None:
    connector = PeerConnector()

    async def slow() -> str:
        await trio.sleep(10)
        return "late"

    async with open_peer(connector=connector, reconnect=True, handlers={"ask": slow}) as (_hub, peer):
        await peer.send(Invocation("ask", [], "s1"))
        await wait_all_tasks_blocked()
        peer.transport.cut()
        await trio.sleep(15)
        assert not any(isinstance(message, Completion) for message in await connector.peer.rest())
