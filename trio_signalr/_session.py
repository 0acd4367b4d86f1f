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

import math
from dataclasses import dataclass, replace
from itertools import chain, groupby, repeat
from typing import TYPE_CHECKING, Any, Literal, cast

import trio

from ._contents import show_received, show_sent
from ._endings import Ending
from ._logs import CONNECTION, content_wanted, message_listener
from ._outbox import Outbox, ReplayOutbox
from .errors import HandshakeError, ProtocolError, TransportError
from .messages import Ack, Close, Completion, Invocation, Ping, StreamItem
from .protocols import DEFAULT_MAX_MESSAGE_SIZE, StreamItems
from .protocols.handshake import HandshakeReader, encode_request, parse_response
from .replay import Replay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

    from msgspec import Raw

    from ._calls import Calls
    from ._flow import Flow
    from ._handlers import Handlers
    from ._link import Link
    from .messages import ReceivedMessage
    from .protocols import HubProtocol, MessageParser
    from .transports import Transport

__all__ = ["Session", "SessionOptions"]

LINGER = 1.0
"""Seconds for the reader to find out why the transport refused a write: the server's Close may be on its way."""

RESUME_WINDOW = 15.0
"""Seconds since a loss in which resuming is tried: ASP.NET Core keeps a lost connection for that long."""

RESUME_DELAYS = (0.0, 0.1, 0.2, 0.5)
"""Seconds before each attempt to resume; the last one is repeated."""

ACK_DELAY = 1.0
"""Seconds after which a received message is acknowledged at the latest."""

ACK_SIZE = 32 * 1024
"""Bytes after which it is acknowledged at once: a server stops at 100,000 that are not."""

STUCK_AFTER = 2.0
"""Seconds without an Ack, while we wait for one, after which the server may be in need of help."""

PIECE = 66 * 1024
"""Bytes handled at once, then other tasks run: a message may be of many megabytes. ASP.NET Core's of "64 KiB" fits."""

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
        self._calls = calls
        self._handlers = handlers
        self._flow = flow
        self._parser = self._new_parser()
        self._ping = protocol.encode(Ping())
        self._scope = trio.CancelScope()  # of everything
        self._attachment = trio.CancelScope()  # of what runs on the present transport
        self._over: Ending | None = None  # why the present transport is of no more use
        self._ending: Ending | None = None
        self._closing = False
        self._may_pause = True
        self._pause_began = math.inf
        self._long_pause = 0.0  # the last one that was long, and when it ended
        self._long_pause_ended = -math.inf
        self._last_received = self._last_sent = trio.current_time()
        self._receivers: dict[type, Callable[[Any], None]] = {
            Completion: calls.completion,
            Invocation: self._on_invocation,
            Close: self._on_close,
        }
        self._lost_at = -math.inf  # when what is being resumed was lost, and the delays left for trying
        self._delays: Iterator[float] = iter(())
        self._received_size = 0  # bytes since the last Ack
        self._fed = 0  # bytes since the last message
        self._ack_wanted = trio.Event()
        self._ack_urgent = trio.Event()
        self.on_resume: Callable[[Exception | None], None] = lambda error: None
        self.transport = link.transport
        self.outbox = Outbox(flow)
        if self._replay is not None:
            self.outbox = replay_outbox = ReplayOutbox(self._replay, flow)
            self._receivers[Ack] = lambda message: replay_outbox.acknowledged(message.sequence_id)

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
        self._decide_on_logging()
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
            self._receive(rest)
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
        return tasks if self._replay is None else [*tasks, self._acknowledge, self._unstick]

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
            messages = self.outbox.recorder.records(trio.current_time())
            self._over = replace(LEFT if self._closing else ending, messages=messages)
            if not self._may_resume(self._over):
                self._ending = self._over
            self._attachment.cancel()

    async def _read(self) -> None:
        transport, flow = self.transport, self._flow
        while self._over is None:
            if flow.paused and self._may_pause:
                await self._pause()
            data = await transport.receive()
            self._last_received = trio.current_time()
            if data:
                self._received_size += len(data)
                self.outbox.recorder.bytes_received += len(data)
                await self._receive_in_pieces(data)
            else:
                self._end(self._lost("the server closed the connection"))

    async def _receive_in_pieces(self, data: bytes) -> None:
        """Handle what was read; as bytes it waits in less memory than as the messages of a buffer that is full."""
        if len(data) <= PIECE:
            self._receive(data)
            return
        with self._flow.waking_later():
            for start in range(0, len(data), PIECE):
                self._receive(data[start : start + PIECE])
                await trio.lowlevel.checkpoint()
                if self._flow.paused and self._may_pause:
                    await self._pause()

    def _receive(self, data: bytes) -> None:
        self._decide_on_logging()
        # Stateful reconnect counts messages one by one, and the log shows them so.
        one_by_one = self._replay is not None or self.outbox.recorder.show_content
        feed = self._parser.feed if one_by_one else self._parser.feed_runs
        self._fed += len(data)
        while self._over is None and (messages := feed(data)):
            self._dispatch(messages, self._fed)
            self._fed, data = 0, b""

    def _dispatch(self, messages: Collection[ReceivedMessage | StreamItems], size: int) -> None:
        receivers, recorder, now = self._receivers, self.outbox.recorder, self._last_received
        if self._replay is not None:
            messages = self._not_seen_before(messages, self._replay)
        if recorder.show_content:
            show_received(cast("Iterable[ReceivedMessage]", messages), self._protocol)
        for kind, run in groupby(messages, type):
            if kind is StreamItem:  # thousands of them in a row
                count, id_, method = self._calls.items(cast("Iterable[StreamItem[Raw]]", run))
                recorder.received(now, "StreamItem", id_, method, max(size, 0) * count // len(messages), count)
            elif kind is StreamItems:
                for each in cast("Iterable[StreamItems]", run):
                    self._receive_run(each)
                    size -= each.size
            elif kind in receivers:
                for message in cast("Iterable[ReceivedMessage]", run):
                    recorder.received_one(now, message, self._calls.method_of)
                    receivers[kind](message)
                    if self._over is not None:
                        return
            else:  # Ping, Ack, ... ask for nothing
                recorder.background(now, "received", kind.__name__, sum(1 for _ in run), 0)

    def _receive_run(self, run: StreamItems) -> None:
        method = self._calls.run(run.invocation_id, run.items)
        now, recorder = self._last_received, self.outbox.recorder
        recorder.received(now, "StreamItem", run.invocation_id, method, run.size, len(run.items))

    def _decide_on_logging(self) -> None:
        """Ask whether messages are logged: once for each read, for writes too, since asking takes a while."""
        recorder = self.outbox.recorder
        recorder.listener = message_listener()
        recorder.show_content = content_wanted()

    def _put(self, type_: str, data: bytes) -> None:
        """Put a message that belongs to the connection and to no call, so that stateful reconnect does not count it."""
        self.outbox.put_message(data, type_, counted=False)

    def _not_seen_before(self, messages: Iterable[Any], replay: Replay) -> list[ReceivedMessage]:
        """Count the messages, and leave out those that were sent again for nothing."""
        fresh = [message for message in messages if replay.received(message)]
        self._ack_wanted.set()
        if self._received_size >= ACK_SIZE:
            self._ack_urgent.set()
        return fresh

    def _on_invocation(self, message: Invocation[Raw]) -> None:
        self._handlers.dispatch(message, self.outbox)

    def _on_close(self, message: Close) -> None:
        text = "the server closed the connection"
        if message.error is not None:
            text = f"{text}: {message.error}"
        self._end(Ending("closed", text, message.error, message.allow_reconnect, closed_by="server"))

    async def _pause(self) -> None:
        """Stop reading until flow control has no reason for it. While we are deaf by choice, silence means nothing."""
        self._pause_began = trio.current_time()
        CONNECTION.debug("reading pauses: a buffer is full")
        while self._flow.paused and self._may_pause:
            resumed = trio.Event()
            self._flow.on_resume = resumed.set
            await resumed.wait()
        self._flow.on_resume = None
        self._last_received = now = trio.current_time()
        CONNECTION.debug("reading goes on after %.3f s", now - self._pause_began)
        if now - self._pause_began >= LONG_PAUSE:
            self._long_pause, self._long_pause_ended = now - self._pause_began, now
            CONNECTION.warning(
                "reading was paused for %.0f s because a buffer was full; servers give up on a client that takes "
                "nothing for about 10 s: see overflow=",
                self._long_pause,
            )
        self._pause_began = math.inf

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
            self._stop_pausing()
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
            silent_since = now if self._pause_began < math.inf else self._last_received
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

    async def _acknowledge(self) -> None:
        """Tell the server what was received: a second after something came, or at once after a lot."""
        assert self._replay is not None, "only with stateful reconnect"
        acknowledged = 0
        while True:
            await self._ack_wanted.wait()
            with trio.move_on_after(ACK_DELAY):
                await self._ack_urgent.wait()
            self._ack_wanted, self._ack_urgent, self._received_size = trio.Event(), trio.Event(), 0
            if self._replay.latest_received > acknowledged:
                acknowledged = self._replay.latest_received
                self._put("Ack", self._protocol.encode(Ack(acknowledged)))

    async def _unstick(self) -> None:
        """Help a server that acknowledges nothing: what fills our buffer may be for streams that it does not know."""
        assert isinstance(self.outbox, ReplayOutbox), "only with stateful reconnect"
        before = mended = None
        while True:
            await trio.sleep(STUCK_AFTER)
            stuck_at = self.outbox.stuck_at
            if stuck_at is not None and stuck_at == before and stuck_at != mended:
                mended = stuck_at
                self.outbox.mend(stuck_at)
            before = stuck_at

    # Another transport

    def _may_resume(self, ending: Ending) -> bool:
        return self._link.reopen is not None and ending.resumable and not self._closing

    async def _resume(self, loss: Ending) -> Ending:
        """Go on, on another transport, and return why that one is of no more use; or why there was none."""
        reopen = self._link.reopen
        assert reopen is not None, "only with stateful reconnect"
        if self._replay is None or not self._replay.awaiting_sequence:  # else it is still the loss before
            self._lost_at, self._delays = trio.current_time(), chain(RESUME_DELAYS, repeat(RESUME_DELAYS[-1]))
        lost_at = self._lost_at
        CONNECTION.info("lost the transport, resuming: %s", loss.text)
        await trio.aclose_forcefully(self.transport)  # hard: a goodbye would end the connection on the server
        reason = "no time was left"
        for delay in self._delays:
            if trio.current_time() + delay >= lost_at + RESUME_WINDOW:
                break
            await trio.sleep(delay)
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
        self._parser, self._fed = self._new_parser(), 0
        self._over, self._attachment = None, trio.CancelScope()
        self._last_received = self._last_sent = trio.current_time()
        self._replay.reconnected()
        self._may_pause = not self._closing
        self.on_resume(None)
        return await self._run_attached(self.outbox.resend())

    def _not_resumed(self, loss: Ending, reason: str) -> Ending:
        self._ending = replace(loss, text=f"{loss.text}; it could not be resumed: {reason}", resumable=False)
        return self._ending

    def _new_parser(self) -> MessageParser:
        return self._protocol.parser(max_message_size=self._options.max_message_size)

    # The end

    async def goodbye(self) -> None:
        """Send what is left, then Close, and close the transport. The caller bounds the time.

        What the server says from now on is not taken in any more, but calls that it awaits are still answered.
        """
        self._closing = True
        self._stop_pausing()
        if self._over is not None:  # between two transports there is nobody to say goodbye to
            self._scope.cancel()
            return
        self._put("Close", self._protocol.encode(Close()))
        await self.outbox.flushed()
        await self.transport.aclose()

    def _stop_pausing(self) -> None:
        """Read on whatever flow control says: the end is near, and only reading tells which."""
        self._may_pause = False
        if self._flow.on_resume is not None:
            self._flow.on_resume()

    def _lost(self, text: str, cause: BaseException | None = None) -> Ending:
        text += self._blame_pause()
        code = self.transport.close_code
        broke = cause is not None and code is None  # nobody closed it
        closed_by: Literal["network", "server"] = "network" if broke else "server"
        return Ending(
            "closed", text, allow_reconnect=True, cause=cause, closed_by=closed_by, code=code, resumable=broke
        )

    def _blame_pause(self) -> str:
        """A pause is likely to be the reason of a loss: servers reset a client that takes nothing for about 10 s."""
        now = trio.current_time()
        if self._pause_began < math.inf:
            seconds, ago = now - self._pause_began, 0.0
        else:
            seconds, ago = self._long_pause, now - self._long_pause_ended
        if seconds < LONG_PAUSE or ago > 2 * LONG_PAUSE:  # what was under way is still read before the loss shows
            return ""
        return (
            f" (reading was paused for {seconds:.0f} s because a buffer was full; the server may have given up on us)"
        )


LEFT = Ending("left", "the hub's block was left")


def _broke_protocol(error: ProtocolError) -> Ending:
    return Ending("protocol", str(error), allow_reconnect=True, cause=error.__cause__)


def _timed_out(seconds: float) -> Ending:
    return Ending("timeout", f"the server sent nothing for {seconds:g} s", allow_reconnect=True)
