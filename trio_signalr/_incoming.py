"""What comes in: bytes become messages, and messages go to those they are for."""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from ._contents import show_received
from ._logs import content_wanted, message_listener
from .messages import StreamItem
from .protocols import StreamItems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from msgspec import Raw

    from ._acks import Acks
    from ._calls import Calls
    from ._recorder import FlightRecorder
    from .messages import ReceivedMessage
    from .protocols import HubProtocol

__all__ = ["Incoming", "decide_on_logging"]

PLENTY = 32
"""Items of one stream that are worth handing over: waking a task of Trio takes about as long as they do to arrive."""


MUCH = 1024 * 1024
"""Bytes after which it is handed over anyway: one message of the transport may be of many megabytes."""


class Incoming:
    """The way of received messages on one connection.

    Args:
        receivers: Who takes a message, by its kind. Stream items go to their calls; all others ask for nothing.
        acks: Told of each message, with stateful reconnect.

    Attributes:
        stopped: Whether messages are of no use any more; set by whoever learns of it from one of them.
    """

    __slots__ = (
        "_acks",
        "_calls",
        "_fed",
        "_gathered",
        "_gathered_size",
        "_gathering",
        "_max_message_size",
        "_now",
        "_parser",
        "_protocol",
        "_receivers",
        "_recorder",
        "stopped",
    )

    def __init__(
        self,
        protocol: HubProtocol,
        calls: Calls,
        receivers: dict[type, Callable[[Any], None]],
        recorder: FlightRecorder,
        acks: Acks | None,
        max_message_size: float,
    ) -> None:
        self._protocol = protocol
        self._calls = calls
        self._receivers = receivers
        self._recorder = recorder
        self._acks = acks
        self._max_message_size = max_message_size
        self._now = -math.inf  # when the last bytes came
        self._gathering = False
        self._gathered: defaultdict[str, list[Raw]] = defaultdict(list)  # payloads of stream items, by id
        self._gathered_size = 0  # bytes of their messages
        self.restart()

    def restart(self) -> None:
        """Begin anew, with another transport."""
        self._parser = self._protocol.parser(max_message_size=self._max_message_size)
        self._fed = 0  # bytes since the last message
        self.stopped: bool = False

    def receive(self, data: bytes, now: float) -> None:
        """Handle the messages that ``data`` completes.

        Raises:
            ProtocolError: The input is malformed; what came before that was handled.
        """
        decide_on_logging(self._recorder)
        # Stateful reconnect counts messages one by one, and the log shows them so.
        one_by_one = self._acks is not None or self._recorder.show_content
        feed = self._parser.feed if one_by_one else self._parser.feed_runs
        self._now = now
        self._fed += len(data)
        while not self.stopped and (messages := feed(data)):
            self._dispatch(messages, self._fed)
            self._fed, data = 0, b""

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """While the block runs, items of many streams are gathered until there are plenty for one of them.

        So a task that waits for one stream of many is woken once, for all that came together. Nothing overtakes them.
        While there are consumers that could lose items by it, nothing is gathered.
        """
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
            self.hand_over()

    def hand_over(self) -> None:
        """Hand to each stream what was gathered for it: no order is promised between streams."""
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, defaultdict(list)
        size, self._gathered_size = self._gathered_size, 0
        id_ = method = None
        for id_, items in gathered.items():
            method = self._calls.items(id_, items)
        if len(gathered) > 1:
            id_ = method = None
        self._recorder.received(self._now, "StreamItem", id_, method, size, sum(map(len, gathered.values())))

    def _dispatch(self, messages: Collection[ReceivedMessage | StreamItems], size: int) -> None:
        if self._acks is not None:
            messages = self._acks.fresh(messages)
        if self._recorder.show_content:
            show_received(cast("Iterable[ReceivedMessage]", messages), self._protocol)
        for kind, run in groupby(messages, type):
            if self.stopped:
                return
            if kind is StreamItem:  # thousands of them in a row
                items = list(cast("Iterable[StreamItem[Raw]]", run))
                self._gather(items, max(size, 0) * len(items) // len(messages))
            elif kind is StreamItems:
                size -= sum(map(self._gather_run, cast("Iterable[StreamItems]", run)))
            else:
                self._take(kind, cast("Iterable[ReceivedMessage]", run))

    def _gather(self, messages: list[StreamItem[Raw]], size: int) -> None:
        gathered = self._gathered
        for message in messages:
            gathered[message.invocation_id].append(message.item)
        self._hand_over_if_due(size)

    def _gather_run(self, run: StreamItems) -> int:
        self._gathered[run.invocation_id] += run.items
        self._hand_over_if_due(run.size)
        return run.size

    def _hand_over_if_due(self, size: int) -> None:
        self._gathered_size += size
        due = not self._gathering or self._calls.impatient or self._gathered_size >= MUCH
        if due or max(map(len, self._gathered.values())) >= PLENTY:
            self.hand_over()

    def _take(self, kind: type, messages: Iterable[ReceivedMessage]) -> None:
        self.hand_over()
        receiver, recorder = self._receivers.get(kind), self._recorder
        if receiver is None:  # Ping, Ack, ... ask for nothing
            recorder.background(self._now, "received", kind.__name__, sum(1 for _ in messages), 0)
            return
        for message in messages:
            recorder.received_one(self._now, message, self._calls.method_of)
            receiver(message)
            if self.stopped:
                return


def decide_on_logging(recorder: FlightRecorder) -> None:
    """Ask whether messages are logged: once for each read, for writes too, since asking takes a while."""
    recorder.listener = message_listener()
    recorder.show_content = content_wanted()
