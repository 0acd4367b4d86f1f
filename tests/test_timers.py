"""Keep-alive and timeouts, to the second, on a clock that jumps."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import Peer, open_peer
from trio_signalr.errors import HubClosed, ServerTimeout
from trio_signalr.messages import Close, Invocation, Ping, StreamInvocation


async def arrivals(peer: Peer, until: float) -> list[tuple[str, float]]:
    """What the client sends, and when, up to a time."""
    seen = []
    with trio.CancelScope(deadline=until):
        while True:
            while not peer._ready:
                await peer._read()
            seen.append((type(peer._ready.pop(0)).__name__, trio.current_time()))
    return seen


async def stay(peer: Peer, every: float) -> None:
    """Ping the client now and then."""
    while True:
        await trio.sleep(every)
        await peer.send(Ping())


async def test_a_ping_follows_the_handshake_and_then_every_15_silent_seconds(autojump_clock: MockClock) -> None:
    async with open_peer() as (_hub, peer), trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(stay, peer, 10)
        seen = await arrivals(peer, start + 50)
        assert [(kind, round(when - start, 3)) for kind, when in seen] == [
            ("Ping", 0),
            ("Ping", 15),
            ("Ping", 30),
            ("Ping", 45),
        ]
        nursery.cancel_scope.cancel()


async def test_whatever_is_sent_postpones_the_ping(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(stay, peer, 10)

        async def talk() -> None:
            await trio.sleep(10)
            await hub.send("Notify")

        nursery.start_soon(talk)
        seen = await arrivals(peer, start + 41)
        assert [(kind, round(when - start, 3)) for kind, when in seen] == [
            ("Ping", 0),
            ("Invocation", 10),
            ("Ping", 25),
            ("Ping", 40),
        ]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("last", [0, 20])
async def test_a_silent_server_is_given_up_30_s_after_its_last_word(last: float, autojump_clock: MockClock) -> None:
    with pytest.raises(ServerTimeout, match="nothing for 30 s") as caught:
        async with open_peer() as (_hub, peer):
            start = trio.current_time()
            await trio.sleep(last)
            await peer.send(Ping())
            await trio.sleep_forever()
    assert trio.current_time() - start == pytest.approx(last + 30)
    assert caught.value.allow_reconnect


async def test_a_silent_server_fails_waiting_calls_as_server_timeout(autojump_clock: MockClock) -> None:
    with pytest.raises(ServerTimeout):
        async with open_peer() as (hub, _peer):
            with pytest.raises(ServerTimeout) as caught:
                await hub.invoke("Slow")
            assert caught.value.sent is True
            await trio.sleep_forever()


async def test_infinite_intervals_switch_both_off(autojump_clock: MockClock) -> None:
    async with open_peer(keep_alive_interval=math.inf, server_timeout=math.inf) as (_hub, peer):
        assert [kind for kind, _ in await arrivals(peer, trio.current_time() + 10_000)] == ["Ping"]


async def test_a_transport_that_keeps_itself_alive_needs_neither(autojump_clock: MockClock) -> None:
    from trio_signalr.transports._memory import MemoryTransport

    MemoryTransport.inherent_keep_alive = True
    try:
        async with open_peer() as (_hub, peer):
            assert await arrivals(peer, trio.current_time() + 10_000) == []
    finally:
        MemoryTransport.inherent_keep_alive = False


async def test_while_we_are_deaf_by_choice_silence_means_nothing_and_pings_go_on(autojump_clock: MockClock) -> None:
    with pytest.raises(ServerTimeout):
        await _be_deaf()


async def _be_deaf() -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", max_buffer_size=1) as stream:
        id_ = (await peer.expect(StreamInvocation)).invocation_id
        await peer.items(id_, *range(5))
        await peer.items(id_, *range(5))
        start = trio.current_time()
        assert [kind for kind, _ in await arrivals(peer, start + 100)] == ["Ping"] * 6
        assert stream.statistics().current_buffer_used == 5
        for _ in range(10):
            await stream.receive()
        resumed = trio.current_time()
        with pytest.raises(ServerTimeout) as caught:
            await stream.receive()
        assert trio.current_time() - resumed == pytest.approx(30), "the clock starts anew when reading goes on"
        raise caught.value


async def test_a_loss_in_a_pause_names_the_pause(autojump_clock: MockClock) -> None:
    with pytest.raises(HubClosed, match="reading was paused for 12 s because a buffer was full"):
        async with open_peer() as (hub, peer), hub.stream("Counter", max_buffer_size=1) as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            await peer.items(id_, *range(5))
            await wait_all_tasks_blocked()
            await trio.sleep(12)
            peer.transport.cut()
            async for _ in stream:
                pass


async def test_a_short_pause_is_not_blamed(autojump_clock: MockClock) -> None:
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (hub, peer), hub.stream("Counter", max_buffer_size=1) as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            await peer.items(id_, *range(5))
            await wait_all_tasks_blocked()
            await trio.sleep(1)
            peer.transport.cut()
            async for _ in stream:
                pass
    assert str(caught.value) == "the connection was cut"


async def test_a_close_that_is_under_way_is_heard_although_a_write_fails(autojump_clock: MockClock) -> None:
    with pytest.raises(HubClosed, match="too long") as caught:
        async with open_peer() as (hub, peer):
            await peer.rest()
            await peer.send(Close("too long", True))
            peer.transport.cut(keep=True)
            await hub.send("x" * 100_000)
            await trio.sleep_forever()
    assert caught.value.error == "too long"


async def test_pings_do_not_pile_up_behind_a_stalled_connection(autojump_clock: MockClock) -> None:
    async with open_peer(close_timeout=0, server_timeout=math.inf) as (hub, peer):
        await peer.rest()
        peer.transport.stall()
        with trio.move_on_after(1000):
            while True:
                await hub.send("x" * 10_000)
        peer.transport.resume()
        kinds = [kind for kind, _ in await arrivals(peer, trio.current_time() + 1)]
        assert kinds.count("Ping") <= 1
        assert kinds.count(Invocation.__name__) > 20
