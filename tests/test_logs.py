"""The log: the lines that tell why a connection behaves as it does, and what is in none of them."""

from __future__ import annotations

import logging
import math
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import PeerConnector, open_peer
from trio_signalr import HubClosed, NegotiationError, ServerTimeout, TransportError, open_hub
from trio_signalr.messages import Close, Completion, Invocation, StreamInvocation
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.testing import HubServer

CONNECTION, TRANSPORT, MESSAGES = (f"trio_signalr.{layer}" for layer in ("connection", "transport", "messages"))
CONTENT = "trio_signalr.messages.content"


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_signalr")


def lines(caplog: pytest.LogCaptureFixture, logger: str, level: int = logging.DEBUG) -> list[str]:
    """What one logger has said, less the hub's number and ports."""
    said = [r.getMessage() for r in caplog.records if r.name == logger and r.levelno >= level]
    return [re.sub(r"^hub \d+: ", "", re.sub(r"127\.0\.0\.1:\d+", "HOST", line)) for line in said]


def make_server(**options: Any) -> HubServer:
    server = HubServer(**options)

    @server.method
    async def Add(a: int, b: int) -> int:
        return a + b

    @server.method
    async def Counter(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    return server


# The life of a connection


async def test_a_connection_that_comes_and_goes(caplog: pytest.LogCaptureFixture) -> None:
    async with open_peer():
        pass
    assert lines(caplog, CONNECTION) == [
        "shaking hands: json over memory",
        "connected over memory, json, id connecti...",
        "closed: the hub's block was left",
        "the transport is closed",
    ]


async def test_a_connection_that_the_server_closes(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (_, peer):
            await peer.send(Close("maintenance"))
            await trio.sleep_forever()
    assert "closed: the server closed the connection: maintenance" in lines(caplog, CONNECTION, logging.INFO)


async def test_reconnecting(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    connector = PeerConnector()
    with pytest.raises(HubClosed):
        async with open_peer(connector=connector, reconnect=delays) as (_, peer):
            connector.failures.append(TransportError("refused"))
            peer.transport.cut()
            await trio.sleep(5)
            connector.failures += [TransportError("refused again")] * 3
            connector.peer.transport.cut()
            await trio.sleep_forever()
    assert lines(caplog, CONNECTION, logging.INFO) == [
        "connected over memory, json, id connecti...",
        "connection lost: the connection was cut",
        "reconnecting, attempt 1, in 0 s",
        "attempt 1 failed: refused",
        "reconnecting, attempt 2, in 2 s",
        "connected again over memory, json, id connecti...",
        "connection lost: the connection was cut",
        "reconnecting, attempt 1, in 0 s",
        "attempt 1 failed: refused again",
        "reconnecting, attempt 2, in 2 s",
        "attempt 2 failed: refused again",
        "closed: the connection was cut; 2 attempts to reconnect failed, the last one: refused again",
    ]


def delays(context: Any) -> float | None:
    return {0: 0.0, 1: 2.0}.get(context.previous_attempts)


async def test_a_block_that_is_left_while_reconnecting(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_peer(reconnect=lambda _: 10.0) as (_, peer):
        peer.transport.cut()
        await trio.sleep(5)
    assert lines(caplog, CONNECTION, logging.INFO)[-1] == "closed: the hub's block was left"


async def test_a_connection_that_never_came(caplog: pytest.LogCaptureFixture) -> None:
    connector = PeerConnector()
    connector.failures.append(TransportError("refused"))
    with pytest.raises(TransportError):
        async with open_peer(connector=connector):
            pass
    assert lines(caplog, CONNECTION) == ["could not connect: refused"]


async def test_an_on_connected_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: object) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        async with open_peer(on_connected=fail):
            pass
    assert "running on_connected" in lines(caplog, CONNECTION)
    assert lines(caplog, CONNECTION, logging.INFO)[-1] == "closed: ZeroDivisionError('mine')"


async def test_a_goodbye_that_takes_too_long(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_peer() as (hub, _):
        await wait_all_tasks_blocked()
        session = hub._connection._session
        assert session is not None
        monkeypatch.setattr(session.outbox, "flushed", trio.sleep_forever)
    assert trio.current_time() == 5
    assert lines(caplog, CONNECTION, logging.INFO)[1:] == [
        "closed: the hub's block was left, and the goodbye was cut short"
    ]


async def test_connecting_that_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    connector = PeerConnector()
    with trio.CancelScope() as scope:
        connector.opened = scope.cancel
        async with open_peer(connector=connector):
            pass
    assert lines(caplog, CONNECTION)[-1] == "could not connect: cancelled"


async def test_resuming(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    server = make_server(stateful_reconnect=True)
    async with server.connect(stateful_reconnect=True) as hub:
        server.refuse(TransportError("not yet"))
        await server.client(hub.connection_id).drop()
        await trio.sleep(5)
    resumed = [line for line in lines(caplog, CONNECTION, logging.INFO) if "resum" in line or "not yet" in line]
    assert [line.partition(":")[0] for line in resumed] == [
        "lost the transport, resuming",
        "could not resume",
        "resumed on another transport",
    ]


async def test_a_silent_server(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    with pytest.raises(ServerTimeout):
        async with open_peer(server_timeout=40):
            await trio.sleep_forever()
    assert lines(caplog, CONNECTION)[-4:] == [
        "nothing was received for 15 s; after 40 s the server is given up",
        "nothing was received for 30 s; after 40 s the server is given up",
        "closed: the server sent nothing for 40 s",
        "the transport is closed",
    ]


@pytest.mark.parametrize(("seconds", "warned"), [(1, False), (7, True)])
async def test_pauses(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock, seconds: int, warned: bool) -> None:
    async with open_peer(server_timeout=math.inf) as (hub, peer), hub.stream("Counter", max_buffer_size=1) as stream:
        await peer.items((await peer.expect(StreamInvocation)).invocation_id, *range(5))
        await wait_all_tasks_blocked()
        await trio.sleep(seconds)
        for _ in range(5):
            await stream.receive()
        await wait_all_tasks_blocked()
    said = lines(caplog, CONNECTION)
    assert "reading pauses: a buffer is full" in said
    assert f"reading goes on after {seconds}.000 s" in said
    assert any("overflow=" in line for line in lines(caplog, CONNECTION, logging.WARNING)) == warned


async def test_a_target_that_nobody_handles_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with open_peer(handlers={"known": print}) as (hub, peer), hub.subscribe("subscribed"):
        for target in ("hello", "hello", "subscribed", "hello"):
            await peer.send(Invocation(target, []))
        await peer.send(Invocation("awaited", [], "s1"))
        await peer.expect(Completion)
    assert lines(caplog, CONNECTION, logging.WARNING) == [
        "the server calls 'hello', for which there is no handler and no subscription",
        "the server calls 'awaited', for which there is no handler and no subscription",
    ]


async def test_a_server_that_thinks_up_targets_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with open_peer() as (_, peer):
        await peer.send(*[Invocation(f"target {number}", []) for number in range(1000)])
        await wait_all_tasks_blocked()
    assert len(lines(caplog, CONNECTION, logging.WARNING)) == 100


async def test_each_line_says_which_hub(caplog: pytest.LogCaptureFixture) -> None:
    async with open_peer() as (one, _), open_peer() as (_, peer):
        await peer.send(Invocation("hello", []))
        await wait_all_tasks_blocked()
        await one.send("Notify")
        await wait_all_tasks_blocked()
    numbers: dict[str, set[str]] = {}
    for record in caplog.records:
        number, _, text = record.getMessage().partition(": ")
        numbers.setdefault(number, set()).add(text)
    (first, said_first), (second, said_second) = numbers.items()
    assert int(second.removeprefix("hub ")) == int(first.removeprefix("hub ")) + 1
    assert "→ Invocation 'Notify', 44 B" in said_first - said_second
    assert "← Invocation 'hello'" in said_second - said_first


async def test_a_server_cannot_write_lines_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, CONTENT)
    forged = "x\nERROR: forged"
    with pytest.raises(HubClosed):
        async with open_peer() as (_, peer):
            await peer.send(Invocation(forged, [forged], forged), Completion(forged, error=forged), Close(forged))
            await trio.sleep_forever()
    said = [record.getMessage() for record in caplog.records]
    assert sum("forged" in line for line in said) >= 6
    assert not any("\n" in line for line in said)


async def test_a_server_cannot_fill_the_log_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(HubClosed):
        async with open_peer() as (_, peer):
            await peer.send(Invocation("x" * 10**6, [], "y" * 10**6), Close("z" * 10**6))
            await trio.sleep_forever()
    assert max(len(record.getMessage()) for record in caplog.records) < 3000


# The way there


async def test_negotiation_and_choice(caplog: pytest.LogCaptureFixture) -> None:
    async with make_server().serve(transports=("server_sent_events", "long_polling")) as url:
        async with open_hub(url, protocol="messagepack"):
            pass
    (answer,) = [line for line in lines(caplog, TRANSPORT) if line.startswith("the answer")]
    assert re.fullmatch(
        r"the answer: connection id \S+: ServerSentEvents \(Text\), LongPolling \(Text/Binary\)", answer
    )
    assert [line for line in lines(caplog, TRANSPORT) if line != answer] == [
        "negotiating at http://HOST/hub/negotiate",
        "not used: ServerSentEvents: cannot carry Binary, which the hub protocol needs",
        "opening long_polling",
        "long_polling is open",
    ]
    (connected,) = [line for line in lines(caplog, CONNECTION, logging.INFO) if line.startswith("connected")]
    assert connected.startswith("connected over long_polling, messagepack, id ")


async def test_a_transport_that_cannot_be_opened(caplog: pytest.LogCaptureFixture) -> None:
    server = make_server()
    async with server.serve() as url:
        server.refuse(503, transport="websockets")
        async with open_hub(url) as hub:
            assert hub.transport == "server_sent_events"
    (failed,) = lines(caplog, TRANSPORT, logging.INFO)
    assert failed.startswith("websockets could not be opened: ")
    assert "503" in failed


async def test_without_negotiation(caplog: pytest.LogCaptureFixture) -> None:
    async with make_server().serve() as url, open_hub(url, skip_negotiation=True):
        pass
    assert lines(caplog, TRANSPORT) == ["opening websockets at http://HOST/hub, without negotiation"]
    assert "connected over websockets, json, without an id" in lines(caplog, CONNECTION)


async def test_a_server_that_is_no_hub(caplog: pytest.LogCaptureFixture) -> None:
    async with make_server().serve() as url:
        with pytest.raises(NegotiationError):
            async with open_hub(f"{url}/elsewhere"):
                pass
    (line,) = lines(caplog, CONNECTION)
    assert line.startswith("could not connect: ")


@pytest.mark.parametrize("transport", ["websockets", "server_sent_events", "long_polling"])
async def test_no_token_and_no_query_is_in_any_line(caplog: pytest.LogCaptureFixture, transport: str) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, CONTENT)
    server = make_server()
    async with server.serve() as url, server.events() as events:
        where = url.replace("http://", "http://user:P4SSWORD@") + "?q=QU3RY"
        async with open_hub(where, access_token="T0K3N", transports=transport, reconnect=True) as hub:
            await hub.invoke("Add", 1, 2)
            await server.client(hub.connection_id).drop()
            while len(requests_of(server)) < 2:
                await events.receive()
            await hub.invoke("Add", 1, 2)
            tokens = [request.query["id"] for request in requests_of(server)]
    assert len(tokens) == 2
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("trio_signalr.", "httpx"))]
    assert len(ours) > 10
    for line in ours:
        for secret in ("P4SSWORD", "QU3RY", "T0K3N", *tokens):
            assert secret not in line


def requests_of(server: HubServer) -> list[Any]:
    return [client.request for client in server._shared.clients.values()]


# Messages


@pytest.mark.parametrize("protocol", [JsonHubProtocol(), MessagePackHubProtocol()], ids=["json", "messagepack"])
async def test_messages_are_told_without_their_content(caplog: pytest.LogCaptureFixture, protocol: HubProtocol) -> None:
    server = make_server()
    async with server.connect(protocol=protocol) as hub:
        await hub.invoke("Add", 1234567, 7654321)
        async with hub.stream("Counter", 3) as stream:
            assert [item async for item in stream] == [0, 1, 2]
    said = [re.sub(r", [\d.]+ k?B$", "", line) for line in lines(caplog, MESSAGES)]
    assert [line for line in said if "Ping" not in line] == [
        "→ Invocation 1 'Add'",
        "← Completion 1 'Add'",
        "→ StreamInvocation 2 'Counter'",
        *[line for line in said if "StreamItem" in line],
        "← Completion 2 'Counter'",
        "→ Close",
    ]
    assert "1234567" not in caplog.text
    assert lines(caplog, CONTENT) == []


@pytest.mark.parametrize(
    ("protocol", "ten"),
    [(JsonHubProtocol(), '"0123456789"'), (MessagePackHubProtocol(), "'0123456789'")],
    ids=["json", "messagepack"],
)
async def test_content_only_if_asked_for_by_name_and_cut(
    caplog: pytest.LogCaptureFixture, protocol: HubProtocol, ten: str
) -> None:
    caplog.set_level(logging.DEBUG, CONTENT)
    async with open_peer(protocol) as (hub, peer):
        async with hub.stream("Echo", "0123456789", 5) as stream:
            id_ = (await peer.expect(StreamInvocation)).invocation_id
            await peer.items(id_, "0123456789", "x" * 5000)
            await peer.complete(id_, error="sorry")
            await stream.receive()
        await peer.send(Completion("99", "0123456789"), Completion("98"))
        await peer.send(Invocation("hello", ["0123456789", 1]), Invocation("huge", ["x" * 100_000]))
        await wait_all_tasks_blocked()
    said = lines(caplog, CONTENT)
    assert [line for line in said if "xxx" not in line] == [
        f"→ StreamInvocation 1 'Echo': {ten}, 5",
        f"← StreamItem 1: {ten}",
        "← Completion 1 error 'sorry': ",
        f"← Completion 99: {ten}",
        "← Completion 98: ",
        f"← Invocation 'hello': {ten}, 1",
    ]
    cut = [line for line in said if "xxx" in line]
    assert len(cut) == 2
    assert all(1024 < len(line) < 1100 for line in cut)
    assert cut[0].endswith("x... (5,002 in all)")


async def test_who_turns_on_everything_does_not_get_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    caplog.set_level(1, "trio_signalr")
    caplog.set_level(1, MESSAGES)
    async with make_server().connect() as hub:
        await hub.invoke("Add", 1234567, 7654321)
    assert lines(caplog, MESSAGES) != []
    assert "1234567" not in caplog.text


async def test_messages_can_be_turned_on_while_connected(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, MESSAGES)
    async with make_server().connect() as hub:
        await hub.invoke("Add", 1, 2)
        assert lines(caplog, MESSAGES) == []
        caplog.set_level(logging.DEBUG, MESSAGES)
        await hub.invoke("Add", 1, 2)
        await hub.invoke("Add", 1, 2)
    assert "→ Invocation 3 'Add', 63 B" in lines(caplog, MESSAGES)


def test_a_program_that_configures_nothing_gets_no_line() -> None:
    program = """
        import trio.testing
        from trio_signalr.testing import HubServer

        server = HubServer()

        async def main() -> None:
            async with server.connect() as hub:
                await server.client(hub.connection_id).send("nobody handles this")
                await trio.testing.wait_all_tasks_blocked()

        trio.run(main)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
