"""Payloads: the values inside hub messages, typed when they are read, and located when they do not fit.

What goes wrong is always a :class:`PayloadError` that knows where. On the way in msgspec names the place. On the way
out nobody does, so the value is searched, after the failure: what can be encoded pays nothing for it.
"""

from __future__ import annotations

import dataclasses
import re
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..errors import PayloadError
from ._base import HubProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import TypeForm

    from ..messages import HubMessage

T = TypeVar("T")

_MAX_DECODERS = 256
_MAX_DEPTH = 64
_MSGSPEC_PATH = re.compile(r" - at (?:`key` in )?`(\$.*)`\Z", re.DOTALL)


class PayloadProtocol(HubProtocol):
    """A hub protocol whose payloads msgspec decodes; a subclass says with which decoder, and how to encode."""

    def __init__(self) -> None:
        # Decoding functions by type. A cache, not state: losing an entry costs time, nothing else.
        self._decoders: dict[object, Callable[[msgspec.Raw], Any]] = {}

    def encode(self, message: HubMessage[object]) -> bytes:
        """See :meth:`HubProtocol.encode`."""
        try:
            return self._encode_message(message)
        # Any exception: a payload may be an object of the user's, whose own methods fail as they please.
        except Exception as exc:
            path = "$" + _find_culprit(message, self._encode_value)
            raise PayloadError(f"not encodable as {self.name}: {_describe(exc)} - at `{path}`", path=path) from exc

    def decode_payload(self, payload: msgspec.Raw, type_: TypeForm[T]) -> T:
        """See :meth:`HubProtocol.decode_payload`."""
        try:
            decode = self._decoders[type_]
        except (KeyError, TypeError):  # not seen yet, or not hashable
            decode = self._add_decoder(type_)
        try:
            return decode(payload)  # type: ignore[no-any-return]
        except _NoConversionError as exc:
            raise _unsupported(type_, exc) from exc
        # Any exception: the type may be a class of the user's, whose __post_init__ fails as it pleases.
        except Exception as exc:
            raise _misfit(exc) from exc

    def _add_decoder(self, type_: object) -> Callable[[msgspec.Raw], Any]:
        try:
            decode = self._new_decoder(type_)
        except Exception as exc:  # TypeError, NameError for a name in an annotation, or what a metaclass raises
            raise _unsupported(type_, exc) from exc
        if len(self._decoders) >= _MAX_DECODERS:
            self._decoders.clear()
        with suppress(TypeError):  # not hashable: made anew each time
            self._decoders[type_] = decode
        return decode

    @abstractmethod
    def _encode_message(self, message: HubMessage[object]) -> bytes:
        """Return ``message`` with its framing; raise whatever there is to raise."""

    @abstractmethod
    def _encode_value(self, value: object) -> object:
        """Encode ``value`` alone, to see whether that works."""

    @abstractmethod
    def _new_decoder(self, type_: object) -> Callable[[msgspec.Raw], Any]:
        """Return the function that decodes payloads as ``type_``; ``TypeError`` if it is no type to decode to."""


class _NoConversionError(Exception):
    """No ``TypeError``, since msgspec takes a hook's for a value that does not fit."""


def convert_unknown(type_: type, value: object) -> object:
    """For msgspec's ``dec_hook``, which is asked about the classes that msgspec does not know."""
    if type_ is object:
        return value
    raise _NoConversionError(
        f"{type_!r} is none of the builtins, dataclasses, attrs classes, msgspec.Structs and the like"
    )


def _unsupported(type_: object, reason: Exception) -> TypeError:
    return TypeError(f"payloads cannot be converted to {type_!r}: {reason}")


def _misfit(exc: Exception) -> PayloadError:
    text = _describe(exc)
    match = _MSGSPEC_PATH.search(text)
    return PayloadError(text, path=match[1] if match else "$")


def _describe(exc: Exception) -> str:
    """Msgspec's texts speak for themselves, others need their type's name."""
    return str(exc) if isinstance(exc, msgspec.MsgspecError) else f"{type(exc).__name__}: {exc}"


def _find_culprit(value: object, encode: Callable[[object], object]) -> str:
    """Return the path from ``value`` to its innermost part that ``encode`` refuses.

    Bounded, since a value may be refused for being endless.
    """
    path = ""
    for _ in range(_MAX_DEPTH):
        found = _find_part(value, encode)
        if found is None:
            break
        step, value = found
        path += step
    return path


def _find_part(value: object, encode: Callable[[object], object]) -> tuple[str, object] | None:
    # A part that cannot even be read makes the whole the culprit.
    with suppress(Exception):
        return next(((step, part) for step, part in _parts(value) if not _succeeds(encode, part)), None)
    return None


def _succeeds(encode: Callable[[object], object], value: object) -> bool:
    try:
        encode(value)
    except Exception:
        return False
    return True


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
        return
    members: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else fields_of(value) or ()
    for key, part in members:
        yield (f".{key}" if isinstance(key, str) and key.isidentifier() else "[...]"), part


def fields_of(value: object) -> Iterator[tuple[str, object]] | None:
    """Return names (as on the wire) and values of a struct's, dataclass's or attrs object's fields, else ``None``.

    As msgspec has it, a field that was never set is left out.
    """
    names = _field_names(value)
    if names is None:
        return None
    fields = ((wire_name, getattr(value, name, msgspec.UNSET)) for wire_name, name in names)
    return ((wire_name, part) for wire_name, part in fields if part is not msgspec.UNSET)


def _field_names(value: object) -> Iterable[tuple[str, str]] | None:
    """Return for each field its name on the wire and its name in Python."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        return zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
    if dataclasses.is_dataclass(kind):
        return ((field.name, field.name) for field in dataclasses.fields(kind))
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is None:
        return None
    # msgspec takes an attrs class's underscored fields for private ones.
    return ((each.name, each.name) for each in attributes if not each.name.startswith("_"))
