"""``open_hub``: its options, and what they turn into."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ._connect import HttpConnector
from ._connection import ConnectionOptions
from ._http import HubHttp
from ._hub import HubConnection, run_hub
from ._session import SessionOptions
from .negotiation import without_secrets
from .protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from .protocols._base import DEFAULT_MAX_MESSAGE_SIZE
from .retry import as_policy

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping

    from ._handlers import Handler
    from ._http import AccessToken, HttpClient, Proxy
    from .retry import RetryPolicy

__all__ = ["as_protocol", "connection_options", "open_hub"]

_PROTOCOLS: dict[str, Callable[[], HubProtocol]] = {"json": JsonHubProtocol, "messagepack": MessagePackHubProtocol}


@asynccontextmanager
async def open_hub(
    url: str,
    *,
    protocol: str | HubProtocol = "json",
    transports: Iterable[str] = ("websockets", "server_sent_events", "long_polling"),
    skip_negotiation: bool = False,
    access_token: AccessToken | None = None,
    headers: Mapping[str, str] | None = None,
    http_client: HttpClient | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: Proxy | None = None,
    reconnect: bool | RetryPolicy | None = None,
    stateful_reconnect: bool = False,
    keep_alive_interval: float = 15.0,
    server_timeout: float = 30.0,
    handshake_timeout: float = 15.0,
    close_timeout: float = 5.0,
    max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE,
    handlers: Mapping[str, Handler] | None = None,
    on_connected: Callable[[HubConnection], Awaitable[object]] | None = None,
) -> AsyncGenerator[HubConnection]:
    """Connect to a SignalR hub, for the length of the block.

    ::

        async with open_hub("https://host/hubs/stream") as hub:
            print(await hub.invoke("Add", 1, 2, result_type=int))

    Whatever runs for the hub ends with the block. What the block raises comes out as it is. If the connection ends
    under it, waiting calls fail first, open streams hand over what they hold, then the block is cancelled and
    :exc:`HubClosed` comes out.

    Args:
        url: The hub's URL; ``http`` and ``ws`` mean the same, ``https`` and ``wss`` too.
        protocol: ``"json"``, ``"messagepack"``, or a :class:`HubProtocol`.
        transports: Names of those allowed: ``"websockets"``, ``"server_sent_events"`` (text only, so not for
            MessagePack), ``"long_polling"``. They are tried in the server's order, each further one with a negotiation
            of its own, until one opens; the hub handshake is no part of that. Over the last two, calls go out by POST;
            long polling has no pings and no ``server_timeout``.
        skip_negotiation: Open a WebSocket at once; ``connection_id`` is ``None`` then.
        access_token: A string, or an async function that returns one or ``None``; asked before every negotiation
            and WebSocket, and once more when a poll or POST is answered 401. It goes into the ``Authorization`` header
            and nowhere else. A token that a redirect brings replaces it for that connection.
        headers: Extra HTTP headers for every request.
        http_client: Your own ``httpx.AsyncClient``: its cookies, headers, auth, TLS, proxies and timeouts (but for
            reading) serve every request, the WebSocket's included. A WebSocket, an event stream or a waiting poll
            holds one of the client's pool connections for as long as the hub lives. It is never closed here.
        ssl_context: TLS settings for every connection; not with ``http_client``.
        proxy: URL of a proxy for every connection; not with ``http_client``. Without it, the environment's.
            SOCKS needs ``httpx[socks]``.
        reconnect: What to do when the connection is lost: ``None``, end the block; ``True``, try again after 0, 2, 10
            and 30 s; or a function from :class:`RetryContext` to the seconds to wait, or to ``None`` to give up. The
            first connection is not tried again.
        stateful_reconnect: Ask the server to keep the connection for a while when its WebSocket breaks. Calls, streams
            and uploads then live on over another one, nothing lost, doubled or reordered, and nobody is told. A server
            that does not allow it gives an ordinary connection. What cannot be resumed within 15 s is a loss, and
            ``reconnect`` decides.
        keep_alive_interval: Seconds without sending anything after which a ping is sent; ``math.inf``: never.
        server_timeout: Seconds without receiving anything after which the server is given up; ``math.inf``: never.
        handshake_timeout: Seconds for the hub handshake, once a transport is open.
        close_timeout: Seconds for the goodbye when the block is left.
        max_message_size: Bytes of one incoming hub message; ``math.inf`` for no limit.
        handlers: Handlers by target, in place before the first byte is read; as :meth:`HubConnection.on` takes them.
        on_connected: Async function of the hub, run after every handshake, before other traffic: join groups here. Its
            own calls go out at once, all others wait until it returns. What it raises leaves the block; but
            :exc:`HubClosed` while reconnecting is a failed attempt.

    Yields:
        The :class:`HubConnection`, connected.

    Raises:
        NegotiationError: Negotiating failed, or the server offers no transport that can be used.
        TransportError: No transport could be opened; the text tells why for each.
        HandshakeError: The hub refused the handshake, or did not answer it.
        HubClosed: The connection ended.
        ProtocolError: The server broke the protocol.
        ValueError: Options that make no sense.

    Cancellation: open calls are cancelled on the server, then goodbye is said, within ``close_timeout``.
    Checkpoint: entering waits for the connection; leaving waits for the goodbye.
    """
    options = connection_options(
        reconnect=reconnect,
        on_connected=on_connected,
        keep_alive_interval=keep_alive_interval,
        server_timeout=server_timeout,
        handshake_timeout=handshake_timeout,
        close_timeout=close_timeout,
        max_message_size=max_message_size,
    )
    async with HubHttp(
        http_client=http_client, headers=headers, access_token=access_token, ssl_context=ssl_context, proxy=proxy
    ) as http:
        connector = HttpConnector(
            http,
            url,
            transports=transports,
            skip_negotiation=skip_negotiation,
            stateful_reconnect=stateful_reconnect,
        )
        async with run_hub(connector, as_protocol(protocol), options, handlers, without_secrets(url)) as hub:
            yield hub


def as_protocol(protocol: str | HubProtocol) -> HubProtocol:
    """Return what ``open_hub(protocol=...)`` means.

    Raises:
        ValueError: There is no protocol of that name.
        TypeError: It is neither a name nor a :class:`HubProtocol`.
    """
    if isinstance(protocol, HubProtocol):
        return protocol
    if not isinstance(protocol, str):
        raise TypeError(f"protocol must be a name or a HubProtocol, not {protocol!r}")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"protocol must be {' or '.join(map(repr, _PROTOCOLS))} or a HubProtocol, not {protocol!r}")
    return _PROTOCOLS[protocol]()


def connection_options(
    *,
    reconnect: bool | RetryPolicy | None = None,
    on_connected: Callable[[Any], Awaitable[object]] | None = None,
    **session: float,
) -> ConnectionOptions:
    """Return what those options of ``open_hub`` mean that have nothing to do with the network.

    Raises:
        ValueError: Options that make no sense.
    """
    return ConnectionOptions(SessionOptions(**session), as_policy(reconnect), on_connected)
