"""Payloads: the values inside hub messages, typed when they are read, and located when they do not fit.

What goes wrong is always a :class:`PayloadError` that knows where. On the way in msgspec names the place. On the way
out nobody does, so the value is searched, after the failure: what can be encoded pays nothing for it.

A payload is read in one of two ways: msgspec decodes it to the type asked for, or, where .NET's form of some value is
not msgspec's, by way of plain values (see ``_forms``). Which one is remembered for each type. A type whose values have
such a form only now and then is read the first way until that fails and the second does not.
"""

from __future__ import annotations

import dataclasses
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Set
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import msgspec.inspect

from ..errors import PayloadError
from ._base import HubProtocol
from ._dotnet import Char, DateTimeOffset, read_custom
from ._forms import Repairs, wire_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import TypeForm

    from ..messages import HubMessage
    from ._forms import Forms, Rename, Repair

T = TypeVar("T")

_MAX_READERS = 256
_MAX_DEPTH = 64
_MSGSPEC_PATH = re.compile(r" - at (?:`key` in )?`(\$.*)`\Z", re.DOTALL)


class PayloadProtocol(HubProtocol):
    """A hub protocol whose payloads msgspec reads; a subclass says with which decoder, and how to encode.

    Args:
        rename: How the fields of classes (dataclasses, attrs classes, Structs) are spelled on the wire, both ways:
            ``"camel"``, ``"pascal"``, or a function that returns a name, or ``None`` to leave it. A Struct's own
            ``rename`` and ``field(name=...)`` win. ``None`` leaves all names as they are in Python.
        enc_hook: Called with an object of a class that is not supported; returns one that is, or raises
            ``NotImplementedError``.
        dec_hook: Called with a class asked for that is not supported and the plain decoded value; returns an object of
            that class. ``ValueError`` and ``TypeError`` mean that the value does not fit, ``NotImplementedError`` that
            the class is not supported after all.
    """

    _forms: Forms
    _str_keys: bool

    def __init__(
        self,
        *,
        rename: Rename | None = None,
        enc_hook: Callable[[Any], object] | None = None,
        dec_hook: Callable[[type, Any], object] | None = None,
    ) -> None:
        if not (rename is None or callable(rename) or rename in ("camel", "pascal")):
            raise ValueError(f"rename is 'camel', 'pascal', a function or None, not {rename!r}")
        self._rename: Rename | None = rename
        self._enc_hook = enc_hook
        self._dec_hook = dec_hook
        # Functions that read payloads, by type. Caches, not state: losing an entry costs time, nothing else.
        self._readers: dict[object, Callable[[msgspec.Raw], Any]] = {}
        self._other_readers: dict[object, Callable[[msgspec.Raw], Any]] = {}

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
            read = self._readers[type_]
        except (KeyError, TypeError):  # not seen yet, or not hashable
            read = self._add_reader(type_)
        try:
            return read(payload)  # type: ignore[no-any-return]
        except _NoConversionError as exc:
            raise _unsupported(type_, exc) from exc
        # Any exception: the type may be a class of the user's, whose __post_init__ fails as it pleases.
        except Exception as exc:
            return self._read_otherwise(payload, type_, exc)  # type: ignore[no-any-return]

    def decode_payloads(self, payloads: list[msgspec.Raw], type_: TypeForm[T]) -> list[T]:
        """See :meth:`HubProtocol.decode_payloads`: as one array, which takes a third of the time."""
        if len(payloads) == 1:
            return [self.decode_payload(payloads[0], type_)]
        array: list[T] = self.decode_payload(self._array(payloads), list[type_])  # type: ignore[valid-type]
        if len(array) != len(payloads):
            raise PayloadError("not as many values as there were payloads")
        return array

    def _read_otherwise(self, payload: msgspec.Raw, type_: object, error: Exception) -> Any:
        """Read by way of plain values what msgspec does not read, if that may help; stay with it if it does."""
        with suppress(KeyError, TypeError):
            read = self._other_readers[type_]
            try:
                value = read(payload)
            except Exception as exc:
                raise _misfit(exc) from exc
            self._readers[type_] = read
            return value
        raise _misfit(error) from error

    def _add_reader(self, type_: object) -> Callable[[msgspec.Raw], Any]:
        try:
            read, other = self._new_readers(type_)
        except Exception as exc:  # TypeError, NameError for a name in an annotation, or what a metaclass raises
            raise _unsupported(type_, exc) from exc
        if len(self._readers) >= _MAX_READERS:
            self._readers.clear()
            self._other_readers.clear()
        with suppress(TypeError):  # not hashable: made anew each time
            self._readers[type_] = read
            if other is not None:
                self._other_readers[type_] = other
        return read

    def _new_readers(self, type_: object) -> tuple[Callable[[msgspec.Raw], Any], Callable[[msgspec.Raw], Any] | None]:
        """Return the function that reads payloads as ``type_``, and the one to try when it fails, if there is one."""
        direct = self._new_decoder(type_)
        repairs, repair = Repairs(self._forms, self._rename), None
        with suppress(TypeError):  # before 0.20 it cannot look into a Literal of both texts and numbers
            repair = repairs.of(msgspec.inspect.type_info(type_))
        if not repairs.useful or repair is None:
            return direct, None
        by_plain_values = self._reader_by_plain_values(type_, repair, exact=repairs.decimals)
        return (by_plain_values, None) if repairs.needed else (direct, by_plain_values)

    def _reader_by_plain_values(self, type_: Any, repair: Repair, *, exact: bool) -> Callable[[msgspec.Raw], Any]:
        decode, str_keys = self._plain_decoder(exact=exact), self._str_keys

        def read(payload: msgspec.Raw) -> Any:
            return msgspec.convert(repair(decode(payload)), type_, str_keys=str_keys, dec_hook=self._convert_custom)

        return read

    def _convert_custom(self, type_: type, value: Any) -> object:
        """For msgspec's ``dec_hook``, which is asked about the classes that msgspec does not know."""
        if type_ is object:
            return value
        if type_ is Char or type_ is DateTimeOffset:
            return read_custom(type_, value)
        if self._dec_hook is not None:
            with suppress(NotImplementedError):
                return self._dec_hook(type_, value)
        raise _NoConversionError(
            f"{type_!r} is none of the builtins, dataclasses, attrs classes, msgspec.Structs and the like"
        )

    def _replace_custom(self, value: object) -> object:
        """Ask the user what to encode in place of an object that neither msgspec nor we know."""
        if self._enc_hook is not None:
            with suppress(NotImplementedError):
                return self._enc_hook(value)
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")

    @abstractmethod
    def _encode_message(self, message: HubMessage[object]) -> bytes:
        """Return ``message`` with its framing; raise whatever there is to raise."""

    @abstractmethod
    def _array(self, payloads: list[msgspec.Raw]) -> msgspec.Raw:
        """Return an array of ``payloads``."""

    @abstractmethod
    def _encode_value(self, value: object) -> object:
        """Encode ``value`` alone, to see whether that works."""

    @abstractmethod
    def _new_decoder(self, type_: object) -> Callable[[msgspec.Raw], Any]:
        """Return the function that decodes payloads as ``type_``; ``TypeError`` if it is no type to decode to."""

    @abstractmethod
    def _plain_decoder(self, *, exact: bool) -> Callable[[msgspec.Raw], Any]:
        """Return the function that decodes payloads to plain values; ``exact``: no digit of a number is lost."""


class _NoConversionError(Exception):
    """No ``TypeError``, since msgspec takes a hook's for a value that does not fit."""


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
    if isinstance(value, (list, tuple, Set, deque)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
        return
    members: Iterable[tuple[object, object]] = value.items() if isinstance(value, Mapping) else fields_of(value) or ()
    for key, part in members:
        yield (f".{key}" if isinstance(key, str) and key.isidentifier() else "[...]"), part


def fields_of(value: object, rename: Rename | None = None) -> Iterator[tuple[str, object]] | None:
    """Return names (as on the wire) and values of a struct's, dataclass's or attrs object's fields, else ``None``.

    As msgspec has it, a field that was never set is left out.
    """
    kind: type[Any] = type(value)
    names = _field_names(kind, rename)  # type: ignore[arg-type] # a class is hashable
    if names is None:
        return None
    fields = ((wire, getattr(value, name, msgspec.UNSET)) for wire, name in names)
    return ((wire, part) for wire, part in fields if part is not msgspec.UNSET)


def members_of(value: object, rename: Rename | None) -> dict[str, object] | list[object] | None:
    """Return what such an object looks like on the wire, a Struct with its tag; ``None`` if it is none."""
    fields = fields_of(value, rename)
    if fields is None or not isinstance(value, msgspec.Struct):
        return None if fields is None else dict(fields)
    config = value.__struct_config__
    tag = {} if config.tag_field is None else {config.tag_field: config.tag}
    members = {**tag, **dict(fields)}
    return list(members.values()) if config.array_like else members


@lru_cache(_MAX_READERS)
def _field_names(kind: type[Any], rename: Rename | None) -> tuple[tuple[str, str], ...] | None:
    """Return for each field its name on the wire and its name in Python; ``None`` for other classes."""
    if issubclass(kind, msgspec.Struct):
        said = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
        return tuple((wire_name(name, wire, rename), name) for wire, name in said)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "__attrs_attrs__"):
        # msgspec takes an attrs class's underscored fields for private ones.
        names = [each.name for each in kind.__attrs_attrs__ if not each.name.startswith("_")]
    else:
        return None
    return tuple((wire_name(name, name, rename), name) for name in names)
