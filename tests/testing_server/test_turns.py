"""Who runs when: plain calls of one client take turns, everything else does not wait for them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr.messages import CancelInvocation, Completion, Ping, StreamItem
from trio_signalr.testing import HubServer

from .raw import open_raw


def server_with_slow_methods(max_parallel_invocations: int = 1) -> HubServer:
    server = HubServer(max_parallel_invocations=max_parallel_invocations)

    @server.method
    async def Slow(seconds: float) -> float:
        await trio.sleep(seconds)
        return trio.current_time()

    @server.method
    def Echo(value: int) -> float:
        return trio.current_time()

    @server.method
    async def Once() -> AsyncIterator[float]:
        yield trio.current_time()

    @server.method
    async def Drain(items: AsyncIterable[int]) -> float:
        async for _ in items:
            pass
        return trio.current_time()

    return server


async def test_plain_calls_run_one_after_another(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(), protocol) as raw:
        for id_ in "123":
            await raw.call("Slow", 1, id_=id_)
        answers = [await raw.receive() for _ in "123"]
    assert answers == [Completion("1", 1.0), Completion("2", 2.0), Completion("3", 3.0)]


async def test_a_waiting_call_holds_up_everything_behind_it(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(), protocol) as raw:
        await raw.call("Slow", 1, id_="1")
        await raw.call("Echo", 1, id_="2")
        await raw.call_stream("Once", id_="3")
        answers = [await raw.receive() for _ in range(4)]
    assert answers[0] == Completion("1", 1.0)
    assert Completion("2", 1.0) in answers
    assert StreamItem("3", 1.0) in answers


async def test_a_single_plain_call_holds_up_nothing_else(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(), protocol) as raw:
        await raw.call("Slow", 1, id_="1")
        await raw.call_stream("Once", id_="2")
        await raw.call("Drain", id_="3", streams=("4",))
        await raw.send(Completion("4"))
        answers = [await raw.receive() for _ in range(4)]
    assert answers[0] == StreamItem("2", 0.0)
    assert Completion("3", 0.0) in answers[1:3]
    assert answers[3] == Completion("1", 1.0)


async def test_streams_and_uploads_never_count(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Forever() -> AsyncIterator[int]:
        yield 0
        await trio.sleep_forever()

    server.method(lambda: "here", name="Plain")
    async with open_raw(server, protocol) as raw:
        for id_ in "123":
            await raw.call_stream("forever", id_=id_)
        await raw.call("plain", id_="4")
        answers = [await raw.receive() for _ in range(4)]
        assert Completion("4", "here") in answers
        assert raw.client.running == ["Forever"] * 3


async def test_more_may_run_side_by_side(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(max_parallel_invocations=3), protocol) as raw:
        for id_, seconds in [("1", 3), ("2", 2), ("3", 1), ("4", 1)]:
            await raw.call("Slow", seconds, id_=id_)
        answers = [await raw.receive() for _ in range(4)]
    assert answers[0] == Completion("3", 1.0)
    assert {answer.invocation_id for answer in answers[1:3] if isinstance(answer, Completion)} == {"2", "4"}
    assert answers[3] == Completion("1", 3.0)


async def test_clients_do_not_wait_for_each_other(autojump_clock: MockClock, protocol: str) -> None:
    server = server_with_slow_methods()
    async with server.connect(protocol=protocol) as one, server.connect(protocol=protocol) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.invoke, "Slow", 5)
            await wait_all_tasks_blocked(0.001)
            assert await other.invoke("Echo", 1, result_type=float) < 1


async def test_a_failed_call_frees_its_slot(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Fail() -> None:
        await trio.sleep(1)
        raise ValueError

    async with open_raw(server, protocol) as raw:
        for id_ in "12":
            await raw.call("Fail", id_=id_)
        await raw.receive()
        await raw.receive()
    assert trio.current_time() == 2


async def test_bad_calls_need_no_slot(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(), protocol) as raw:
        await raw.call("Slow", 1, id_="1")
        await raw.call("Unknown", id_="2")
        await raw.call("Echo", "no number", id_="3")
        answers = [await raw.receive() for _ in "123"]
    assert [answer.invocation_id for answer in answers if isinstance(answer, Completion)] == ["2", "3", "1"]


async def test_cancelling_a_plain_call(autojump_clock: MockClock, protocol: str) -> None:
    server, ends = HubServer(), []

    @server.method
    async def Slow() -> None:
        try:
            await trio.sleep(60)
        finally:
            ends.append(trio.current_time())

    async with open_raw(server, protocol) as raw:
        await raw.call("Slow", id_="1")
        await wait_all_tasks_blocked()
        await raw.send(CancelInvocation("1"))
        assert await raw.receive() == Completion(
            "1", error="An unexpected error occurred invoking 'Slow' on the server."
        )
        await raw.send(CancelInvocation("1"), CancelInvocation("7"))  # late, unknown: both mean nothing
        assert await raw.rest() == []
    assert ends == [0.0]


async def test_cancelled_call_may_still_have_a_result(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Careful() -> str:
        with trio.move_on_after(60) as scope:
            scope.shield = True
            await trio.sleep(1)
        return "done all the same"

    async with open_raw(server, protocol) as raw:
        await raw.call("Careful")
        await raw.send(CancelInvocation("1"))
        assert await raw.receive() == Completion("1", "done all the same")


async def test_two_plain_calls_may_share_an_id(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(2), protocol) as raw:
        await raw.call("Slow", 1)
        await raw.call("Slow", 1)
        assert [await raw.receive() for _ in "12"] == [Completion("1", 1.0)] * 2


async def test_an_empty_id_counts_as_none(protocol: str) -> None:
    async with open_raw(server_with_slow_methods(), protocol) as raw:
        await raw.call("Echo", 1, id_="")
        await raw.call("Unknown", id_="")
        assert await raw.rest() == []


async def test_client_timeout_does_not_run_while_a_call_waits(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(), protocol) as raw:
        await raw.send(Ping())
        await raw.call("Slow", 100, id_="1")
        await raw.call("Slow", 1, id_="2")
        assert [await raw.receive() for _ in "12"] == [Completion("1", 100.0), Completion("2", 101.0)]


async def test_running_methods_are_listed(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(server_with_slow_methods(2), protocol) as raw:
        assert raw.client.running == []
        await raw.call("slow", 100, id_="1")
        await raw.call("slow", 100, id_="2")
        await raw.call("slow", 100, id_="3")
        await wait_all_tasks_blocked()
        assert raw.client.running == ["Slow", "Slow"]


async def test_methods_see_their_caller(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def WhoAmI() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
        return server.caller.connection_id

    with pytest.raises(RuntimeError, match="only inside"):
        _ = server.caller
    async with server.connect(protocol=protocol) as one, server.connect(protocol=protocol) as other:
        for hub in (one, other):
            assert await hub.invoke("WhoAmI") == hub.connection_id
        with pytest.raises(RuntimeError, match="only inside"):
            _ = server.caller


async def test_caller_is_the_one_of_this_server(protocol: str) -> None:
    front, back = HubServer(), HubServer()

    @back.method
    def Name() -> str:
        return back.caller.connection_id

    @front.method
    async def Pass() -> list[str]:
        async with back.connect(protocol=protocol) as hub:
            with pytest.raises(RuntimeError, match="only inside"):
                _ = back.caller
            return [await hub.invoke("Name"), front.caller.connection_id]

    async with front.connect(protocol=protocol), front.connect(protocol=protocol) as hub:
        assert await hub.invoke("Pass") == ["c1", "c2"]


async def fail_beside_a_cancellation() -> None:
    async def clean_up_badly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(clean_up_badly)
        await trio.sleep_forever()


@pytest.mark.parametrize("how", ["cancel", "drop", "leave"])
async def test_failure_beside_a_cancellation(
    autojump_clock: MockClock, how: str, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    """The nursery raises a group of both; neither may end the connection, nor fly out of the server."""
    server = HubServer(detailed_errors=True)
    server.method(fail_beside_a_cancellation, name="Fail")
    async with open_raw(server, protocol) as raw:
        await raw.call("Fail")
        await wait_all_tasks_blocked()
        if how == "cancel":
            await raw.send(CancelInvocation("1"))
            answer = await raw.receive()
            assert isinstance(answer, Completion)
            assert answer.error is not None
            assert "ExceptionGroup" in answer.error
        elif how == "drop":
            await raw.client.drop()
    assert "while cleaning up" in caplog.text
