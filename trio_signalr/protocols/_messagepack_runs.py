"""Many items of one stream at once: what a server sends most, in MessagePack, read without a step for each message.

The messages of a run begin alike, up to the item: array of four, type 2, no headers, the same id. So a run can be cut
into items by comparing bytes. Whatever is not exactly that is left to the parser that reads message by message.
"""

from __future__ import annotations

from msgspec import MsgspecError, Raw
from msgspec.msgpack import Decoder

from ._base import StreamItems

__all__ = ["MAX_LENGTH", "array_of", "take_run"]

MAX_LENGTH = 0x3FFF
"""Bytes of the longest message in a run: what a prefix of two bytes can say."""

_WORTHWHILE = 4
"""Messages below which one by one is as fast."""

_BEFORE_ID = b"\x94\x02\x80"
_SHORT_TEXTS = range(0xA1, 0xC0)  # text of 1 to 31 bytes, in its first byte

_ARRAY_32 = b"\xdd"
"""Begins an array; its length follows in four bytes."""

_decoder = Decoder(list[Raw])


def array_of(payloads: list[Raw] | list[bytes]) -> bytes:
    """Return an array of encoded values."""
    return _ARRAY_32 + len(payloads).to_bytes(4) + b"".join(payloads)


def take_run(data: bytes) -> StreamItems | None:
    """Return the run that ``data`` begins with, ``None`` if there is none that is worthwhile."""
    head = _head(data)
    if head is None:
        return None
    payloads, end = _cut(data, head)
    if len(payloads) < _WORTHWHILE:
        return None
    try:
        items = _decoder.decode(array_of(payloads))
        id_ = head[len(_BEFORE_ID) + 1 :].decode()
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # Each payload must be one value, no more and no less: two mistakes could make up for each other.
    return StreamItems(id_, items, end) if list(map(len, items)) == list(map(len, payloads)) else None


def _head(data: bytes) -> bytes | None:
    """Return what the message at the beginning has before its item, if it is one that a run may consist of."""
    start = 1 if data[:1] < b"\x80" else 2
    id_ = start + len(_BEFORE_ID)
    if data[start:id_] != _BEFORE_ID or id_ >= len(data) or data[id_] not in _SHORT_TEXTS:
        return None
    return data[start : id_ + 1 + (data[id_] & 0x1F)]


def _cut(data: bytes, head: bytes) -> tuple[list[bytes], int]:
    """Return the items of the messages that begin with ``head``, and where the last one ends."""
    payloads: list[bytes] = []
    add = payloads.append  # one loop in one piece, because it runs for each message
    head_length, last = len(head), len(data) - 2
    position = 0
    while position < last:
        length = data[position]
        start = position + 1
        if length > 0x7F:
            if data[start] > 0x7F:
                break
            length = length & 0x7F | data[start] << 7
            start += 1
        item, end = start + head_length, start + length
        if end > last + 2 or data[start:item] != head or end <= item:
            break
        add(data[item:end])
        position = end
    return payloads, position
