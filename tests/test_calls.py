"""Plain calls, to the byte: what goes out, what comes back, what cancelling one puts on the wire."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tests.peer import open_peer
from trio_signalr.errors import HubClosed, InvocationError, PayloadError, ProtocolError
from trio_signalr.messages import UNSET, CancelInvocation, Close, Completion, Invocation, StreamItem
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol


@pytest.fixture(params=[JsonHubProtocol, MessagePackHubProtocol], ids=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> HubProtocol:
    made: HubProtocol = request.param()
    return made


async def test_invoke_sends_one_invocation_and_returns_its_answer_as_the_type_asked_for(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        results = []

        async def call() -> None:
            results.append(await hub.invoke("Add", 1, 2, result_type=int))

        nursery.start_soon(call)
        message = await peer.expect(Invocation)
        assert (message.target, peer.arguments(message), message.stream_ids) == ("Add", [1, 2], [])
        assert message.invocation_id is not None
        await peer.complete(message.invocation_id, 3)
        await wait_all_tasks_blocked()
        assert results == [3]


async def test_answers_find_their_calls_by_id_whatever_the_order(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        results: dict[int, int] = {}

        async def call(number: int) -> None:
            results[number] = await hub.invoke("Echo", number, result_type=int)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(call, number)
            messages = [await peer.expect(Invocation) for _ in range(10)]
            for message in reversed(messages):
                await peer.complete(str(message.invocation_id), *peer.arguments(message))
        assert results == {number: number for number in range(10)}


async def test_ids_are_digits_only_and_never_repeat() -> None:
    async with open_peer() as (hub, peer):
        ids = set()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(hub.invoke, "Nothing")
            for _ in range(50):
                message = await peer.expect(Invocation)
                ids.add(message.invocation_id)
                await peer.complete(str(message.invocation_id))
        assert len(ids) == 50
        assert all(str(id_).isdigit() for id_ in ids)


@pytest.mark.parametrize("result", [(), (None,), (UNSET,)], ids=["absent", "null", "unset"])
async def test_a_void_method_answers_none(protocol: HubProtocol, result: tuple[object, ...]) -> None:
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        results = []

        async def call() -> None:
            results.append(await hub.invoke("Void"))
            results.append(await hub.invoke("Void", result_type=int | None))

        nursery.start_soon(call)
        for _ in range(2):
            await peer.complete(str((await peer.expect(Invocation)).invocation_id), *result)
        await wait_all_tasks_blocked()
        assert results == [None, None]


async def test_a_failed_method_raises_the_servers_text_and_names_the_method() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(InvocationError, match=r"^it broke$") as caught:
                await hub.invoke("Fail")
            assert caught.value.method == "Fail"

        nursery.start_soon(call)
        await peer.complete(str((await peer.expect(Invocation)).invocation_id), error="it broke")


@pytest.mark.parametrize("answer", [("text",), (None,), ()])
async def test_an_answer_that_does_not_fit_ends_only_its_call(
    protocol: HubProtocol, answer: tuple[object, ...]
) -> None:
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(PayloadError, match="'Wrong'") as caught:
                await hub.invoke("Wrong", result_type=int)
            assert caught.value.path == "$"
            assert await hub.invoke("Right", result_type=int) == 1

        nursery.start_soon(call)
        await peer.complete(str((await peer.expect(Invocation)).invocation_id), *answer)
        await peer.complete(str((await peer.expect(Invocation)).invocation_id), 1)


async def test_arguments_that_cannot_be_encoded_send_nothing_and_the_connection_lives(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        with pytest.raises(PayloadError, match="'Take'") as caught:
            await hub.invoke("Take", 1, {"deep": [object()]})
        assert caught.value.path == "$.arguments[1].deep[0]"
        with pytest.raises(PayloadError):
            await hub.send("Take", object())
        with pytest.raises(PayloadError):
            async with hub.stream("Take", object()):
                raise AssertionError("not reached")
        with pytest.raises(PayloadError):
            async with hub.upload("Take", object()):
                raise AssertionError("not reached")
        await hub.send("Fine")
        assert [type(m).__name__ for m in await peer.rest()] == ["Invocation"]


async def test_send_asks_for_no_answer(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer):
        await hub.send("Notify", "hello")
        message = await peer.expect(Invocation)
        assert message.invocation_id is None
        assert peer.arguments(message) == ["hello"]


async def test_everything_that_gathers_in_one_tick_leaves_as_one_transport_message() -> None:
    async with open_peer() as (hub, peer):
        await peer.rest()
        before = peer.reads
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(hub.send, "Notify", number)
        messages = await peer.rest()
        assert sorted(peer.arguments(m)[0] for m in messages if isinstance(m, Invocation)) == list(range(100))
        assert peer.reads - before == 1


# Cancelling


async def test_cancelling_a_written_call_sends_exactly_one_cancel_invocation() -> None:
    async with open_peer() as (hub, peer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.invoke, "Slow")
                message = await peer.expect(Invocation)
                scope.cancel()
        assert await peer.rest() == [CancelInvocation(str(message.invocation_id))]
        await peer.complete(str(message.invocation_id), "late")  # dropped
        assert await peer.rest() == []


async def test_a_deadline_is_a_cancel(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer):
        with pytest.raises(trio.TooSlowError), trio.fail_after(3):
            await hub.invoke("Slow")
        assert trio.current_time() == pytest.approx(3)
        first, second = await peer.rest()
        assert isinstance(first, Invocation)
        assert second == CancelInvocation(str(first.invocation_id))


async def test_a_call_that_was_never_written_leaves_no_trace() -> None:
    async with open_peer() as (hub, peer):
        await peer.rest()
        with trio.CancelScope() as scope:
            scope.cancel()
            await hub.invoke("Never")
        with trio.CancelScope() as scope:
            scope.cancel()
            await hub.send("Never")
        with trio.CancelScope() as scope:
            scope.cancel()
            async with hub.stream("Never"):
                raise AssertionError("not reached")
        assert await peer.rest() == []


async def test_nothing_follows_the_completion() -> None:
    async with open_peer() as (hub, peer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.invoke, "Quick")
                message = await peer.expect(Invocation)
                await peer.complete(str(message.invocation_id), 1)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert await peer.rest() == []


async def test_a_thousand_calls_cancelled_at_once_leave_nothing_behind() -> None:
    async with open_peer() as (hub, peer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(1000):
                    nursery.start_soon(hub.invoke, "Slow")
                called = [await peer.expect(Invocation) for _ in range(1000)]
                scope.cancel()
        cancelled = await peer.rest()
        assert sorted(m.invocation_id for m in cancelled if isinstance(m, CancelInvocation)) == sorted(
            str(m.invocation_id) for m in called
        )
        assert len(hub._connection.calls) == 0


# What must be tolerated


async def test_completions_and_items_of_unknown_ids_are_dropped(protocol: HubProtocol) -> None:
    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        await peer.send(Completion("99", 1), StreamItem("98", 1), Completion("97", error="no"), CancelInvocation("96"))
        nursery.start_soon(hub.invoke, "Still")
        await peer.complete(str((await peer.expect(Invocation)).invocation_id))


async def test_a_stream_item_for_a_plain_call_fails_that_call_only() -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(ProtocolError, match=r"stream\(\)"):
                await hub.invoke("Counter")
            assert await hub.invoke("Fine") == 1

        nursery.start_soon(call)
        id_ = str((await peer.expect(Invocation)).invocation_id)
        await peer.items(id_, 1, 2)
        assert await peer.expect(CancelInvocation) == CancelInvocation(id_)
        await peer.complete(str((await peer.expect(Invocation)).invocation_id), 1)


# The connection's end


@pytest.mark.parametrize("error", [None, "because"])
async def test_a_loss_fails_waiting_calls_and_says_that_they_were_sent(error: str | None) -> None:
    with pytest.raises(HubClosed) as outer:
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(HubClosed) as caught:
                    await hub.invoke("Slow")
                assert caught.value.sent is True
                assert caught.value.error == error
                with pytest.raises(HubClosed) as caught:
                    await hub.invoke("Late")
                assert caught.value.sent is False
                with pytest.raises(HubClosed) as caught:
                    await hub.send("Late")
                assert caught.value.sent is False

            nursery.start_soon(call)
            await peer.expect(Invocation)
            await peer.send(Close(error))
            await trio.sleep_forever()
    assert outer.value.sent is None
    assert outer.value.error == error


async def test_a_write_under_way_is_neither_sent_nor_unsent() -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
            await peer.rest()
            peer.transport.stall(incoming=True, outgoing=False)
            results = []

            async def call(argument: object) -> None:
                try:
                    await hub.invoke("Slow", argument)
                except HubClosed as error:
                    results.append(error.sent)

            for size in (1_000_000, 1_000_000, 10):  # the first fills the pipe, the second waits in it
                nursery.start_soon(call, "x" * size)
                await wait_all_tasks_blocked()
            peer.transport.cut()
            await wait_all_tasks_blocked()
            assert results == [True, None, False]


async def test_after_the_block_everything_raises_closed_resource_error() -> None:
    async with open_peer() as (hub, _peer):
        pass
    with pytest.raises(trio.ClosedResourceError):
        await hub.invoke("Late")
    with pytest.raises(trio.ClosedResourceError):
        await hub.send("Late")
    with pytest.raises(trio.ClosedResourceError):
        async with hub.stream("Late"):
            raise AssertionError("not reached")
    with pytest.raises(trio.ClosedResourceError):
        async with hub.upload("Late"):
            raise AssertionError("not reached")
    with pytest.raises(trio.ClosedResourceError):
        hub.on("Late", print)
    with pytest.raises(trio.ClosedResourceError):
        async with hub.subscribe("Late"):
            raise AssertionError("not reached")


async def test_a_call_by_a_task_outside_of_the_block_ends_with_the_block() -> None:
    ended = []
    async with trio.open_nursery() as nursery:
        async with open_peer() as (hub, peer):

            async def outsider() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await hub.invoke("Slow")
                ended.append(True)

            nursery.start_soon(outsider)
            id_ = (await peer.expect(Invocation)).invocation_id
    assert ended == [True]
    assert await peer.rest_of_connection() == [CancelInvocation(str(id_)), Close()]


async def test_calls_are_checkpoints() -> None:
    async with open_peer() as (hub, _peer):
        with assert_checkpoints():
            await hub.send("Notify")
        with assert_checkpoints():
            async with hub.stream("Counter"):
                pass
        with assert_checkpoints():
            async with hub.subscribe("news"):
                pass


async def test_calls_that_wait_for_an_answer_do_not_stand_in_line_behind_senders(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
        await peer.rest()
        peer.transport.stall(outgoing=False)
        for _ in range(1_000):
            nursery.start_soon(hub.send, "Notify", "x" * 1_000)
        await wait_all_tasks_blocked()
        nursery.start_soon(hub.invoke, "Add", 1)
        await wait_all_tasks_blocked()
        peer.transport.resume()
        sent_before = 0
        while (await peer.expect(Invocation)).target == "Notify":
            sent_before += 1
        assert 100 < sent_before < 600, "what had found room before it, and no more"
        nursery.cancel_scope.cancel()


async def test_senders_wait_when_the_connection_is_behind_and_memory_stays_flat(autojump_clock: MockClock) -> None:
    async with open_peer() as (hub, peer):
        await peer.rest()
        peer.transport.stall(outgoing=False)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await hub.send("Notify", "x" * 1000)
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await wait_all_tasks_blocked()
            stalled_at = sent
            assert 100 < stalled_at < 600, "a pipe and an outbox full, then it waits"
            peer.transport.resume()
            for _ in range(stalled_at):
                await peer.expect(Invocation)
            await wait_all_tasks_blocked()
            assert sent > stalled_at
            nursery.cancel_scope.cancel()
