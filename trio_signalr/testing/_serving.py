"""The hub on a real port: hypercorn, behind a relay that can be rough with its connections."""

from __future__ import annotations

import logging
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from .._endings import choose_error, raise_as_is
from ._connection import CLOSE_TIMEOUT
from ._relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from ._asgi import HubApp
    from ._exchange import Receive, Scope, Send

__all__ = ["serve"]

BACKLOG = 1000
KEEP_ALIVE_TIMEOUT = 130  # seconds between two requests on one socket, as in ASP.NET Core

logger = logging.getLogger("trio_signalr.testing.hypercorn")
logger.setLevel(logging.WARNING)


@asynccontextmanager
async def serve(
    hub_app: HubApp, *, host: str, port: int, path: str, app: Callable[..., Awaitable[None]] | None
) -> AsyncGenerator[str]:
    """See :meth:`HubServer.serve`."""
    if not path.startswith("/"):
        raise ValueError(f"path must begin with '/', not {path!r}")
    site = _Site(hub_app, path)
    body_error: BaseException | None = None
    came_out: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            async with _open_port(nursery, site, app or site, host, port) as listeners:
                try:
                    yield _url(listeners, host, path)
                except Exception as error:
                    body_error = error  # raised below: the clients are not cancelled, they are told
                except BaseException as error:
                    body_error = error
                    raise
    except BaseException as error:
        came_out = error
    chosen = site.bug or choose_error(came_out, body_error)
    del came_out, body_error
    if chosen is not None:
        raise_as_is(chosen)


@asynccontextmanager
async def _open_port(
    nursery: trio.Nursery, site: _Site, app: Callable[..., Awaitable[None]], host: str, port: int
) -> AsyncGenerator[list[trio.SocketListener]]:
    """Run hypercorn and the relay before it; at the end of the block, end what clients are still there."""
    hypercorn_serve, config = _hypercorn()
    site.on_bug = nursery.cancel_scope.cancel
    stop, accepting = trio.Event(), trio.CancelScope()
    (bound,) = await nursery.start(partial(hypercorn_serve, app, config, shutdown_trigger=stop.wait, mode="asgi"))
    relay = Relay(_address(bound))
    listeners = await _listen(host, port)
    nursery.start_soon(_accept, accepting, relay, listeners)
    try:
        yield listeners
    finally:
        try:
            with trio.move_on_after(CLOSE_TIMEOUT):
                await site.shut_down()
        finally:
            relay.cut()  # hypercorn shields what it sends: it would wait for clients that take nothing
            stop.set()
            accepting.cancel()


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as error:
        if error.errno is not None and error.strerror:
            error.strerror = f"no listening at {host}, port {port}: {error.strerror}"
        raise


def _hypercorn() -> tuple[Callable[..., Awaitable[None]], Any]:
    """Return hypercorn's ``serve`` and a quiet configuration for it."""
    try:
        from hypercorn.config import Config
        from hypercorn.trio import serve as hypercorn_serve
    except ImportError as error:
        raise ImportError("HubServer.serve() needs hypercorn: pip install 'trio-signalr[testing]'") from error
    config = Config()
    config.bind = ["127.0.0.1:0"]  # the relay has the port that clients know
    config.backlog = BACKLOG
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT
    config.keep_alive_max_requests = sys.maxsize
    config.websocket_max_message_size = sys.maxsize  # the hub has a limit of its own
    config.graceful_timeout = 0
    return hypercorn_serve, config


async def _accept(scope: trio.CancelScope, relay: Relay, listeners: list[trio.SocketListener]) -> None:
    """Take connections until told to stop; those that are open then go on until they are over."""
    async with trio.open_nursery() as connections:
        with scope:
            await trio.serve_listeners(relay.serve, listeners, handler_nursery=connections)


class _Site:
    """The hub at its path, and nothing else.

    Attributes:
        bug: What the hub's application raised; hypercorn would only log it.
        on_bug: Called then.
    """

    def __init__(self, hub_app: HubApp, path: str) -> None:
        self._hub_app = hub_app
        base = path.rstrip("/")
        self._paths = {base, f"{base}/", f"{base}/negotiate"}
        self._running = 0
        self._changed = trio.Event()
        self.bug: Exception | None = None
        self.on_bug: Callable[[], object] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        if scope["type"] == "http" and scope["path"] not in self._paths:
            return await _not_found(send)
        if scope["type"] == "websocket" and scope["path"] not in self._paths:
            return await send({"type": "websocket.close"})
        self._running += scope["type"] != "lifespan"
        try:
            await self._hub_app(scope, receive, send)
        except Exception as error:
            self.bug = error
            self.on_bug()
        finally:
            self._running -= scope["type"] != "lifespan"
            self._changed.set()

    async def shut_down(self) -> None:
        """End all connections, and wait until nothing is served any more."""
        await self._hub_app.shut_down()
        while self._running:
            self._changed = trio.Event()
            await self._changed.wait()


async def _not_found(send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def _address(bound: str) -> tuple[str, int]:
    parts = urlsplit(bound)
    assert parts.hostname is not None, f"hypercorn is at {bound}"
    assert parts.port is not None, f"hypercorn is at {bound}"
    return parts.hostname, parts.port


def _url(listeners: list[trio.SocketListener], host: str, path: str) -> str:
    """Return the URL of the hub; from a server that listens on every address, that of this machine."""
    port = listeners[0].socket.getsockname()[1]
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}{path}"
