"""What a client has sent, for tests to look at: while it comes, and at any time later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._records import Received, plain

if TYPE_CHECKING:
    from ..messages import HubMessage, ReceivedMessage
    from ..protocols import HubProtocol
    from ._client import Client
    from ._shared import Shared

__all__ = ["History"]


class History:
    """Everything that one client has sent.

    Args:
        client: Who.
        shared: Whether to keep it, and who wants to hear of it at once.
        protocol: What the client speaks.
    """

    def __init__(self, client: Client, shared: Shared, protocol: HubProtocol) -> None:
        self._client = client
        self._shared = shared
        self._protocol = protocol
        self._fresh: list[ReceivedMessage] = []
        self._plain: list[HubMessage[Any]] = []

    def add(self, messages: list[ReceivedMessage]) -> None:
        """These have come."""
        if self._shared.options.record:
            self._fresh += messages
        if self._shared.observed:
            for message in messages:
                self._shared.emit(Received(self._client, plain(message, self._protocol)))

    def read(self) -> list[HubMessage[Any]]:
        """Return all of it; decoded when somebody asks, for most never do."""
        fresh, self._fresh = self._fresh, []
        self._plain += [plain(message, self._protocol) for message in fresh]
        return list(self._plain)
