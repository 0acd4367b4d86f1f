"""The access token: asked for when the protocol says so, and kept out of sight."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

__all__ = ["AccessToken", "Token"]

AccessToken: TypeAlias = str | Callable[[], Awaitable[str | None]]
"""An access token, or what to ask for one each time; ``None`` and ``""`` from it mean: no token now."""

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


class Token:
    """Asks for the access token, and remembers the last one for requests that need no new one.

    Attributes:
        asked: Whether it was asked for at all.
        last: What was answered last; ``None`` for no token.
    """

    def __init__(self, source: AccessToken | None) -> None:
        self._source = source
        self.asked = False
        self.last: str | None = None

    def __repr__(self) -> str:
        return f"<Token {'given' if self.given else 'not given'}>"

    async def ask(self) -> str | None:
        """Return a new token; what the user's function raises passes."""
        source = self._source
        token = await source() if callable(source) else source
        self.asked = True
        self.last = _checked_token(token) if token else None
        return self.last

    @property
    def given(self) -> bool:
        """Whether there is a source at all, so that its word is final on ``Authorization``."""
        return self._source is not None

    @property
    def renewable(self) -> bool:
        """Whether asking again may bring another one."""
        return callable(self._source)

    def redacted(self, text: str) -> str:
        """Return a server's text without the token, should it have repeated it."""
        return text.replace(self.last, "***") if self.last else text


def _checked_token(token: object) -> str:
    """Refuse what cannot stand in a header here, for the errors below would quote it."""
    if not isinstance(token, str):
        raise TypeError(f"an access token is a string, not {type(token).__name__}")
    if _VISIBLE_ASCII.fullmatch(token) is None:
        raise ValueError("the access token holds spaces, line ends or other characters that no token has")
    return token
