"""A TCP relay between a client and a server, for tests: it sees every byte, and can be an unreliable network.

::

    async with open_relay("127.0.0.1", server.port) as relay:
        async with open_hub(relay.url("/hub")) as hub:
            ...
            relay.cut()  # the connection breaks
        assert CancelInvocation("1") in relay.client_messages(JsonHubProtocol())

Nothing here sleeps or guesses: :meth:`Relay.wait` waits for what has passed. All other methods are synchronous and
have had their effect when they return. Plain TCP only: what is inside TLS, the relay could not read.
"""

from __future__ import annotations

import json
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

import h11
import trio
from wsproto.frame_protocol import Frame, FrameProtocol

if TYPE_CHECKING:
    from trio_signalr.messages import ReceivedMessage
    from trio_signalr.protocols import HubProtocol

__all__ = ["Connection", "Direction", "Relay", "Request", "open_relay"]

Direction: TypeAlias = Literal["to_server", "to_client"]

DIRECTIONS: tuple[Direction, ...] = ("to_server", "to_client")
READ_SIZE = 65536
RECORD_SEPARATOR = b"\x1e"


@asynccontextmanager
async def open_relay(host: str, port: int) -> AsyncIterator[Relay]:
    """Relay connections from a port of 127.0.0.1 to ``host`` and ``port`` for as long as the block runs.

    The server need not run yet: a connection that finds none is reset. When the block is left in order, connections
    that are about to end may do so, for a second at most; those still open then are reset.
    """
    failure = None
    async with trio.open_nursery() as nursery:
        relay = Relay(nursery, host, port)
        relay.accept()
        try:
            yield relay
            await relay._settle()
        except Exception as error:
            failure = error  # to leave the nursery as it is, not in a group
        finally:
            relay.refuse()
            relay.cut()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class Relay:
    """See :func:`open_relay`, which makes it.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        connections: All that there were, oldest first.
        on_connection: Called with each new connection before anything passes: the place to ``cut_after`` some bytes, or
            to ``cut`` at once.
    """

    def __init__(self, nursery: trio.Nursery, host: str, port: int) -> None:
        self._nursery = nursery
        self._target = (host, port)
        self._listener: trio.SocketListener | None = None
        self._open_gates = {direction: trio.Event() for direction in DIRECTIONS}
        for gate in self._open_gates.values():
            gate.set()
        self._changed = trio.Event()
        # What passed, of all connections and in one order.
        self._log: list[tuple[Connection, Direction, bytes]] = []
        self.port = 0
        self.connections: list[Connection] = []
        self.on_connection: Callable[[Connection], object] | None = None

    def url(self, path: str = "/hub") -> str:
        """The URL by which a client comes through the relay."""
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def open_connections(self) -> list[Connection]:
        """Those that are not over."""
        return [connection for connection in self.connections if connection.open]

    # The network's moods

    def accept(self) -> None:
        """Take new connections, as at the beginning."""
        if self._listener is None:
            sock = socket.socket()
            # The port again, although connections to it may linger.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", self.port))
            sock.listen(100)
            self.port = sock.getsockname()[1]
            self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            self._nursery.start_soon(self._serve, self._listener)

    def refuse(self) -> None:
        """Refuse new connections, as a host does where nothing listens; those open go on."""
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None

    def cut(self, *, reset: bool = True) -> None:
        """End all open connections: towards both sides by a reset, or else by an ordinary end (FIN)."""
        for connection in self.open_connections:
            connection.cut(reset=reset)

    def cut_after(self, count: int, direction: Direction, *, reset: bool = True) -> None:
        """Let ``count`` more bytes (at least one) pass in ``direction``, then cut that connection.

        Counts from now on, for each open connection by itself; for those to come there is :attr:`on_connection`.
        """
        for connection in self.open_connections:
            connection.cut_after(count, direction, reset=reset)

    def stall(self, *directions: Direction) -> None:
        """Let nothing pass in these directions (both, if none is named); the relay stops reading, so senders jam."""
        for direction in directions or DIRECTIONS:
            if self._open_gates[direction].is_set():
                self._open_gates[direction] = trio.Event()

    def resume(self, *directions: Direction) -> None:
        """The end of :meth:`stall`; nothing was lost."""
        for direction in directions or DIRECTIONS:
            self._open_gates[direction].set()

    # What was seen

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` is true; it is asked now and whenever anything has passed, opened or ended."""
        while not condition():
            await self._changed.wait()

    @property
    def requests(self) -> list[Request]:
        """The HTTP requests of all connections that have passed completely, in that order."""
        return [seen for _, seen in self._client_traffic() if isinstance(seen, Request)]

    def client_messages(self, protocol: HubProtocol) -> list[ReceivedMessage]:
        """The hub messages that have passed from clients to the server, in order, over any transport.

        Those of WebSockets without their handshake, those of server-sent events and long polling out of the POSTs. An
        incomplete one at the end is left out.
        """
        messages: list[ReceivedMessage] = []
        readers: dict[object, _HubReader] = defaultdict(lambda: _HubReader(protocol))
        for connection, seen in self._client_traffic():
            if isinstance(seen, Frame):
                messages += readers[connection].feed(_data(seen))
            elif seen.method == "POST" and seen.id is not None:  # negotiate has no id yet
                messages += readers[seen.id].feed(seen.body)
        return messages

    def _client_traffic(self) -> list[tuple[Connection, Request | Frame]]:
        walkers: dict[Connection, _ClientWalker] = defaultdict(_ClientWalker)
        return [
            (connection, seen)
            for connection, direction, data in self._log
            if direction == "to_server"
            for seen in walkers[connection].feed(data)
        ]

    # The work

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _settle(self) -> None:
        # The client's last words may be on their way: without this the server could see a reset in their place.
        if all(gate.is_set() for gate in self._open_gates.values()):
            with trio.move_on_after(1):
                await self.wait(lambda: not self.open_connections)

    async def _let_pass(self, direction: Direction) -> None:
        # A loop, since it may be stalled again before this task is woken.
        while not (gate := self._open_gates[direction]).is_set():
            await gate.wait()

    def _record(self, connection: Connection, direction: Direction, data: bytes) -> None:
        self._log.append((connection, direction, data))
        self._note_change()

    async def _serve(self, listener: trio.SocketListener) -> None:
        while True:
            try:
                client = await listener.accept()
            except trio.ClosedResourceError:
                return  # refuse()
            connection = Connection(self, client)
            self.connections.append(connection)
            if self.on_connection is not None:
                self.on_connection(connection)
            self._note_change()
            self._nursery.start_soon(connection._run, self._target)


class Connection:
    """One client's TCP connection, and the one to the server that belongs to it."""

    def __init__(self, relay: Relay, client: trio.SocketStream) -> None:
        self._relay = relay
        self._client = client
        self._server: trio.SocketStream | None = None
        self._scope = trio.CancelScope()
        self._limits: dict[Direction, _Limit] = {}
        self._finishing = False  # by a cut with FIN: whatever still comes is thrown away
        self.open = True

    @property
    def to_server(self) -> bytes:
        """What has passed from the client to the server."""
        return self._passed("to_server")

    @property
    def to_client(self) -> bytes:
        """What has passed from the server to the client."""
        return self._passed("to_client")

    def _passed(self, direction: Direction) -> bytes:
        log = self._relay._log
        return b"".join(data for connection, where, data in log if connection is self and where == direction)

    @property
    def requests(self) -> list[Request]:
        """The HTTP requests that have passed completely; the last one may be a WebSocket's upgrade."""
        return [seen for seen in _ClientWalker().feed(self.to_server) if isinstance(seen, Request)]

    @property
    def client_frames(self) -> list[Frame]:
        """The client's WebSocket frames, control frames too, unmasked; an incomplete one as far as it has passed."""
        return [seen for seen in _ClientWalker().feed(self.to_server) if isinstance(seen, Frame)]

    @property
    def handshake(self) -> dict[str, object] | None:
        """The hub handshake that the client sent over this WebSocket; ``None`` if it has not (yet)."""
        return _handshake(self._websocket_data())

    def client_messages(self, protocol: HubProtocol) -> list[ReceivedMessage]:
        """The hub messages that the client sent over this WebSocket, without the handshake."""
        return _HubReader(protocol).feed(self._websocket_data())

    def _websocket_data(self) -> bytes:
        return b"".join(map(_data, self.client_frames))

    def cut(self, *, reset: bool = True) -> None:
        """End the connection: towards both sides by a reset, or else by an ordinary end (FIN)."""
        for stream in self._streams():
            if reset:
                _reset(stream)
            else:
                _finish(stream)
        if reset:
            self._scope.cancel()
        self._finishing = not reset
        self.open = False
        self._relay._note_change()

    def cut_after(self, count: int, direction: Direction, *, reset: bool = True) -> None:
        """Let ``count`` more bytes (at least one) pass in ``direction``, then :meth:`cut`."""
        if count < 1:
            raise ValueError("cut_after needs a count of at least 1; cut() cuts now")
        self._limits[direction] = _Limit(count, reset)

    def _streams(self) -> list[trio.SocketStream]:
        return [stream for stream in (self._client, self._server) if stream is not None]

    async def _run(self, target: tuple[str, int]) -> None:
        try:
            with self._scope:
                await self._connect_and_pump(target)
        finally:
            for stream in self._streams():
                stream.socket.close()
            self.open = False
            self._relay._note_change()

    async def _connect_and_pump(self, target: tuple[str, int]) -> None:
        try:
            server = await trio.open_tcp_stream(*target)
        except OSError:
            self.cut()
            return
        self._server = server
        if self._finishing:
            _finish(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, "to_server", self._client, server)
            nursery.start_soon(self._pump, "to_client", server, self._client)

    async def _pump(self, direction: Direction, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            while data := await source.receive_some(READ_SIZE):
                await self._relay._let_pass(direction)
                await self._pass_on(data, direction, sink)
            await self._relay._let_pass(direction)
            await sink.send_eof()
        except trio.ClosedResourceError:
            pass  # cut() was here
        except trio.BrokenResourceError:
            if not self._finishing:
                self.cut()  # a reset at one side is one at the other

    async def _pass_on(self, data: bytes, direction: Direction, sink: trio.SocketStream) -> None:
        if self._finishing:
            return
        limit = self._limits.get(direction)
        if limit is not None:
            data = data[: limit.left]
            limit.left -= len(data)
        # First, so that whoever learns of these bytes from the other side finds them here.
        self._relay._record(self, direction, data)
        try:
            await sink.send_all(data)
        except trio.BrokenResourceError:
            if not self._finishing:  # otherwise it was cut() that stopped us half-way
                raise
        if limit is not None and limit.left == 0 and self.open:
            self.cut(reset=limit.reset)


@dataclass
class _Limit:
    """What ``cut_after`` asked for: so many bytes may still pass."""

    left: int
    reset: bool


def _reset(stream: trio.SocketStream) -> None:
    with suppress(OSError, trio.ClosedResourceError):
        # To linger for 0 s: closing sends RST, and drops what the kernel has not sent yet.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def _finish(stream: trio.SocketStream) -> None:
    # Not closed: closing a socket would send RST where data is unread, or comes later.
    with suppress(OSError, trio.ClosedResourceError):
        stream.socket.shutdown(socket.SHUT_WR)


# What the bytes mean


@dataclass(frozen=True)
class Request:
    """An HTTP request of the client.

    Attributes:
        method: As sent.
        target: Path and query.
        headers: Names in lower case; of several with one name, the last.
        body: Without its framing.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def id(self) -> str | None:
        """The hub connection that it belongs to: the connection token of negotiate."""
        return parse_qs(urlsplit(self.target).query).get("id", [None])[0]


class _ClientWalker:
    """Turns the client's bytes of one TCP connection into its HTTP requests and WebSocket frames."""

    def __init__(self) -> None:
        self._http = _new_http()
        self._head: h11.Request | None = None
        self._body = b""
        self._upgrade = False
        self._frames: FrameProtocol | None = None

    def feed(self, data: bytes) -> list[Request | Frame]:
        """Take the next bytes, return what is complete (of a frame's payload, what has come)."""
        if not data:
            return []
        if self._upgrade and self._frames is None:
            if data[0] < 0x80:
                self._upgrade = False  # refused, and HTTP goes on: the frames of our clients begin with FIN = 0x80
            else:
                self._frames = FrameProtocol(client=False, extensions=[])
        if self._frames is not None:
            self._frames.receive_bytes(data)
            return list(self._frames.received_frames())
        self._http.receive_data(data)
        return self._walk_http()

    def _walk_http(self) -> list[Request | Frame]:
        seen: list[Request | Frame] = []
        while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self._head, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                request = self._request()
                seen.append(request)
                self._upgrade = request.headers.get("upgrade", "").lower() == "websocket"
                # h11 would wait for our answer; a new one takes what follows.
                rest, _ = self._http.trailing_data
                self._http = _new_http()
                return seen + self.feed(rest)
        return seen

    def _request(self) -> Request:
        assert self._head is not None
        headers = {name.decode(): value.decode("latin-1") for name, value in self._head.headers}
        return Request(self._head.method.decode(), self._head.target.decode(), headers, bytes(self._body))


def _new_http() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)


def _data(frame: Frame) -> bytes:
    """The hub's bytes in a frame: none in a control frame."""
    if frame.opcode.iscontrol() or isinstance(frame.payload, tuple):
        return b""
    return frame.payload.encode() if isinstance(frame.payload, str) else bytes(frame.payload)


class _HubReader:
    """Parses what a client sends over one transport connection, after the handshake if there is one."""

    def __init__(self, protocol: HubProtocol) -> None:
        self._parser = protocol.parser()
        self._beginning: bytes | None = b""

    def feed(self, data: bytes) -> list[ReceivedMessage]:
        if self._beginning is not None:
            data = self._after_handshake(self._beginning + data)
        messages = self._parser.feed(data)
        while more := self._parser.feed(b""):  # an error that is waiting behind good messages
            messages += more
        return messages

    def _after_handshake(self, data: bytes) -> bytes:
        # A resumed connection has no handshake and begins with a hub message. One of MessagePack may have the length
        # 0x7b = "{", but what follows is an array's head, above 0x80.
        _, end, rest = data.partition(RECORD_SEPARATOR)
        may_be_handshake = data[:1] in (b"", b"{") and data[1:2] < b"\x80"
        if may_be_handshake and not end:
            self._beginning = data
            return b""
        self._beginning = None
        return data if _handshake(data) is None else rest


def _handshake(data: bytes) -> dict[str, object] | None:
    """The handshake request that ``data`` begins with, if it does."""
    record, end, _ = data.partition(RECORD_SEPARATOR)
    try:
        message = json.loads(record)
    except ValueError:
        return None
    return message if end and isinstance(message, dict) and "protocol" in message else None
