"""How one hub is reached: which client, which headers, which token go with each of its requests."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from ..errors import NegotiationError, TransportError
from ..negotiation import NEGOTIATE_HINTS, without_secrets
from .answers import Answer, read_body
from .auth import BesideToken
from .clients import CONNECT_TIMEOUT, Clients
from .errors import NO_HTTP_2, Purpose, refusal
from .requests import build_request, checked_headers, parsed_url
from .tokens import Token
from .trace import Trace
from .wire import Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Any, Self

    from .clients import HttpClient, Proxy
    from .tokens import AccessToken

__all__ = ["HubHttp"]


class HubHttp:
    """How to reach one hub over HTTP; an async context manager that closes what is its own.

    Args:
        http_client: The user's client; it is never closed here.
        headers: Extra headers for every request; they win over all but the access token and
            ``Accept-Encoding``. ``User-Agent`` may be replaced, or removed by an empty value.
        access_token: For ``Authorization: Bearer``.
        ssl_context: For https; not with ``http_client``.
        proxy: A proxy's URL; not with ``http_client``. Without it the environment's proxies are used.

    Raises:
        ValueError: Options that exclude each other, or that no HTTP request can carry.
    """

    def __init__(
        self,
        *,
        http_client: HttpClient | None = None,
        headers: Mapping[str, str] | None = None,
        access_token: AccessToken | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._clients = Clients(http_client, ssl_context, proxy)
        self._headers = checked_headers(headers or {})
        self._token = Token(access_token)
        self._redirected = False  # to a host that the user's own authentication is not meant for

    def __repr__(self) -> str:
        return f"<HubHttp {'own client' if self._clients.users is None else 'http_client'}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._clients.aclose()

    def with_access_token(self, token: str) -> HubHttp:
        """Return the same HTTP with another, fixed access token; the clients stay shared, and owned by the original."""
        other = object.__new__(HubHttp)
        other._clients, other._headers, other._token = self._clients, self._headers, Token(token)
        other._redirected = True
        return other

    async def post_negotiate(self, url: str) -> bytes:
        """POST to a negotiate URL with a newly asked token and return the answer's body.

        Raises:
            NegotiationError: No answer, or one with a status other than 200.
        """
        where = without_secrets(url)
        purpose = Purpose(NegotiationError, f"Negotiating at {where} failed", where)
        response = await self._post(purpose, url)
        accepted, body = response.status_code == 200, b""
        try:
            with purpose.translating() if accepted else suppress(httpx.RequestError):
                body = await read_body(response)
        finally:
            await response.aclose()
        if not accepted:
            raise refusal(purpose, response, body, NEGOTIATE_HINTS, self._token.redacted)
        return body

    async def _post(self, purpose: Purpose[NegotiationError], url: str) -> httpx.Response:
        """POST, once more if it met a kept connection that the server had closed: negotiating twice does no harm."""
        token, trace = await self._token.ask(), Trace()
        try:
            return await self._send(purpose, "POST", url, token=token, trace=trace)
        except NegotiationError as error:
            if trace.connected or not isinstance(error.__cause__, httpx.RemoteProtocolError | httpx.ReadError):
                raise
        return await self._send(purpose, "POST", url, token=token)

    async def upgrade(self, url: str, headers: list[tuple[bytes, bytes]], *, hints: Mapping[int, str]) -> Wire:
        """Ask for a WebSocket with a newly asked token; return the socket when the server switches.

        Args:
            url: The connect URL.
            headers: Those of the WebSocket handshake.
            hints: What a refusal's status often means.

        Raises:
            TransportError: No answer, or a refusal: ``.status`` is the server's.
        """
        where = without_secrets(url)
        purpose = Purpose(TransportError, f"Opening a WebSocket to {where} failed", where, upgrades=True)
        token = await self._token.ask()
        response = await self._send(purpose, "GET", url, token=token, headers=headers, read_timeout=CONNECT_TIMEOUT)
        if response.status_code != 101:
            answer = Answer(response, purpose, purpose, self._token)
            error = await answer.refusal(hints)
            raise purpose.failure(NO_HTTP_2) if response.http_version.startswith("HTTP/2") else error
        if "network_stream" not in response.extensions:
            await response.aclose()
            raise purpose.failure("the transport of this http_client cannot hand over an upgraded connection")
        users = self._clients.users
        return Wire(response, own=users is None, write_timeout=None if users is None else users.timeout.write)

    async def request(
        self,
        method: str,
        url: str,
        *,
        failed: str,
        broke: str = "",
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        read_timeout: float | None = None,
    ) -> Answer:
        """Send a request of an open or opening transport; with any status, return the answer, its body still unread.

        It goes with the token asked for last. If the server refuses that with 401, a new one is asked for and the
        request sent once more, unless the token was new already.

        Args:
            method: HTTP's.
            url: The connect URL.
            failed: How an error begins that says why there was no answer.
            broke: How one begins that says why its body broke off.
            headers: More of them.
            content: The body.
            read_timeout: Seconds of silence to bear until the answer comes; ``None`` for any number.

        Raises:
            TransportError: No answer.
        """
        where = without_secrets(url)
        opening = Purpose(TransportError, failed, where)
        raw_headers = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        options: dict[str, Any] = {"headers": raw_headers, "content": content, "read_timeout": read_timeout}
        is_new = not self._token.asked
        token = await self._token.ask() if is_new else self._token.last
        answer = self._answer(await self._send(opening, method, url, token=token, **options), opening, broke)
        if answer.status == 401 and self._token.renewable and not is_new:
            await answer.finish()
            token = await self._token.ask()
            answer = self._answer(await self._send(opening, method, url, token=token, **options), opening, broke)
        return answer

    def _answer(self, response: httpx.Response, opening: Purpose[TransportError], broke: str) -> Answer:
        reading = Purpose(TransportError, broke or opening.failed, opening.url)
        return Answer(response, opening, reading, self._token)

    def _auth(self, client: httpx.AsyncClient) -> Any:
        """The client's own authentication, kept away from the token's place."""
        if not self._token.given:
            return httpx.USE_CLIENT_DEFAULT
        return None if self._redirected or client.auth is None else BesideToken(client.auth)

    async def _send(
        self,
        purpose: Purpose[Any],
        method: str,
        url: str,
        *,
        token: str | None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        content: bytes = b"",
        trace: Trace | None = None,
        **timeouts: float | None,
    ) -> httpx.Response:
        """Send a request; the answer's body is still to be read, and the answer to be closed.

        ``read_timeout`` replaces the client's.
        """
        trace = trace or Trace()
        with purpose.translating(trace):
            target = parsed_url(url)
            client = self._clients.get(target)
            request = build_request(
                client,
                method,
                target,
                users_headers=self._headers,
                headers=headers,
                content=content,
                token=token,
                only_token=self._token.given,
            )
            if "read_timeout" in timeouts:
                request.extensions["timeout"]["read"] = timeouts["read_timeout"]
            request.extensions["trace"] = trace
            try:
                return await client.send(request, stream=True, auth=self._auth(client))
            except BaseException:
                await trace.clean_up()
                raise
