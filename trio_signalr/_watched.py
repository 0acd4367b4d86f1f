"""Calls and uploads that tell a :class:`CallWatch` what comes of them; those that nobody watches pay nothing for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._streams import StreamCall
from ._uploads import UploadStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from ._calls import Calls
    from ._endings import Ending
    from ._telemetry import CallWatch
    from .messages import Completion
    from .protocols import HubProtocol

__all__ = ["WatchedStreamCall", "WatchedUploadStream"]


class WatchedStreamCall(StreamCall):
    """A streaming call whose items are counted, and whose end is told when it comes, not when the user comes to it."""

    __slots__ = ("_watch",)

    def __init__(self, calls: Calls, method: str, uploads: Sequence[UploadStream], watch: CallWatch) -> None:
        super().__init__(calls, method, uploads)
        self._watch = watch
        watch.count_items()

    def items(self, payloads: list[Raw]) -> None:
        """See :meth:`StreamCall.items`."""
        self._watch.items_received += len(payloads)
        super().items(payloads)
        self._tell_end()  # an item may be refused

    def completed(self, message: Completion[Raw]) -> None:
        """See :meth:`StreamCall.completed`."""
        super().completed(message)
        self._tell_end()

    def lost(self, ending: Ending) -> None:
        """See :meth:`StreamCall.lost`."""
        super().lost(ending)
        self._tell_end()

    def upload_failed(self, error: Exception) -> None:
        """See :meth:`StreamCall.upload_failed`."""
        super().upload_failed(error)
        self._tell_end()

    def _tell_end(self) -> None:
        if self.stream.ended:
            self._watch.end(self.stream.failure)


class WatchedUploadStream(UploadStream):
    """An upload whose items are counted."""

    __slots__ = ("_watch",)

    def __init__(self, id_: str, method: str, protocol: HubProtocol, watch: CallWatch) -> None:
        super().__init__(id_, method, protocol)
        self._watch = watch
        watch.count_items()

    def put(self, item: object) -> None:
        """See :meth:`UploadStream.put`."""
        super().put(item)
        if self.open:
            self._watch.items_sent += 1
