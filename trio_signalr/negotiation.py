"""Negotiation: URLs, the negotiate answer as data, and which transports to try. No I/O.

A client POSTs to the hub's negotiate URL and is told a connection id, a secret token that names the connection in every
later URL (``id=``), and the transports the server offers, in its own order; or it is sent elsewhere, with another
access token. Queries are kept byte for byte, since services sign theirs.

Source: TransportProtocols.md, "``POST [endpoint-base]/negotiate`` request".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from .errors import NegotiationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_REDIRECTS",
    "NEGOTIATE_HINTS",
    "TRANSPORTS",
    "AvailableTransport",
    "NegotiateAnswer",
    "Redirect",
    "TransportChoice",
    "checked_transports",
    "choose_transports",
    "connect_url",
    "http_url",
    "negotiate_url",
    "parse_answer",
    "redirect_target",
    "without_secrets",
]

MAX_REDIRECTS = 100
"""Negotiate answers in one connecting that may say "go elsewhere", as in the reference clients."""

TRANSPORTS = {
    "WebSockets": "websockets",
    "ServerSentEvents": "server_sent_events",
    "LongPolling": "long_polling",
}
"""Transports as the server spells them, and as ``open_hub(transports=...)`` does."""

NEGOTIATE_HINTS = {
    401: "the access token is missing, wrong or out of date",
    403: "these credentials do not give access to the hub",
    404: "no hub is mapped at this path",
    405: "no hub is mapped at this path",
    407: "the proxy wants credentials, which belong into its URL",
    413: "the access token or the URL is too long for this server",
    431: "the access token or the URL is too long for this server",
    502: "a proxy in between cannot reach the server",
    503: "a proxy in between cannot reach the server, or the server is overloaded",
    504: "a proxy in between got no answer from the server",
}
"""What a refusal with that status often means."""

T = TypeVar("T")

_LONGEST_LABEL = 63  # characters between two dots of a host name; an IPv6 address has fewer in all
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


# URLs


def http_url(url: str) -> str:
    """Return a hub URL with the scheme that HTTP requests use; ``ws`` means ``http`` and ``wss`` ``https``.

    Raises:
        ValueError: It is no absolute URL of these schemes.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError as exc:
        raise ValueError("the hub URL is malformed") from exc
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:  # not quoted: without a host, who knows where its secrets are
        raise ValueError("a hub URL is absolute and starts with http, https, ws or wss")
    if not all(0 < len(label) <= _LONGEST_LABEL for label in parts.hostname.removesuffix(".").split(".")):
        raise ValueError("the host name in the hub URL has an empty part between its dots, or one over 63 characters")
    return urlunsplit((scheme, parts.netloc, parts.path, parts.query, ""))


def negotiate_url(url: str, *, stateful_reconnect: bool = False) -> str:
    """Return the URL to POST to for the hub at ``url``.

    The query is kept as it is; ``negotiateVersion=1`` and, if asked for, ``useStatefulReconnect=true`` are added unless
    the query has them (a service's redirect URL does). The server reads query names in any case, so a name in another
    case counts.
    """
    parts = urlsplit(http_url(url))
    path = parts.path + ("negotiate" if parts.path.endswith("/") else "/negotiate")
    query = _with_parameter(parts.query, "negotiateVersion", "1")
    if stateful_reconnect:
        query = _with_parameter(query, "useStatefulReconnect", "true")
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def connect_url(url: str, token: str | None) -> str:
    """Return the URL for transports: the hub's, and the connection's token as ``id``.

    Args:
        url: The hub's URL, or where a redirect led to.
        token: :attr:`NegotiateAnswer.token`; ``None`` where negotiation was skipped.
    """
    parts = urlsplit(http_url(url))
    if token is None:
        return urlunsplit(parts)
    return urlunsplit(parts._replace(query=_joined(parts.query, f"id={quote(token, safe='=')}")))


def without_secrets(url: str) -> str:
    """Return ``url`` for errors and logs: without user name and password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def public_id(connection_id: str | None) -> str:
    """Return enough of a connection id to find it in the server's log: in version 0 the whole of it is a secret."""
    if connection_id is None:
        return "without an id"
    return f"id {connection_id:.8}{'...' if len(connection_id) > 8 else ''}"


def _with_parameter(query: str, name: str, value: str) -> str:
    names = {item.partition("=")[0].lower() for item in query.split("&")}
    return query if name.lower() in names else _joined(query, f"{name}={value}")


def _joined(query: str, addition: str) -> str:
    return f"{query}&{addition}" if query and not query.endswith("&") else query + addition


# The answer


class AvailableTransport(msgspec.Struct, frozen=True, rename="camel"):
    """A transport that the server offers, in the server's spelling."""

    transport: str
    transfer_formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class NegotiateAnswer:
    """The server takes the connection.

    Attributes:
        connection_id: The connection's public name.
        token: What ``id=`` in URLs must be; a secret from version 1 on, so it is not in the ``repr``.
        transports: What the server offers, in its order.
        stateful_reconnect: The server is ready for stateful reconnect; it says so only when asked.
        access_token: Replaces the access token for this connection; rare without a redirect.
    """

    connection_id: str
    token: str
    transports: tuple[AvailableTransport, ...]
    stateful_reconnect: bool = False
    access_token: str | None = None

    def __repr__(self) -> str:
        names = [each.transport for each in self.transports]
        return f"<NegotiateAnswer connection_id={self.connection_id!r} transports={names!r}>"

    def __str__(self) -> str:
        offers = ", ".join(f"{each.transport} ({'/'.join(each.transfer_formats)})" for each in self.transports)
        stateful = ", stateful reconnect" if self.stateful_reconnect else ""
        token = ", a new access token" if self.access_token is not None else ""
        return f"connection {public_id(self.connection_id)}: {offers or 'no transports'}{stateful}{token}"


@dataclass(frozen=True, slots=True, repr=False)
class Redirect:
    """The server sends the client elsewhere.

    Attributes:
        url: The hub's URL from now on, for this connection; its query may hold secrets.
        access_token: Replaces the access token for this connection; ``None`` keeps the user's.
    """

    url: str
    access_token: str | None = None

    def __repr__(self) -> str:
        return f"<Redirect to {without_secrets(self.url)!r}>"

    def __str__(self) -> str:
        token = ", with an access token for it" if self.access_token is not None else ""
        return f"go to {without_secrets(self.url)}{token}"


class _Body(msgspec.Struct, rename="camel"):
    """The answer as JSON. ``null`` means absent; unknown properties are ignored."""

    negotiate_version: int | None = None
    connection_id: str | None = None
    connection_token: str | None = None
    available_transports: tuple[AvailableTransport, ...] | None = None
    use_stateful_reconnect: bool | None = None
    url: str | None = None
    access_token: str | None = None
    error: str | None = None
    protocol_version: Any = msgspec.field(default=None, name="ProtocolVersion")

    def __repr__(self) -> str:
        return "<negotiate answer>"  # the fields are secrets

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


_decoder = msgspec.json.Decoder(_Body)

Answer: TypeAlias = NegotiateAnswer | Redirect


def parse_answer(body: bytes, *, url: str) -> Answer:
    """Return what a negotiate answer with status 200 says.

    Args:
        body: The answer's body.
        url: Where it came from, for errors.

    Raises:
        NegotiationError: The server refused, in its own words, or the answer is none of ASP.NET Core SignalR.
    """
    where = without_secrets(url)
    answer = _decode(body, where)
    if answer.error:
        raise NegotiationError(f"The server refused to negotiate: {answer.error}", url=where, status=200)
    if answer.protocol_version is not None:
        raise NegotiationError(
            "The server speaks the old ASP.NET SignalR; this client talks to ASP.NET Core SignalR only",
            url=where,
            status=200,
        )
    if answer.url:
        return Redirect(answer.url, answer.access_token or None)
    return _accepted(answer, where)


def _decode(body: bytes, where: str) -> _Body:
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    if text[:1] == b"<":
        raise NegotiationError(
            f"{where} answered with a web page instead of a negotiation: is this the hub's URL, or did a login page or "
            "a single-page app's fallback answer?",
            url=where,
            status=200,
        )
    problem = "no JSON"
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as exc:
        problem = str(exc)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # not chained: a UnicodeDecodeError carries the whole answer, tokens and all
    raise _unusable(problem, where)


def _accepted(answer: _Body, where: str) -> NegotiateAnswer:
    connection_id = _required(answer.connection_id, "connectionId", where)
    token = connection_id
    if (answer.negotiate_version or 0) >= 1:
        token = _required(answer.connection_token, "connectionToken", where)
    return NegotiateAnswer(
        connection_id=connection_id,
        token=token,
        transports=_required(answer.available_transports, "availableTransports", where),
        stateful_reconnect=bool(answer.use_stateful_reconnect),
        access_token=answer.access_token or None,
    )


def _required(value: T | None, name: str, where: str) -> T:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise _unusable(f"no {name}", where)
    return value


def _unusable(problem: str, where: str) -> NegotiationError:
    text = f"{where} gave no usable SignalR negotiate answer ({problem}): is this the hub's URL?"
    return NegotiationError(text, url=where, status=200)


def redirect_target(redirect: Redirect, *, url: str) -> str:
    """Return the hub URL that ``redirect`` leads to from ``url``.

    Raises:
        NegotiationError: It is no URL for a hub, or gives up encryption: tokens must not go where anybody can read.
    """
    where = without_secrets(url)
    try:
        target = http_url(redirect.url)
    except ValueError:
        text = f"{where} redirects to what is no absolute http or https URL"
        raise NegotiationError(text, url=where, status=200) from None
    if http_url(url).startswith("https:") and target.startswith("http:"):
        text = f"{where} redirects to {without_secrets(target)}, without encryption: refused"
        raise NegotiationError(text, url=where, status=200)
    return target


# Choosing a transport


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """What is left to try, and why the rest is not.

    Attributes:
        candidates: Names as :data:`TRANSPORTS` maps them, in the server's order.
        skipped: A reason for each transport of the server that is no candidate.
    """

    candidates: tuple[str, ...]
    skipped: tuple[str, ...]


def checked_transports(names: Iterable[str], *, skip_negotiation: bool = False) -> frozenset[str]:
    """Return the transports of these names; one name may stand alone.

    Raises:
        ValueError: There is no such transport, or none at all; or there shall be no negotiation, and no WebSockets.
    """
    found = frozenset([names] if isinstance(names, str) else names)
    known = TRANSPORTS.values()
    if not found or not found <= {*known}:
        raise ValueError(f"transports must be some of {', '.join(map(repr, known))}, not {sorted(found, key=repr)}")
    if skip_negotiation and "websockets" not in found:
        raise ValueError("only WebSockets work without negotiation: transports must include 'websockets'")
    return found


def choose_transports(
    available: Iterable[AvailableTransport], *, allowed: Iterable[str], transfer_format: str
) -> TransportChoice:
    """Filter the server's transports; the order stays the server's.

    Args:
        available: What the server offers.
        allowed: Names as ``open_hub(transports=...)`` takes them.
        transfer_format: What the hub protocol needs: ``"Text"`` or ``"Binary"``.
    """
    names = set(allowed)
    candidates: list[str] = []
    skipped: list[str] = []
    for offer in available:
        reason = _reason_to_skip(offer, names, transfer_format)
        if reason is None:
            candidates.append(TRANSPORTS[offer.transport])
        else:
            skipped.append(f"{offer.transport}: {reason}")
    return TransportChoice(tuple(candidates), tuple(skipped))


def _reason_to_skip(offer: AvailableTransport, allowed: set[str], transfer_format: str) -> str | None:
    name = TRANSPORTS.get(offer.transport)
    if name is None:
        return "unknown to this client"
    if name not in allowed:
        return "not among the transports allowed here"
    if transfer_format not in offer.transfer_formats:
        return f"cannot carry {transfer_format}, which the hub protocol needs"
    return None
