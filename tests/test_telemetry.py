"""Spans and metrics, as OpenTelemetry's SDK collects them: names, attributes, parents, ends and sums."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import PeerConnector, open_peer
from tests.tracing import Collected, collecting
from trio_signalr import (
    HubClosed,
    HubConnection,
    HubState,
    InvocationError,
    PayloadError,
    StreamOverflow,
    TransportError,
    _telemetry,
)
from trio_signalr._hub import run_hub
from trio_signalr._open import connection_options
from trio_signalr.messages import CancelInvocation, Completion, Invocation, StreamInvocation
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.testing import HubServer, Received

URL = "https://user:pass@host.example/hubs/chat?token=secret"
SERVER = {"server.address": "host.example", "server.port": 443}
HEADER = "traceparent"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    with collecting(monkeypatch) as collected:
        yield collected


@pytest.fixture
def server() -> HubServer:
    server = HubServer()

    @server.method
    async def Add(a: int, b: int) -> int:
        return a + b

    @server.method
    async def Fail() -> None:
        raise ValueError("private")

    @server.method
    async def Counter(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @server.method
    async def Sum(items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @server.method
    async def Wait() -> None:
        await trio.sleep_forever()

    return server


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def traceparent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


# What the spans say


async def test_a_span_is_named_and_attributed_as_the_net_clients_are(collected: Collected) -> None:
    async with run_hub(PeerConnector(), JsonHubProtocol(), connection_options(), url=URL) as hub:
        await hub.send("Notify")
    (span,) = collected.spans
    assert span.name == "hubs/chat/Notify"
    assert span.kind is SpanKind.CLIENT
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "Microsoft.AspNetCore.SignalR.Client"
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "rpc.system": "signalr",
        "rpc.service": "hubs/chat",
        "rpc.method": "Notify",
        **SERVER,
    }


async def test_nothing_of_the_urls_secrets_is_told(collected: Collected) -> None:
    async with run_hub(PeerConnector(), JsonHubProtocol(), connection_options(), url=URL) as hub:
        await hub.send("Notify")
    told = f"{[span.to_json() for span in collected.spans]} {collected.points('signalr.client.call.duration')}"
    assert "secret" not in told
    assert "pass" not in told


async def test_in_memory_there_is_no_address(collected: Collected, server: HubServer) -> None:
    async with server.connect() as hub:
        assert await hub.invoke("Add", 1, 2) == 3
    assert attributes(collected.span("Add")) == {"rpc.system": "signalr", "rpc.service": "", "rpc.method": "Add"}


async def test_a_method_that_fails(collected: Collected, server: HubServer) -> None:
    with pytest.raises(InvocationError):
        async with server.connect() as hub:
            await hub.invoke("Fail")
    span = collected.span("Fail")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert attributes(span)["error.type"] == "trio_signalr.errors.InvocationError"


async def test_an_answer_that_does_not_fit(collected: Collected, server: HubServer) -> None:
    async with server.connect() as hub:
        with pytest.raises(PayloadError):
            await hub.invoke("Add", 1, 2, result_type=str)
    assert attributes(collected.span("Add"))["error.type"] == "trio_signalr.errors.PayloadError"


async def test_arguments_that_cannot_be_encoded(collected: Collected) -> None:
    async with open_peer() as (hub, _):
        for call in (hub.invoke, hub.send):
            with pytest.raises(PayloadError):
                await call("Add", object())
        with pytest.raises(PayloadError):
            async with hub.stream("Add", object()):
                pass
        with pytest.raises(PayloadError):
            async with hub.upload("Add", object()):
                pass
    assert [attributes(span)["error.type"] for span in collected.spans] == ["trio_signalr.errors.PayloadError"] * 4


async def test_being_cancelled_is_no_failure(
    collected: Collected, server: HubServer, autojump_clock: MockClock
) -> None:
    async with server.connect() as hub:
        with trio.move_on_after(5):
            await hub.invoke("Wait")
    span = collected.span("Wait")
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["signalr.client.cancelled"] is True
    assert "error.type" not in attributes(span)


async def test_a_connection_that_is_lost(collected: Collected) -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer):
            peer.transport.cut()
            await hub.invoke("Add")
    assert attributes(collected.span("Add"))["error.type"] == "trio_signalr.errors.HubClosed"


# When they end


async def test_a_streams_span_ends_with_the_stream_not_with_the_block(collected: Collected) -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter") as stream:
        id_ = (await peer.expect(StreamInvocation)).invocation_id
        await peer.items(id_, 1, 2)
        await wait_all_tasks_blocked()
        assert collected.spans == []
        await peer.complete(id_)
        await wait_all_tasks_blocked()
        span = collected.span("Counter")
        assert [item async for item in stream] == [1, 2]
    assert collected.spans == [span]
    assert span.status.status_code is StatusCode.UNSET
    assert "signalr.client.cancelled" not in attributes(span)


async def test_leaving_a_stream_early_is_no_failure(collected: Collected) -> None:
    async with open_peer() as (hub, peer):
        async with hub.stream("Counter"):
            id_ = (await peer.expect(StreamInvocation)).invocation_id
        assert (await peer.expect(CancelInvocation)).invocation_id == id_
        span = collected.span("Counter")
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["signalr.client.cancelled"] is True


async def test_what_the_users_block_raises_is_not_the_streams_failure(collected: Collected) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_peer() as (hub, _), hub.stream("Counter"):
            raise ZeroDivisionError
    assert collected.span("Counter").status.status_code is StatusCode.UNSET


async def test_a_stream_that_fails(collected: Collected) -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter") as stream:
        await peer.complete((await peer.expect(StreamInvocation)).invocation_id, error="no")
        with pytest.raises(InvocationError):
            await stream.receive()
    span = collected.span("Counter")
    assert attributes(span)["error.type"] == "trio_signalr.errors.InvocationError"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_stream_item_that_does_not_fit(collected: Collected) -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", item_type=int) as stream:
        await peer.items((await peer.expect(StreamInvocation)).invocation_id, 1, "two")
        assert await stream.receive() == 1
        with pytest.raises(PayloadError):
            await stream.receive()
    assert attributes(collected.span("Counter"))["error.type"] == "trio_signalr.errors.PayloadError"


async def test_a_stream_that_overflows(collected: Collected) -> None:
    async with open_peer() as (hub, peer), hub.stream("Counter", max_buffer_size=1, overflow="error") as stream:
        await peer.items((await peer.expect(StreamInvocation)).invocation_id, 1, 2, 3)
        with pytest.raises(StreamOverflow):
            async for _ in stream:
                pass
    assert attributes(collected.span("Counter"))["error.type"] == "trio_signalr.errors.StreamOverflow"


async def test_a_stream_whose_upload_fails(collected: Collected) -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise LookupError

    async with open_peer() as (hub, _), hub.stream("Transform", failing()) as stream:
        with pytest.raises(LookupError):
            await stream.receive()
    assert attributes(collected.span("Transform"))["error.type"] == "LookupError"


async def test_a_stream_whose_connection_is_lost(collected: Collected) -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (hub, peer), hub.stream("Counter") as stream:
            peer.transport.cut()
            await stream.receive()
    assert attributes(collected.span("Counter"))["error.type"] == "trio_signalr.errors.HubClosed"


async def test_an_uploads_span_lasts_until_its_result(collected: Collected) -> None:
    async with open_peer() as (hub, peer):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                async with hub.upload("Sum") as upload:
                    await upload.send(1)

            nursery.start_soon(send)
            id_ = str((await peer.expect(Invocation)).invocation_id)
            await peer.rest()
            assert collected.spans == []
            await peer.complete(id_, 1)
        assert collected.span("Sum").status.status_code is StatusCode.UNSET


async def test_an_upload_whose_method_fails(collected: Collected) -> None:
    with pytest.raises(InvocationError):
        async with open_peer() as (hub, peer), hub.upload("Sum"):
            await peer.complete(str((await peer.expect(Invocation)).invocation_id), error="no")
    assert attributes(collected.span("Sum"))["error.type"] == "trio_signalr.errors.InvocationError"


async def test_an_upload_whose_block_raises(collected: Collected) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_peer() as (hub, _), hub.upload("Sum"):
            raise ZeroDivisionError
    assert attributes(collected.span("Sum"))["error.type"] == "ZeroDivisionError"


# Whose child is whose


@pytest.mark.parametrize("protocol", [JsonHubProtocol(), MessagePackHubProtocol()], ids=["json", "messagepack"])
async def test_every_kind_of_call_carries_its_context(collected: Collected, protocol: HubProtocol) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async with open_peer(protocol) as (hub, peer), trio.open_nursery() as nursery:
        await hub.send("Send")
        sent = await peer.expect(Invocation)
        nursery.start_soon(hub.send, "SendUpload", numbers())
        sent_upload = await peer.expect(Invocation)
        await peer.rest()
        nursery.start_soon(hub.invoke, "Invoke")
        invoked = await peer.expect(Invocation)
        await peer.complete(str(invoked.invocation_id))
        async with hub.stream("Stream"):
            streamed = await peer.expect(StreamInvocation)
        await peer.expect(CancelInvocation)

        async def upload() -> None:
            async with hub.upload("Upload"):
                pass

        nursery.start_soon(upload)
        uploaded = await peer.expect(Invocation)
        await peer.complete(str(uploaded.invocation_id))
    for message in (sent, sent_upload, invoked, streamed, uploaded):
        assert message.headers == {HEADER: traceparent(collected.span(message.target))}


async def test_a_test_hub_sees_the_context(collected: Collected, server: HubServer) -> None:
    async with server.events() as events:
        async with server.connect() as hub:
            await hub.invoke("Add", 1, 2)
        calls: list[Invocation[Any]] = []
        while not calls:
            event = await events.receive()
            if isinstance(event, Received) and isinstance(event.message, Invocation):
                calls.append(event.message)
    assert calls[0].headers == {HEADER: traceparent(collected.span("Add"))}


async def test_the_span_of_a_call_is_a_child_of_the_current_one(collected: Collected, server: HubServer) -> None:
    async with server.connect() as hub:
        with collected.tracer.start_as_current_span("outer") as outer:
            await hub.invoke("Add", 1, 2)
    parent = collected.span("Add").parent
    assert parent is not None
    assert parent.span_id == outer.get_span_context().span_id


async def test_a_call_is_never_the_parent_of_what_users_do_meanwhile(collected: Collected, server: HubServer) -> None:
    async with server.connect() as hub:
        with collected.tracer.start_as_current_span("outer") as outer:
            async with hub.stream("Counter", 2) as stream, hub.upload("Sum") as upload:
                assert trace.get_current_span() is outer
                async for number in stream:
                    await upload.send(number)
                    assert trace.get_current_span() is outer


async def test_a_handlers_span_is_linked_to_the_servers(collected: Collected) -> None:
    seen: list[trace.Span] = []

    def hello(name: str) -> None:
        seen.append(trace.get_current_span())

    with collected.tracer.start_as_current_span("outer"):
        async with open_peer(handlers={"hello": hello}) as (_, peer):
            context = "00-0000000000000000000000000000000a-000000000000000b-01"
            await peer.send(Invocation("hello", ["a"], headers={HEADER: context}), Invocation("hello", ["b"]))
            await wait_all_tasks_blocked()
    linked, alone, _ = collected.spans
    assert linked.name == alone.name == "hello"
    assert linked.kind is SpanKind.SERVER
    assert [(link.context.trace_id, link.context.span_id) for link in linked.links] == [(10, 11)]
    assert alone.links == ()
    assert linked.parent is None
    assert alone.parent is None
    assert [span.get_span_context() for span in seen] == [linked.context, alone.context]


async def test_what_the_opener_carries_does_not_go_along_with_what_handlers_call(collected: Collected) -> None:
    async def hello() -> None:
        await hub.send("Answer")

    token = context.attach(baggage.set_baggage("request", "42"))
    try:
        async with open_peer(handlers={"hello": hello}) as (hub, peer):
            await peer.send(Invocation("hello", []))
            assert set((await peer.expect(Invocation)).headers) == {HEADER}
            await hub.send("Direct")
            assert set((await peer.expect(Invocation)).headers) == {HEADER, "baggage"}
    finally:
        context.detach(token)


async def test_what_is_done_on_reconnecting_is_no_part_of_what_went_on_at_the_beginning(
    collected: Collected, server: HubServer, autojump_clock: MockClock
) -> None:
    async def join(hub: HubConnection) -> None:
        await hub.invoke("Add", 1, 2)

    with collected.tracer.start_as_current_span("startup") as startup:
        async with server.connect(reconnect=True, on_connected=join) as hub, hub.state_changes() as changes:
            await server.client(hub.connection_id).drop()
            while (await changes.receive()).new is not HubState.CONNECTED:
                pass
    first, again = [span for span in collected.spans if span.name == "Add"]
    assert first.parent == startup.get_span_context()
    assert again.parent is None


async def test_a_handler_that_raises(collected: Collected) -> None:
    def hello() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with open_peer(handlers={"hello": hello}) as (_, peer):
            await peer.send(Invocation("hello", [], "s1"))
            await trio.sleep_forever()
    span = collected.span("hello")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "ZeroDivisionError"
    (counted,) = collected.points("signalr.client.handler.duration")
    assert counted[0]["error.type"] == "ZeroDivisionError"


@pytest.mark.parametrize("invocation_id", [None, "s1"])
async def test_arguments_that_do_not_fit_a_handler(collected: Collected, invocation_id: str | None) -> None:
    def hello(count: int) -> None: ...

    with pytest.raises((PayloadError, ZeroDivisionError)):
        async with open_peer(handlers={"hello": hello}) as (_, peer):
            await peer.send(Invocation("hello", ["one"], invocation_id))
            if invocation_id is None:
                await trio.sleep_forever()
            await peer.expect(Completion)
            raise ZeroDivisionError
    assert attributes(collected.span("hello"))["error.type"] == "trio_signalr.errors.PayloadError"


# Metrics

BASE = {"rpc.system": "signalr", "rpc.service": ""}


async def test_calls_are_counted_by_kind_method_and_failure(
    collected: Collected, server: HubServer, autojump_clock: MockClock
) -> None:
    async with server.connect() as hub:
        for _ in range(3):
            await hub.invoke("Add", 1, 2)
        await hub.send("Add", 1, 2)
        with pytest.raises(InvocationError):
            await hub.invoke("Fail")
    points = collected.points("signalr.client.call.duration")
    assert sorted(points, key=repr) == sorted(
        [
            ({**BASE, "rpc.method": "Add", "signalr.client.call.type": "invoke"}, 3),
            ({**BASE, "rpc.method": "Add", "signalr.client.call.type": "send"}, 1),
            (
                {
                    **BASE,
                    "rpc.method": "Fail",
                    "signalr.client.call.type": "invoke",
                    "error.type": "trio_signalr.errors.InvocationError",
                },
                1,
            ),
        ],
        key=repr,
    )


async def test_open_streams_and_their_items(collected: Collected, server: HubServer) -> None:
    def items() -> dict[tuple[str, str], int]:
        return {
            (about["rpc.method"], about["network.io.direction"]): count
            for about, count in collected.points("signalr.client.stream.items")
        }

    async def numbers() -> AsyncIterator[int]:
        for number in range(7):
            yield number

    async with server.connect() as hub:
        async with hub.stream("Counter", 5) as stream, hub.upload("Sum") as upload:
            opened = {
                about["signalr.client.call.type"]: n for about, n in collected.points("signalr.client.active_streams")
            }
            assert opened == {"stream": 1, "upload": 1}
            assert [item async for item in stream] == [0, 1, 2, 3, 4]
            for number in range(4):
                await upload.send(number)
            assert items() == {("Counter", "receive"): 5, ("Sum", "transmit"): 4}, "not only at the end"
        assert await hub.invoke("Sum", numbers()) == 21
    assert items() == {("Counter", "receive"): 5, ("Sum", "transmit"): 11}
    assert [count for _, count in collected.points("signalr.client.active_streams")] == [0, 0]


async def test_bytes_are_those_of_the_hub_messages(collected: Collected) -> None:
    protocol = JsonHubProtocol()
    async with open_peer(keep_alive_interval=math.inf) as (hub, peer):
        await hub.send("Notify", "x" * 1000)
        message = await peer.expect(Invocation)
        await peer.send(Completion("7"), Completion("8"))
        await wait_all_tasks_blocked()
        counted = {a["network.io.direction"]: n for a, n in collected.points("signalr.client.io")}
    ping = len('{"type":6}\x1e')
    sent = len(protocol.encode(Invocation(message.target, ["x" * 1000], headers=message.headers)))
    assert counted == {"transmit": ping + sent, "receive": 2 * len(protocol.encode(Completion("7")))}
    after = {a["network.io.direction"]: n for a, n in collected.points("signalr.client.io")}
    assert after["receive"] == counted["receive"], "kept when the connection is over"
    assert after["transmit"] > counted["transmit"], "there was a Close"


async def test_connections_and_attempts_to_reconnect(collected: Collected, autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    async with open_peer(connector=connector, reconnect=lambda _: 1.0, server_timeout=math.inf) as (_, peer):
        assert [count for _, count in collected.points("signalr.client.active_connections")] == [1]
        await trio.sleep(60)
        connector.failures.append(TransportError("no"))
        peer.transport.cut()
        await trio.sleep(10)
        assert len(connector.peers) == 2
    attempts = {a.get("error.type"): (a["signalr.client.reconnect.type"], n) for a, n in reconnects(collected)}
    assert attempts == {"trio_signalr.errors.TransportError": ("new", 1), None: ("new", 1)}
    assert [count for _, count in collected.points("signalr.client.active_connections")] == [0]
    ended = {a.get("error.type"): n for a, n in collected.points("signalr.client.connection.duration")}
    assert ended == {"trio_signalr.errors.HubClosed": 1, None: 1}


def reconnects(collected: Collected) -> list[tuple[dict[str, Any], Any]]:
    return collected.points("signalr.client.reconnects")


async def test_resuming_is_counted_apart(collected: Collected, autojump_clock: MockClock) -> None:
    server = HubServer(stateful_reconnect=True)
    async with server.connect(stateful_reconnect=True) as hub:
        await server.client(hub.connection_id).drop()
        await trio.sleep(5)
    assert reconnects(collected) == [({"signalr.client.reconnect.type": "resumed"}, 1)]
    assert [count for _, count in collected.points("signalr.client.connection.duration")] == [1], (
        "it was one connection"
    )


# Without


async def test_who_has_not_imported_it_gets_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry")
    async with open_peer() as (hub, peer):
        await hub.send("Notify")
        assert (await peer.expect(Invocation)).headers == {}


async def test_only_a_provider_of_an_sdk_is_worth_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _telemetry.is_set_up()
    for module, name, api, sdk in (
        (trace, "get_tracer_provider", trace.NoOpTracerProvider(), TracerProvider()),
        (metrics, "get_meter_provider", metrics.NoOpMeterProvider(), MeterProvider()),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda api=api: api)
            assert not _telemetry.is_set_up()
            patch.setattr(module, name, lambda sdk=sdk: sdk)
            assert _telemetry.is_set_up()
        sdk.shutdown()


async def test_with_the_api_alone_nothing_is_sent(server: HubServer) -> None:
    async with open_peer() as (hub, peer):
        await hub.send("Notify")
        assert (await peer.expect(Invocation)).headers == {}
    async with server.connect() as hub:
        async with hub.stream("Counter", 3) as stream:
            assert [item async for item in stream] == [0, 1, 2]


PROGRAM = """
    import sys
    {before}
    import trio
    import trio_signalr
    from trio_signalr.testing import HubServer
    {between}
    server = HubServer()

    @server.method
    async def Add(a: int, b: int) -> int:
        return a + b

    async def main() -> None:
        async with server.connect() as hub:
            assert await hub.invoke("Add", 1, 2) == 3

    trio.run(main)
    print(sorted(name for name in sys.modules if name.startswith("opentelemetry") and sys.modules[name]))
"""


@pytest.mark.parametrize(
    ("before", "between"),
    [
        pytest.param("", "", id="installed and not used"),
        pytest.param("sys.modules['opentelemetry'] = None", "", id="not installed"),
        pytest.param("", "sys.modules['opentelemetry.trace'] = None", id="not whole"),
        pytest.param("", "import types; sys.modules['opentelemetry'] = types.ModuleType('opentelemetry')", id="other"),
    ],
)
def test_a_program_without_it_works_and_imports_none_of_it(before: str, between: str) -> None:
    program = textwrap.dedent(PROGRAM.format(before=before, between=between))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("[]", "['opentelemetry']")
