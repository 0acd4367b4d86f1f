"""What must not be seen: tokens and passwords, wherever they may turn up in what is written for people.

Nothing below writes them on purpose. This is the second lock: a server may send them back in an error, and the content
of messages may be logged.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

__all__ = ["Secrets"]

_TELLING = re.compile(r"authorization|cookie|token|key|secret|password|signature", re.IGNORECASE)
_SHORTEST = 4  # shorter ones are none, and would blot out half of every text


class Secrets:
    """The secrets that a command was given; they only ever grow."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, *secrets: str | None) -> None:
        """Remember texts that must not be shown, in the spelling of URLs too."""
        before = len(self._known)
        for secret in secrets:
            if secret and len(secret) >= _SHORTEST:
                self._known |= {secret, quote(secret, safe="")}
        if len(self._known) > before:
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def add_header(self, name: str, value: str) -> None:
        """Remember the value of a header, if its name says that it is secret."""
        if _TELLING.search(name):
            self.add(value, value.partition(" ")[2])  # what follows "Bearer", too

    def add_url(self, url: str) -> None:
        """Remember user name, password and query values of a URL."""
        parts = urlsplit(url)
        if parts.password:
            self.add(parts.password, unquote(parts.password))
        for pair in parts.query.split("&"):
            name, _, value = pair.partition("=")
            if _TELLING.search(name):
                self.add(value, unquote(value))

    def redact(self, text: str) -> str:
        """Return ``text`` with stars in the place of secrets."""
        return text if self._pattern is None else self._pattern.sub("***", text)
