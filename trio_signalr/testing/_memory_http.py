"""What the options of ``open_hub`` that are about HTTP mean in memory, where there is none.

Tokens and headers are what a request would bring, and are judged and kept like one's. What is about the network itself
cannot do anything here, and a test that gives it would prove nothing: it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._http.requests import checked_headers
from .._http.tokens import Token
from ..errors import NegotiationError, TransportError
from ..negotiation import NEGOTIATE_HINTS, AvailableTransport, checked_transports, choose_transports
from ._exchange import read_request
from ._negotiating import SPELLINGS
from ._transport import FORMATS
from ._user_code import call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._http import AccessToken
    from ..protocols import HubProtocol
    from ._records import Request
    from ._shared import Shared

__all__ = ["MemoryHttp"]

OFFERED = [AvailableTransport(SPELLINGS[name], formats) for name, formats in FORMATS.items()]


class MemoryHttp:
    """Stands in for the HTTP requests of one client.

    Args:
        transports: As for ``open_hub``.
        skip_negotiation: As for ``open_hub``.
        access_token: As for ``open_hub``.
        headers: As for ``open_hub``.
        **impossible: What is of no use here.

    Attributes:
        negotiates: Whether the client is told its connection id.

    Raises:
        ValueError: The transports make no sense, or something impossible was given.
    """

    def __init__(
        self,
        *,
        transports: Iterable[str] = tuple(FORMATS),
        skip_negotiation: bool = False,
        access_token: AccessToken | None = None,
        headers: Mapping[str, str] | None = None,
        **impossible: object,
    ) -> None:
        for name, value in impossible.items():
            if value is not None:
                raise ValueError(f"{name} has nothing to work on in memory: HubServer.serve() has a network")
        self._allowed = checked_transports(transports, skip_negotiation=skip_negotiation)
        self._headers = checked_headers(headers or {})
        self._token = Token(access_token)
        self.negotiates: bool = not skip_negotiation

    @property
    def may_resume(self) -> bool:
        """Whether stateful reconnect is possible at all: it takes a negotiation, and WebSockets."""
        return self.negotiates and "websockets" in self._allowed

    def check(self, protocol: HubProtocol) -> None:
        """See that some transport carries that protocol.

        Raises:
            NegotiationError: None of those allowed does.
        """
        choice = choose_transports(OFFERED, allowed=self._allowed, transfer_format=protocol.transfer_format)
        if not choice.candidates:
            raise NegotiationError(f"None of the transports can be used: {'; '.join(choice.skipped)}")

    async def ask(self, shared: Shared, *, resuming: bool = False) -> Request:
        """Ask for a token and let the server judge it; return what stands for the request.

        Raises:
            NegotiationError: The server does not let the client in.
            TransportError: The same, where there is no negotiation.
        """
        token = await self._token.ask()
        headers = {**self._headers, **({"authorization": f"Bearer {token}"} if token else {})}
        if self._token.given and not token:
            headers.pop("authorization", None)
        request = read_request(
            {"path": "", "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()]}
        )
        if shared.gate is not None and not await call(shared.gate, request.token):
            raise self.refusal(f"the server answered 401: {NEGOTIATE_HINTS[401]}", 401, resuming=resuming)
        return request

    def refusal(self, text: str, status: int | None, *, resuming: bool = False) -> NegotiationError | TransportError:
        """Return the error of a client whose first request is refused, or the one by which it comes back."""
        kind = NegotiationError if self.negotiates and not resuming else TransportError
        return kind(text, status=status)
