"""One connection to a test hub, from behind the handshake to its end.

::

    methods        a task each
    └─ helpers     read, write, ping, watch (the client's silence)
       └─ work     the on_connected hooks, then one task that handles messages in order

Whoever sees the end first says why, and the work is cancelled; the helpers stay for the goodbye. Streaming methods are
cancelled too. Plain ones are not, as in ASP.NET Core: they outlive the connection, but not for ever. What a client does
wrong, and what hub methods raise, is answered; only a bug of the server itself flies.

Reading is ahead of handling: messages are recorded as they come, and wait for their turn.

With stateful reconnect the transport may be replaced while all this goes on: the reader and the writer wait for another
one when theirs breaks, and what the client has not acknowledged is the first thing that goes over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .._endings import open_tasks
from .._outbox import ReplayOutbox
from ..errors import ProtocolError, TransportError
from ..messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)
from ..protocols.handshake import encode_response
from ..replay import Replay
from ._answers import Answers
from ._calls import Calls, Context, context
from ._client import Client
from ._line import Line
from ._records import Received, plain
from ._strictness import server_parser
from ._texts import CLIENT_SILENT, CLOSED, LOST_MESSAGES, OperationCanceledException, describe, invalid_data
from ._transport import HttpTransport, ServerEnd
from ._uploads import Uploads
from ._user_code import call, cancellation_alone, logger
from ._wire import Gate, Inbox, Wire

if TYPE_CHECKING:
    from ..messages import HubMessage, ReceivedMessage
    from ..protocols import HubProtocol, MessageParser
    from ..transports import Transport
    from ._records import Request
    from ._shared import Shared

__all__ = ["Connection"]

CLOSE_TIMEOUT = 5.0
"""Seconds for the client to take the last words and close its side, as in ASP.NET Core."""

METHOD_TIMEOUT = 5.0
"""Seconds for plain methods to end by themselves once their client has gone; ASP.NET Core would wait for ever."""

LINGER = 1.0
"""Seconds for the reader to see how a connection ended whose writer has failed."""


FILLER: Completion[object] = Completion("no such call")
"""What every client counts and ignores; the JavaScript client does not count a CancelInvocation."""

ACK_INTERVAL = 1.0
"""Seconds after which what has come is acknowledged."""


class Connection:
    """One client's connection, and the task that serves it.

    Attributes:
        id: The connection id.
        protocol: What the client speaks.
        request: The HTTP request that it came by.
        client: What users hold of it.
        wire: The way to the client.
        calls: The hub methods that run.
        answers: The calls of the client that wait for an answer.
        alive: Whether it has not ended.
        error: Why it has, if that was no orderly end.
        drained: Set when all that the client will ever send was read.
    """

    def __init__(
        self,
        shared: Shared,
        transport: Transport,
        id_: str,
        protocol: HubProtocol,
        drained: trio.Event,
        *,
        request: Request,
        resumable: bool = False,
    ) -> None:
        options = shared.options
        self._shared = shared
        self._options = options
        self._line = Line(transport, options.disconnect_timeout if resumable else 0)
        self._replay = Replay(protocol, FILLER) if resumable else None
        self._acknowledged = 0
        self._ack_wanted = trio.Event()
        self._incoming, self._outgoing = Gate(), Gate()
        self._work_scope = trio.CancelScope()
        self._armed = trio.Event()
        self._gone = trio.Event()
        self._over = trio.Event()
        self._was_cut = False
        self._said_goodbye = False
        self._unwelcome = False
        self._last_heard = trio.current_time()
        self._received: list[ReceivedMessage] = []
        self._plain: list[HubMessage[Any]] = []
        self._inbox = Inbox(lambda: self.calls.cancel_streams())
        self._uploads = Uploads(protocol, detailed=options.detailed_errors, blocking=self._inbox.blocking)
        self.id = id_
        self.protocol = protocol
        self.request = request
        self.client: Client = Client(self)
        self.wire: Wire = Wire(protocol, self._replay)
        self.calls: Calls = Calls(self.client, shared, self.wire, self._inbox, self._uploads)
        self.answers: Answers = Answers(self.wire, shared.question_ids)
        self.alive: bool = True
        self.error: str | None = None
        self.drained = drained

    def belongs_to(self, shared: Shared) -> bool:
        """Whether it is a connection to that server."""
        return self._shared is shared

    @property
    def transport(self) -> Transport:
        """What carries it now."""
        return self._line.transport

    # Its life

    async def run(self, rest: bytes, methods: trio.Nursery) -> None:
        """Accept the handshake and serve the client until it has gone.

        Args:
            rest: What came behind the handshake request.
            methods: Where hub methods run; some may outlive the connection.
        """
        self.wire.post_raw(encode_response())
        self._shared.joined(self.client)
        methods.start_soon(self._limit_methods)
        try:
            async with open_tasks() as helpers:
                helpers.start_soon(self._read, rest)
                for task in (self._write, self._ping, self._watch, self._acknowledge):
                    helpers.start_soon(task)
                await self._work(methods)
                await self._say_goodbye()
        finally:
            self.end("the server was cancelled")
            self.wire.outbox.close()
            self.drained.set()
            self._over.set()
            self._shared.left(self.client)
        if not self._unwelcome:
            await self._run_farewells()

    async def _work(self, methods: trio.Nursery) -> None:
        """Greet the client, and handle what it sends."""
        with self._work_scope:
            await self._run_greetings()
            while (batch := await self._inbox.take()) is not None:
                messages, size = batch
                await self._handle_all(messages, methods)
                self._inbox.done(size)
                self._last_heard = trio.current_time()

    async def _limit_methods(self) -> None:
        """Let nothing run for ever for a client that has gone."""
        await self._gone.wait()
        with trio.move_on_after(METHOD_TIMEOUT) as scope:
            await self._over.wait()
            await self.calls.wait_ended()
        if scope.cancelled_caught:
            self.calls.cancel_all()

    async def _handle_all(self, messages: list[ReceivedMessage], methods: trio.Nursery) -> None:
        for message in messages:
            if self.alive:
                await self._handle(message, methods)

    async def _handle(self, message: ReceivedMessage, methods: trio.Nursery) -> None:
        match message:
            case StreamItem():
                await self._uploads.item(message)
            case Invocation() | StreamInvocation():
                await self.calls.start(message, methods)
            case Completion():
                if not self._uploads.completion(message):
                    self.answers.completion(message)
            case CancelInvocation():
                self.calls.cancel(message.invocation_id)
            case Close():
                self.end(message.error, Close())

    def end(self, error: str | None, close: Close | None = None) -> None:
        """The connection is over; the first reason counts.

        Waiting methods are told first, so that they see the error and not a cancellation.

        Args:
            error: Why, if it is no orderly end.
            close: The last words.
        """
        if not self.alive:
            return
        if close is not None:
            self.wire.post(close)
        self.alive = False
        self.error = error
        self.wire.finish()
        self._uploads.lose_all()
        self.answers.lose_all()
        self.calls.cancel_streams()
        self._work_scope.cancel()
        self._gone.set()
        self._line.forget()

    def _end_with(self, error: Exception, *, allow_reconnect: bool) -> None:
        """End it because of ``error``, and tell the client as much as it may know."""
        text = describe(CLOSED, error, detailed=self._options.detailed_errors)
        self.end(str(error), Close(text, allow_reconnect))

    async def _say_goodbye(self) -> None:
        if self._was_cut or self._line.lost:
            return
        with trio.move_on_after(CLOSE_TIMEOUT):
            await self.wire.outbox.flushed()
            await self.transport.aclose()

    # Reading

    async def _read(self, data: bytes) -> None:
        """Take in what the client sends, until there will be no more."""
        error = None
        try:
            await self._take_all(data)
        except TransportError as exc:
            error = str(exc)
        self._inbox.finish(lambda: self.end(error, self._last_words if error is None else None))
        self._inbox.peer_left()
        self._gone.set()
        self.drained.set()

    async def _take_all(self, data: bytes) -> None:
        parser = server_parser(self.protocol, self._options.max_message_size)
        try:
            while True:
                self._take(parser, data)
                await self._inbox.wait_for_room()
                data = await self._receive()
                if not data:
                    return
        except ProtocolError as exc:
            error = invalid_data(exc, self._options.max_message_size)
        self._inbox.finish(lambda: self._end_with(error, allow_reconnect=True))
        while await self._receive():
            pass  # means nothing any more, but its end does

    async def _receive(self) -> bytes:
        await self._incoming.passed()
        data = await self._receive_from_any()
        await self._incoming.passed()
        return data

    async def _receive_from_any(self) -> bytes:
        while True:
            transport = self.transport
            try:
                return await transport.receive()
            except TransportError as error:
                await self._line.another(transport, error)
                if self._replay is not None:
                    self._replay.reconnected()

    def _take(self, parser: MessageParser, data: bytes) -> None:
        while messages := parser.feed(data):
            self._last_heard = trio.current_time()
            if self._replay is not None:
                messages = self._not_seen_before(messages, self._replay)
            for message in messages:
                self._note(message)
            self._inbox.put(messages, len(data))
            data = b""

    def _not_seen_before(self, messages: list[ReceivedMessage], replay: Replay) -> list[ReceivedMessage]:
        """Count the messages, and leave out those that were sent again for nothing."""
        outbox = self.wire.outbox
        fresh = []
        for message in messages:
            if isinstance(message, Ack) and isinstance(outbox, ReplayOutbox):
                outbox.acknowledged(message.sequence_id)
            try:
                new = replay.received(message)
            except ProtocolError as error:
                raise ProtocolError(LOST_MESSAGES) from error
            if new or isinstance(message, Sequence):
                fresh.append(message)
        self._ack_wanted.set()
        return fresh

    def _note(self, message: ReceivedMessage) -> None:
        if isinstance(message, Ping):
            self._armed.set()
        if isinstance(message, Close):
            self._said_goodbye = True
        if self._options.record:
            self._received.append(message)
        if self._shared.observed:
            self._shared.emit(Received(self.client, plain(message, self.protocol)))

    def received(self) -> list[HubMessage[Any]]:
        """Everything that came; decoded when somebody asks, for most never do."""
        fresh, self._received = self._received, []
        self._plain += [plain(message, self.protocol) for message in fresh]
        return list(self._plain)

    # Writing, and the clock

    async def _write(self) -> None:
        """Send what has gathered, all at once."""
        outbox = self.wire.outbox
        try:
            while True:
                data = b"".join(await outbox.take())
                transport = self.transport  # one that takes its place from here on gets this by the resend
                await self._outgoing.passed()
                await self._send(transport, data)
                outbox.done()
        except TransportError as error:
            outbox.close()
            await trio.sleep(LINGER)
            if not self._inbox.peer_gone:  # otherwise what the client said before is still handled
                self.end(str(error))

    async def _send(self, transport: Transport, data: bytes) -> None:
        try:
            with trio.fail_after(self._options.send_timeout):
                return await transport.send(data)
        except TransportError as exc:
            error = exc
        except trio.TooSlowError:
            error = TransportError(f"the client took nothing for {self._options.send_timeout:g} s")
            self.cut(str(error))
        await self._line.another(transport, error)

    async def _acknowledge(self) -> None:
        """Tell the client what has come, so that it need not keep it."""
        if self._replay is None:
            return
        while True:
            await self._ack_wanted.wait()
            await trio.sleep(ACK_INTERVAL)
            self._ack_wanted = trio.Event()
            if self._replay.latest_received > self._acknowledged and not self._line.lost:
                self._acknowledged = self._replay.latest_received
                self.wire.post(Ack(self._acknowledged))

    async def _ping(self) -> None:
        """Ping by the clock, whatever else is sent."""
        if self.transport.inherent_keep_alive:
            return
        while True:
            await trio.sleep(self._options.keep_alive_interval)
            if self.wire.outbox.idle:
                self.wire.post(Ping())

    async def _watch(self) -> None:
        """Give a silent client up. Its first ping asks for that; while handling waits, silence is our own doing."""
        await self._armed.wait()
        timeout = self._options.client_timeout
        while True:
            now = trio.current_time()
            heard = now if self._inbox.blocked or self._line.lost else self._last_heard
            if now >= heard + timeout:
                return self._end_with(OperationCanceledException(CLIENT_SILENT), allow_reconnect=True)
            await trio.sleep_until(heard + timeout)

    # Hooks

    async def _run_greetings(self) -> None:
        """Run the ``on_connected`` hooks; if one raises, that is the end of the connection."""
        token = context.set(Context(self.client, is_hook=True))
        try:
            with cancellation_alone("an on_connected hook"), self.calls.guarded(), self._inbox.blocking():
                for hook in self._shared.on_connected:
                    await call(hook, self.client)
        except Exception as error:
            logger.error("an on_connected hook failed", exc_info=error)
            self._unwelcome = True
            self._end_with(error, allow_reconnect=False)
        finally:
            context.reset(token)

    async def _run_farewells(self) -> None:
        context.set(Context(self.client, is_hook=True))
        for hook in self._shared.on_disconnected:
            try:
                with cancellation_alone("an on_disconnected hook"):
                    await call(hook, self.client)
            except Exception as error:
                logger.error("an on_disconnected hook failed", exc_info=error)

    # What clients and tests ask for

    def check_may_ask(self) -> None:
        """See that whoever asks the client does not keep the answer from coming.

        Raises:
            RuntimeError: It would.
        """
        current = context.get()
        if current is None or current.client is not self.client:
            return
        if current.is_hook:
            raise RuntimeError("a hook cannot ask its own client: its messages are not handled meanwhile")
        if current.has_slot and self._options.max_parallel_invocations == 1:
            raise RuntimeError(
                "a method that takes its turn cannot ask its caller: use HubServer(max_parallel_invocations=2) or more"
            )
        current.release_slot()  # or the answer might wait behind calls that wait for the slot

    def cut(self, error: str = "the connection was cut", *, keep: bool = False, forget: bool = False) -> None:
        """Break the transport, with no word to the client. That is the end, unless the client may come back."""
        if forget:
            self._line.forget()
        if not self._line.resumable:
            self.end(error)
            self._was_cut = True
            self.wire.outbox.close()
        if isinstance(self.transport, ServerEnd):
            self.transport.cut(keep=keep)

    def cut_after(self, count: int, *, incoming: bool) -> None:
        """Break the transport once so many more bytes have passed that way."""
        if isinstance(self.transport, ServerEnd):
            self.transport.cut_after(count, incoming=incoming)

    def resume_on(self, transport: ServerEnd) -> bool:
        """Go on with another transport; ``False`` if it is too late."""
        outbox = self.wire.outbox
        if not (self.alive and self._line.resumable and isinstance(outbox, ReplayOutbox)):
            return False
        if isinstance(transport, HttpTransport):
            transport.format = self.protocol.transfer_format
        self._acknowledged = 0  # the last Ack may be lost
        self._last_heard = trio.current_time()
        self._line.attach(transport, outbox.resend())
        return True

    @property
    def resumable(self) -> bool:
        """Whether the client may come back by another transport."""
        return self.alive and self._line.resumable

    def shut_down(self, error: str) -> None:
        """End it at the server's wish, as ASP.NET Core does when it stops: only polls tell the client.

        Nothing of it goes on then. A client that was leaving has its last calls carried out as at any other time.
        """
        if self._is_leaving or not self.alive:
            return
        if self.transport.name == "websockets":
            self.cut(error, forget=True)
        self.end(error, self._last_words)
        self.calls.cancel_all()

    @property
    def _is_leaving(self) -> bool:
        """Whether the client has said goodbye, even if nobody here has got to that yet."""
        transport = self.transport
        seen = isinstance(transport, HttpTransport) and transport.network.said_goodbye
        return seen or self._said_goodbye or self._inbox.peer_gone

    @property
    def _last_words(self) -> Close | None:
        """What a client hears at an end that neither side said anything about."""
        return Close(None, allow_reconnect=True) if self.transport.name == "long_polling" else None

    async def flushed(self) -> None:
        """Wait until all is sent, unless it is stalled."""
        if self._outgoing.is_open:
            await self.wire.outbox.flushed()

    def stall(self, *, incoming: bool, outgoing: bool) -> None:
        """Let nothing through that way."""
        network = self.transport.network if isinstance(self.transport, HttpTransport) else None
        if incoming:
            self._incoming.shut()
            if network is not None:
                network.stall("to_server")
        if outgoing:
            self._outgoing.shut()
            if network is not None:
                network.stall("to_client")

    def resume(self) -> None:
        """Let everything through."""
        self._incoming.open()
        self._outgoing.open()
        if isinstance(self.transport, HttpTransport):
            self.transport.network.resume()

    def client_left(self) -> None:
        """The other end is closed: read to the end of what it sent, whatever holds that up."""
        self._line.forget()
        self._inbox.unlimit()
        self.resume()

    def join(self, group: str) -> None:
        """Be in a group, until the end or :meth:`leave`."""
        if self.alive:
            self._shared.join(group, self.client)

    def leave(self, group: str) -> None:
        """Be in it no more."""
        self._shared.leave(group, self.client)

    async def wait_over(self) -> None:
        """Wait for the end; a checkpoint."""
        await self._over.wait()
