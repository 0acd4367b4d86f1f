"""Connections in memory: the real client on one end, the test hub on the other, no network in between.

The two sides run in one block. Its end goes in the order of a real connection's: the client says goodbye first, then
the server reads that and lets its methods end. So the server's side is shielded until it has read all that the client
sent; that cannot take long, since the client's end is closed by then. Methods can, and are not shielded.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import trio

from .._endings import choose_error, open_tasks, raise_as_is
from .._hub import run_hub
from .._link import Link
from .._open import as_protocol, connection_options
from ..errors import NegotiationError, TransportError
from ..transports._memory import memory_transport_pair
from ._incoming import Incoming
from ._memory_http import MemoryHttp

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping

    from .._handlers import Handler
    from .._http import AccessToken, HttpClient, Proxy
    from .._hub import HubConnection
    from ..protocols import HubProtocol
    from ..retry import RetryPolicy
    from ..transports import Transport
    from ._shared import Shared

__all__ = ["ConnectOptions", "connect", "open_server_side"]

HTTP_OPTIONS = {
    *("transports", "skip_negotiation", "access_token", "headers"),
    *("http_client", "ssl_context", "proxy"),
}


class ConnectOptions(TypedDict, total=False):
    """All options of ``open_hub``."""

    transports: Iterable[str]
    skip_negotiation: bool
    access_token: AccessToken | None
    headers: Mapping[str, str] | None
    http_client: HttpClient | None
    ssl_context: ssl.SSLContext | None
    proxy: Proxy | None
    handlers: Mapping[str, Handler] | None
    reconnect: RetryPolicy | bool | None
    stateful_reconnect: bool
    on_connected: Callable[[HubConnection], Awaitable[object]] | None
    keep_alive_interval: float
    server_timeout: float
    handshake_timeout: float
    close_timeout: float
    max_message_size: float


@asynccontextmanager
async def connect(
    shared: Shared, protocol: str | HubProtocol, options: ConnectOptions
) -> AsyncGenerator[HubConnection]:
    """See :meth:`HubServer.connect`."""
    codec = as_protocol(protocol)
    others: dict[str, Any] = {**options}
    handlers = others.pop("handlers", None)
    stateful = others.pop("stateful_reconnect", False)
    http = MemoryHttp(**{name: others.pop(name) for name in HTTP_OPTIONS & others.keys()})
    settings = connection_options(**others)
    spoken = () if isinstance(protocol, str) else (codec,)
    async with open_server_side(shared, spoken, http, stateful_reconnect=stateful) as connector:
        async with run_hub(connector, codec, settings, handlers) as hub:
            yield hub


@asynccontextmanager
async def open_server_side(
    shared: Shared,
    protocols: tuple[HubProtocol, ...],
    http: MemoryHttp | None = None,
    *,
    stateful_reconnect: bool = False,
) -> AsyncGenerator[MemoryConnector]:
    """The tasks of the server's side. What the block raises comes out as it is, once they have ended."""
    body_error: BaseException | None = None
    came_out: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            http = http or MemoryHttp()
            resumable = stateful_reconnect and shared.options.stateful_reconnect and http.may_resume
            connector = MemoryConnector(shared, protocols, http, nursery, resumable=resumable)
            try:
                yield connector
            except Exception as error:
                body_error = error  # raised below: the server's side is not cancelled, it ends by itself
            except BaseException as error:
                body_error = error
                raise
            finally:
                await connector.client_left()
    except BaseException as error:
        came_out = error
    chosen = choose_error(came_out, body_error)
    del came_out, body_error
    if chosen is not None:
        raise_as_is(chosen)


class MemoryConnector:
    """Reaches the test hub without a network.

    Args:
        shared: What all connections of the server share.
        protocols: Hub protocols that the server does not have by itself.
        http: What the client's requests would bring.
        nursery: Where the server's side runs.
        resumable: Whether both sides want stateful reconnect.
    """

    def __init__(
        self,
        shared: Shared,
        protocols: tuple[HubProtocol, ...],
        http: MemoryHttp,
        nursery: trio.Nursery,
        *,
        resumable: bool,
    ) -> None:
        self._shared = shared
        self._protocols = protocols
        self._http = http
        self._nursery = nursery
        self._resumable = resumable
        self._served: list[tuple[Incoming, trio.CancelScope]] = []

    @asynccontextmanager
    async def open_link(self, protocol: HubProtocol, *, max_message_size: float) -> AsyncGenerator[Link]:
        """See :meth:`Connector.open_link`."""
        await trio.lowlevel.checkpoint()
        self._http.check(protocol)
        request = await self._http.ask(self._shared)
        try:
            plan = self._shared.reception.next()
        except NegotiationError as error:
            raise self._http.refusal(str(error), error.status) from None
        client_end, server_end = memory_transport_pair()
        incoming = Incoming(
            self._shared, server_end, self._protocols, plan=plan, request=request, resumable=self._resumable
        )
        scope = trio.CancelScope(shield=True)
        self._served.append((incoming, scope))
        self._nursery.start_soon(self._serve, incoming, scope, name=f"trio_signalr.testing connection {incoming.id}")
        try:
            id_ = incoming.id if self._http.negotiates else None
            yield Link(client_end, id_, partial(self._reopen, incoming) if self._resumable else None)
        finally:
            await trio.aclose_forcefully(client_end)

    @asynccontextmanager
    async def _reopen(self, incoming: Incoming) -> AsyncGenerator[Transport]:
        await trio.lowlevel.checkpoint()
        await self._http.ask(self._shared, resuming=True)
        try:
            self._shared.reception.check_resume()
        except NegotiationError as error:
            raise self._http.refusal(str(error), error.status, resuming=True) from None
        client_end, server_end = memory_transport_pair()
        if not incoming.resume(server_end):
            raise TransportError(f"the server has forgotten connection {incoming.id}", status=404)
        try:
            yield client_end
        finally:
            await trio.aclose_forcefully(client_end)

    @staticmethod
    async def _serve(incoming: Incoming, scope: trio.CancelScope) -> None:
        with scope:
            async with open_tasks(outlive=True) as methods:
                await incoming.run(methods)

    async def client_left(self) -> None:
        """Let the server's side read what the client has said, then take its shield away."""
        with trio.CancelScope(shield=True):
            for incoming, _ in self._served:
                incoming.client_left()
            for incoming, _ in self._served:
                await incoming.drained.wait()
        for _, scope in self._served:
            scope.shield = False
