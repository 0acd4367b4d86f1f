"""The small relay that ``serve()`` puts before hypercorn: no ASGI application can cut a TCP connection; this can."""

from __future__ import annotations

import re
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from ._gate import Gate
from ._network import SOCKETS

if TYPE_CHECKING:
    from ._network import Direction

__all__ = ["Relay"]

READ_SIZE = 65536

GRACE = 0.1
"""Seconds for what is under way to the client when the connection is cut or the client has ended its side."""

SWITCHED = b"HTTP/1.1 101"
UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
END_OF_HEAD = b"\r\n\r\n"
MAX_HEAD = 65536
CLOSE_FRAME = 8
MASK_SIZE = 4


class Relay:
    """Passes TCP connections on.

    Args:
        target: Host and port of the server.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[_Relayed] = set()

    async def serve(self, client: trio.SocketStream) -> None:
        """Pass one connection on; a handler for ``trio.serve_listeners``."""
        relayed = _Relayed(client)
        self._open.add(relayed)
        try:
            await relayed.run(self._target)
        finally:
            self._open.remove(relayed)

    def cut(self) -> None:
        """Break all connections."""
        for relayed in self._open:
            relayed.cut()


class _Relayed:
    """A client's TCP connection, and the one to the server that belongs to it; see :class:`Socket`."""

    def __init__(self, client: trio.SocketStream) -> None:
        self._client = client
        self._server: trio.SocketStream | None = None
        self._scope = trio.CancelScope()
        self._gates: dict[Direction, Gate] = {"to_server": Gate(), "to_client": Gate()}
        self._left: dict[Direction, int] = {}
        self._upgrade = _UpgradeFinder()
        self._answered = trio.Event()
        self._answered.set()
        self._frames: _FrameWalker | None = None
        self._keeps = False

    @property
    def said_goodbye(self) -> bool:
        """Whether the client has sent a WebSocket close frame."""
        return self._frames is not None and self._frames.seen_close

    def cut(self, *, keep: bool = False) -> None:
        """Break it: the client sees a reset; with ``keep``, a plain end behind what was under way."""
        if keep and not self._keeps:
            self._end_soon()
            self._gates["to_server"].shut()
        elif not keep:
            self._keeps = False
            self._close()
            self._scope.cancel()

    def cut_after(self, count: int, direction: Direction) -> None:
        """Let so many more bytes pass, then break it; those still arrive."""
        if count < 1:
            raise ValueError(f"the count must be at least 1, not {count}")
        self._left[direction] = count

    def stall(self, direction: Direction) -> None:
        """Let nothing pass any more; senders jam."""
        self._gates[direction].shut()

    def resume(self) -> None:
        """Let everything pass."""
        for gate in self._gates.values():
            gate.open()

    async def run(self, target: tuple[str, int]) -> None:
        """Pass on until both sides have ended it, or it is cut."""
        address = None
        try:
            with self._scope, suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                self._server = await trio.open_tcp_stream(*target)
                address = self._server.socket.getsockname()[:2]
                SOCKETS[address] = self
                await self._pass_all(self._server)
        finally:
            SOCKETS.pop(address or (), None)
            self._close()

    def _close(self) -> None:
        if self._server is not None:
            _reset(self._server)  # whatever the server is sending, it must not wait for us
        if not self._keeps:
            _reset(self._client)
        self._client.socket.close()

    async def _pass_all(self, server: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, "to_server", self._client, server)
            nursery.start_soon(self._pass, "to_client", server, self._client)
        self._keeps = True  # both have ended in good order: no reset

    async def _pass(self, direction: Direction, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        """Pass on one way; what breaks it ends the other way too."""
        try:
            while data := await source.receive_some(READ_SIZE):
                for part in self._parts(direction, data):
                    await self._gates[direction].passed()
                    if direction == "to_server" and not await self._may_go_on():
                        return
                    self._look_at(direction, part)
                    await sink.send_all(self._up_to_limit(direction, part))
                    if self._left.get(direction) == 0:
                        self._keeps = True
                        self._scope.cancel()
            await self._gates[direction].passed()
            await sink.send_eof()
            if direction == "to_server":
                self._end_soon()  # HTTP clients close, they do not half-close; hypercorn would wait for an idle timeout
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # Who says goodbye and is gone at once resets what still comes; the goodbye itself may not be read yet.
            self._scope.deadline = trio.current_time() + (GRACE if direction == "to_client" else 0)

    def _up_to_limit(self, direction: Direction, data: bytes) -> bytes:
        if direction not in self._left:
            return data
        data = data[: self._left[direction]]
        self._left[direction] -= len(data)
        return data

    def _parts(self, direction: Direction, data: bytes) -> list[bytes]:
        """Return the data, cut behind the head of a request for a WebSocket."""
        if direction == "to_client" or self._frames is not None:
            return [data]
        end = self._upgrade.end(data) or len(data)
        return [part for part in (data[:end], data[end:]) if part]

    async def _may_go_on(self) -> bool:
        """Wait for the answer to a request for a WebSocket; if that is no, what has come before it means nothing.

        hypercorn would break down over either.
        """
        if not self._answered.is_set():
            await self._answered.wait()
            if self._frames is None:
                self._end_soon()
                return False
        return True

    def _end_soon(self) -> None:
        """Let what is under way to the client arrive, and that is it."""
        self._keeps = True
        self._scope.deadline = trio.current_time() + GRACE

    def _look_at(self, direction: Direction, data: bytes) -> None:
        """See whether it becomes a WebSocket; from then on the client sends frames."""
        if direction == "to_client":
            self._answered.set()
            if self._frames is None and data.startswith(SWITCHED):
                self._frames = _FrameWalker()
        elif self._frames is not None:
            self._frames.feed(data)
        elif self._upgrade.asked:
            self._upgrade.asked = False
            self._answered = trio.Event()


class _UpgradeFinder:
    """Finds requests for a WebSocket among those that a client sends.

    Attributes:
        asked: Whether one was found; for others to reset.
    """

    def __init__(self) -> None:
        self._head = b""
        self.asked = False

    def end(self, data: bytes) -> int | None:
        """Return where in the data the head of such a request ends, if it does."""
        if not (self._head or data.startswith(b"GET ")):
            return None
        before, self._head = len(self._head), self._head + data
        end = self._head.find(END_OF_HEAD)
        if end < 0 and len(self._head) < MAX_HEAD:
            return None
        head, self._head = self._head[: max(end, 0)], b""
        self.asked = UPGRADE.search(head + b"\r\n") is not None
        return end + len(END_OF_HEAD) - before if self.asked else None


class _FrameWalker:
    """Walks over the frames that a client sends.

    Attributes:
        seen_close: Whether there was a close frame.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0
        self.seen_close = False

    def feed(self, data: bytes) -> None:
        """Go on."""
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            self._header.append(data[position])
            position += 1
            length = _payload_length(self._header)
            if length is not None:
                self.seen_close |= self._header[0] & 0x0F == CLOSE_FRAME
                self._skip = MASK_SIZE + length
                self._header.clear()


def _payload_length(header: bytearray) -> int | None:
    """Return what a frame's header says; ``None`` if it is not complete."""
    if len(header) < 2:
        return None
    length = header[1] & 0x7F
    extra = {126: 2, 127: 8}.get(length, 0)
    if len(header) < 2 + extra:
        return None
    return int.from_bytes(header[2:], "big") if extra else length


def _reset(stream: trio.SocketStream) -> None:
    with suppress(OSError, trio.ClosedResourceError):
        # To linger for 0 s: closing sends RST, and drops what the kernel has not sent yet.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
