"""Negotiating over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._logs import TRANSPORT
from ..errors import NegotiationError
from ..negotiation import (
    MAX_REDIRECTS,
    NegotiateAnswer,
    connect_url,
    http_url,
    negotiate_url,
    parse_answer,
    redirect_target,
    without_secrets,
)

if TYPE_CHECKING:
    from .hub import HubHttp

__all__ = ["Negotiated", "negotiate"]


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
        TRANSPORT.debug("negotiating at %s", without_secrets(asked))
        answer = parse_answer(await http.post_negotiate(asked), url=asked)
        if answer.access_token is not None:
            http = http.with_access_token(answer.access_token)
        TRANSPORT.debug("the answer: %s", answer)
        if isinstance(answer, NegotiateAnswer):
            return Negotiated(http, url, answer, stateful_reconnect and answer.stateful_reconnect)
        url = redirect_target(answer, url=url)
    where = without_secrets(url)
    raise NegotiationError(f"Negotiate redirection limit exceeded at {where}", url=where, status=200)
