"""Everything that a call can do, over each transport and hub protocol, on two servers: the real one, and HubServer.

Whatever a test sees at the one it must see at the other, so that users can believe what their own tests see.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import trio

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.relay import Relay, open_relay
from tests.twin import Twin
from trio_signalr import (
    HubClosed,
    HubException,
    InvocationError,
    PayloadError,
    open_hub,
)
from trio_signalr._open import as_protocol
from trio_signalr.messages import CancelInvocation, Close, Completion, StreamItem

WAYS = [
    ("json", "websockets"),
    ("messagepack", "websockets"),
    ("json", "server_sent_events"),
    ("json", "long_polling"),
    ("messagepack", "long_polling"),
]


@dataclass
class Site:
    """The server as one test sees it: one protocol, one transport, and a relay that records what the client sent."""

    server: HubProcess | Twin
    relay: Relay
    protocol: str
    transport: str

    def open(self, path: str = "/hub", query: dict[str, str] | None = None, **options: Any) -> Any:
        url = self.relay.url(path)
        if query:
            url += "?" + "&".join(f"{key}={value}" for key, value in query.items())
        return open_hub(url, **{"protocol": self.protocol, "transports": [self.transport], **options})

    def sent(self) -> list[Any]:
        """All hub messages that the client has sent, pings left out."""
        messages = self.relay.client_messages(as_protocol(self.protocol))
        return [message for message in messages if type(message).__name__ != "Ping"]

    def cancels(self) -> list[str]:
        return [message.invocation_id for message in self.sent() if isinstance(message, CancelInvocation)]


@pytest.fixture
def probe(either: HubProcess | Twin) -> Probe:
    """A new event log in that server."""
    return either.probe()


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
async def site(request: pytest.FixtureRequest, either: HubProcess | Twin) -> AsyncIterator[Site]:
    protocol, transport = request.param
    async with open_relay("127.0.0.1", either.port) as relay:
        yield Site(either, relay, protocol, transport)


# Invocations


async def test_invoke(site: Site) -> None:
    async with site.open() as hub:
        assert hub.transport == site.transport
        assert hub.protocol == site.protocol
        assert hub.connection_id is not None
        assert await hub.invoke("Add", 1, 2, result_type=int) == 3
        assert await hub.invoke("ConnectionId") == hub.connection_id
        assert await hub.invoke("add", 2, 2) == 4, "the server does not mind the case"
        assert await hub.invoke("Void") is None
        for value in ("text", "ünï ✓", 1, 1.5, True, None, [1, "two"], {"key": [None]}):
            assert await hub.invoke("Echo", value) == value


async def test_concurrent_calls_find_their_own_answers(site: Site) -> None:
    async with site.open("/parallel") as hub:
        results: dict[int, int] = {}

        async def call(number: int) -> None:
            results[number] = await hub.invoke("Add", number, number)

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(call, number)
        assert results == {number: 2 * number for number in range(200)}


async def test_send(site: Site, probe: Probe) -> None:
    async with site.open() as hub:
        await hub.send("Record", probe.name, "told")
        await probe.wait("told")
        await hub.send("NoSuchMethod")  # nobody is told
        assert await hub.invoke("Add", 1, 1) == 2


async def test_send_right_before_leaving_arrives(site: Site, probe: Probe) -> None:
    async with site.open() as hub:
        await hub.invoke(
            "Record", probe.name, "hello"
        )  # the first calls are slow there, and what is unread is forgotten
        for number in range(100):
            await hub.send("Record", probe.name, f"told {number}")
    await probe.wait("told 99")
    assert await probe.events() == ["hello", *[f"told {number}" for number in range(100)]]


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        ("Fail", (), "An unexpected error occurred invoking 'Fail' on the server."),
        ("FailPublic", (), "HubException: public message"),
        ("NoSuch", (), "HubException: Method does not exist."),
        ("Add", (1,), "Failed to invoke 'Add' due to an error on the server."),
        ("Add", (1, "two"), "Failed to invoke 'Add' due to an error on the server."),
        ("Counter", (1, 0), "The client attempted to invoke the streaming 'Counter' method"),
    ],
)
async def test_errors(site: Site, method: str, arguments: tuple[object, ...], text: str) -> None:
    async with site.open() as hub:
        with pytest.raises(InvocationError) as caught:
            await hub.invoke(method, *arguments)
        assert text in str(caught.value)
        assert caught.value.method == method
        assert "secret" not in str(caught.value)
        assert await hub.invoke("Add", 1, 1) == 2


async def test_detailed_errors(site: Site) -> None:
    async with site.open("/detailed") as hub:
        with pytest.raises(InvocationError, match="InvalidOperationException: secret"):
            await hub.invoke("Fail")


async def test_an_answer_that_does_not_fit(site: Site) -> None:
    async with site.open() as hub:
        with pytest.raises(PayloadError, match="'Echo'"):
            await hub.invoke("Echo", "text", result_type=int)
        with pytest.raises(PayloadError, match="'Echo'"):
            await hub.invoke("Echo", object())
        assert await hub.invoke("Add", 1, 1) == 2


async def test_cancelling_a_call_reaches_the_wire_once_and_hurts_nobody(site: Site) -> None:
    async with site.open() as hub:
        with trio.move_on_after(0.2) as scope:
            await hub.invoke("Slow", 600)
        assert scope.cancelled_caught
        assert await hub.invoke("Add", 1, 1) == 2
        assert len(site.cancels()) == 1


async def test_a_call_over_the_servers_limit_fails_with_the_servers_text(site: Site) -> None:
    with pytest.raises(HubClosed) as outer:
        async with site.open("/detailed") as hub:
            with pytest.raises(HubClosed) as caught:
                await hub.invoke("Echo", "x" * 40_000)
            assert "The maximum message size of 32768B was exceeded" in (caught.value.error or "")
            assert caught.value.allow_reconnect
            assert caught.value.sent is True
            await trio.sleep_forever()
    assert "32768B" in (outer.value.error or "")


# Streams


@pytest.mark.parametrize("method", ["Counter", "CounterAsync"])
async def test_a_stream_arrives_complete_and_in_order(site: Site, method: str) -> None:
    async with site.open() as hub:
        async with hub.stream(method, 100_000, 0, item_type=int) as stream:
            expected = 0
            async for number in stream:
                assert number == expected
                expected += 1
        assert expected == 100_000
    assert site.cancels() == []


async def test_a_slow_consumer_gets_all_of_a_long_stream_in_bounded_memory(site: Site) -> None:
    async with site.open() as hub:
        most = 0
        async with hub.stream("Counter", 30_000, 0, item_type=int, max_buffer_size=100) as stream:
            async for number in stream:
                if number % 3000 == 0:
                    await trio.sleep(0.02)
                most = max(most, stream.statistics().current_buffer_used)
        assert number == 29_999
        assert most < 10_000, "the mark, and what one read brings"


class Thing(msgspec.Struct, rename="camel"):
    """A C# record as JSON has it."""

    id: int
    name: str
    value: float
    flag: bool


class PascalThing(msgspec.Struct, rename="pascal"):
    """The same as MessagePack has it, where .NET's names come as they are."""

    id: int
    name: str
    value: float
    flag: bool


async def test_objects_arrive_typed(site: Site) -> None:
    kind: Callable[..., Any] = Thing if site.protocol == "json" else PascalThing
    async with site.open() as hub, hub.stream("Objects", 3, item_type=kind) as stream:
        things = [thing async for thing in stream]
    assert things == [kind(0, "item 0", 0.0, True), kind(1, "item 1", 0.25, False), kind(2, "item 2", 0.5, True)]


@pytest.mark.parametrize("method", ["WatchedCounter", "WatchedCounterChannel"])
@pytest.mark.parametrize("way", ["break", "exception", "deadline", "cancel"])
async def test_leaving_a_stream_fires_the_hubs_token_once(site: Site, probe: Probe, way: str, method: str) -> None:
    async with site.open() as hub:
        with trio.move_on_after(0.5 if way == "deadline" else 30) as scope:
            try:
                async with hub.stream(method, probe.name, 1_000_000, 50, item_type=int) as stream:
                    async for number in stream:
                        if number == 3 and way == "break":
                            break
                        if number == 3 and way == "exception":
                            raise LookupError
                        if number == 3 and way == "cancel":
                            scope.cancel()
            except LookupError:
                assert way == "exception"
        assert scope.cancelled_caught == (way in ("deadline", "cancel"))
        assert await hub.invoke("Add", 1, 1) == 2
        await probe.wait("cancelled")
        await probe.wait("finished")
    assert len(site.cancels()) == 1


async def test_an_outer_cancel_of_everything_fires_the_token_and_says_goodbye(site: Site, probe: Probe) -> None:
    with trio.move_on_after(1) as scope:
        async with site.open(query={"probe": probe.name}) as hub:
            async with hub.stream("WatchedCounter", probe.name, 1_000_000, 50) as stream:
                async for _ in stream:
                    pass
    assert scope.cancelled_caught
    await probe.wait("cancelled")
    await probe.wait("disconnected")
    assert [type(message) for message in site.sent()[-2:]] == [CancelInvocation, Close]


async def test_items_before_a_streams_error(site: Site) -> None:
    async with site.open("/detailed") as hub, hub.stream("FailingStream", 3, item_type=int) as stream:
        got = []
        with pytest.raises(InvocationError, match="Ran out"):
            async for number in stream:
                got.append(number)
        assert len(got) == 3


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        ("Add", (1, 2), "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation."),
        ("NoSuch", (), "Method does not exist."),
        ("NullStream", (), "is not a ChannelReader<> or IAsyncEnumerable<>"),
    ],
)
async def test_streams_that_never_begin(site: Site, method: str, arguments: tuple[object, ...], text: str) -> None:
    async with site.open() as hub, hub.stream(method, *arguments) as stream:
        with pytest.raises(InvocationError) as caught:
            await stream.receive()
        assert text in str(caught.value)


async def test_a_2_mb_item_arrives(site: Site) -> None:
    async with site.open() as hub:
        assert len(await hub.invoke("Big", 2_000_000, result_type=str)) == 2_000_000
        async with hub.stream("BigStream", 3, 700_000, item_type=str) as stream:
            assert [len(item) async for item in stream] == [700_000] * 3


async def test_many_streams_at_once(site: Site) -> None:
    async with site.open() as hub:
        sums = []

        async def consume() -> None:
            async with hub.stream("Counter", 100, 0, item_type=int) as stream:
                sums.append(sum([number async for number in stream]))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(consume)
        assert sums == [4950] * 100


async def test_batches(site: Site) -> None:
    async with site.open() as hub, hub.stream("Counter", 10_000, 0, item_type=int) as stream:
        numbers = []
        async for batch in stream.batches(max_size=500):
            assert 1 <= len(batch) <= 500
            numbers += batch
        assert numbers == list(range(10_000))


# Uploads


async def numbers(count: int) -> AsyncGenerator[int]:
    for number in range(count):
        yield number


async def test_uploads_by_channel_and_by_iterable(site: Site) -> None:
    async with site.open() as hub:
        async with hub.upload("UploadStream", result_type=str) as upload:
            for word in ("hello", "big", "world"):
                await upload.send(word)
        assert upload.result == "hello big world"
        assert await hub.invoke("UploadChannel", numbers(10_000), result_type=int) == sum(range(10_000))


async def words(*texts: str) -> AsyncGenerator[str]:
    for text in texts:
        yield text


async def test_two_uploads_and_an_argument_in_one_call(site: Site) -> None:
    async with site.open() as hub:
        assert await hub.invoke("UploadTwo", "label", numbers(4), words("a", "b")) == "label: 6, a b"


async def test_send_with_an_upload(site: Site, probe: Probe) -> None:
    async with site.open() as hub:
        await hub.send("UploadWatched", probe.name, numbers(3))
        assert "item: 2" in await probe.wait("reader ended")


async def test_upload_and_stream_in_one_call(site: Site) -> None:
    async with site.open() as hub, hub.stream("Transform", numbers(1000), item_type=int) as out:
        assert [number async for number in out] == [2 * number for number in range(1000)]


async def test_an_upload_that_fails_ends_the_hubs_reader_with_an_error(site: Site, probe: Probe) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise HubException("client boom")

    async with site.open() as hub:
        with pytest.raises(HubException, match="client boom"):
            await hub.invoke("UploadWatched", probe.name, broken())
        assert "reader failed: client boom" in await probe.wait("reader failed")
        with pytest.raises(LookupError):
            async with hub.upload("UploadWatched", probe.name) as upload:
                await upload.send(5)
                raise LookupError("private")
        assert "reader failed: Stream errored by client: LookupError" in await probe.wait("reader failed", count=2)


async def test_a_cancelled_upload_says_cancel_first_and_ends_the_hubs_reader(site: Site, probe: Probe) -> None:
    async with site.open() as hub:
        with trio.CancelScope() as scope:
            async with hub.upload("UploadWatched", probe.name) as upload:
                await upload.send(1)
                await probe.wait("item: 1")
                scope.cancel()
                await trio.lowlevel.checkpoint()
        await probe.wait("reader failed")
        assert await hub.invoke("Add", 1, 1) == 2
        last = [m for m in site.sent() if isinstance(m, CancelInvocation | Completion)]
        assert [type(message) for message in last] == [CancelInvocation, Completion]
        assert isinstance(last[1], Completion)
        assert last[1].error == "Stream canceled by client."


async def test_a_method_that_answers_early_stops_the_upload(site: Site) -> None:
    produced = 0

    async def endless() -> AsyncIterator[int]:
        nonlocal produced
        while True:
            yield produced
            produced += 1
            await trio.sleep(0.01)

    async with site.open() as hub:
        assert await hub.invoke("UploadFirst", endless(), 3) == [0, 1, 2]
        with pytest.raises(InvocationError, match="enough"):
            async with hub.upload("UploadThenFail", 2) as upload:
                while True:
                    await upload.send(1)
                    await trio.sleep(0.01)
        count = len([m for m in site.sent() if isinstance(m, StreamItem)])
        assert await hub.invoke("Add", 1, 1) == 2
        assert len([m for m in site.sent() if isinstance(m, StreamItem)]) == count


async def test_a_slow_method_slows_the_upload_down(site: Site) -> None:
    produced = 0

    async def flood() -> AsyncIterator[int]:
        nonlocal produced
        for _ in range(200):
            produced += 1
            yield produced

    async with site.open() as hub:
        assert await hub.invoke("UploadSlow", flood(), 1) == 200


# What the server calls


async def test_handlers_subscriptions_and_their_order(site: Site) -> None:
    async with site.open() as hub:
        got: list[int] = []
        all_here = trio.Event()

        def on_number(number: int) -> None:
            got.append(number)
            if len(got) == 100:
                all_here.set()

        hub.on("number", on_number)
        async with hub.subscribe("number", int) as numbers:
            await hub.invoke("CallMeMany", "number", 100)
            assert [(await numbers.receive())[0] for _ in range(100)] == list(range(100))
        await all_here.wait()
        assert got == list(range(100))


async def test_what_on_connected_sends_is_not_missed(site: Site) -> None:
    arrived = trio.Event()
    async with site.open("/early", handlers={"Early": lambda text: arrived.set()}):
        with trio.fail_after(5):
            await arrived.wait()


async def test_client_results(site: Site) -> None:
    async def double(text: str) -> str:
        await trio.sleep(0.01)
        return text * 2

    def number(value: int) -> int:
        return value + 1

    def refuse(_: Any) -> str:
        raise HubException("not today")

    async with site.open("/parallel", handlers={"double": double, "refuse": refuse, "number": number}) as hub:
        assert await hub.invoke("AskMe", "double", "ab") == "abab"
        assert await hub.invoke("AskMeForNumber", "number", 41) == "42"
        assert "not today" in await hub.invoke("AskMe", "refuse", "x")
        assert "Client didn't provide a result." in await hub.invoke("AskMe", "nobody", "x")
        assert "Client failed to parse argument(s)." in await hub.invoke("AskMe", "number", "no number")


async def test_many_client_results_at_once(site: Site) -> None:
    waiting = 0
    all_here = trio.Event()

    async def answer(index: Any) -> str:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            all_here.set()
        await all_here.wait()
        return f"answer {index}"

    async with site.open("/parallel", handlers={"ask": answer}) as hub:
        answers = await hub.invoke("AskMany", "ask", 20, result_type=list[str])
        assert sorted(answers) == sorted(f"answer {n}" for n in range(20))


async def test_a_handler_that_raises_tells_the_server_its_type_and_ends_the_block(site: Site, probe: Probe) -> None:
    def fail(_: Any) -> str:
        raise LookupError("private")

    with pytest.raises(LookupError, match="private"):
        async with site.open("/parallel", {"probe": probe.name}, handlers={"ask": fail}) as hub:
            await hub.send("AskMe", "ask", "x")
            await trio.sleep_forever()
    await probe.wait("disconnected")
    answers = [message.error for message in site.sent() if isinstance(message, Completion)]
    assert answers == ["LookupError"]


# Endings


async def test_abort_ends_the_block_with_hub_closed(site: Site) -> None:
    with pytest.raises(HubClosed) as caught:
        async with site.open() as hub:
            with pytest.raises(HubClosed):
                await hub.invoke("Abort")
            await trio.sleep_forever()
    assert caught.value.error is None
    assert not caught.value.allow_reconnect


async def test_a_hub_that_throws_on_connecting(site: Site) -> None:
    with pytest.raises(HubClosed, match=r"Connection closed with an error\.") as caught:
        async with site.open("/abort-on-connect"):
            await trio.sleep_forever()
    assert not caught.value.allow_reconnect


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_connection_ends_everything(site: Site, reset: bool) -> None:
    with pytest.raises(HubClosed) as outer:
        async with site.open() as hub, trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(HubClosed) as caught:
                    await hub.invoke("Slow", 60_000)
                # What the hub sends may overtake the answer to the POST that the call went out by.
                assert caught.value.sent in ([True] if site.transport == "websockets" else [True, None])

            nursery.start_soon(call)
            async with hub.stream("Counter", 1_000_000, 100) as stream:
                await stream.receive()
                site.relay.refuse()  # long polling may be between two polls, and would open another connection
                site.relay.cut(reset=reset)
                with pytest.raises(HubClosed):
                    async for _ in stream:
                        pass
            await trio.sleep_forever()
    assert outer.value.allow_reconnect


async def test_leaving_tells_the_server(site: Site, probe: Probe) -> None:
    async with site.open(query={"probe": probe.name}) as hub:
        await hub.invoke("Add", 1, 1)
    assert await probe.wait("disconnected") == ["connected", "disconnected"]
    assert site.sent()[-1] == Close()


async def test_a_call_right_before_leaving_is_carried_out_to_its_end(site: Site, probe: Probe) -> None:
    async with site.open("/parallel", {"probe": probe.name}) as hub:
        await hub.send("RecordLater", probe.name, "told", 300)
        await hub.invoke("Add", 1, 1)  # by now the real server has it; when a client leaves, it forgets what it has not
    assert await probe.wait("told") == ["connected", "disconnected", "told"]


async def test_a_call_that_waits_for_its_turn_when_the_client_leaves_is_carried_out(site: Site, probe: Probe) -> None:
    async with site.open(query={"probe": probe.name}) as hub:
        await hub.send("RecordLater", probe.name, "first", 500)
        await hub.send("RecordLater", probe.name, "second", 300)
        await trio.sleep(0.2)  # the same
    assert await probe.wait("second") == ["connected", "first", "disconnected", "second"]


async def test_a_cut_connection_ends_streams_and_lets_plain_methods_go_on(site: Site, probe: Probe) -> None:
    with pytest.raises(HubClosed):
        async with site.open("/parallel") as hub:
            async with hub.stream("WatchedCounter", probe.name, 1_000_000, 50) as stream:
                await stream.receive()
                await hub.send("RecordLater", probe.name, "told", 500)
                await hub.invoke("Add", 1, 1)
                site.relay.refuse()
                site.relay.cut()
                async for _ in stream:
                    pass
    events = await probe.wait("told")
    if site.transport != "long_polling":  # there the server waits for the next poll
        assert events.index("cancelled") < events.index("told")


async def test_leaving_with_a_silent_server_takes_close_timeout_at_most(site: Site) -> None:
    async with site.open(close_timeout=0.5):
        site.relay.stall()
        left_at = trio.current_time()
    assert trio.current_time() - left_at < 3


@asynccontextmanager
async def ticking() -> AsyncGenerator[list[int]]:
    """Counts how often another task gets its turn while the block runs."""
    ticks = [0]

    async def tick() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            ticks[0] += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        yield ticks
        nursery.cancel_scope.cancel()


async def test_nobody_starves_during_a_long_stream(site: Site) -> None:
    async with site.open() as hub, ticking() as ticks:
        async with hub.stream("Counter", 50_000, 0, item_type=int) as stream:
            async for _ in stream:
                pass
        assert ticks[0] > 500
