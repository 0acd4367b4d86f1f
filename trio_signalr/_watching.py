"""What people see of a hub's life: each event becomes a line in the log, and a figure if somebody collects them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._logs import CONNECTION, enter_hub
from .negotiation import public_id

if TYPE_CHECKING:
    from ._endings import Ending
    from ._link import Link
    from ._recorder import FlightRecorder
    from ._telemetry import HubTelemetry

__all__ = ["Watching"]


def _open_telemetry(url: str | None) -> HubTelemetry | None:
    """Traces and metrics, if this program has set up OpenTelemetry.

    Who never imported it has nobody to report to, so it is not imported for its own sake: it may be installed for
    something else, and takes 70 ms.
    """
    if sys.modules.get("opentelemetry") is None:
        return None
    try:
        from . import _telemetry
    except ImportError:  # other distributions have modules in that package, too
        return None
    return _telemetry.HubTelemetry(_telemetry.telemetry(), url) if _telemetry.is_set_up() else None


class Watching:
    """Watches one hub, from ``open_hub`` to the end of its block.

    Args:
        url: The hub's URL; ``None`` in memory.

    Attributes:
        telemetry: Traces and metrics; ``None`` if nobody wants them.
    """

    def __init__(self, url: str | None) -> None:
        self.telemetry: HubTelemetry | None = _open_telemetry(url)
        self._connected_before = self._closed = False

    def enter(self) -> None:
        """The task that runs the connection begins: what it logs is about this hub."""
        enter_hub()

    def connected(self, link: Link, protocol: str, recorder: FlightRecorder) -> None:
        """Hands were shaken; ``recorder`` counts what the connection carries."""
        again = " again" if self._connected_before else ""
        if self._connected_before and self.telemetry is not None:
            self.telemetry.reconnected("new", None)
        self._connected_before = True
        CONNECTION.info(
            "connected%s over %s, %s, %s", again, link.transport.name, protocol, public_id(link.connection_id)
        )
        if self.telemetry is not None:
            self.telemetry.connected(link, recorder)

    def lost(self, ending: Ending) -> None:
        """A connection has ended, and there may be another."""
        CONNECTION.info("connection lost: %s", ending.text)

    def disconnected(self, ending: Ending, close_code: int | None) -> None:
        """A connection that was connected is over, with its transport closed."""
        CONNECTION.debug("the transport is closed%s", "" if close_code is None else f", with close code {close_code}")
        if self.telemetry is not None:
            self.telemetry.disconnected(ending)

    def retrying(self, attempt: int, delay: float) -> None:
        """It is going to be tried again."""
        CONNECTION.info("reconnecting, attempt %d, in %g s", attempt + 1, delay)

    def retry_failed(self, attempt: int, error: Exception) -> None:
        """That attempt led to nothing."""
        CONNECTION.info("attempt %d failed: %s", attempt + 1, error)
        if self.telemetry is not None:
            self.telemetry.reconnected("new", error)

    def resumed(self, error: Exception | None) -> None:
        """An attempt to resume on another transport has failed with ``error``; or it was good."""
        if error is None:
            CONNECTION.info("resumed on another transport")
        else:
            CONNECTION.info("could not resume: %s", error)
        if self.telemetry is not None:
            self.telemetry.reconnected("resumed", error)

    def failed(self, error: BaseException) -> None:
        """The first connection could not be made, its ``on_connected`` has failed, or it was cancelled."""
        cancelled = not isinstance(error, Exception)
        if self._connected_before:
            self.closed("the hub's block was left, and the goodbye was cut short" if cancelled else repr(error))
        else:
            self._closed = True
            CONNECTION.info("could not connect: %s", "cancelled" if cancelled else error)

    def closed(self, reason: str) -> None:
        """There will be no connection any more; only the first reason counts."""
        if not self._closed:
            self._closed = True
            CONNECTION.info("closed: %s", reason)
