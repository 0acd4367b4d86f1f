"""Whose ``httpx.AsyncClient`` a request goes through: the user's, or our own."""

from __future__ import annotations

import os
import ssl
from functools import cache
from http.cookiejar import CookieJar
from typing import TypeAlias
from urllib.parse import urlsplit

import httpx

__all__ = ["CONNECT_TIMEOUT", "Clients", "HttpClient", "Proxy", "checked_proxy", "usual_tls"]

HttpClient: TypeAlias = httpx.AsyncClient
"""What ``open_hub(http_client=...)`` takes."""

Proxy: TypeAlias = str | httpx.URL | httpx.Proxy
"""What ``open_hub(proxy=...)`` takes."""

CONNECT_TIMEOUT = 15.0
"""Seconds that each step of a connecting request may take in a client of ours, and an upgrade's answer in any client.

ASP.NET Core holds the upgrade of a stateful reconnect for 5 s while the old socket is still closing, which is httpx's
own default.
"""


_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def checked_proxy(proxy: Proxy) -> httpx.Proxy:
    """Refuse at once what is no proxy's URL, without quoting it: who knows where in it the password is.

    Raises:
        ValueError: It is none.
    """
    if isinstance(proxy, httpx.Proxy):
        return proxy
    try:
        url = httpx.URL(proxy)
        urlsplit(str(proxy))  # it knows more about brackets, and others will ask it
    except (httpx.InvalidURL, ValueError):
        raise ValueError("the proxy's URL is malformed") from None
    if url.scheme not in _PROXY_SCHEMES or not url.raw_host:
        raise ValueError(f"a proxy's URL is absolute and starts with one of {', '.join(_PROXY_SCHEMES)}")
    return httpx.Proxy(url)


def usual_tls() -> ssl.SSLContext:
    """Return a new TLS context that trusts whom httpx trusts by default."""
    return httpx.create_ssl_context()


@cache
def default_tls(_cert_file: str | None, _cert_dir: str | None) -> ssl.SSLContext:
    """The TLS context that httpx makes by default, made once per setting: each costs 20 ms and 830 KB."""
    return usual_tls()


@cache
def no_tls() -> ssl.SSLContext:
    """Trusts nobody and costs nothing: for clients that only ever speak plain HTTP, yet must be given one."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Clients:
    """The user's client, never closed here, or clients of our own: one for plain HTTP and one for HTTPS.

    Two, because the HTTPS one needs an expensive TLS context, and a redirect from one to the other is rare. They share
    their cookies.
    """

    def __init__(self, users: HttpClient | None, ssl_context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        if users is not None and (ssl_context is not None or proxy is not None):
            raise ValueError("http_client brings its own TLS and proxies: leave out ssl_context and proxy")
        self.users = users
        self._ssl_context = ssl_context
        self._proxy = None if proxy is None else checked_proxy(proxy)
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
            context = default_tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        try:
            return httpx.AsyncClient(
                verify=context or no_tls(),
                proxy=self._proxy,
                cookies=self._cookies,
                timeout=CONNECT_TIMEOUT,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=4),
            )
        except (httpx.InvalidURL, ValueError):  # they quote it, password and all
            raise ValueError("the environment gives a malformed URL for a proxy") from None

    async def aclose(self) -> None:
        """Close our own clients."""
        while self._own:
            await self._own.popitem()[1].aclose()
