"""What the server calls: handlers, subscriptions, answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import Peer, open_peer
from trio_signalr.errors import HubClosed, HubException, PayloadError, StreamOverflow
from trio_signalr.messages import Close, Completion, Invocation
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol


@pytest.fixture(params=[JsonHubProtocol, MessagePackHubProtocol], ids=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> HubProtocol:
    made: HubProtocol = request.param()
    return made


async def answer(peer: Peer, target: str, *arguments: object, id_: str = "s1") -> tuple[object, str | None]:
    """Ask the client, and return its result and its error."""
    await peer.send(Invocation(target, list(arguments), id_))
    completion = await peer.expect(Completion)
    assert completion.invocation_id == id_
    result = "absent" if completion.error is not None else peer.value(completion.result)
    return result, completion.error


@dataclass
class Point:
    x: int
    y: int


async def test_arguments_arrive_as_the_annotations_say(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        got: list[object] = []

        async def on_point(point: Point, name: str, rest: Any = None) -> None:
            got.append((point, name, rest))

        def on_any(*values: int) -> None:
            got.append(values)

        hub.on("point", on_point)
        hub.on("any", on_any)
        await peer.send(Invocation("point", [{"x": 1, "y": 2}, "a"]), Invocation("any", [1, 2, 3]))
        await wait_all_tasks_blocked()
        assert sorted(got, key=str) == sorted([(Point(1, 2), "a", None), (1, 2, 3)], key=str)


async def test_handlers_given_to_open_hub_miss_nothing() -> None:
    got: list[str] = []
    async with open_peer(handlers={"early": got.append}) as (_hub, peer):
        await peer.send(Invocation("early", ["first"]))
        await wait_all_tasks_blocked()
    assert got == ["first"]


async def test_one_target_runs_in_order_and_targets_run_side_by_side() -> None:
    async with open_peer() as (hub, peer):
        events: list[str] = []
        gate = trio.Event()

        async def slow(number: int) -> None:
            events.append(f"slow {number} begins")
            await gate.wait()
            events.append(f"slow {number} ends")

        hub.on("slow", slow)
        hub.on("quick", lambda: events.append("quick"))
        await peer.send(Invocation("slow", [1]), Invocation("slow", [2]), Invocation("quick", []))
        await wait_all_tasks_blocked()
        assert sorted(events) == ["quick", "slow 1 begins"]
        events.clear()
        gate.set()
        await wait_all_tasks_blocked()
        assert events == ["slow 1 ends", "slow 2 begins", "slow 2 ends"]


async def test_several_handlers_of_one_target_run_in_the_order_of_registration() -> None:
    async with open_peer() as (hub, peer):
        events: list[object] = []
        hub.on("news", lambda value: events.append(("first", value)))
        with hub.on("news", lambda value: events.append(("second", value))) as registration:
            await peer.send(Invocation("news", [1]))
            await wait_all_tasks_blocked()
        registration.remove()
        await peer.send(Invocation("news", [2]), Invocation("nobody listens", []))
        await wait_all_tasks_blocked()
        assert events == [("first", 1), ("second", 1), ("first", 2)]


async def test_a_handler_may_call_the_hub() -> None:
    async with open_peer() as (hub, peer):
        results: list[object] = []

        async def on_ask() -> None:
            results.append(await hub.invoke("Back"))

        hub.on("ask", on_ask)
        await peer.send(Invocation("ask", []))
        await peer.complete(str((await peer.expect(Invocation)).invocation_id), 5)
        await wait_all_tasks_blocked()
        assert results == [5]


async def test_a_handler_that_raises_ends_the_block_with_that_exception() -> None:
    error = ValueError("mine")

    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        async with open_peer(handlers={"news": fail}) as (_hub, peer):
            await peer.send(Invocation("news", []))
            await trio.sleep_forever()
    assert caught.value is error
    assert error.__context__ is None
    assert await peer.rest_of_connection() == [Close()]


async def test_arguments_that_do_not_fit_end_the_block_when_nobody_awaits_an_answer(protocol: HubProtocol) -> None:
    def on_number(number: int) -> None:
        raise AssertionError("not reached")

    cases: list[tuple[list[object], str]] = [(["x"], r"\$\[0\]"), ([], "0 arguments"), ([1, 2], "2 arguments")]
    for arguments, path in cases:
        with pytest.raises(PayloadError, match="'number'") as caught:
            async with open_peer(protocol, handlers={"number": on_number}) as (_hub, peer):
                await peer.send(Invocation("number", arguments))
                await trio.sleep_forever()
        if arguments == ["x"]:
            assert caught.value.path == "$[0]"
        else:
            assert path in str(caught.value)


@pytest.mark.parametrize("use", ["keyword", "unresolvable", "not callable"])
async def test_a_handler_that_can_never_be_called_is_refused_at_once(use: str) -> None:
    def keyword(*, name: str) -> None: ...

    def unresolvable(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    handler: Any = {"keyword": keyword, "unresolvable": unresolvable, "not callable": 5}[use]
    async with open_peer() as (hub, _peer):
        with pytest.raises(TypeError):
            hub.on("x", handler)


# Answers


async def test_an_awaited_call_is_answered_with_what_the_handler_returns(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):

        async def double(number: int) -> int:
            await trio.lowlevel.checkpoint()
            return 2 * number

        hub.on("double", double)
        hub.on("nothing", lambda: None)
        assert await answer(peer, "double", 21) == (42, None)
        assert await answer(peer, "nothing") == (None, None)


async def test_what_has_no_answer_is_told_so(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        hub.on("number", lambda: 1)
        hub.on("number", lambda: 2)

        def typed(number: int) -> int:
            return number

        def refuse() -> None:
            raise HubException("not today")

        hub.on("typed", typed)
        hub.on("refuse", refuse)
        async with hub.subscribe("subscribed"):
            assert (await answer(peer, "unknown"))[1] == "Client didn't provide a result."
            assert (await answer(peer, "subscribed"))[1] == "Client didn't provide a result."
            assert (await answer(peer, "number"))[1] == "Client provided multiple results."
            assert (await answer(peer, "typed", "x"))[1] == "Client failed to parse argument(s)."
            assert (await answer(peer, "refuse"))[1] == "not today"
            assert await answer(peer, "typed", 5) == (5, None), "the hub lives"


async def test_one_result_among_several_handlers_is_the_answer() -> None:
    async with open_peer() as (hub, peer):
        hub.on("number", lambda: None)
        hub.on("number", lambda: 2)
        assert await answer(peer, "number") == (2, None)


async def test_a_handler_that_raises_answers_its_type_first_and_then_ends_the_block() -> None:
    def fail() -> None:
        raise LookupError("secret")

    with pytest.raises(LookupError, match="secret"):
        async with open_peer(handlers={"ask": fail}) as (_hub, peer):
            await peer.send(Invocation("ask", [], "s1"))
            await trio.sleep_forever()
    assert await peer.rest_of_connection() == [Completion("s1", error="LookupError"), Close()]


async def test_a_result_that_cannot_be_encoded_is_an_error_for_both_sides() -> None:
    with pytest.raises(PayloadError):
        async with open_peer(handlers={"ask": lambda: object()}) as (_hub, peer):
            await peer.send(Invocation("ask", [], "s1"))
            await trio.sleep_forever()
    assert await peer.rest_of_connection() == [Completion("s1", error="PayloadError"), Close()]


async def test_a_slow_answer_delays_nothing() -> None:
    async with open_peer() as (hub, peer):
        gate = trio.Event()

        async def slow() -> str:
            await gate.wait()
            return "slow"

        hub.on("slow", slow)
        hub.on("quick", lambda: "quick")
        await peer.send(*[Invocation("slow", [], f"s{n}") for n in range(50)])
        assert await answer(peer, "quick", id_="s99") == ("quick", None)
        gate.set()
        answers = [await peer.expect(Completion) for _ in range(50)]
        assert sorted(message.invocation_id for message in answers) == sorted(f"s{n}" for n in range(50))


@pytest.mark.parametrize("arrives", ["before", "after"])
async def test_an_awaited_call_is_answered_even_when_the_block_is_being_left(arrives: str) -> None:
    async def stubborn() -> None:
        await trio.sleep_forever()

    async with open_peer(handlers={"ask": stubborn}) as (_hub, peer):
        await peer.rest()
        await peer.send(Invocation("ask", [], "s1"))
        if arrives == "before":
            await wait_all_tasks_blocked()
    rest = await peer.rest_of_connection()
    expected = [Completion("s1", error="Client is closing the connection."), Close()]
    assert rest == expected or (arrives == "after" and rest == expected[::-1])


async def test_a_call_without_an_id_is_never_answered() -> None:
    async with open_peer(handlers={"news": lambda: 5}) as (_hub, peer):
        await peer.send(Invocation("news", []), Invocation("unknown", []))
        assert await peer.rest() == []


# Flow control


async def test_a_full_handler_queue_pauses_reading() -> None:
    async with open_peer() as (hub, peer):
        gate = trio.Event()
        handled = 0

        async def slow() -> None:
            nonlocal handled
            await gate.wait()
            handled += 1

        hub.on("slow", slow)
        for _ in range(5):
            await peer.send(*[Invocation("slow", []) for _ in range(1000)])
            await wait_all_tasks_blocked()
        assert peer.transport._outgoing.pending, "what is beyond the mark was left unread"
        gate.set()
        await wait_all_tasks_blocked()
        assert handled == 5000


# Subscriptions


async def test_a_subscription_is_a_receive_channel_of_argument_tuples(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        async with hub.subscribe("point", Point, str) as typed, hub.subscribe("point") as plain:
            assert isinstance(typed, trio.abc.ReceiveChannel)
            await peer.send(Invocation("point", [{"x": 1, "y": 2}, "a"]))
            assert await typed.receive() == (Point(1, 2), "a")
            assert await plain.receive() == ({"x": 1, "y": 2}, "a")
        await peer.send(Invocation("point", [{"x": 1, "y": 2}, "a"]))  # nobody listens any more
        await peer.rest()
        with pytest.raises(trio.ClosedResourceError):
            await typed.receive()


async def test_what_does_not_fit_makes_that_receive_raise_and_the_next_goes_on() -> None:
    async with open_peer() as (hub, peer), hub.subscribe("number", int) as numbers:
        await peer.send(*[Invocation("number", arguments) for arguments in ([1], ["x"], [], [1, 2], [5])])
        assert await numbers.receive() == (1,)
        for _ in range(3):
            with pytest.raises(PayloadError, match="'number'"):
                await numbers.receive()
        assert await numbers.receive() == (5,)


async def test_calls_that_wait_in_a_subscription_are_converted_one_by_one_in_a_loop_too(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), hub.subscribe("n", int) as numbers:
        await peer.send(*[Invocation("n", [n if n != 7 else "seven"]) for n in range(100)])
        await wait_all_tasks_blocked()
        taken: list[object] = []
        while len(taken) < 100:
            try:
                async for (number,) in numbers:
                    taken.append(number)
                    if len(taken) == 100:
                        break
            except PayloadError:
                taken.append("misfit")
        assert taken == [n if n != 7 else "misfit" for n in range(100)]


async def test_subscriptions_have_the_same_policies_as_streams() -> None:
    async with open_peer() as (hub, peer):
        async with (
            hub.subscribe("n", int, max_buffer_size=2, overflow="drop_oldest") as newest,
            hub.subscribe("n", int, max_buffer_size=2, overflow="error") as strict,
        ):
            await peer.send(*[Invocation("n", [n]) for n in range(5)])
            await wait_all_tasks_blocked()
            assert [await newest.receive() for _ in range(2)] == [(3,), (4,)]
            assert [await strict.receive() for _ in range(2)] == [(0,), (1,)]
            with pytest.raises(StreamOverflow):
                await strict.receive()


async def test_a_lost_connection_ends_a_subscription_after_what_it_holds() -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer), hub.subscribe("n", int) as numbers:
            await peer.send(Invocation("n", [1]), Invocation("n", [2]), Close("bye"))
            await wait_all_tasks_blocked()
            assert [await numbers.receive() for _ in range(2)] == [(1,), (2,)]
            with pytest.raises(HubClosed) as caught:
                await numbers.receive()
            assert caught.value.error == "bye"
            await trio.sleep_forever()


async def test_handlers_finish_what_came_before_a_loss(autojump_clock: MockClock) -> None:
    handled: list[int] = []

    async def slow(number: int) -> None:
        await trio.sleep(3)
        handled.append(number)

    with pytest.raises(HubClosed):
        async with open_peer(handlers={"n": slow}, close_timeout=5) as (_hub, peer):
            await peer.send(*[Invocation("n", [n]) for n in range(4)], Close())
            await trio.sleep_forever()
    assert handled == [0, 1, 2, 3]
