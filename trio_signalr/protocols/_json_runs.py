"""Many items of one stream at once: what a server sends most, in JSON, read without a look at each beginning.

The messages of a run begin alike, up to the item. So what stands between two items is always the same, and replaced by
a newline it leaves lines of items. Whatever is not exactly that is left to the parser that reads message by message.
"""

from __future__ import annotations

import re

from msgspec import Raw
from msgspec.json import Decoder

from ._base import StreamItems
from ._framing import MALFORMED, RECORD_SEPARATOR

__all__ = ["read_run"]

_WORTHWHILE = 512
"""Bytes below which one by one is as fast."""

_HEAD = re.compile(rb'\{"type":2,"invocationId":"([ !#-\[\]-~]++)","item":')  # an id without escapes, in ASCII
_NEWLINE = b"\n"

_decoder = Decoder(Raw)


def read_run(text: bytes) -> StreamItems | None:
    """Return messages joined by record separators as one run, ``None`` if they are none or it is not worthwhile.

    This accepts nothing but items that are one JSON value each. The only newlines are those put between two messages.
    The decoder takes values over several lines, and several in a line, as they come: so there must be as many values as
    lines, and put one in each line they must be the same. A record separator that is still there makes it fail.
    """
    head = _HEAD.match(text) if len(text) >= _WORTHWHILE else None
    if head is None or not text.endswith(b"}") or _NEWLINE in text:
        return None
    if not text.startswith(head[0], text.rfind(RECORD_SEPARATOR) + 1):
        return None  # quickly, where streams come together
    between = b"}" + RECORD_SEPARATOR + head[0]
    lines = text[head.end() : -1].replace(between, _NEWLINE)
    try:
        items = _decoder.decode_lines(lines)
    except MALFORMED:
        return None
    if len(items) != lines.count(_NEWLINE) + 1 or _NEWLINE.join(items) != lines:
        return None
    return StreamItems(head[1].decode(), items, len(text) + 1)
