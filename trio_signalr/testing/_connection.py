"""One connection to a test hub, from behind the handshake to its end.

::

    methods        a task each
    └─ helpers     read, write, ping, watch (the client's silence), acknowledge
       └─ work     the on_connected hooks, then one task that handles messages in order

Whoever sees the end first says why, and the work is cancelled; the helpers stay for the goodbye. Streaming methods are
cancelled too. Plain ones are not, as in ASP.NET Core: they outlive the connection, but not for ever. What a client does
wrong, and what hub methods raise, is answered; only a bug of the server itself flies.

Reading is ahead of handling: messages are recorded as they come, and wait for their turn.

With stateful reconnect the transport may be replaced while all this goes on: the line under the reader and the writer
waits for another one, and what the client has not acknowledged is the first thing that goes over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._endings import open_tasks
from .._outbox import Outbox
from ..errors import ProtocolError, TransportError
from ..messages import CancelInvocation, Close, Completion, Invocation, StreamInvocation, StreamItem
from ..protocols.handshake import encode_response
from ._answers import Answers
from ._calls import Calls
from ._client import Client
from ._history import History
from ._hooks import run_farewells, run_greetings
from ._keep_alive import KeepAlive
from ._line import Line
from ._numbering import Numbering
from ._strictness import server_parser
from ._texts import CLIENT_SILENT, CLOSED, OperationCanceledException, describe, invalid_data
from ._transport import HttpTransport
from ._uploads import Uploads
from ._wire import Inbox, Wire

if TYPE_CHECKING:
    from ..messages import ReceivedMessage
    from ..protocols import HubProtocol, MessageParser
    from ..transports import Transport
    from ._records import Request
    from ._shared import Shared
    from ._transport import ServerEnd

__all__ = ["Connection"]

CLOSE_TIMEOUT = 5.0
"""Seconds for the client to take the last words and close its side, as in ASP.NET Core."""

METHOD_TIMEOUT = 5.0
"""Seconds for plain methods to end by themselves once their client has gone; ASP.NET Core would wait for ever."""

LINGER = 1.0
"""Seconds for the reader to see how a connection ended whose writer has failed."""


class Connection:
    """One client's connection, and the task that serves it.

    Attributes:
        shared: What all connections of its server share.
        id: The connection id.
        request: The HTTP request that it came by.
        client: What users hold of it.
        line: Where its bytes come from and go to.
        wire: The way to the client.
        calls: The hub methods that run.
        answers: The calls of the client that wait for an answer.
        history: What the client has sent.
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
        resumable: bool,
    ) -> None:
        self._options = shared.options
        self._numbering = Numbering(protocol) if resumable else None
        self._inbox = Inbox(lambda: self.calls.cancel_streams())
        self._uploads = Uploads(protocol, detailed=self._options.detailed_errors, blocking=self._inbox.blocking)
        self._work_scope = trio.CancelScope()
        self._gone = trio.Event()
        self._over = trio.Event()
        self._unwelcome = False
        self.shared = shared
        self.id = id_
        self.request = request
        self.client: Client = Client(self)
        self.line: Line = Line(transport, self._options, self._numbering, self._break_off)
        self.wire: Wire = Wire(protocol, Outbox() if self._numbering is None else self._numbering.outbox)
        self.calls: Calls = Calls(self.client, shared, self.wire, self._inbox, self._uploads)
        self.answers: Answers = Answers(self.client, shared, self.wire)
        self.history: History = History(self.client, shared, protocol)
        self._keep_alive = KeepAlive(self._options, self.line, self.wire, self._inbox)
        self.alive: bool = True
        self.error: str | None = None
        self.drained = drained

    # Its life

    async def run(self, rest: bytes, methods: trio.Nursery) -> None:
        """Accept the handshake and serve the client until it has gone.

        Args:
            rest: What came behind the handshake request.
            methods: Where hub methods run; some may outlive the connection.
        """
        self.wire.post_raw(encode_response())
        self.shared.joined(self.client)
        methods.start_soon(self._limit_methods)
        try:
            async with open_tasks() as helpers:
                helpers.start_soon(self._read, rest)
                for task in (self._write, self._keep_alive.ping, self._watch):
                    helpers.start_soon(task)
                if self._numbering is not None:
                    helpers.start_soon(self._numbering.acknowledge, self.line, self.wire)
                await self._work(methods)
                await self._say_goodbye()
        finally:
            self.end("the server was cancelled")
            self.wire.outbox.close()
            self.drained.set()
            self._over.set()
            self.shared.left(self.client)
        if not self._unwelcome:
            await run_farewells(self.client, self.shared)

    async def _work(self, methods: trio.Nursery) -> None:
        """Greet the client, and handle what it sends."""
        with self._work_scope:
            await self._greet()
            while (batch := await self._inbox.take()) is not None:
                messages, size = batch
                for message in messages:
                    if self.alive:
                        await self._handle(message, methods)
                self._inbox.done(size)
                self._keep_alive.heard()

    async def _greet(self) -> None:
        error = await run_greetings(self.client, self.shared, self.calls, self._inbox)
        if error is not None:
            self._unwelcome = True
            self._end_with(error, allow_reconnect=False)

    async def _limit_methods(self) -> None:
        """Let nothing run for ever for a client that has gone."""
        await self._gone.wait()
        with trio.move_on_after(METHOD_TIMEOUT) as scope:
            await self._over.wait()
            await self.calls.wait_ended()
        if scope.cancelled_caught:
            self.calls.cancel_all()

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
        self.line.forget()

    def _end_with(self, error: Exception, *, allow_reconnect: bool) -> None:
        """End it because of ``error``, and tell the client as much as it may know."""
        text = describe(CLOSED, error, detailed=self._options.detailed_errors)
        self.end(str(error), Close(text, allow_reconnect))

    def _break_off(self, error: str) -> None:
        """The line is cut for good: nothing more goes out."""
        self.end(error)
        self.wire.outbox.close()

    async def _say_goodbye(self) -> None:
        if self.line.lost:
            return
        with trio.move_on_after(CLOSE_TIMEOUT):
            await self.wire.outbox.flushed()
            await self.line.transport.aclose()

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
        parser = server_parser(self.wire.protocol, self._options.max_message_size)
        try:
            while True:
                self._take(parser, data)
                await self._inbox.wait_for_room()
                data = await self.line.receive()
                if not data:
                    return
        except ProtocolError as exc:
            error = invalid_data(exc, self._options.max_message_size)
        self._inbox.finish(lambda: self._end_with(error, allow_reconnect=True))
        while await self.line.receive():
            pass  # means nothing any more, but its end does

    def _take(self, parser: MessageParser, data: bytes) -> None:
        while messages := parser.feed(data):
            if self._numbering is not None:
                messages = self._numbering.fresh(messages)
            self._keep_alive.heard(messages)
            self.history.add(messages)
            self._inbox.put(messages, len(data))
            data = b""

    # Writing, and watching

    async def _write(self) -> None:
        """Send what has gathered, all at once."""
        outbox = self.wire.outbox
        try:
            while True:
                await self.line.send(b"".join(await outbox.take()))
                outbox.done()
        except TransportError as error:
            outbox.close()
            await trio.sleep(LINGER)
            if not self._inbox.peer_gone:  # otherwise what the client said before is still handled
                self.end(str(error))

    async def _watch(self) -> None:
        """Give a silent client up."""
        await self._keep_alive.wait_silent()
        self._end_with(OperationCanceledException(CLIENT_SILENT), allow_reconnect=True)

    # What others ask for

    def resume_on(self, transport: ServerEnd) -> bool:
        """Go on with another transport; ``False`` if it is too late."""
        if self._numbering is None or not self.line.resumable:
            return False
        if isinstance(transport, HttpTransport):
            transport.format = self.wire.protocol.transfer_format
        self._keep_alive.heard()
        self.line.attach(transport, self._numbering.resend())
        return True

    def shut_down(self, error: str) -> None:
        """End it at the server's wish, as ASP.NET Core does when it stops: only polls tell the client.

        Nothing of it goes on then. A client that was leaving has its last calls carried out as at any other time.
        """
        leaving = self._inbox.has_goodbye or self._inbox.peer_gone or self.line.said_goodbye
        if leaving or not self.alive:
            return
        if self.line.transport.name == "websockets":
            self.line.cut(error, forget=True)
        self.end(error, self._last_words)
        self.calls.cancel_all()

    @property
    def _last_words(self) -> Close | None:
        """What a client hears at an end that neither side said anything about."""
        return Close(None, allow_reconnect=True) if self.line.transport.name == "long_polling" else None

    async def flushed(self) -> None:
        """Wait until all is sent, unless it is stalled."""
        if self.line.lets_out:
            await self.wire.outbox.flushed()

    def client_left(self) -> None:
        """The other end is closed: read to the end of what it sent, whatever holds that up."""
        self.line.forget()
        self._inbox.unlimit()
        self.line.resume()

    async def wait_over(self) -> None:
        """Wait for the end; a checkpoint."""
        await self._over.wait()
