"""Reaching a hub over the network: negotiate, then the first transport that works, in the server's order."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from ._http import negotiate
from ._link import Link
from ._logs import TRANSPORT
from .errors import NegotiationError, TransportError
from .negotiation import checked_transports, choose_transports, http_url, without_secrets
from .transports.long_polling import open_long_polling
from .transports.server_sent_events import open_server_sent_events
from .transports.websockets import open_websocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from ._http import HubHttp, Negotiated
    from .protocols import HubProtocol
    from .transports import Transport

__all__ = ["HttpConnector"]

_OPENERS: dict[str, Callable[..., AbstractAsyncContextManager[Transport]]] = {
    "websockets": open_websocket,
    "server_sent_events": open_server_sent_events,
    "long_polling": open_long_polling,
}


class HttpConnector:
    """Connects to one URL, each time from the start: with a new negotiation and a newly asked token.

    Args:
        http: How to reach the server.
        url: The hub's URL.
        transports: Names of the transports allowed.
        skip_negotiation: Open a WebSocket at once.
        stateful_reconnect: Ask for it; it takes a negotiation and WebSockets.

    Raises:
        ValueError: The URL is no hub URL, or the transports make no sense.
    """

    def __init__(
        self,
        http: HubHttp,
        url: str,
        *,
        transports: Iterable[str],
        skip_negotiation: bool = False,
        stateful_reconnect: bool = False,
    ) -> None:
        self._http = http
        self._url = http_url(url)
        self._allowed = checked_transports(transports, skip_negotiation=skip_negotiation)
        self._skip_negotiation = skip_negotiation
        self._stateful_reconnect = stateful_reconnect

    def __repr__(self) -> str:
        return f"<HttpConnector to {without_secrets(self._url)!r}>"

    @asynccontextmanager
    async def open_link(self, protocol: HubProtocol, *, max_message_size: float) -> AsyncGenerator[Link]:
        """Open a transport to the hub, for the length of the block.

        Raises:
            NegotiationError: Negotiating failed, or nothing that the server offers can be used.
            TransportError: No transport could be opened; the text tells why for each.
        """
        settings: dict[str, Any] = {"transfer_format": protocol.transfer_format, "max_message_size": max_message_size}
        if self._skip_negotiation:
            TRANSPORT.debug("opening websockets at %s, without negotiation", without_secrets(self._url))
            async with open_websocket(self._http, self._url, **settings) as transport:
                yield Link(transport, None, url=without_secrets(self._url))
        else:
            async with AsyncExitStack() as stack:
                yield await self._open_first(stack, settings)

    async def _open_first(self, stack: AsyncExitStack, settings: dict[str, Any]) -> Link:
        """Open the first transport that works; each further try negotiates again, for the old id may be spent."""
        negotiated = await negotiate(self._http, self._url, stateful_reconnect=self._stateful_reconnect)
        choice = choose_transports(
            negotiated.answer.transports, allowed=self._allowed, transfer_format=settings["transfer_format"]
        )
        for reason in choice.skipped:
            TRANSPORT.debug("not used: %s", reason)
        failures: list[TransportError] = []
        for name in choice.candidates:
            if failures:
                negotiated = await self._negotiate_again(negotiated, failures)
            TRANSPORT.debug("opening %s", name)
            try:
                return await self._open(stack, name, negotiated, settings)
            except TransportError as error:
                TRANSPORT.info("%s could not be opened: %s", name, error)
                failures.append(error)
        raise _none_worked(negotiated, choice.skipped, failures)

    async def _negotiate_again(self, last: Negotiated, failures: list[TransportError]) -> Negotiated:
        """Ask for another connection where the last one came from; an error tells what went wrong before, too."""
        try:
            return await negotiate(last.http, last.url, max_requests=1)
        except NegotiationError as error:
            text = f"{error}; this was for another transport, since: {_reasons(failures)}"
            raise NegotiationError(text, url=error.url, status=error.status) from error

    async def _open(self, stack: AsyncExitStack, name: str, negotiated: Negotiated, settings: dict[str, Any]) -> Link:
        def opening() -> AbstractAsyncContextManager[Transport]:
            return _OPENERS[name](negotiated.http, negotiated.connect_url, **settings)

        stateful = negotiated.stateful_reconnect and name == "websockets"
        transport = await stack.enter_async_context(opening())
        where = without_secrets(negotiated.url)
        TRANSPORT.debug("%s is open%s", name, ", with stateful reconnect" if stateful else "")
        return Link(transport, negotiated.answer.connection_id, opening if stateful else None, where)


def _none_worked(negotiated: Negotiated, skipped: tuple[str, ...], failures: list[TransportError]) -> Exception:
    where = without_secrets(negotiated.url)
    reasons = _reasons(failures, skipped)
    if not failures:
        text = f"None of the transports that {where} offers can be used: {reasons or 'it offers none'}"
        return NegotiationError(text, url=where, status=200)
    if len(failures) == 1 and not skipped:
        return failures[0]
    text = f"Unable to connect to {where} with any of the available transports: {reasons}"
    error = TransportError(text, url=where, status=failures[-1].status)
    error.__cause__ = failures[-1]
    return error


def _reasons(failures: Iterable[TransportError], skipped: Iterable[str] = ()) -> str:
    return "; ".join([*map(str, failures), *skipped])
