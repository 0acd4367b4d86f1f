"""The user's own httpx authentication, beside an access token."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["BesideToken"]


class BesideToken(httpx.Auth):
    """Lets another authentication do its work, on everything but ``Authorization``: there the token stands.

    An API key or a signature in a header of its own goes along; a password does not.
    """

    def __init__(self, auth: httpx.Auth) -> None:
        self._auth = auth
        self.requires_request_body = auth.requires_request_body
        self.requires_response_body = auth.requires_response_body

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by httpx."""
        authorization = request.headers.get("Authorization")
        async with aclosing(self._auth.async_auth_flow(request)) as flow:
            try:
                request = await anext(flow)
                while True:
                    request.headers.pop("Authorization", None)
                    if authorization is not None:
                        request.headers["Authorization"] = authorization
                    request = await flow.asend((yield request))
            except StopAsyncIteration:
                return
