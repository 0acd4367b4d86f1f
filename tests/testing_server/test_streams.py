"""Streaming methods: items, ends, errors, cancelling, back-pressure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from trio_signalr.messages import CancelInvocation, Completion, StreamItem
from trio_signalr.testing import Called, Cancelled, Completed, HubException, HubServer

from .raw import open_raw

HEAD = "An error occurred on the server while streaming results."


async def count(to: int, delay: float = 0) -> AsyncIterator[int]:
    for number in range(to):
        yield number
        await trio.sleep(delay)


async def test_items_then_the_end(protocol: str) -> None:
    server = HubServer()
    server.method(count)
    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Count", 3)
        assert await raw.rest() == [*[StreamItem("1", number) for number in range(3)], Completion("1")]


async def test_streams_by_annotation(protocol: str) -> None:
    server = HubServer()

    @server.method
    def Iterator() -> AsyncIterator[int]:
        return count(2)

    @server.method
    async def Channel() -> trio.abc.ReceiveChannel[int]:
        send, receive = trio.open_memory_channel[int](2)
        with send:
            for number in range(2):
                await send.send(number)
        return receive

    @server.method
    def Iterable() -> AsyncIterable[int]:
        class Two:
            def __aiter__(self) -> AsyncIterator[int]:
                return count(2)

        return Two()

    for name in ("Iterator", "Channel", "Iterable"):
        async with server.connect(protocol=protocol) as hub, hub.stream(name) as stream:
            assert [item async for item in stream] == [0, 1]


async def test_streaming_method_without_a_stream(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Nothing() -> AsyncIterator[int]:
        return None  # type: ignore[return-value]

    async with open_raw(server, protocol) as raw:
        await raw.call_stream("nothing")
        text = "The value returned by the streaming method 'nothing' is not a ChannelReader<> or IAsyncEnumerable<>."
        assert await raw.rest() == [Completion("1", error=text)]


@pytest.mark.parametrize(
    ("error", "detailed", "detail"),
    [
        (ValueError("secret"), False, ""),
        (ValueError("secret"), True, " ValueError: secret"),
        (HubException("public"), False, " HubException: public"),
    ],
)
async def test_items_then_an_error(error: Exception, detailed: bool, detail: str, protocol: str) -> None:
    server = HubServer(detailed_errors=detailed)

    @server.method
    async def Fail() -> AsyncIterator[int]:
        yield 1
        raise error

    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Fail")
        assert await raw.rest() == [StreamItem("1", 1), Completion("1", error=HEAD + detail)]


async def test_error_before_there_is_a_stream(protocol: str) -> None:
    server = HubServer(detailed_errors=True)

    @server.method
    def Fail() -> AsyncIterator[int]:
        raise ValueError("early")

    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Fail")
        text = "An unexpected error occurred invoking 'Fail' on the server. ValueError: early"
        assert await raw.rest() == [Completion("1", error=text)]


async def test_item_that_cannot_be_encoded(protocol: str) -> None:
    server, closed = HubServer(), list[bool]()

    @server.method
    async def Strange() -> AsyncIterator[object]:
        try:
            yield 1
            yield object()
        finally:
            closed.append(True)

    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Strange")
        assert await raw.rest() == [StreamItem("1", 1), Completion("1", error=HEAD)]
    assert closed == [True]


async def test_cancelling_a_stream(autojump_clock: MockClock, protocol: str) -> None:
    server, ends = HubServer(), list[object]()

    @server.method
    async def Counter() -> AsyncIterator[int]:
        try:
            async for number in count(100, delay=1):
                yield number
        finally:
            ends.append(trio.current_time())

    async with server.events() as events, open_raw(server, protocol) as raw:
        await raw.call_stream("Counter")
        await trio.sleep(2.5)
        await raw.send(CancelInvocation("1"))
        assert await raw.rest() == [*[StreamItem("1", number) for number in range(3)], Completion("1")]
        assert ends == [2.5]
        client = raw.client
        seen: list[object] = []
        while not (seen and isinstance(seen[-1], Cancelled)):
            event = await events.receive()
            if isinstance(event, Called | Completed | Cancelled):
                seen.append(event)
    assert seen == [Called(client, "Counter", (), "1"), Cancelled(client, "Counter", "1", by_client=True)]


async def test_busy_generator_can_be_cancelled(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Endless() -> AsyncIterator[int]:
        while True:
            yield 0

    async with server.connect(protocol=protocol) as hub:
        async with hub.stream("Endless") as stream:
            await stream.receive()
        async with hub.stream("Endless") as stream:
            await stream.receive()
        client = server.client(hub.connection_id)
    assert len(client.messages(CancelInvocation)) == 2
    assert client.running == []


async def test_unknown_cancels_are_ignored(protocol: str) -> None:
    server = HubServer()
    server.method(count)
    async with open_raw(server, protocol) as raw:
        await raw.send(CancelInvocation("9"))
        await raw.call_stream("count", 1)
        await raw.receive()
        assert await raw.receive() == Completion("1")
        await raw.send(CancelInvocation("1"))
        assert await raw.rest() == []


async def test_id_in_use(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Hold() -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Hold")
        assert await raw.receive() == StreamItem("1", 1)
        await raw.call_stream("Hold")
        assert await raw.rest() == [Completion("1", error="Invocation ID '1' is already in use.")]
        assert raw.client.running == ["Hold"]


async def test_producer_waits_for_a_client_that_takes_nothing(autojump_clock: MockClock, protocol: str) -> None:
    server, made = HubServer(keep_alive_interval=float("inf")), 0

    @server.method
    async def Flood() -> AsyncGenerator[bytes, None]:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 1000

    async with open_raw(server, protocol) as raw:
        await raw.call_stream("Flood")
        raw.client.stall(incoming=False)
        await trio.sleep(5)
        stalled = made
        await trio.sleep(1)
        assert made == stalled < 1000
        raw.client.resume()
        await raw.receive()
        await trio.sleep(1)
        assert made > stalled


async def test_client_that_takes_nothing_is_dropped(autojump_clock: MockClock) -> None:
    server = HubServer(send_timeout=10)

    @server.method
    async def Flood() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x" * 1000

    async with open_raw(server) as raw:
        client = raw.client
        await raw.call_stream("Flood")
        await client.wait_disconnected()
        assert trio.current_time() == 10
        assert client.error == "the client took nothing for 10 s"


async def test_lost_client_s_streams_are_cancelled(protocol: str) -> None:
    server, ends = HubServer(), list[object]()

    @server.method
    async def Hold() -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            ends.append("closed")

    async with server.events() as events, open_raw(server, protocol) as raw:
        await raw.call_stream("Hold")
        await raw.receive()
        await raw.client.drop()
        assert ends == ["closed"]
        while not isinstance(event := await events.receive(), Cancelled):
            pass
        assert event == Cancelled(raw.client, "Hold", "1", by_client=False)
