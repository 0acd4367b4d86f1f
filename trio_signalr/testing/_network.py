"""The sockets by which a client is there: one for a WebSocket, one after another for polls. Tests are rough with them.

An ASGI application never sees a socket. :mod:`._relay` has them all, and this knows which belong to whom. Without a
relay there is nothing here, and a cut is whatever the ASGI server makes of an application that just returns.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SOCKETS", "Direction", "Network", "Socket"]

Direction: TypeAlias = Literal["to_server", "to_client"]


class Socket(Protocol):
    """A client's TCP connection, as the relay has it."""

    @property
    def said_goodbye(self) -> bool:
        """Whether the client has sent a WebSocket close frame."""
        ...

    def cut(self, *, keep: bool = False) -> None:
        """Break it; with ``keep``, what is under way to the client still arrives."""

    def cut_after(self, count: int, direction: Direction) -> None:
        """Let so many more bytes pass, then break it."""

    def stall(self, direction: Direction) -> None:
        """Let nothing pass any more, without telling anybody."""

    def resume(self) -> None:
        """Let everything pass."""


SOCKETS: dict[tuple[Any, ...], Socket] = {}
"""Those that relays of this process have, by the address that the server sees; no two can have the same."""


class Network:
    """All sockets that serve one connection now, and what is to happen to those that will."""

    def __init__(self) -> None:
        self._sockets: list[Socket] = []
        self._stalled: dict[Direction, None] = {}
        self._held: list[Socket] = []

    @contextmanager
    def used(self, socket: Socket | None) -> Iterator[None]:
        """A request of this connection comes by that socket, and is served for the length of the block."""
        if socket is None:
            yield
            return
        self._sockets.append(socket)
        self._hold(socket)
        try:
            yield
        finally:
            self._sockets.remove(socket)

    @property
    def said_goodbye(self) -> bool:
        """Whether the client has ended its WebSocket in good order."""
        return any(socket.said_goodbye for socket in self._sockets)

    def cut(self, *, keep: bool = False) -> None:
        """Break all."""
        for socket in self._sockets:
            socket.cut(keep=keep)

    def cut_after(self, count: int, direction: Direction) -> None:
        """Let so many more bytes pass on each, then break it."""
        for socket in self._sockets:
            socket.cut_after(count, direction)

    def stall(self, direction: Direction) -> None:
        """Let nothing pass, on those to come neither."""
        self._stalled[direction] = None
        for socket in self._sockets:
            self._hold(socket)

    def _hold(self, socket: Socket) -> None:
        for direction in self._stalled:
            socket.stall(direction)
            self._held.append(socket)

    def resume(self) -> None:
        """Let everything pass."""
        self._stalled.clear()
        for socket in self._held:  # some may carry other requests by now
            socket.resume()
        self._held.clear()
