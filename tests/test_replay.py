"""Stateful reconnect's bookkeeping against a model of ASP.NET Core's: nothing lost, nothing doubled, order kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trio_signalr.errors import ProtocolError
from trio_signalr.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    Sequence,
    StreamItem,
)
from trio_signalr.protocols import JsonHubProtocol
from trio_signalr.replay import BUFFER_LIMIT, Replay

PROTOCOL = JsonHubProtocol()


def invocation(number: int, uploads: tuple[str, ...] = ()) -> Invocation[Any]:
    return Invocation("M", [number], str(1000 + number), list(uploads))


@dataclass
class Server:
    """What ASP.NET Core does with what it receives, its gap included."""

    next: int = 1
    latest: int = 0
    executed: list[Any] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    awaiting: bool = False
    broken: bool = False

    def receive(self, data: bytes) -> None:
        for message in PROTOCOL.parser().feed(data):
            if isinstance(message, Sequence):
                if message.sequence_id > self.next:
                    self.broken = True
                    return
                self.next, self.awaiting = message.sequence_id, False
            elif not self.awaiting and not isinstance(message, Ping | Close | Ack):
                self._count(message)

    def _count(self, message: Any) -> None:
        if isinstance(message, StreamItem) and message.invocation_id not in self.known:
            return  # the gap: not counted at all
        number, self.next = self.next, self.next + 1
        if number <= self.latest:
            return
        self.latest = number
        if isinstance(message, Invocation):
            self.known.update(message.stream_ids)
            self.executed.append(("call", message.invocation_id))
        elif isinstance(message, StreamItem):
            self.executed.append(("item", message.invocation_id, bytes(message.item)))
        elif isinstance(message, Completion):
            self.known.discard(message.invocation_id)
            self.executed.append(("end", message.invocation_id))


class Wire:
    """A client and a server, and a socket between them that can be cut between messages."""

    def __init__(self) -> None:
        self.replay = Replay(PROTOCOL)
        self.server = Server()
        self.expected: list[Any] = []
        self.under_way: list[bytes] = []

    def send(self, message: HubMessage[Any], stream_id: str | None = None) -> None:
        data = PROTOCOL.encode(message)
        self.replay.sent(data, stream_id)
        self.under_way.append(data)

    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.under_way))):
            self.server.receive(self.under_way.pop(0))

    def acknowledge(self) -> None:
        self.replay.acknowledged(self.server.latest)

    def cut_and_resume(self) -> None:
        self.under_way = self.replay.resend()
        self.server.awaiting = True

    def upload_over(self, stream_id: str) -> None:
        if (first := self.replay.forget_items({stream_id})) is not None:
            self.under_way += self.replay.mend(first)


def test_everything_unacknowledged_is_sent_again_after_a_sequence_byte_for_byte() -> None:
    wire = Wire()
    for number in range(4):
        wire.send(invocation(number))
    wire.deliver(2)
    wire.acknowledge()
    assert wire.replay.resend() == [PROTOCOL.encode(Sequence(3)), *wire.under_way]


def test_with_nothing_unacknowledged_the_sequence_is_one_more_than_the_last() -> None:
    replay = Replay(PROTOCOL)
    assert replay.resend() == [PROTOCOL.encode(Sequence(1))]
    replay.sent(b"x")
    replay.acknowledged(1)
    assert replay.resend() == [PROTOCOL.encode(Sequence(2))]


def test_the_limit_counts_bytes_until_they_are_acknowledged() -> None:
    replay = Replay(PROTOCOL)
    replay.sent(b"x" * (BUFFER_LIMIT - 1))
    assert replay.has_room
    replay.sent(b"x")
    assert not replay.has_room
    replay.acknowledged(1)
    assert replay.has_room
    assert replay.size == 1
    replay.acknowledged(99)
    assert replay.size == 0


def test_received_messages_are_counted_and_duplicates_dropped() -> None:
    replay = Replay(PROTOCOL)
    messages: list[Any] = PROTOCOL.parser().feed(b"".join(PROTOCOL.encode(invocation(n)) for n in range(4)))
    assert [replay.received(message) for message in messages] == [True] * 4
    assert replay.received(Ping())
    assert replay.latest_received == 4
    replay.reconnected()
    assert not replay.received(messages[0]), "nothing counts before the Sequence"
    assert not replay.received(Sequence(3))
    assert [replay.received(message) for message in messages] == [False, False, True, True]
    assert replay.latest_received == 6
    with pytest.raises(ProtocolError, match="lost"):
        replay.received(Sequence(8))


def test_items_of_an_upload_whose_call_is_over_are_replaced() -> None:
    wire = Wire()
    wire.send(invocation(0, ("u",)))
    wire.send(StreamItem("u", 1), "u")
    wire.replay.forget_items({"u"})
    resent = PROTOCOL.parser().feed(b"".join(wire.replay.resend()))
    assert [type(message) for message in resent] == [Sequence, Invocation, CancelInvocation]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call")),
        st.tuples(st.just("open")),
        st.tuples(st.just("item"), st.integers(0, 3)),
        st.tuples(st.just("end"), st.integers(0, 3)),
        st.tuples(st.just("deliver"), st.integers(1, 12)),
        st.tuples(st.just("acknowledge")),
        st.tuples(st.just("cut")),
    ),
    max_size=80,
)


@settings(max_examples=1000)
@given(STEPS)
def test_any_sequence_of_sends_acks_and_cuts_loses_and_doubles_nothing(steps: list[tuple[Any, ...]]) -> None:
    """Uploads end normally: the server forgets a stream when it reads its end, whether or not we know that it has."""
    wire = Wire()
    uploads: list[str] = []
    count = 0
    for step in steps:
        if step[0] == "call":
            count += 1
            wire.send(invocation(count))
            wire.expected.append(("call", str(1000 + count)))
        elif step[0] == "open":
            count += 1
            upload = f"{count}"
            uploads.append(upload)
            wire.send(invocation(count, (upload,)))
            wire.expected.append(("call", str(1000 + count)))
        elif step[0] in ("item", "end") and uploads:
            upload = uploads[step[1] % len(uploads)]
            count += 1
            if step[0] == "item":
                wire.send(StreamItem(upload, count), upload)
                wire.expected.append(("item", upload, str(count).encode()))
            else:
                uploads.remove(upload)
                wire.send(Completion(upload))
                wire.expected.append(("end", upload))
        elif step[0] == "deliver":
            wire.deliver(step[1])
        elif step[0] == "acknowledge":
            wire.acknowledge()
        elif step[0] == "cut":
            wire.cut_and_resume()
        assert not wire.server.broken
    wire.cut_and_resume()
    wire.deliver(1000)
    assert not wire.server.broken
    assert wire.server.executed == wire.expected
    assert wire.server.next == wire.replay._last_sent + 1, "both sides agree on the next number"


@given(st.integers(0, 10), st.integers(0, 10), st.booleans(), st.integers(0, 10))
def test_a_method_that_ends_early_is_mended_while_the_socket_lives(
    before: int, after: int, acknowledge: bool, later: int
) -> None:
    """The server skips items of a stream that it has forgotten; after mending, what follows is counted and executed."""
    wire = Wire()
    wire.send(invocation(0, ("u",)))
    for number in range(before):
        wire.send(StreamItem("u", number), "u")
    wire.deliver(1000)
    if acknowledge:
        wire.acknowledge()
    wire.server.known.discard("u")  # the method has answered without reading on
    for number in range(after):
        wire.send(StreamItem("u", number), "u")
    wire.upload_over("u")
    for number in range(later):
        wire.send(invocation(1 + number))
    wire.deliver(1000)
    assert not wire.server.broken
    assert wire.server.next == wire.replay._last_sent + 1
    calls = [entry for entry in wire.server.executed if entry[0] == "call"]
    assert calls == [("call", str(1000 + number)) for number in range(later + 1)]
    wire.cut_and_resume()
    wire.deliver(1000)
    assert [entry for entry in wire.server.executed if entry[0] == "call"] == calls, "nothing is executed again"
