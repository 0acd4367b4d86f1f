"""The last messages of a connection hang on the error that tells of its end, and show in its traceback."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import PeerConnector, open_peer
from trio_signalr import HubClosed, InternalError, ProtocolError, ServerTimeout, SignalRError
from trio_signalr.messages import Close, Invocation, StreamInvocation, StreamItem
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.testing import HubServer

TITLE = "The last messages, by seconds before the connection ended:"


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def history(error: BaseException) -> list[str]:
    """The lines of the only note, less the times."""
    (note,) = notes(error)
    title, *lines = note.splitlines()
    assert title == TITLE
    return [line[10:].strip() for line in lines]


async def test_a_loss_shows_what_led_to_it(autojump_clock: MockClock) -> None:
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (hub, peer), hub.stream("Counter", "private") as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            await peer.items(id_, *range(37))
            await trio.sleep(1.5)
            await hub.send("Notify", "private")
            await peer.expect(Invocation)
            peer.transport.cut()
            async for _ in stream:
                pass
    error = caught.value
    assert str(error) == "the connection was cut"
    assert notes(error) == [
        f"{TITLE}\n"
        "     1.500  → StreamInvocation 1 'Counter', 73 B\n"
        "     1.500  ← StreamItem ×37 of 1 'Counter', 1.5 kB\n"
        "     1.500  → Ping, 11 B\n"
        "     0.000  → Invocation 'Notify', 53 B"
    ]
    shown = "".join(traceback.format_exception(error))
    assert f"HubClosed: the connection was cut\n{TITLE}\n" in shown
    assert error.report is not None
    assert error.report.history == notes(error)[0]
    assert [record.method for record in error.report.messages] == ["Counter", "Counter", None, "Notify"]


@pytest.mark.parametrize("protocol", [JsonHubProtocol(), MessagePackHubProtocol()], ids=["json", "messagepack"])
async def test_a_message_of_many_reads_has_the_size_of_all_of_it(protocol: HubProtocol) -> None:
    with pytest.raises(HubClosed) as caught:
        async with open_peer(protocol) as (hub, peer), hub.stream("Big") as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            sent = protocol.encode(StreamItem(id_, "x" * 1_000_000))
            for start in range(0, len(sent), 300_000):
                await peer.transport.send(sent[start : start + 300_000])
            await stream.receive()
            peer.transport.cut()
            await stream.receive()
    assert caught.value.report is not None
    (record,) = [record for record in caught.value.report.messages if record.type == "StreamItem"]
    assert len(sent) - 1 <= record.size <= len(sent)


async def test_the_hubs_own_report_has_them_too() -> None:
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (hub, peer):
            await wait_all_tasks_blocked()
            await peer.send(Close("bye"))
            await trio.sleep_forever()
    assert history(caught.value) == ["→ Ping, 11 B", "← Close"]
    assert hub.close_report is not None
    assert [record.type for record in hub.close_report.messages] == ["Ping", "Close"]


async def test_a_server_that_is_silent(autojump_clock: MockClock) -> None:
    with pytest.raises(ServerTimeout) as caught:
        async with open_peer():
            await trio.sleep_forever()
    assert history(caught.value) == ["→ Ping ×2, 22 B"]
    assert caught.value.report is not None
    assert caught.value.report.messages[0].before_end == 15


async def test_a_server_that_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError) as caught:
        async with open_peer() as (hub, peer):
            await hub.send("Notify")
            await peer.expect(Invocation)
            await peer.transport.send(b"nonsense\x1e")
            await trio.sleep_forever()
    assert history(caught.value) == ["→ Invocation 'Notify', 44 B", "→ Ping, 11 B"]
    assert caught.value.report is not None
    assert caught.value.report.closed_by == "client"


async def test_a_bug_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InternalError) as caught:
        async with open_peer() as (hub, peer):
            monkeypatch.setattr(hub._connection.calls, "method_of", lambda _: 1 / 0)
            await peer.complete("7")
            await trio.sleep_forever()
    (line,) = history(caught.value)
    assert line.startswith("→ Ping, 11 B")
    assert caught.value.report is not None


async def test_every_call_that_was_hit_knows_but_only_the_error_that_leaves_tells() -> None:
    hit: list[HubClosed] = []

    async with open_peer(reconnect=lambda _: 0.0) as (hub, peer):

        async def call() -> None:
            try:
                await hub.invoke("Add")
            except HubClosed as error:
                hit.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call)
            await peer.expect(Invocation)
            await wait_all_tasks_blocked()
            peer.transport.cut()
    assert [notes(error) for error in hit] == [[], [], []]
    for error in hit:
        assert error.report is not None
        assert [record.type for record in error.report.messages] == ["Invocation"] * 3 + ["Ping"]


async def test_what_was_not_sent_any_more_is_told() -> None:
    with pytest.raises(HubClosed) as caught:
        async with open_peer() as (hub, peer):
            peer.transport.cut()
            await hub.invoke("Add")
    assert [line.partition(",")[0] for line in history(caught.value)] in (
        ["→ Ping", "→ Invocation 1 'Add'"],
        ["→ Invocation 1 'Add'", "→ Ping"],
    )


async def test_in_a_group_one_of_them_tells() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_peer() as (hub, peer), trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(hub.invoke, "Add")
            await peer.expect(Invocation)
            peer.transport.cut()
    assert sorted(len(notes(error)) for error in caught.value.exceptions)[-1:] == [1]
    assert "".join(traceback.format_exception(caught.value)).count(TITLE) == 1


async def test_behind_an_error_of_the_users_it_is_still_told() -> None:
    with pytest.raises(RuntimeError) as caught:
        async with open_peer() as (hub, peer):
            peer.transport.cut()
            try:
                await hub.invoke("Add")
            except HubClosed as error:
                raise RuntimeError("mine") from error
    assert notes(caught.value) == []
    assert "".join(traceback.format_exception(caught.value)).count(TITLE) == 1


async def test_an_error_that_has_nothing_to_do_with_it_gets_no_note() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with open_peer() as (hub, _):
            await hub.send("Notify")
            raise ZeroDivisionError
    assert notes(caught.value) == []


async def test_causes_that_go_round_in_a_ring_are_no_trap() -> None:
    ring = SignalRError("a")
    ring.__cause__ = other = SignalRError("b")
    other.__cause__ = ring
    with pytest.raises(SignalRError) as caught:
        async with open_peer():
            raise ring
    assert caught.value is ring


async def test_each_connection_has_a_recorder_of_its_own(autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    with pytest.raises(HubClosed) as caught:
        async with open_peer(connector=connector, reconnect=lambda _: 0.0) as (hub, first):
            await hub.send("First")
            await first.expect(Invocation)
            first.transport.cut()
            await trio.sleep(1)
            await hub.send("Second")
            await connector.peer.expect(Invocation)
            await connector.peer.send(Close("no more"))
            await trio.sleep_forever()
    assert history(caught.value) == ["→ Ping, 11 B", "→ Invocation 'Second', 44 B", "← Close"]


async def test_a_resumed_connection_keeps_its_recorder(autojump_clock: MockClock) -> None:
    server = HubServer(stateful_reconnect=True)

    @server.method
    async def Sum(items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    with pytest.raises(HubClosed) as caught:
        async with server.connect(stateful_reconnect=True) as hub:
            async with hub.upload("Sum", result_type=int) as upload:
                await upload.send(1)
                await server.client(hub.connection_id).drop()
                await trio.sleep(1)
                await upload.send(2)
            assert upload.result == 3
            await server.client(hub.connection_id).close("bye")
            await trio.sleep_forever()
    lines = history(caught.value)
    assert lines[0].startswith("→ Invocation 2 'Sum'")
    assert "→ Completion 1 'Sum', 30 B" in lines
    assert lines[-1] == "← Close"
