"""How httpx's failures and a server's refusals are told: as our errors, without secrets."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urljoin

import httpx

from ..errors import SignalRError
from ..negotiation import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .trace import Trace

__all__ = ["NO_HTTP_2", "Purpose", "reason", "refusal"]

E = TypeVar("E", bound=SignalRError)

_EXCERPT = 200  # characters of a refusal's text that go into an error


@dataclass(frozen=True, slots=True)
class Purpose(Generic[E]):
    """What a request is for, which decides how its failure is told."""

    error: Callable[..., E]  # NegotiationError or TransportError
    failed: str
    url: str
    upgrades: bool = False

    def failure(self, reason: str, *, status: int | None = None) -> E:
        """Return the error, for ``reason``."""
        return self.error(f"{self.failed}: {reason}", url=self.url, status=status)

    @contextmanager
    def translating(self, trace: Trace | None = None) -> Iterator[None]:
        """Turn httpx's own errors into ours."""
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            http2 = self.upgrades and trace is not None and trace.http2
            raise self.failure(NO_HTTP_2 if http2 else reason(exc)) from exc


NO_HTTP_2 = (
    "the http_client settled on HTTP/2 with this server, which cannot upgrade to a WebSocket; "
    "make the client with http2=False, or leave out the websockets transport"
)

_TIMEOUTS: dict[type[Exception], str] = {
    httpx.PoolTimeout: (
        "no connection became free in the pool of the http_client; a WebSocket or event stream holds one for life, a "
        "poll one while it waits, so give the client httpx.Limits(max_connections=...) with room for them"
    ),
    httpx.ConnectTimeout: "connecting took too long",
    httpx.ReadTimeout: "the server took too long to answer",
    httpx.WriteTimeout: "the server took too long to take the request",
}


def reason(exc: Exception) -> str:
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


def refusal(
    purpose: Purpose[E],
    response: httpx.Response,
    body: bytes,
    hints: Mapping[int, str],
    redacted: Callable[[str], str],
) -> E:
    """Turn an unwanted status into an error that says what the server said, and what that often means."""
    status = response.status_code
    answer = f"{status} {response.reason_phrase or httpx.codes.get_reason_phrase(status)}".strip()
    if excerpt := redacted(_excerpt(response, body)):
        answer += f" ({excerpt})"
    hint = _redirect_hint(response) if response.has_redirect_location else hints.get(status)
    return purpose.failure(f"the server answered {answer}" + (f": {hint}" if hint else ""), status=status)


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
