"""Keep-alive: our pings, and the end of our patience with a client that sends none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..messages import Ping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messages import ReceivedMessage
    from ._line import Line
    from ._options import ServerOptions
    from ._wire import Inbox, Wire

__all__ = ["KeepAlive"]


class KeepAlive:
    """Shows a client that the server is there, and sees whether the client is.

    Args:
        options: How often to ping, and how long a client may be silent.
        line: Where there may be nobody for a while.
        wire: Where pings go.
        inbox: Whose messages may be kept waiting.
    """

    def __init__(self, options: ServerOptions, line: Line, wire: Wire, inbox: Inbox) -> None:
        self._options = options
        self._line = line
        self._wire = wire
        self._inbox = inbox
        self._armed = trio.Event()
        self._last_heard = trio.current_time()

    async def ping(self) -> None:
        """Ping by the clock, whatever else is sent."""
        if self._line.transport.inherent_keep_alive:
            return
        while True:
            await trio.sleep(self._options.keep_alive_interval)
            if self._wire.outbox.idle:
                self._wire.post(Ping())

    def heard(self, messages: Iterable[ReceivedMessage] = ()) -> None:
        """These messages have come, or some that came before were handled: the silence begins anew."""
        self._last_heard = trio.current_time()
        if not self._armed.is_set():
            for message in messages:
                if isinstance(message, Ping):
                    self._armed.set()

    async def wait_silent(self) -> None:
        """Wait until the client has been silent for too long.

        Its first ping asks for that; while handling waits, silence is our own doing.
        """
        await self._armed.wait()
        timeout = self._options.client_timeout
        while True:
            now = trio.current_time()
            heard = now if self._inbox.blocked or self._line.lost else self._last_heard
            if now >= heard + timeout:
                return
            await trio.sleep_until(heard + timeout)
