"""What comes in: bytes become messages, and messages go to those they are for."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from ._contents import show_received
from ._logs import content_wanted, message_listener
from .messages import StreamItem
from .protocols import StreamItems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from msgspec import Raw

    from ._acks import Acks
    from ._calls import Calls
    from ._recorder import FlightRecorder
    from .messages import ReceivedMessage
    from .protocols import HubProtocol

__all__ = ["Incoming", "decide_on_logging"]


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
        "_max_message_size",
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
        self._fed += len(data)
        while not self.stopped and (messages := feed(data)):
            self._dispatch(messages, self._fed, now)
            self._fed, data = 0, b""

    def _dispatch(self, messages: Collection[ReceivedMessage | StreamItems], size: int, now: float) -> None:
        receivers, recorder = self._receivers, self._recorder
        if self._acks is not None:
            messages = self._acks.fresh(messages)
        if recorder.show_content:
            show_received(cast("Iterable[ReceivedMessage]", messages), self._protocol)
        for kind, run in groupby(messages, type):
            if kind is StreamItem:  # thousands of them in a row
                count, id_, method = self._calls.items(cast("Iterable[StreamItem[Raw]]", run))
                recorder.received(now, "StreamItem", id_, method, max(size, 0) * count // len(messages), count)
            elif kind is StreamItems:
                size -= sum(self._take_run(each, now) for each in cast("Iterable[StreamItems]", run))
            elif kind in receivers:
                for message in cast("Iterable[ReceivedMessage]", run):
                    recorder.received_one(now, message, self._calls.method_of)
                    receivers[kind](message)
                    if self.stopped:
                        return
            else:  # Ping, Ack, ... ask for nothing
                recorder.background(now, "received", kind.__name__, sum(1 for _ in run), 0)

    def _take_run(self, run: StreamItems, now: float) -> int:
        method = self._calls.run(run.invocation_id, run.items)
        self._recorder.received(now, "StreamItem", run.invocation_id, method, run.size, len(run.items))
        return run.size


def decide_on_logging(recorder: FlightRecorder) -> None:
    """Ask whether messages are logged: once for each read, for writes too, since asking takes a while."""
    recorder.listener = message_listener()
    recorder.show_content = content_wanted()
