"""The trace context that calls carry, as ASP.NET Core understands it: its span is a child of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.tracing import Collected, collecting
from trio_signalr import open_hub

BOTH = pytest.mark.parametrize("protocol", ["json", "messagepack"])
NAME = "TrioSignalR.Tests.TestHub"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    with collecting(monkeypatch) as collected:
        yield collected


def ids(span: ReadableSpan) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


@BOTH
async def test_the_span_of_an_invoked_method_is_a_child_of_the_calls(
    aspnetcore: HubProcess, collected: Collected, protocol: str
) -> None:
    async with open_hub(aspnetcore.url(), protocol=protocol) as hub:
        with collected.tracer.start_as_current_span("outer") as outer:
            trace_id, own_id, parent_id, _, _, name = await hub.invoke("Span", result_type=list[str | None])
    call = collected.span("hub/Span")
    assert (trace_id, parent_id) == ids(call)
    assert own_id not in (parent_id, "")
    assert name == f"{NAME}/Span"
    assert call.parent is not None
    assert call.parent.span_id == outer.get_span_context().span_id
    assert dict(call.attributes or {}) == {
        "rpc.system": "signalr",
        "rpc.service": "hub",
        "rpc.method": "Span",
        "server.address": "127.0.0.1",
        "server.port": aspnetcore.port,
    }


@BOTH
async def test_streams_and_uploads_too(aspnetcore: HubProcess, collected: Collected, protocol: str) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async with open_hub(aspnetcore.url(), protocol=protocol) as hub:
        async with hub.stream("SpanOfStream", item_type=list[str | None]) as stream:
            streamed = [item async for item in stream]
        async with hub.upload("SpanOfUpload", result_type=list[str | None]) as upload:
            await upload.send(1)
        iterated = await hub.invoke("SpanOfUpload", numbers(), result_type=list[str | None])
    spans = collected.spans
    assert [span.name for span in spans] == ["hub/SpanOfStream", "hub/SpanOfUpload", "hub/SpanOfUpload"]
    assert [(one[0], one[2]) for one in (streamed[0], upload.result, iterated)] == [ids(span) for span in spans]


@BOTH
async def test_a_call_without_an_answer_too(
    aspnetcore: HubProcess, collected: Collected, probe: Probe, protocol: str
) -> None:
    async with open_hub(aspnetcore.url(), protocol=protocol) as hub:
        await hub.send("RecordSpan", probe.name)
        await probe.wait("span")
    assert await probe.events() == [f"span: {' '.join(ids(collected.span('hub/RecordSpan')))}"]


async def test_trace_state_and_baggage_go_along(aspnetcore: HubProcess, collected: Collected) -> None:
    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("vendor", "x")]))
    token = context.attach(baggage.set_baggage("user", "anna", set_span_in_context(NonRecordingSpan(remote))))
    try:
        async with open_hub(aspnetcore.url()) as hub:
            trace_id, _, _, state, user, _ = await hub.invoke("Span", result_type=list[str | None])
    finally:
        context.detach(token)
    assert (trace_id, state, user) == (f"{1:032x}", "vendor=x", "anna")


async def test_without_a_span_there_is_nothing_to_be_a_child_of(aspnetcore: HubProcess) -> None:
    async with open_hub(aspnetcore.url()) as hub:
        assert (await hub.invoke("Span", result_type=list[str | None]))[:3] == ["", "", ""]


@BOTH
async def test_handlers_have_no_link_since_the_server_sends_no_context(
    aspnetcore: HubProcess, collected: Collected, protocol: str
) -> None:
    told = trio.Event()
    async with open_hub(aspnetcore.url(), protocol=protocol, handlers={"told": lambda _: told.set()}) as hub:
        await hub.invoke("CallMe", "told", 1)
        await told.wait()
    handled = collected.span("hub/told")
    assert handled.links == ()
    assert handled.parent is None
