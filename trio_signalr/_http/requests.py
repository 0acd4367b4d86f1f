"""Requests as a hub wants them, and as httpx would not make them by itself."""

from __future__ import annotations

import logging
import platform
import re
from typing import TYPE_CHECKING

import httpx

from .._version import __version__
from ..negotiation import without_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

__all__ = ["build_request", "checked_headers", "parsed_url"]

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


def checked_headers(headers: Mapping[str, str]) -> httpx.Headers:
    """Refuse at once what no request can carry, without quoting values: they may be secrets."""
    for name, value in headers.items():
        if not isinstance(value, str):
            raise TypeError(f"the value of the header {name!r} is a {type(value).__name__}, not a string")
        if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
            raise ValueError(f"the header {name!r} or its value holds characters that HTTP does not allow")
    return httpx.Headers(headers)


def parsed_url(url: str) -> httpx.URL:
    """Return ``url`` as httpx has it.

    Raises:
        httpx.InvalidURL: It is none, or its host name is none that could be looked up; httpx would raise a bare
            ``UnicodeError`` for that, when it looks at it next.
    """
    parsed = httpx.URL(url)
    try:
        parsed.host  # noqa: B018 - undoes punycode
        parsed.raw_host.decode("ascii").encode("idna")  # as the system's resolver is asked
    except UnicodeError as exc:
        raise httpx.InvalidURL("the host name is impossible") from exc
    return parsed


def build_request(
    client: httpx.AsyncClient,
    method: str,
    url: httpx.URL,
    *,
    users_headers: httpx.Headers,
    headers: Iterable[tuple[bytes, bytes]] = (),
    content: bytes = b"",
    token: str | None,
    only_token: bool,
) -> httpx.Request:
    """Return a request for a hub.

    Args:
        client: Who will send it.
        method: HTTP's.
        url: Where to.
        users_headers: Those for every request.
        headers: Those of this one; they win.
        content: The body.
        token: For ``Authorization``.
        only_token: Nothing else may stand in ``Authorization``, even if there is no token now.
    """
    if token is not None:
        url = url.copy_with(userinfo=b"")  # httpx would make Basic credentials of it, in the token's place
    merged = httpx.Headers({"X-Requested-With": "XMLHttpRequest"})
    if client.headers.get("User-Agent", "python-httpx/").startswith("python-httpx/"):
        merged["User-Agent"] = _USER_AGENT
    merged.update(users_headers)
    merged["Accept-Encoding"] = "identity"  # see body_of; and events would wait in a compressor for more of their kind
    merged.update(list(headers))
    cookie = merged.pop("Cookie", None)
    if only_token:
        merged.pop("Authorization", None)
    if token is not None:
        merged["Authorization"] = f"Bearer {token}"
    request = client.build_request(method, url, headers=merged, content=content or None)
    request.stream = _Content(content)
    _mend(request, client, url, cookie)
    return request


class _Content(httpx.AsyncByteStream):
    """A request's body. httpx's own is an async generator, which httpcore forgets when it is cancelled in between."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once:
    """Iterates over one thing."""

    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _mend(request: httpx.Request, client: httpx.AsyncClient, url: httpx.URL, cookie: str | None) -> None:
    """Put right what httpx does to a URL and cookies that are already there."""
    if client.params:  # it replaces a URL's query by the client's parameters
        query = b"&".join(filter(None, [url.query, str(client.params).encode("ascii")]))
        request.url = url.copy_with(query=query)
    request.url = _HubURL(request.url)
    if cookie is not None:  # it leaves its own cookies out, those of sticky sessions among them
        own = request.headers.get("Cookie")
        request.headers["Cookie"] = f"{cookie}; {own}" if own else cookie
    if request.headers.get("User-Agent") == "":
        del request.headers["User-Agent"]


class _HubURL(httpx.URL):
    """A URL whose query names a connection by its secret token: not for logs."""


def _without_hub_secrets(record: logging.LogRecord) -> bool:
    """A filter for httpx's log of requests, which shows whole URLs."""
    if isinstance(record.args, tuple):
        record.args = tuple(without_secrets(str(each)) if isinstance(each, _HubURL) else each for each in record.args)
    return True


logging.getLogger("httpx").addFilter(_without_hub_secrets)
