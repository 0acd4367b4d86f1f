"""One live connection: reader, writer, timers, and the one reason why it ended.

::

    reader   transport -> parser -> calls and handlers; stops while flow control says so
    writer   outbox -> transport; the only task that sends, so no frame is ever torn
    timer    pings when nothing was sent for a while, gives up when nothing came for too long

The three run in one nursery. Whichever sees the end first stores why, and the nursery goes. Expected errors never fly:
:meth:`Session.run` returns an :class:`Ending`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from ._endings import Ending
from ._tools import Outbox
from .errors import HandshakeError, ProtocolError, TransportError
from .messages import Close, Completion, Invocation, Ping, StreamItem
from .protocols._base import DEFAULT_MAX_MESSAGE_SIZE
from .protocols.handshake import HandshakeReader, encode_request, parse_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from msgspec import Raw

    from ._calls import Calls
    from ._flow import Flow
    from ._handlers import Handlers
    from .messages import ReceivedMessage
    from .protocols import HubProtocol
    from .transports import Transport

__all__ = ["Session", "SessionOptions"]

LINGER = 1.0
"""Seconds for the reader to find out why the transport refused a write: the server's Close may be on its way."""

LONG_PAUSE = 5.0
"""Seconds of not reading after which a loss is likely to be the pause's fault."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Seconds and bytes, as :func:`open_hub` takes them."""

    keep_alive_interval: float = 15.0
    server_timeout: float = 30.0
    handshake_timeout: float = 15.0
    close_timeout: float = 5.0
    max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE

    def __post_init__(self) -> None:
        for name in ("keep_alive_interval", "server_timeout", "handshake_timeout", "max_message_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name)!r}")
        if not self.close_timeout >= 0:
            raise ValueError(f"close_timeout must not be negative, not {self.close_timeout!r}")


class Session:
    """One connection from the hub handshake to its end.

    Attributes:
        outbox: Where everything that is to be sent goes.
    """

    def __init__(
        self,
        transport: Transport,
        protocol: HubProtocol,
        options: SessionOptions,
        calls: Calls,
        handlers: Handlers,
        flow: Flow,
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._options = options
        self._calls = calls
        self._handlers = handlers
        self._flow = flow
        self._parser = protocol.parser(max_message_size=options.max_message_size)
        self._ping = protocol.encode(Ping())
        self._scope = trio.CancelScope()
        self._ending: Ending | None = None
        self._closing = False
        self._may_pause = True
        self._pause_began = math.inf
        self._pause_ended = -math.inf
        self._pause_length = 0.0
        self._last_received = self._last_sent = trio.current_time()
        self._receivers: dict[type, Callable[[Any], None]] = {
            StreamItem: calls.item,
            Completion: calls.completion,
            Invocation: self._on_invocation,
            Close: self._on_close,
        }
        self.outbox = Outbox()

    @property
    def ending(self) -> Ending | None:
        """Why it ended; ``None`` while it lives."""
        return self._ending

    # The beginning

    async def handshake(self) -> None:
        """Shake hands with the hub; messages that came right behind the answer are handled too.

        Raises:
            HandshakeError: Refused, malformed, cut short, or not answered within ``handshake_timeout``.
            HubClosed: The hub accepted and closed in one breath.
        """
        with trio.move_on_after(self._options.handshake_timeout) as scope:
            try:
                rest = await self._shake_hands()
            except TransportError as error:
                raise HandshakeError(f"the connection broke before the hub answered the handshake: {error}") from error
        if scope.cancelled_caught:
            raise HandshakeError(f"the hub did not answer the handshake within {self._options.handshake_timeout:g} s")
        self._last_received = self._last_sent = trio.current_time()
        if not self._transport.inherent_keep_alive:
            self.outbox.put(self._ping)  # from the first ping on, the server watches over us
        try:
            self._receive(rest)
        except ProtocolError as error:
            self._end(_broke_protocol(error))
        if self._ending is not None:
            raise self._ending.for_block()

    async def _shake_hands(self) -> bytes:
        await self._transport.send(encode_request(self._protocol.name, 1))
        reader = HandshakeReader(parse_response)
        response = None
        while response is None:
            data = await self._transport.receive()
            if not data:
                raise HandshakeError("the connection was closed before the hub answered the handshake")
            response = reader.feed(data)
        return reader.rest

    # The middle

    async def run(self) -> Ending:
        """Read, write and keep time until the connection is over; return why. The transport is left to be closed."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for task in (self._read, self._write, self._keep_time):
                        nursery.start_soon(self._guard, task, name=f"trio_signalr{task.__name__}")
        finally:
            self.outbox.close()  # cancelled or not: nobody may wait for a writer that is gone
        assert self._ending is not None, "a session ended for no reason"
        return self._ending

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run one of the tasks; what it raises ends the session, as a value."""
        try:
            await task()
        except TransportError as error:
            self._end(self._lost(str(error), error))
        except ProtocolError as error:
            self._end(_broke_protocol(error))
        except Exception as error:
            self._end(Ending("internal", f"{task.__name__.strip('_')} failed with {error!r}", cause=error))

    def _end(self, ending: Ending) -> None:
        """Store why the session is over, and stop it; the first reason counts."""
        if self._ending is None:
            self._ending = Ending("left", "the hub's block was left") if self._closing else ending
            self._scope.cancel()

    async def _read(self) -> None:
        transport, flow = self._transport, self._flow
        while self._ending is None:
            if flow.paused and self._may_pause:
                await self._pause()
            data = await transport.receive()
            self._last_received = trio.current_time()
            if data:
                self._receive(data)
            else:
                self._end(self._lost("the server closed the connection"))

    def _receive(self, data: bytes) -> None:
        while self._ending is None and (messages := self._parser.feed(data)):
            data = b""
            self._dispatch(messages)

    def _dispatch(self, messages: list[ReceivedMessage]) -> None:
        receivers = self._receivers
        for message in messages:
            receive = receivers.get(type(message))
            if receive is not None:  # the others (Ping, Ack, ...) ask for nothing
                receive(message)
                if self._ending is not None:
                    return

    def _on_invocation(self, message: Invocation[Raw]) -> None:
        self._handlers.dispatch(message, self.outbox)

    def _on_close(self, message: Close) -> None:
        text = "the server closed the connection"
        if message.error is not None:
            text = f"{text}: {message.error}"
        self._end(Ending("closed", text, message.error, message.allow_reconnect))

    async def _pause(self) -> None:
        """Stop reading until flow control has no reason for it. While we are deaf by choice, silence means nothing."""
        self._pause_began = trio.current_time()
        while self._flow.paused and self._may_pause:
            resumed = trio.Event()
            self._flow.on_resume = resumed.set
            await resumed.wait()
        self._flow.on_resume = None
        self._last_received = self._pause_ended = trio.current_time()
        self._pause_length = self._pause_ended - self._pause_began
        self._pause_began = math.inf

    async def _write(self) -> None:
        try:
            while True:
                data = b"".join(await self.outbox.take())
                if data:
                    await self._transport.send(data)
                    self._last_sent = trio.current_time()
                self.outbox.done()
        except TransportError:
            self._stop_pausing()
            await trio.sleep(LINGER)
            raise

    async def _keep_time(self) -> None:
        if self._transport.inherent_keep_alive:
            return
        options = self._options
        next_ping = self._last_sent + options.keep_alive_interval
        while True:
            now = trio.current_time()
            silent_since = now if self._pause_began < math.inf else self._last_received
            if now >= silent_since + options.server_timeout:
                return self._end(_timed_out(options.server_timeout))
            next_ping = max(next_ping, self._last_sent + options.keep_alive_interval)
            if now >= next_ping:
                next_ping = now + options.keep_alive_interval
                if self.outbox.idle:  # else there is something to be sent already
                    self.outbox.put(self._ping)
            await trio.sleep_until(min(next_ping, silent_since + options.server_timeout))

    # The end

    async def goodbye(self) -> None:
        """Send what is left, then Close, and close the transport. The caller bounds the time.

        What the server says from now on is not taken in any more, but calls that it awaits are still answered.
        """
        self._closing = True
        self._stop_pausing()
        self.outbox.put(self._protocol.encode(Close()))
        await self.outbox.flushed()
        await self._transport.aclose()

    def _stop_pausing(self) -> None:
        """Read on whatever flow control says: the end is near, and only reading tells which."""
        self._may_pause = False
        if self._flow.on_resume is not None:
            self._flow.on_resume()

    def _lost(self, text: str, cause: BaseException | None = None) -> Ending:
        return Ending("closed", text + self._blame_pause(), allow_reconnect=True, cause=cause)

    def _blame_pause(self) -> str:
        """A pause is likely to be the reason of a loss: servers reset a client that takes nothing for about 10 s."""
        now = trio.current_time()
        if self._pause_began < math.inf:
            seconds, ago = now - self._pause_began, 0.0
        else:
            seconds, ago = self._pause_length, now - self._pause_ended
        if seconds < LONG_PAUSE or ago > LONG_PAUSE:
            return ""
        return (
            f" (reading was paused for {seconds:.0f} s because a buffer was full; the server may have given up on us)"
        )


def _broke_protocol(error: ProtocolError) -> Ending:
    return Ending("protocol", str(error), allow_reconnect=True, cause=error.__cause__)


def _timed_out(seconds: float) -> Ending:
    return Ending("timeout", f"the server sent nothing for {seconds:g} s", allow_reconnect=True)
