"""The server's answer to a negotiation. No I/O.

Source: the protocol notes, "Negotiate responses", seen on ASP.NET Core 3.1 and 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..negotiation import TRANSPORTS
from ._transport import FORMATS

if TYPE_CHECKING:
    from collections.abc import Collection

    from ._reception import Redirect

__all__ = ["SPELLINGS", "accepted", "redirected", "refused", "version"]

SPELLINGS = {ours: theirs for theirs, ours in TRANSPORTS.items()}
"""How transports are called on the wire, by our names."""

NO_INTEGER = "The client requested a non-integer protocol version."


def version(asked: str | None) -> int | None:
    """Return the version of a negotiation; ``None`` if what was asked for is no number."""
    if asked is None:
        return 0
    return min(int(asked), 1) if asked.isascii() and asked.isdecimal() else None


def accepted(version: int, id_: str, token: str, transports: Collection[str], *, resumable: bool) -> bytes:
    """Return an answer that says yes."""
    answer: dict[str, Any] = {"useStatefulReconnect": True} if resumable else {}
    answer |= {"negotiateVersion": version, "connectionId": id_}
    if version > 0:
        answer["connectionToken"] = token
    answer["availableTransports"] = [
        {"transport": SPELLINGS[name], "transferFormats": formats}
        for name, formats in FORMATS.items()
        if name in transports
    ]
    return msgspec.json.encode(answer)


def redirected(redirect: Redirect) -> bytes:
    """Return an answer that sends the client elsewhere."""
    token = {} if redirect.access_token is None else {"accessToken": redirect.access_token}
    return msgspec.json.encode({"url": redirect.url, **token})


def refused(text: str) -> bytes:
    """Return an answer that says no; its status is 200 all the same."""
    return msgspec.json.encode({"error": text})
