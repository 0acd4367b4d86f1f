"""Client-to-server streams: in order, bounded, ended in every way."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr.errors import HubClosed, InvocationError
from trio_signalr.messages import CancelInvocation, Completion, Invocation, StreamItem
from trio_signalr.testing import HubException, HubServer

from .raw import RawClient, open_raw

HEAD = "An unexpected error occurred invoking '{}' on the server."


def server_with_uploads(**options: Any) -> HubServer:
    server = HubServer(**options)

    @server.method
    async def Collect(items: trio.abc.ReceiveChannel[int]) -> list[int]:
        return [item async for item in items]

    @server.method
    async def Join(first: AsyncIterator[str], separator: str, second: AsyncIterable[str]) -> str:
        return separator.join([word async for word in first] + [word async for word in second])

    @server.method
    async def Double(numbers: AsyncIterable[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    @server.method
    async def First(items: trio.abc.ReceiveChannel[Any]) -> Any:
        return await items.receive()

    server.method(lambda: "here", name="Echo")
    return server


async def words(*items: str) -> AsyncIterator[str]:
    for item in items:
        yield item


async def test_upload(protocol: str) -> None:
    async with server_with_uploads().connect(protocol=protocol) as hub:
        async with hub.upload("Collect", result_type=list[int]) as upload:
            for number in range(100):
                await upload.send(number)
        assert upload.result == list(range(100))


async def test_upload_parameters_among_others(protocol: str) -> None:
    async with server_with_uploads().connect(protocol=protocol) as hub:
        assert await hub.invoke("Join", words("a", "b"), "-", words("c")) == "a-b-c"


async def test_upload_and_stream(protocol: str) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(30):
            yield number

    async with server_with_uploads().connect(protocol=protocol) as hub:
        async with hub.stream("Double", numbers(), item_type=int) as doubled:
            assert [item async for item in doubled] == [2 * number for number in range(30)]


async def test_upload_by_a_send(protocol: str) -> None:
    server, got = HubServer(), list[str]()

    @server.method
    async def Keep(items: AsyncIterable[str]) -> None:
        async for item in items:
            got.append(item)

    async with server.connect(protocol=protocol) as hub:
        await hub.send("Keep", words("a", "b"))
        await wait_all_tasks_blocked()
    assert got == ["a", "b"]


async def test_ids_bind_by_position(protocol: str) -> None:
    async with open_raw(server_with_uploads(), protocol) as raw:
        await raw.call("Join", "-", streams=("z", "a"))
        await raw.send(StreamItem("a", "second"), StreamItem("z", "first"), Completion("a"), Completion("z"))
        assert await raw.receive() == Completion("1", "first-second")


@pytest.mark.parametrize("streams", [(), ("2", "3")])
async def test_wrong_number_of_streams(streams: tuple[str, ...], protocol: str) -> None:
    async with open_raw(server_with_uploads(), protocol) as raw:
        await raw.call("collect", streams=streams)
        text = f"{HEAD.format('collect')} HubException: Client sent {len(streams)} stream(s), Hub method expects 1."
        assert await raw.receive() == Completion("1", error=text)
        await raw.call("Echo", streams=("2",))
        text = f"{HEAD.format('Echo')} HubException: Client sent 1 stream(s), Hub method expects 0."
        assert await raw.receive() == Completion("1", error=text)


async def test_error_of_the_client(protocol: str) -> None:
    server, seen = HubServer(), list[object]()

    @server.method
    async def Watch(items: AsyncIterable[int]) -> None:
        try:
            async for item in items:
                seen.append(item)
        except HubException as error:
            seen.append(str(error))
            raise

    async with open_raw(server, protocol) as raw:
        await raw.call("Watch", streams=("2",))
        await raw.send(StreamItem("2", 5), Completion("2", error="client boom"))
        assert await raw.receive() == Completion("1", error=HEAD.format("Watch") + " HubException: client boom")
    assert seen == [5, "client boom"]


async def test_completion_with_a_result_ends_an_upload(protocol: str) -> None:
    async with open_raw(server_with_uploads(), protocol) as raw:
        await raw.call("Collect", streams=("2",))
        await raw.send(StreamItem("2", 5), Completion("2", None))
        assert await raw.receive() == Completion("1", [5])


@pytest.mark.parametrize("detailed", [False, True])
async def test_item_of_the_wrong_type(detailed: bool, protocol: str) -> None:
    async with open_raw(server_with_uploads(detailed_errors=detailed), protocol) as raw:
        await raw.call("Collect", streams=("2",))
        await raw.send(StreamItem("2", "x"), StreamItem("2", 5), Completion("2"))
        answer = await raw.receive()
        assert isinstance(answer, Completion)
        assert answer.error is not None
        text = HEAD.format("Collect") + " HubException: Failed to bind Stream message."
        assert answer.error == text if not detailed else answer.error.startswith(text + " PayloadError: ")


async def test_method_that_finishes_early(protocol: str) -> None:
    async with open_raw(server_with_uploads(), protocol) as raw:
        await raw.call("First", streams=("2",))
        await raw.send(StreamItem("2", 5))
        assert await raw.receive() == Completion("1", 5)
        await raw.send(*[StreamItem("2", 6)] * 20, Completion("2"))  # nobody's: not even in the way
        await raw.call("Echo", id_="3")
        assert await raw.receive() == Completion("3", "here")


async def test_method_that_closes_its_upload(autojump_clock: MockClock, protocol: str) -> None:
    server = server_with_uploads()

    @server.method
    async def Close(items: trio.abc.ReceiveChannel[int]) -> None:
        async with items:
            await items.receive()
        with pytest.raises(trio.ClosedResourceError):
            await items.receive()
        await trio.sleep_forever()

    async with open_raw(server, protocol) as raw:
        await raw.call("Close", streams=("2",))
        await raw.send(*[StreamItem("2", 5)] * 20)
        await raw.call("Echo", id_="3")
        assert await raw.receive() == Completion("3", "here")


async def test_unknown_streams_are_ignored(protocol: str) -> None:
    async with open_raw(server_with_uploads(), protocol) as raw:
        await raw.send(StreamItem("2", 1), Completion("2"))  # before their invocation
        await raw.call("Collect", streams=("2",))
        await raw.send(StreamItem("9", 1), Completion("9"), CancelInvocation("2"), StreamItem("2", 5), Completion("2"))
        assert await raw.receive() == Completion("1", [5])


@pytest.mark.parametrize(("items", "answered_at"), [(10, 0.0), (14, 1.5)])
async def test_full_buffer_stops_the_connection(
    items: int, answered_at: float, autojump_clock: MockClock, protocol: str
) -> None:
    """As seen on ASP.NET Core: a reader at 0.5 s an item, 14 items, and what is behind them comes 1.5 s later."""
    server = server_with_uploads()

    @server.method
    async def Slow(items: AsyncIterable[int]) -> None:
        async for _ in items:
            await trio.sleep(0.5)

    async with open_raw(server, protocol) as raw:
        await raw.call("Slow", streams=("2",))
        await wait_all_tasks_blocked()  # the method waits for the first one
        await raw.send(*[StreamItem("2", number) for number in range(items)])
        await raw.call("Echo", id_="3")
        assert await raw.receive() == Completion("3", "here")
        assert trio.current_time() == answered_at


async def test_capacity_can_be_chosen(autojump_clock: MockClock, protocol: str) -> None:
    server = server_with_uploads(stream_buffer_capacity=1)

    @server.method
    async def Never(items: AsyncIterable[int]) -> None:
        await trio.sleep(100)

    async with open_raw(server, protocol) as raw:
        await raw.call("Never", streams=("2",))
        await raw.send(StreamItem("2", 1), StreamItem("2", 2))
        await raw.call("Echo", id_="3")
        answers = [await raw.receive(), await raw.receive()]
        assert trio.current_time() == 100  # the method's end was what let the second item go
    assert Completion("3", "here") in answers


async def test_reading_stops_in_the_end(autojump_clock: MockClock) -> None:
    """Behind a full buffer so many bytes are read, no more; the rest stays in the network."""
    server = server_with_uploads()

    @server.method
    async def Never(items: AsyncIterable[bytes]) -> None:
        await trio.sleep_forever()

    async with open_raw(server) as raw:
        await raw.call("Never", streams=("2",))
        with trio.move_on_after(1) as scope:
            while True:
                await raw.send(StreamItem("2", b"x" * 10_000))
        assert scope.cancelled_caught
        assert 10 < len(raw.client.messages(StreamItem)) < 20


async def test_uploads_of_a_lost_client(protocol: str) -> None:
    server, errors = HubServer(), list[str]()

    @server.method
    async def Watch(items: AsyncIterable[int]) -> None:
        try:
            async for _ in items:
                pass
        except HubClosed as error:
            errors.append(str(error))

    async with open_raw(server, protocol) as raw:
        await raw.call("Watch", streams=("2",))
        await raw.send(StreamItem("2", 1))
        await wait_all_tasks_blocked()
        await raw.client.drop()
    assert errors == ["The underlying connection was closed."]


async def cancel_upload(raw: RawClient) -> None:
    await raw.call("Collect", streams=("2",))
    await raw.send(CancelInvocation("1"), Completion("2", error="Stream canceled by client."))


async def test_cancelled_upload(protocol: str) -> None:
    async with open_raw(server_with_uploads(), protocol) as raw:
        await cancel_upload(raw)
        assert await raw.rest() == [Completion("1", error=HEAD.format("Collect"))]
        assert raw.client.running == []


async def test_what_the_client_sends_for_a_cancelled_upload(protocol: str) -> None:
    server = server_with_uploads()
    async with server.connect(protocol=protocol) as hub:
        client = server.client(hub.connection_id)
        with trio.CancelScope() as scope:
            async with hub.upload("Collect") as upload:
                await upload.send(1)
                await wait_all_tasks_blocked()
                scope.cancel()
                await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
    assert [type(message) for message in client.messages()][:4] == [
        Invocation,
        StreamItem,
        CancelInvocation,
        Completion,
    ]


async def test_failing_method_reaches_the_upload(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Refuse(items: AsyncIterable[int]) -> None:
        raise HubException("not today")

    async with server.connect(protocol=protocol) as hub:
        with pytest.raises(InvocationError, match="not today"):
            async with hub.upload("Refuse") as upload:
                while True:
                    await upload.send(1)
