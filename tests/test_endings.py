"""Every way in which an ``open_hub`` block can end: which exception leaves it, what the server hears, what is left."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import Peer, PeerConnector, open_peer
from trio_signalr._hub import HubConnection
from trio_signalr.errors import HandshakeError, HubClosed, InternalError, ProtocolError, ServerTimeout
from trio_signalr.messages import CancelInvocation, Close, Completion, Invocation, StreamInvocation
from trio_signalr.protocols.handshake import encode_response


def no_task_is_left(before: int) -> None:
    assert trio.lowlevel.current_statistics().tasks_living == before


def living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_a_block_left_normally_says_goodbye_and_leaves_no_task() -> None:
    before = living()
    async with open_peer() as (hub, peer):
        assert hub.state.name == "CONNECTED"
        assert hub.connection_id == "connection 1"
        await hub.send("last words")
    no_task_is_left(before)
    assert hub.state.name == "CLOSED"
    rest = await peer.rest_of_connection()
    assert [type(message) for message in rest] == [Invocation, Close]


@pytest.mark.parametrize("kind", [ValueError, trio.TooSlowError, HubClosed, ProtocolError])
async def test_what_the_body_raises_comes_out_as_the_same_object(kind: Callable[[str], Exception]) -> None:
    cause, context = OSError("cause"), OSError("context")
    error = kind("mine")
    error.__cause__, error.__context__ = cause, context
    before = living()
    with pytest.raises(type(error)) as caught:
        async with open_peer() as (_hub, peer):
            raise error
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is context
    no_task_is_left(before)
    assert await peer.rest_of_connection() == [Close()]


async def test_a_group_that_the_body_raises_stays_that_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_peer():
            async with trio.open_nursery() as nursery:

                async def fail() -> None:
                    raise ValueError("mine")

                nursery.start_soon(fail)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


async def test_an_outer_cancel_comes_out_as_cancelled_after_cancelling_calls_and_goodbye(
    autojump_clock: MockClock,
) -> None:
    before = living()
    with trio.CancelScope() as scope:
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
            nursery.start_soon(hub.invoke, "Slow")
            id_ = (await peer.expect(Invocation)).invocation_id
            scope.cancel()
    assert scope.cancelled_caught
    no_task_is_left(before)
    assert await peer.rest_of_connection() == [CancelInvocation(str(id_)), Close()]


async def test_a_silent_peer_delays_leaving_by_close_timeout_at_most(autojump_clock: MockClock) -> None:
    async with open_peer(close_timeout=3) as (hub, peer):
        await peer.rest()
        peer.transport.stall()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(400):
                    nursery.start_soon(hub.send, "x" * 1000)
                await wait_all_tasks_blocked()
                scope.cancel()
        left_at = trio.current_time()
    assert trio.current_time() == pytest.approx(left_at + 3)


ENDS: dict[str, tuple[Callable[[Peer], Any], type[HubClosed], str | None, bool]] = {
    "close": (lambda peer: peer.send(Close()), HubClosed, None, False),
    "close with error": (lambda peer: peer.send(Close("why", True)), HubClosed, "why", True),
    "orderly end": (lambda peer: peer.transport.aclose(), HubClosed, None, True),
    "cut": (lambda peer: _call(peer.transport.cut), HubClosed, None, True),
    "silence": (lambda peer: _stay_silent(), ServerTimeout, None, True),
}


async def _stay_silent() -> None:
    await trio.sleep(31)


async def _call(function: Callable[[], None]) -> None:
    function()
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("end", ENDS)
async def test_the_end_of_the_connection_comes_out_alone_as_hub_closed(end: str, autojump_clock: MockClock) -> None:
    act, kind, error, allow_reconnect = ENDS[end]
    before = living()
    cancelled = False
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (_hub, peer):
            try:
                await act(peer)
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled = True
                raise
    assert type(caught.value) is kind
    assert isinstance(caught.value, trio.BrokenResourceError)
    assert (caught.value.error, caught.value.allow_reconnect, caught.value.sent) == (error, allow_reconnect, None)
    assert caught.value.__context__ is None
    assert cancelled
    no_task_is_left(before)


@pytest.mark.parametrize("end", ["close", "cut"])
async def test_a_loss_after_the_body_has_completed_is_none(end: str) -> None:
    act, *_ = ENDS[end]
    async with open_peer() as (_hub, peer):
        with trio.CancelScope(shield=True):
            await act(peer)
            await wait_all_tasks_blocked()
        # the body ends here without having met a checkpoint that could have told it


async def test_a_body_that_handles_the_loss_itself_has_its_own_ending() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

            async def call() -> None:
                try:
                    await hub.invoke("Slow")
                except HubClosed:
                    raise LookupError("handled") from None

            nursery.start_soon(call)
            await peer.expect(Invocation)
            await peer.send(Close())
            await trio.sleep_forever()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


@pytest.mark.parametrize("garbage", [b"garbage\x1e", b'{"type":2}\x1e', b"\xff\x1e", b"x" * 2000])
async def test_a_broken_protocol_comes_out_alone_as_protocol_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        async with open_peer(max_message_size=1000) as (hub, peer), trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(ProtocolError) as inner:
                    await hub.invoke("Slow")
                errors.append(inner.value)
                with pytest.raises(ProtocolError) as inner:
                    await hub.invoke("Late")
                errors.append(inner.value)

            errors: list[ProtocolError] = []
            nursery.start_soon(call)
            message = await peer.expect(Invocation)
            async with hub.stream("Counter", item_type=int) as stream:
                id_ = (await peer.expect(StreamInvocation)).invocation_id
                await peer.items(id_, 1, 2)
                await peer.transport.send(garbage)
                await wait_all_tasks_blocked()
                assert [await stream.receive() for _ in range(2)] == [1, 2], "good messages before it are kept"
                with pytest.raises(ProtocolError):
                    await stream.receive()
            assert message.invocation_id is not None
            await trio.sleep_forever()
    assert caught.value not in errors, "each waiter gets an exception of its own"
    assert caught.value.__context__ is None


async def test_a_handler_and_the_body_that_both_raise_make_a_group_of_exactly_those_two() -> None:
    mine, theirs = ValueError("body"), KeyError("handler")

    def fail() -> None:
        raise theirs

    with pytest.raises(ExceptionGroup) as caught:
        async with open_peer(handlers={"news": fail}) as (_hub, peer):
            await peer.send(Invocation("news", []))
            try:
                await trio.sleep_forever()
            finally:
                raise mine
    assert caught.value.exceptions == (mine, theirs)


async def test_a_bug_of_ours_is_an_internal_error_from_the_bug_and_calls_get_hub_closed() -> None:
    bug = ZeroDivisionError("bug")

    def break_(message: object) -> None:
        raise bug

    with pytest.raises(InternalError, match="please report") as caught:
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(HubClosed):
                    await hub.invoke("Slow")

            nursery.start_soon(call)
            await peer.expect(Invocation)
            session: Any = hub._connection._session
            session._incoming._receivers[Completion] = break_
            await peer.complete("1")
            await trio.sleep_forever()
    assert caught.value.__cause__ is bug


@pytest.mark.parametrize("where", ["body", "handler", "reader"])
def test_ctrl_c_comes_out_as_keyboard_interrupt(where: str) -> None:
    async def main() -> None:
        def press() -> None:
            signal.raise_signal(signal.SIGINT)

        async with open_peer(handlers={"news": press}) as (hub, peer):
            if where == "body":
                press()
            elif where == "handler":
                await peer.send(Invocation("news", []))
            else:
                session: Any = hub._connection._session

                def interrupt(message: object) -> None:
                    raise KeyboardInterrupt

                session._incoming._receivers[Completion] = interrupt
                await peer.complete("1")
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


# Endings before the body has begun


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (encode_response("not supported"), "not supported"),
        (b"<html>\x1e", "handshake"),
        (b'{"type":6}\x1e', "handshake"),
        (b"x" * 100_000, "handshake"),
    ],
)
async def test_a_bad_handshake_is_a_handshake_error(answer: bytes, text: str) -> None:
    before = living()
    with pytest.raises(HandshakeError, match=text):
        async with open_peer(connector=PeerConnector(answer)):
            raise AssertionError("not reached")
    no_task_is_left(before)


async def test_a_handshake_that_never_comes_ends_by_its_timeout(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(HandshakeError, match="within 15 s"):
        async with open_peer(connector=PeerConnector(b"{")):
            raise AssertionError("not reached")
    assert trio.current_time() == pytest.approx(began + 15)


async def test_a_connection_that_ends_during_the_handshake_is_a_handshake_error() -> None:
    for cut in (False, True):
        connector = PeerConnector(b"{")

        def end(connector: PeerConnector = connector, cut: bool = cut) -> None:
            if cut:
                connector.peer.transport.cut()
            else:
                connector.peer.transport._outgoing.end()

        connector.opened = end
        with pytest.raises(HandshakeError, match=r"before the hub answered"):
            async with open_peer(connector=connector):
                raise AssertionError("not reached")


async def test_a_close_right_behind_the_handshake_ends_connecting() -> None:
    connector = PeerConnector(encode_response() + b'{"type":7,"error":"go away"}\x1e')
    with pytest.raises(HubClosed, match="go away") as caught:
        async with open_peer(connector=connector):
            raise AssertionError("not reached")
    assert caught.value.error == "go away"


async def test_messages_right_behind_the_handshake_reach_their_handlers() -> None:
    got: list[object] = []
    connector = PeerConnector(encode_response() + b'{"type":1,"target":"hi","arguments":["early"]}\x1e')
    async with open_peer(connector=connector, handlers={"hi": got.append}):
        await wait_all_tasks_blocked()
    assert got == ["early"]


async def test_cancelling_while_connecting_leaves_nothing(autojump_clock: MockClock) -> None:
    before = living()
    connector = PeerConnector(b"{")
    with trio.move_on_after(1) as scope:
        async with open_peer(connector=connector):
            raise AssertionError("not reached")
    assert scope.cancelled_caught
    no_task_is_left(before)


async def test_what_connecting_raises_comes_out_as_it_is() -> None:
    connector = PeerConnector()
    error = OSError("no way")
    connector.failures.append(error)
    with pytest.raises(OSError, match="no way") as caught:
        async with open_peer(connector=connector):
            raise AssertionError("not reached")
    assert caught.value is error
    assert error.__context__ is None


@pytest.mark.parametrize(
    "options",
    [{"keep_alive_interval": 0}, {"server_timeout": -1}, {"handshake_timeout": 0}, {"close_timeout": -1}],
)
async def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        async with open_peer(**options):
            raise AssertionError("not reached")


async def test_a_hub_that_is_done_is_garbage_at_once() -> None:
    """No reference cycle keeps a left hub, or the tracebacks that it raised, alive until the collector comes by."""

    def hubs_alive() -> int:  # errors in the parameters of other tests keep some
        return sum(isinstance(thing, HubConnection) for thing in gc.get_objects())

    gc.collect()
    before = hubs_alive()
    gc.disable()
    try:
        async with open_peer() as (hub, _peer):
            pass
        del hub, _peer
        left = hubs_alive() - before
        assert left <= 1
    finally:
        gc.enable()


REPORTS: dict[str, tuple[str, str, str | None, bool]] = {
    "close": ("server", "the server closed the connection", None, False),
    "close with error": ("server", "the server closed the connection: why", "why", True),
    "orderly end": ("server", "the server closed the connection", None, True),
    "cut": ("network", "the connection was cut", None, True),
    "silence": ("client", "the server sent nothing for 30 s", None, True),
}


@pytest.mark.parametrize("end", REPORTS)
async def test_a_close_report_tells_who_ended_it_and_how(end: str, autojump_clock: MockClock) -> None:
    closed_by, reason, error, allow_reconnect = REPORTS[end]
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (hub, peer):
            assert hub.close_report is None
            await ENDS[end][0](peer)
            await trio.sleep_forever()
    report = hub.close_report
    assert report is not None
    assert report == caught.value.report
    assert (report.closed_by, report.reason, report.code) == (closed_by, reason, None)
    assert (report.error, report.allow_reconnect, report.attempts) == (error, allow_reconnect, 0)


async def test_leaving_is_reported_as_our_own_doing() -> None:
    async with open_peer() as (hub, _peer):
        pass
    assert hub.close_report is not None
    assert hub.close_report.closed_by == "client"
