"""Every method of the hub binds and answers as described, in both hub protocols."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeAlias

import pytest
from trio_websocket import WebSocketConnection

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.aspnetcore.websocket import raw_websocket
from trio_signalr.messages import (
    UNSET,
    CancelInvocation,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    ReceivedMessage,
    StreamInvocation,
    StreamItem,
)
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol

JSON, MESSAGEPACK = JsonHubProtocol(), MessagePackHubProtocol()
BOTH = pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=["json", "messagepack"])

Outcome: TypeAlias = tuple[list[Any], Any]
"""The items, then the result or "error: text"."""

# Method, arguments, what each upload sends, result.
CALLS: list[tuple[str, list[object], list[list[object]], Any]] = [
    ("Add", [1, 2], [], 3),
    ("Echo", [[1, None, "ü", 2.5, True]], [], [1, None, "ü", 2.5, True]),
    ("Echo", [{"a": 1}], [], {"a": 1}),
    ("Void", [], [], None),
    ("Big", [5], [], "xxxxx"),
    ("Notify", ["hello"], [], None),
    ("Slow", [1], [], "slow"),
    ("Fail", [], [], "error: An unexpected error occurred invoking 'Fail' on the server."),
    (
        "FailPublic",
        [],
        [],
        "error: An unexpected error occurred invoking 'FailPublic' on the server. HubException: public message",
    ),
    ("Query", ["colour"], [], "red"),
    ("Header", ["X-Test"], [], "yes"),
    ("Token", [], [], "secret"),
    ("UserName", [], [], None),
    ("TransportName", [], [], "WebSockets"),
    ("UploadStream", [], [["one", "two"]], "one two"),
    ("UploadChannel", [], [[1, 2, 3]], 6),
    ("UploadTwo", ["both"], [[1, 2], ["a", "b"]], "both: 3, a b"),
    ("UploadFirst", [2], [[7, 8, 9]], [7, 8]),
    (
        "UploadThenFail",
        [1],
        [[7, 8]],
        "error: An unexpected error occurred invoking 'UploadThenFail' on the server. HubException: enough",
    ),
    ("UploadSlow", [0], [[1, 2, 3]], 3),
]

STREAMS: list[tuple[str, list[object], list[list[object]], Outcome]] = [
    ("Counter", [3, 0], [], ([0, 1, 2], None)),
    ("CounterAsync", [3, 1], [], ([0, 1, 2], None)),
    ("FlushedCounter", [3], [], ([0, 1, 2], None)),
    ("BigStream", [2, 3], [], (["xxx", "xxx"], None)),
    ("Nulls", [2], [], ([None, None], None)),
    ("FailingStream", [2], [], ([0, 1], "error: An error occurred on the server while streaming results.")),
    (
        "FailingStreamPublic",
        [1],
        [],
        ([0], "error: An error occurred on the server while streaming results. HubException: public message"),
    ),
    (
        "NullStream",
        [],
        [],
        (
            [],
            "error: The value returned by the streaming method 'NullStream' is not a ChannelReader<> or "
            "IAsyncEnumerable<>.",
        ),
    ),
    ("TriggerStream", [1], [], (["Job 0 executed successfully"], None)),
    ("Transform", [], [[1, 2]], ([2, 4], None)),
]


class Conversation:
    """Hub messages over a WebSocket."""

    def __init__(self, websocket: WebSocketConnection, protocol: HubProtocol) -> None:
        self._websocket = websocket
        self._protocol = protocol
        self._parser = protocol.parser()
        self._received: list[ReceivedMessage] = []

    async def send(self, *messages: HubMessage[object]) -> None:
        data = b"".join(map(self._protocol.encode, messages))
        await self._websocket.send_message(data if self._protocol.transfer_format == "Binary" else data.decode())

    async def receive(self) -> ReceivedMessage:
        """The next message that is no ping."""
        while True:
            while not self._received:
                data = await self._websocket.get_message()
                self._received = self._parser.feed(data.encode() if isinstance(data, str) else data)
            if not isinstance(message := self._received.pop(0), Ping):
                return message

    def value(self, payload: Any) -> Any:
        return self._protocol.decode_payload(payload, Any)

    async def expect_calls(self, *calls: tuple[str, Any]) -> None:
        """The next messages are these calls of handlers, with one argument each."""
        for call in calls:
            message = await self.receive()
            assert isinstance(message, Invocation)
            assert (message.target, [self.value(each) for each in message.arguments]) == (call[0], [call[1]])

    async def call(
        self, method: str, arguments: list[object], uploads: list[list[object]], *, stream: bool = False
    ) -> Outcome:
        """Call a method, with all items of all uploads at once, and return all that it answers."""
        stream_ids = [f"upload-{index}" for index in range(len(uploads))]
        kind = StreamInvocation[object] if stream else Invocation[object]
        await self.send(kind(method, arguments, "call", stream_ids))
        for stream_id, items in zip(stream_ids, uploads, strict=True):
            await self.send(*(StreamItem(stream_id, item) for item in items), Completion(stream_id))
        items = []
        while isinstance(message := await self.receive(), StreamItem):
            items.append(self.value(message.item))
        assert isinstance(message, Completion)
        if message.error is not None:
            return items, f"error: {message.error}"
        return items, None if message.result is UNSET else self.value(message.result)


@asynccontextmanager
async def conversation(url: str, protocol: HubProtocol) -> AsyncIterator[Conversation]:
    headers = {"X-Test": "yes", "Authorization": "Bearer secret"}
    async with raw_websocket(url, headers) as websocket:
        await websocket.send_message(json.dumps({"protocol": protocol.name, "version": 1}) + "\x1e")
        assert await websocket.get_message() in ("{}\x1e", b"{}\x1e")
        yield Conversation(websocket, protocol)


@BOTH
async def test_methods_answer(aspnetcore: HubProcess, protocol: HubProtocol) -> None:
    async with conversation(aspnetcore.url(colour="red"), protocol) as hub:
        for method, arguments, uploads, result in CALLS:
            assert (method, await hub.call(method, arguments, uploads)) == (method, ([], result))
        assert await hub.call("ConnectionId", [], []) != ([], None)


@BOTH
async def test_streams_answer(aspnetcore: HubProcess, protocol: HubProtocol) -> None:
    async with conversation(aspnetcore.url(), protocol) as hub:
        for method, arguments, uploads, outcome in STREAMS:
            assert (method, await hub.call(method, arguments, uploads, stream=True)) == (method, outcome)


@BOTH
async def test_objects_have_five_fields(aspnetcore: HubProcess, protocol: HubProtocol) -> None:
    """Named as each protocol does it."""
    async with conversation(aspnetcore.url(), protocol) as hub:
        [_, item], _ = await hub.call("Objects", [2], [], stream=True)
        fields = {name.lower(): value for name, value in item.items()}
        stamp = fields.pop("stamp")
        assert fields == {"id": 1, "name": "item 1", "value": 0.25, "flag": False}
        if protocol is JSON:
            assert list(item) == ["id", "name", "value", "flag", "stamp"]
            assert stamp == "2024-01-02T03:04:06Z"
        else:
            assert list(item) == ["Id", "Name", "Value", "Flag", "Stamp"]
            assert stamp == datetime.fromisoformat("2024-01-02T03:04:06Z")


@BOTH
async def test_the_hub_calls_back(aspnetcore: HubProcess, protocol: HubProtocol) -> None:
    """By itself, to another connection, to a group, and waiting for answers."""
    async with conversation(aspnetcore.url(), protocol) as hub, conversation(aspnetcore.url(), protocol) as other:
        _, id_ = await other.call("ConnectionId", [], [])
        group = aspnetcore.probe().name
        await other.call("JoinGroup", [group], [])
        await hub.send(Invocation("CallMe", ["Here", {"a": [1]}]), Invocation("CallMeMany", ["Many", 2]))
        await hub.expect_calls(("Here", {"a": [1]}), ("Many", 0), ("Many", 1))
        await hub.call("SendTo", [id_, "There", "x"], [])
        await hub.call("SendToGroup", [group, "Everywhere", 1], [])
        await other.expect_calls(("There", "x"), ("Everywhere", 1))


@BOTH
async def test_probes_tell_what_happens_inside(aspnetcore: HubProcess, protocol: HubProtocol, probe: Probe) -> None:
    name = probe.name
    async with conversation(aspnetcore.url(), protocol) as hub:
        await hub.call("Record", [name, "mark"], [])
        await hub.call("SlowWithProbe", [name, 1], [])
        await hub.call("UploadWatched", [name], [[5]])
        await hub.call("WatchedTransform", [name], [[1]], stream=True)
        assert await probe.events() == [
            *("mark", "started", "finished", "started", "item: 5", "reader ended", "started", "finished: 1"),
        ]


@BOTH
async def test_held_methods_wait_for_go(aspnetcore: HubProcess, protocol: HubProtocol) -> None:
    async with conversation(aspnetcore.url(), protocol) as hub:
        probe = aspnetcore.probe()
        await hub.send(Invocation("UploadHeld", [probe.name], "1", ["u"]), StreamItem("u", 4), Completion("u"))
        assert await probe.wait("held") == ["held"]
        await probe.record("go")
        assert isinstance(await hub.receive(), Completion)
        assert await probe.events() == ["held", "go", "started", "item: 4", "reader ended"]

        for method, cancelled in [("HeldCounter", ["cancelled"]), ("StubbornCounter", [])]:
            probe = aspnetcore.probe()
            await hub.send(StreamInvocation(method, [probe.name, 1], "2"))
            assert isinstance(await hub.receive(), StreamItem)
            await hub.send(CancelInvocation("2"))
            if not cancelled:
                # It has no token to see, and the server answers only when it has ended.
                await probe.record("go")
            assert isinstance(await hub.receive(), Completion)
            events = [event for event in await probe.wait("finished") if event != "go"]
            assert events == ["started", *cancelled, "finished: 1"]


@BOTH
async def test_the_hub_asks_its_caller(aspnetcore: HubProcess, protocol: HubProtocol) -> None:
    async with conversation(aspnetcore.url(), protocol) as hub:
        for method, answer, result in [("AskMe", "fine", "fine"), ("AskMeForNumber", 42, "42")]:
            await hub.send(Invocation(method, ["Q", 1], "1"))
            question = await hub.receive()
            assert isinstance(question, Invocation)
            assert question.invocation_id is not None
            await hub.send(Completion(question.invocation_id, answer))
            answered = await hub.receive()
            assert isinstance(answered, Completion)
            assert hub.value(answered.result) == result

        await hub.send(Invocation("AskMany", ["Q", 3], "1"))
        questions = [await hub.receive() for _ in range(3)]
        for question in reversed(questions):
            assert isinstance(question, Invocation)
            assert question.invocation_id is not None
            await hub.send(Completion(question.invocation_id, f"answer {hub.value(question.arguments[0])}"))
        answered = await hub.receive()
        assert isinstance(answered, Completion)
        assert hub.value(answered.result) == ["answer 0", "answer 1", "answer 2"]

        await hub.send(Invocation("AskImpatiently", ["Q", 1, 10], "1"))
        assert isinstance(await hub.receive(), Invocation)
        answered = await hub.receive()
        assert isinstance(answered, Completion)
        assert hub.value(answered.result) == "error: Invocation canceled by the server."


@BOTH
async def test_abort_closes(aspnetcore: HubProcess, protocol: HubProtocol) -> None:
    async with conversation(aspnetcore.url(), protocol) as hub:
        await hub.send(Invocation("Abort", []))
        assert type(await hub.receive()).__name__ == "Close"
