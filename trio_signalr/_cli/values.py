"""Values between the command line's JSON and the hub.

Over the JSON protocol the text of a value is passed on as it is, both ways, so that no digit of a number is lost. Where
it would not be one line, or hard to read, spaces and escapes are changed, but no number and no name. What
MessagePack has and JSON lacks is printed as ASP.NET Core would have written it in JSON: bytes in base64, times as ISO
8601, numbers that are none by name.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from contextlib import suppress
from json import JSONDecodeError, JSONDecoder  # it alone says where a value ends
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder, Encoder
from msgspec.msgpack import Ext

from .exits import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOT_JSON", "read_argument", "read_call", "read_text", "to_lines", "value_reader", "value_type"]

NOT_JSON = (DecodeError, UnicodeDecodeError, RecursionError)

_encoder = Encoder()
_decode: Any = Decoder().decode
_STRING_OR_SPACE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[ \t\r\n]+')

# In


def value_type(protocol: str) -> Any:
    """Return the type that values from the hub are read as, which :func:`to_lines` prints best."""
    return Raw if protocol == "json" else Any


def value_reader(protocol: str) -> Decoder[Any]:
    """Return the decoder whose values go to the hub: JSON's as they stand, MessagePack's as what they mean."""
    return Decoder(value_type(protocol))


def read_argument(text: str, protocol: str) -> object:
    """Return the value that a word on the command line stands for: JSON, or else the string that it looks like."""
    data = read_text(text)
    try:
        return value_reader(protocol).decode(data)
    except NOT_JSON:
        return text


def read_call(text: str, protocol: str) -> tuple[str, list[object]]:
    """Return method and arguments of a call in one text: ``JoinGroup "tea time" 7``.

    Raises:
        CommandError: There is no method in it.
    """
    words = list(_words(text))
    if not words:
        raise CommandError("a call begins with the name of a method")
    return words[0], [read_argument(word, protocol) for word in words[1:]]


def _words(text: str) -> Sequence[str]:
    """Split at spaces, but not inside JSON."""
    words: list[str] = []
    rest = text.strip()
    while rest:
        end = 0
        if words:
            with suppress(JSONDecodeError, RecursionError):
                _, end = JSONDecoder().raw_decode(rest)
        if end == 0 or rest[end : end + 1].strip():
            end = len(rest.split(maxsplit=1)[0])
        words.append(rest[:end])
        rest = rest[end:].lstrip()
    return words


def read_text(text: str) -> bytes:
    """Return a word of the command line as UTF-8.

    Raises:
        CommandError: It came in some other encoding.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CommandError("an argument is not valid UTF-8") from None


# Out


def to_lines(values: Sequence[object]) -> bytes:
    """Return ``values`` as JSON, a line each."""
    try:
        data = _encoder.encode_lines(values)
    except Exception:  # what it does not know; msgspec has no one error for that
        return _one_by_one(values)
    return _one_by_one(values) if _is_doubtful(data, values) else data


def _is_doubtful(data: bytes, values: Sequence[object]) -> bool:
    """Whether there may be something in it that is not as it should be; looking closer costs ten times as much."""
    if data.count(b"\n") != len(values) or b"\\u" in data:  # JSON as received: over several lines, or with escapes
        return True
    if type(values[0]) is not Raw and b"null" in data:  # so does msgspec write NaN
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def _one_by_one(values: Sequence[object]) -> bytes:
    return b"".join([_encoder.encode(_plain(value)) + b"\n" for value in values])


def _plain(value: object) -> object:
    """Return ``value`` as JSON can have it."""
    match value:
        case Raw():
            text = bytes(value).decode("utf-8", "replace")
            return Raw(_STRING_OR_SPACE.sub(_plain_token, text).encode())
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {_key(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case Ext():
            return {"type": value.code, "data": b64encode(value.data).decode()}
    return value


def _plain_token(token: re.Match[str]) -> str:
    """Leave out the space between tokens, and escapes in strings that need none."""
    text = token[0]
    if text[0] != '"':
        return ""
    with suppress(DecodeError):  # half a surrogate pair is JSON, but no text
        return _encoder.encode(_decode(text)).decode() if "\\u" in text else text
    return text


def _key(key: object) -> str:
    return key if isinstance(key, str) else _encoder.encode(_plain(key)).decode().strip('"')
