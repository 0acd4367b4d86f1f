"""HTTP for one hub: every request goes through here, and nothing else imports httpx.

One client serves negotiate, WebSocket upgrade, event stream and polls alike, so proxies, TLS, client certificates,
cookies and authentication are set once and are httpx's business. Its errors become ours here and nowhere else; what the
user's own client raises by itself (event hooks, an auth flow) and what their token function raises passes untouched.

Secrets stay inside: no URL in an error has its query, no object here shows a token in its ``repr``.
"""

from __future__ import annotations

import os
import platform
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urljoin

import httpcore
import httpx
import trio

from ._version import __version__
from .errors import NegotiationError, TransportError
from .negotiation import (
    MAX_REDIRECTS,
    NEGOTIATE_HINTS,
    NegotiateAnswer,
    connect_url,
    http_url,
    negotiate_url,
    parse_answer,
    redirect_target,
    without_secrets,
)

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["CONNECT_TIMEOUT", "AccessToken", "HttpClient", "HubHttp", "Negotiated", "Proxy", "Wire", "negotiate"]

AccessToken: TypeAlias = str | Callable[[], Awaitable[str | None]]
"""An access token, or what to ask for one each time; ``None`` and ``""`` from it mean: no token now."""

HttpClient: TypeAlias = httpx.AsyncClient
"""What ``open_hub(http_client=...)`` takes."""

Proxy: TypeAlias = str | httpx.URL | httpx.Proxy
"""What ``open_hub(proxy=...)`` takes."""

CONNECT_TIMEOUT = 15.0
"""Seconds that each step of a connecting request may take in a client of ours, and an upgrade's answer in any client.

ASP.NET Core holds the upgrade of a stateful reconnect for 5 s while the old socket is still closing, which is httpx's
own default.
"""

READ_SIZE = 64 * 1024
"""Bytes asked of a socket at once: less starves the merging of frames, more costs its allocation."""

MAX_ANSWER = 1024 * 1024
"""Bytes of a negotiate answer, and of a refusal, that are read at most."""

_EXCERPT = 200  # characters of a refusal's text that go into an error
_BODY_PATIENCE = 2.0  # seconds to wait for the body of a refusal; its status is known already

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")

_USER_AGENT = "{}/{} ({}; {}; {}; {})".format(  # the shape of the reference clients'
    "trio_signalr",
    ".".join(__version__.split(".")[:2]),
    __version__,
    platform.system() or "Unknown OS",
    platform.python_implementation(),
    platform.python_version(),
)


# Access tokens


class _Token:
    """Asks for the access token, and keeps it out of sight."""

    def __init__(self, source: AccessToken | None) -> None:
        self._source = source
        self._last: str | None = None

    async def ask(self) -> str | None:
        """Return a token for a new connecting request; what the user's function raises passes."""
        source = self._source
        token = await source() if callable(source) else source
        self._last = _checked_token(token) if token else None
        return self._last

    @property
    def given(self) -> bool:
        """Whether there is a source at all, so that its word is final on ``Authorization``."""
        return self._source is not None

    def redacted(self, text: str) -> str:
        """Return a server's text without the token, should it have repeated it."""
        return text.replace(self._last, "***") if self._last else text


def _checked_token(token: object) -> str:
    """Refuse what cannot stand in a header here, for the errors below would quote it."""
    if not isinstance(token, str):
        raise TypeError(f"an access token is a string, not {type(token).__name__}")
    if _VISIBLE_ASCII.fullmatch(token) is None:
        raise ValueError("the access token holds spaces, line ends or other characters that no token has")
    return token


# Clients


@cache
def _default_tls(_cert_file: str | None, _cert_dir: str | None) -> ssl.SSLContext:
    """The TLS context that httpx makes by default, made once per setting: each costs 20 ms and 830 KB."""
    return httpx.create_ssl_context()


@cache
def _no_tls() -> ssl.SSLContext:
    """Trusts nobody and costs nothing: for clients that only ever speak plain HTTP, yet must be given one."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Clients:
    """The user's client, never closed here, or clients of our own: one for plain HTTP and one for HTTPS.

    Two, because the HTTPS one needs an expensive TLS context, and a redirect from one to the other is rare. They share
    their cookies.
    """

    def __init__(self, users: HttpClient | None, ssl_context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        if users is not None and (ssl_context is not None or proxy is not None):
            raise ValueError("http_client brings its own TLS and proxies: leave out ssl_context and proxy")
        self.users = users
        self._ssl_context = ssl_context
        self._proxy = httpx.Proxy(proxy) if isinstance(proxy, str | httpx.URL) else proxy
        self._own: dict[str, httpx.AsyncClient] = {}
        self._cookies = CookieJar()

    def get(self, url: httpx.URL) -> httpx.AsyncClient:
        """Return the client for ``url``."""
        if self.users is not None:
            return self.users
        if url.scheme not in self._own:
            self._own[url.scheme] = self._make(secure=url.scheme == "https")
        return self._own[url.scheme]

    def _make(self, *, secure: bool) -> httpx.AsyncClient:
        context = self._ssl_context
        if context is None and secure:
            context = _default_tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return httpx.AsyncClient(
            verify=context or _no_tls(),
            proxy=self._proxy,
            cookies=self._cookies,
            timeout=CONNECT_TIMEOUT,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=4),
        )

    async def aclose(self) -> None:
        """Close our own clients."""
        while self._own:
            await self._own.popitem()[1].aclose()


class HubHttp:
    """How to reach one hub over HTTP; an async context manager that closes what is its own.

    Args:
        http_client: The user's client; it is never closed here.
        headers: Extra headers for every request; they win over all but the access token. ``User-Agent`` may be
            replaced, or removed by an empty value.
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
        self._clients = _Clients(http_client, ssl_context, proxy)
        self._headers = httpx.Headers(_checked_headers(headers or {}))
        self._token = _Token(access_token)

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
        other._clients, other._headers, other._token = self._clients, self._headers, _Token(token)
        return other

    async def post_negotiate(self, url: str) -> bytes:
        """POST to a negotiate URL with a newly asked token and return the answer's body.

        Raises:
            NegotiationError: No answer, or one with a status other than 200.
        """
        where = without_secrets(url)
        purpose = _Purpose(NegotiationError, f"Negotiating at {where} failed", where)
        token = await self._token.ask()
        response = await self._send(purpose, "POST", url, token=token)
        try:
            with purpose.translating():
                body = await _read(response, MAX_ANSWER)
        finally:
            await response.aclose()
        if response.status_code != 200:
            raise self._refusal(purpose, response, body, NEGOTIATE_HINTS)
        return body

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
        purpose = _Purpose(TransportError, f"Opening a WebSocket to {where} failed", where, upgrades=True)
        token = await self._token.ask()
        response = await self._send(purpose, "GET", url, token=token, headers=headers, read_timeout=CONNECT_TIMEOUT)
        try:
            if response.status_code != 101:
                raise await self._upgrade_refusal(purpose, response, hints)
            if "network_stream" not in response.extensions:
                raise purpose.failure("the transport of this http_client cannot hand over an upgraded connection")
        except BaseException:
            await response.aclose()
            raise
        users = self._clients.users
        return Wire(response, write_timeout=None if users is None else users.timeout.write)

    async def _send(
        self,
        purpose: _Purpose,
        method: str,
        url: str,
        *,
        token: str | None,
        headers: list[tuple[bytes, bytes]] | None = None,
        read_timeout: float | None = None,
    ) -> httpx.Response:
        """Send a request of connecting; the answer's body is still to be read, and the answer to be closed."""
        trace = _Trace()
        with purpose.translating(trace):
            target = httpx.URL(url)
            client = self._clients.get(target)
            request = self._build(client, method, target, headers or [], token)
            if read_timeout is not None:
                request.extensions["timeout"]["read"] = read_timeout
            request.extensions["trace"] = trace
            try:
                return await client.send(request, stream=True)
            except BaseException:
                await trace.clean_up()
                raise

    def _build(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: httpx.URL,
        headers: list[tuple[bytes, bytes]],
        token: str | None,
    ) -> httpx.Request:
        if token is not None:
            url = url.copy_with(userinfo=b"")  # httpx would make Basic credentials of it, in the token's place
        merged = httpx.Headers({"X-Requested-With": "XMLHttpRequest"})
        if client.headers.get("User-Agent", "python-httpx/").startswith("python-httpx/"):
            merged["User-Agent"] = _USER_AGENT
        merged.update(self._headers)
        merged.update(headers)
        cookie = merged.pop("Cookie", None)
        if self._token.given:
            merged.pop("Authorization", None)
        if token is not None:
            merged["Authorization"] = f"Bearer {token}"
        request = client.build_request(method, url, headers=merged)
        _mend(request, client, url, cookie)
        return request

    async def _upgrade_refusal(
        self, purpose: _Purpose, response: httpx.Response, hints: Mapping[int, str]
    ) -> Exception:
        if response.http_version.startswith("HTTP/2"):
            return purpose.failure(_NO_HTTP_2)
        body = b""
        with trio.move_on_after(_BODY_PATIENCE):
            with suppress(httpx.HTTPError):
                body = await _read(response, MAX_ANSWER)
        return self._refusal(purpose, response, body, hints)

    def _refusal(self, purpose: _Purpose, response: httpx.Response, body: bytes, hints: Mapping[int, str]) -> Exception:
        """Turn an unwanted status into an error that says what the server said, and what that often means."""
        status = response.status_code
        answer = f"{status} {response.reason_phrase or httpx.codes.get_reason_phrase(status)}".strip()
        if excerpt := self._token.redacted(_excerpt(response, body)):
            answer += f" ({excerpt})"
        hint = _redirect_hint(response) if response.has_redirect_location else hints.get(status)
        return purpose.failure(f"the server answered {answer}" + (f": {hint}" if hint else ""), status=status)


# Requests and answers


def _checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse at once what no request can carry, without quoting values: they may be secrets."""
    for name, value in headers.items():
        if not isinstance(value, str):
            raise TypeError(f"the value of the header {name!r} is a {type(value).__name__}, not a string")
        if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
            raise ValueError(f"the header {name!r} or its value holds characters that HTTP does not allow")
    return headers


def _mend(request: httpx.Request, client: httpx.AsyncClient, url: httpx.URL, cookie: str | None) -> None:
    """Put right what httpx does to a URL and cookies that are already there."""
    if client.params:  # it replaces a URL's query by the client's parameters
        query = b"&".join(filter(None, [url.query, str(client.params).encode("ascii")]))
        request.url = url.copy_with(query=query)
    if cookie is not None:  # it leaves its own cookies out, those of sticky sessions among them
        own = request.headers.get("Cookie")
        request.headers["Cookie"] = f"{cookie}; {own}" if own else cookie
    if request.headers.get("User-Agent") == "":
        del request.headers["User-Agent"]


async def _read(response: httpx.Response, limit: int) -> bytes:
    """Return the body, or what was read of it when it turned out to be beyond ``limit``."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in response.aiter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            # Leaving the loop would leave httpx's inner generators to the garbage collector: the socket has to end it.
            if size > limit and (stream := response.extensions.get("network_stream")) is not None:
                await stream.aclose()
    except httpx.RequestError:
        if size <= limit:
            raise
    return b"".join(chunks)


def _excerpt(response: httpx.Response, body: bytes) -> str:
    """Return a refusal's text if it is one for people, and short."""
    if not response.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    text = " ".join(body.decode("utf-8", "replace").split())
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "..."


def _redirect_hint(response: httpx.Response) -> str:
    """Say where an HTTP redirect wants to go; it is not followed, for a POST or an upgrade seldom survives it."""
    try:
        target = urljoin(str(response.url), response.headers["Location"])
    except ValueError:
        return "it redirects to nowhere"
    if response.url.scheme == "http" and target.startswith("https:"):
        return f"it redirects to {without_secrets(target)}: use an https URL"
    return f"it redirects to {without_secrets(target)}, a login page perhaps: are credentials missing?"


@dataclass(frozen=True, slots=True)
class _Purpose:
    """What a request is for, which decides how its failure is told."""

    error: type[NegotiationError] | type[TransportError]
    failed: str
    url: str
    upgrades: bool = False

    def failure(self, reason: str, *, status: int | None = None) -> NegotiationError | TransportError:
        return self.error(f"{self.failed}: {reason}", url=self.url, status=status)

    @contextmanager
    def translating(self, trace: _Trace | None = None) -> Iterator[None]:
        """Turn httpx's own errors into ours."""
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            http2 = self.upgrades and trace is not None and trace.http2
            raise self.failure(_NO_HTTP_2 if http2 else _reason(exc)) from exc


_NO_HTTP_2 = (
    "the http_client settled on HTTP/2 with this server, which cannot upgrade to a WebSocket; "
    "make the client with http2=False, or leave out the websockets transport"
)

_TIMEOUTS: dict[type[Exception], str] = {
    httpx.PoolTimeout: (
        "no connection became free in the pool of the http_client; a WebSocket or event stream holds one for life, "
        "so give the client httpx.Limits(max_connections=...) with room for them"
    ),
    httpx.ConnectTimeout: "connecting took too long",
    httpx.ReadTimeout: "the server took too long to answer",
    httpx.WriteTimeout: "the server took too long to take the request",
}


def _reason(exc: Exception) -> str:
    """Say what went wrong: httpx's errors often say little, what they come from says more."""
    chain = list(_chain(exc))
    causes = [str(each) for each in chain if isinstance(each, OSError) and each.strerror]
    told = causes or [text for text in map(str, chain) if text]
    text = _TIMEOUTS.get(type(exc)) or (told[0] if told else type(exc).__name__)
    return f"the proxy refused: {text}" if isinstance(exc, httpx.ProxyError) else text


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
        if isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]


class _Trace:
    """Watches httpcore at work on one request, for what it tells nobody else."""

    def __init__(self) -> None:
        self.http2 = False
        self._socket: httpcore.AsyncNetworkStream | None = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"]
        elif event.startswith(("http11.", "http2.")):
            self.http2 = event.startswith("http2.")
            self._socket = None

    async def clean_up(self) -> None:
        """Close a socket on which no request was sent yet: cancelled in its TLS handshake, httpcore 1.0 forgets it."""
        if self._socket is not None:
            await self._socket.aclose()


class Wire:
    """The socket of an accepted upgrade, with Trio's errors. One task reads, one writes."""

    def __init__(self, response: httpx.Response, *, write_timeout: float | None) -> None:
        self._response = response
        self._socket: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
        self._write_timeout = write_timeout
        self._closed = False

    @property
    def head(self) -> bytes:
        """The answer as it came, without body."""
        lines = [b"HTTP/1.1 101 Switching Protocols"]
        lines += [name + b": " + value for name, value in self._response.headers.raw]
        return b"\r\n".join([*lines, b"", b""])

    async def read(self) -> bytes:
        """Wait for bytes, for as long as it takes; ``b""`` when the peer has closed."""
        with self._trio_errors():
            return await self._socket.read(READ_SIZE, timeout=None)

    async def write(self, data: bytes) -> None:
        """Send all of ``data``. The user's client may limit how long the peer may take nothing."""
        with self._trio_errors():
            if self._write_timeout is None:
                await self._socket.write(data, timeout=None)
                return
            for start in range(0, len(data), READ_SIZE):
                await self._socket.write(data[start : start + READ_SIZE], timeout=self._write_timeout)

    async def aclose(self) -> None:
        """Close the socket without a word, and give its place in the client's pool back."""
        self._closed = True
        with suppress(httpx.HTTPError):  # the peer may be gone already
            await self._response.aclose()

    @contextmanager
    def _trio_errors(self) -> Iterator[None]:
        if self._closed:
            raise trio.ClosedResourceError("the connection was closed on this side")
        try:
            yield
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as exc:
            if self._closed:
                raise trio.ClosedResourceError("the connection was closed on this side") from exc
            slow = isinstance(exc, httpcore.WriteTimeout)
            text = "the peer took nothing for the http_client's write timeout" if slow else _reason(exc)
            raise trio.BrokenResourceError(text) from exc


# Negotiating


@dataclass(frozen=True, slots=True, repr=False)
class Negotiated:
    """A connection that the server holds ready, for about 15 s.

    Attributes:
        http: What to connect with: a redirect may have replaced the access token.
        url: The hub's URL, or where redirects led to. Negotiate there again for another transport.
        answer: The server's answer.
        stateful_reconnect: It was asked for, and granted; a grant that nobody asked for means nothing.
    """

    http: HubHttp
    url: str
    answer: NegotiateAnswer
    stateful_reconnect: bool = False

    @property
    def connect_url(self) -> str:
        """The URL for transports; it names the connection by its secret token."""
        return connect_url(self.url, self.answer.token)

    def __repr__(self) -> str:
        return f"<Negotiated {without_secrets(self.url)!r} {self.answer!r}>"


async def negotiate(
    http: HubHttp, url: str, *, stateful_reconnect: bool = False, max_requests: int = MAX_REDIRECTS
) -> Negotiated:
    """Negotiate with the hub at ``url``, and where it redirects to.

    Each request asks for an access token first, until a redirect brings its own.

    Args:
        http: How to reach the hub.
        url: The hub's URL; ``ws`` and ``wss`` mean ``http`` and ``https``.
        stateful_reconnect: Ask for it.
        max_requests: How often to ask, following redirects; once when negotiating again at :attr:`Negotiated.url`.

    Raises:
        NegotiationError: No answer, a refusal, or nonsense.
        ValueError: ``url`` is no hub URL.
    """
    url = http_url(url)
    for _ in range(max_requests):
        asked = negotiate_url(url, stateful_reconnect=stateful_reconnect)
        answer = parse_answer(await http.post_negotiate(asked), url=asked)
        if answer.access_token is not None:
            http = http.with_access_token(answer.access_token)
        if isinstance(answer, NegotiateAnswer):
            return Negotiated(http, url, answer, stateful_reconnect and answer.stateful_reconnect)
        url = redirect_target(answer, url=url)
    where = without_secrets(url)
    raise NegotiationError(f"Negotiate redirection limit exceeded at {where}", url=where, status=200)
