"""The transport under a connection. With stateful reconnect it is replaced by another one when it breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import TransportError
from ..transports import Transport
from ._transport import ServerEnd

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Line"]


class Line:
    """Where a connection's bytes go, now.

    Args:
        transport: The first transport.
        window: Seconds for the client to come back by another one; 0 if it may not.

    Attributes:
        transport: The present one.
        lost: Whether it is known to be broken, so that there is nobody to talk to.
    """

    def __init__(self, transport: Transport, window: float) -> None:
        self.transport = transport
        self.lost = False
        self._window = window
        self._attached = trio.Event()

    @property
    def resumable(self) -> bool:
        """Whether the client may come back."""
        return self._window > 0

    def forget(self) -> None:
        """The client may not come back any more."""
        self._window = 0
        self._note_change()

    def attach(self, transport: ServerEnd, resend: Iterable[bytes]) -> None:
        """Go on with another transport, over which ``resend`` goes first.

        The old one is of no use any more, even if nobody has noticed yet. ASP.NET Core waits some seconds for it to
        end, and gives the connection up if it ends in good order; no client should keep it open.
        """
        if isinstance(self.transport, ServerEnd):
            self.transport.cut(keep=True)
        assert isinstance(transport, Transport)
        for data in resend:
            transport.put(data)
        self.transport = transport
        self.lost = False
        self._note_change()

    async def another(self, broken: Transport, error: TransportError) -> None:
        """Wait for a transport in place of one that broke.

        Raises:
            TransportError: None has come in time, or none may.
        """
        if self.transport is broken:
            self.lost = True
        with trio.move_on_after(self._window):
            while self.transport is broken and self._window:
                await self._attached.wait()
        if self.transport is broken:
            self._window = 0
            raise TransportError(str(error)) from error

    def _note_change(self) -> None:
        self._attached.set()
        self._attached = trio.Event()
