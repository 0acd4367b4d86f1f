"""One live connection: reader, writer, timers, and the one reason why it ended.

::

    reader   transport -> parser -> calls and handlers; stops while flow control says so
    writer   outbox -> transport; the only task that sends, so no frame is ever torn
    timer    pings when nothing was sent for a while, gives up when nothing came for too long
    acker    acknowledges what was received, for stateful reconnect only

They run in one nursery, for as long as the transport lives. Whichever sees the end first stores why, and the nursery
goes. Expected errors never fly: :meth:`Session.run` returns an :class:`Ending`. With stateful reconnect a session can
live on another transport, with the same outbox and the same calls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import trio

from ._acks import Acks
from ._contents import show_sent
from ._endings import Ending
from ._incoming import Incoming, decide_on_logging
from ._logs import CONNECTION
from ._outbox import Outbox, ReplayOutbox
from ._pauses import Pauses
from ._resuming import Attempts
from .errors import HandshakeError, ProtocolError, TransportError
from .messages import Ack, Close, Completion, Invocation, Ping
from .protocols import DEFAULT_MAX_MESSAGE_SIZE
from .protocols.handshake import HandshakeReader, encode_request, parse_response
from .replay import Replay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from msgspec import Raw

    from ._calls import Calls
    from ._flow import Flow
    from ._handlers import Handlers
    from ._link import Link
    from .protocols import HubProtocol
    from .transports import Transport

__all__ = ["Session", "SessionOptions"]

LINGER = 1.0
"""Seconds for the reader to find out why the transport refused a write: the server's Close may be on its way."""

PIECE = 66 * 1024
"""Bytes handled at once, then other tasks run: a message may be of many megabytes. ASP.NET Core's of "64 KiB" fits."""


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
        on_resume: Called after each attempt to go on over another transport, with why it failed, if it did.
        outbox: Where everything that is to be sent goes.
        transport: The present transport.
    """

    def __init__(
        self,
        link: Link,
        protocol: HubProtocol,
        options: SessionOptions,
        calls: Calls,
        handlers: Handlers,
        flow: Flow,
    ) -> None:
        self._link = link
        self._replay = None if link.reopen is None else Replay(protocol)
        self._protocol = protocol
        self._options = options
        self._handlers = handlers
        self._ping = protocol.encode(Ping())
        self._scope = trio.CancelScope()  # of everything
        self._attachment = trio.CancelScope()  # of what runs on the present transport
        self._over: Ending | None = None  # why the present transport is of no more use
        self._ending: Ending | None = None
        self._closing = False
        self._pauses = Pauses(flow)
        self._last_received = self._last_sent = trio.current_time()
        self._attempts = Attempts()  # to resume
        self.on_resume: Callable[[Exception | None], None] = lambda error: None
        self.transport = link.transport
        receivers: dict[type, Callable[[Any], None]] = {
            Completion: calls.completion,
            Invocation: self._on_invocation,
            Close: self._on_close,
        }
        self.outbox, self._acks = Outbox(flow), None
        if self._replay is not None:
            self.outbox = replay_outbox = ReplayOutbox(self._replay, flow)
            self._acks = Acks(protocol, self._replay, replay_outbox)
            receivers[Ack] = lambda message: replay_outbox.acknowledged(message.sequence_id)
        size = options.max_message_size
        self._incoming = Incoming(protocol, calls, receivers, self.outbox.recorder, self._acks, size)

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
        decide_on_logging(self.outbox.recorder)
        CONNECTION.debug("shaking hands: %s over %s", self._protocol.name, self.transport.name)
        with trio.move_on_after(self._options.handshake_timeout) as scope:
            try:
                rest = await self._shake_hands()
            except TransportError as error:
                raise HandshakeError(f"the connection broke before the hub answered the handshake: {error}") from error
        if scope.cancelled_caught:
            raise HandshakeError(f"the hub did not answer the handshake within {self._options.handshake_timeout:g} s")
        self._last_received = self._last_sent = trio.current_time()
        if not self.transport.inherent_keep_alive:
            self._put("Ping", self._ping)  # from the first ping on, the server watches over us
        try:
            self._incoming.receive(rest, self._last_received)
        except ProtocolError as error:
            self._end(_broke_protocol(error))
        if self._over is not None:
            raise self._over.for_block()

    async def _shake_hands(self) -> bytes:
        await self.transport.send(encode_request(self._protocol.name, 1 if self._replay is None else 2))
        reader = HandshakeReader(parse_response)
        response = None
        while response is None:
            data = await self.transport.receive()
            if not data:
                raise HandshakeError("the connection was closed before the hub answered the handshake")
            response = reader.feed(data)
        return reader.rest

    # The middle

    async def run(self) -> Ending:
        """Read, write and keep time until the connection is over; return why. The transport is left to be closed."""
        try:
            with self._scope:
                ending = await self._run_attached()
                while self._may_resume(ending):
                    ending = await self._resume(ending)
                self._ending = ending
        finally:
            self.outbox.close()  # cancelled or not: nobody may wait for a writer that is gone
        if self._ending is None:
            self._ending = LEFT
        return self._ending

    async def _run_attached(self, resend: Sequence[bytes] = ()) -> Ending:
        """Run on the present transport until it is of no more use; return why."""
        with self._attachment:
            async with trio.open_nursery() as nursery:
                for task in self._tasks(resend):
                    nursery.start_soon(self._guard, task, name=f"trio_signalr session, {task.__name__.strip('_')}")
        assert self._over is not None, "a session ended for no reason"
        return self._over

    def _tasks(self, resend: Sequence[bytes]) -> list[Callable[[], Awaitable[None]]]:
        async def _write() -> None:
            await self._write(resend)

        tasks: list[Callable[[], Awaitable[None]]] = [self._read, _write, self._keep_time]
        return tasks if self._acks is None else [*tasks, self._acks.acknowledge, self._acks.unstick]

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
        """Store why the present transport is of no more use, and stop what runs on it; the first reason counts."""
        if self._over is None:
            self._incoming.stopped = True
            messages = self.outbox.recorder.records(trio.current_time())
            self._over = replace(LEFT if self._closing else ending, messages=messages)
            if not self._may_resume(self._over):
                self._ending = self._over
            self._attachment.cancel()

    async def _read(self) -> None:
        transport = self.transport
        while self._over is None:
            if self._pauses.due:
                await self._pause()
            data = await transport.receive()
            self._last_received = trio.current_time()
            if data:
                if self._acks is not None:
                    self._acks.read(len(data))
                self.outbox.recorder.bytes_received += len(data)
                await self._receive_in_pieces(data)
            else:
                self._end(self._lost("the server closed the connection"))

    async def _receive_in_pieces(self, data: bytes) -> None:
        """Handle what was read; as bytes it waits in less memory than as the messages of a buffer that is full."""
        if len(data) <= PIECE:
            self._incoming.receive(data, self._last_received)
            return
        with self._incoming.gathering():
            for start in range(0, len(data), PIECE):
                self._incoming.receive(data[start : start + PIECE], self._last_received)
                await trio.lowlevel.checkpoint()
                if self._pauses.due:
                    await self._pause()

    async def _pause(self) -> None:
        self._incoming.hand_over()
        await self._pauses.pause()
        self._last_received = trio.current_time()  # what we did not read could not be heard

    def _put(self, type_: str, data: bytes) -> None:
        """Put a message that belongs to the connection and to no call, so that stateful reconnect does not count it."""
        self.outbox.put_message(data, type_, counted=False)

    def _on_invocation(self, message: Invocation[Raw]) -> None:
        self._handlers.dispatch(message, self.outbox)

    def _on_close(self, message: Close) -> None:
        text = "the server closed the connection"
        if message.error is not None:
            text = f"{text}: {message.error}"
        self._end(Ending("closed", text, message.error, message.allow_reconnect, closed_by="server"))

    async def _write(self, resend: Sequence[bytes]) -> None:
        """Send what is put into the outbox, after what the last transport may have lost."""
        outbox, recorder = self.outbox, self.outbox.recorder
        try:
            await self._send(resend)
            outbox.done()
            while True:
                taken = await outbox.take()
                pieces = [b"".join(taken)] if self._replay is None else taken
                recorder.written(trio.current_time(), len(taken), sum(map(len, pieces)))
                if recorder.show_content:
                    show_sent(taken, self._protocol)
                await self._send(pieces)
                outbox.done()
        except TransportError:
            self._pauses.forbid()
            await trio.sleep(LINGER)
            raise

    async def _send(self, pieces: Sequence[bytes]) -> None:
        """Send each as a transport message.

        With stateful reconnect that is each message: a server that loses the connection within a transport message
        keeps the part that it has read, and can make no sense of the message that is sent again behind it.
        """
        for data in pieces:
            if data:
                await self.transport.send(data)
                self._last_sent = trio.current_time()

    async def _keep_time(self) -> None:
        if self.transport.inherent_keep_alive:
            return
        options = self._options
        next_ping = self._last_sent + options.keep_alive_interval
        while True:
            now = trio.current_time()
            silent_since = now if self._pauses.under_way else self._last_received
            if now >= silent_since + options.server_timeout:
                return self._end(_timed_out(options.server_timeout))
            if now - silent_since >= options.keep_alive_interval:
                CONNECTION.debug(
                    "nothing was received for %.0f s; after %g s the server is given up",
                    now - silent_since,
                    options.server_timeout,
                )
            next_ping = max(next_ping, self._last_sent + options.keep_alive_interval)
            if now >= next_ping:
                next_ping = now + options.keep_alive_interval
                if self.outbox.idle:  # else there is something to be sent already
                    self._put("Ping", self._ping)
            await trio.sleep_until(min(next_ping, silent_since + options.server_timeout))

    # Another transport

    def _may_resume(self, ending: Ending) -> bool:
        return self._link.reopen is not None and ending.resumable and not self._closing

    async def _resume(self, loss: Ending) -> Ending:
        """Go on, on another transport, and return why that one is of no more use; or why there was none."""
        reopen = self._link.reopen
        assert reopen is not None, "only with stateful reconnect"
        if self._replay is None or not self._replay.awaiting_sequence:  # else it is still the loss before
            self._attempts.begin()
        CONNECTION.info("lost the transport, resuming: %s", loss.text)
        await trio.aclose_forcefully(self.transport)  # hard: a goodbye would end the connection on the server
        reason = "no time was left"
        while await self._attempts.next():
            try:
                async with reopen() as transport:
                    return await self._go_on(transport)
            except TransportError as error:
                reason = str(error)
                self.on_resume(error)
                if error.status == 404:  # the server has forgotten this connection
                    break
            except Exception as error:  # the user's own: hooks and token functions may raise anything
                reason = repr(error)
                self.on_resume(error)
        return self._not_resumed(loss, reason)

    async def _go_on(self, transport: Transport) -> Ending:
        """Live on a new transport: fresh parser, both sides' Sequence first."""
        assert isinstance(self.outbox, ReplayOutbox), "only with stateful reconnect"
        assert self._replay is not None, "only with stateful reconnect"
        self.transport = transport
        self._incoming.restart()
        self._over, self._attachment = None, trio.CancelScope()
        self._last_received = self._last_sent = trio.current_time()
        self._replay.reconnected()
        if not self._closing:
            self._pauses.allow()
        self.on_resume(None)
        return await self._run_attached(self.outbox.resend())

    def _not_resumed(self, loss: Ending, reason: str) -> Ending:
        self._ending = replace(loss, text=f"{loss.text}; it could not be resumed: {reason}", resumable=False)
        return self._ending

    # The end

    async def goodbye(self) -> None:
        """Send what is left, then Close, and close the transport. The caller bounds the time.

        What the server says from now on is not taken in any more, but calls that it awaits are still answered.
        """
        self._closing = True
        self._pauses.forbid()
        if self._over is not None:  # between two transports there is nobody to say goodbye to
            self._scope.cancel()
            return
        self._put("Close", self._protocol.encode(Close()))
        await self.outbox.flushed()
        await self.transport.aclose()

    def _lost(self, text: str, cause: BaseException | None = None) -> Ending:
        text += self._pauses.blame()
        code = self.transport.close_code
        broke = cause is not None and code is None  # nobody closed it
        closed_by: Literal["network", "server"] = "network" if broke else "server"
        return Ending(
            "closed", text, allow_reconnect=True, cause=cause, closed_by=closed_by, code=code, resumable=broke
        )


LEFT = Ending("left", "the hub's block was left")


def _broke_protocol(error: ProtocolError) -> Ending:
    return Ending("protocol", str(error), allow_reconnect=True, cause=error.__cause__)


def _timed_out(seconds: float) -> Ending:
    return Ending("timeout", f"the server sent nothing for {seconds:g} s", allow_reconnect=True)
