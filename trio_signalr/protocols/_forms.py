"""Reading .NET's forms of values: what to do to plain values before msgspec converts them to the type asked for.

msgspec reads most types straight from the bytes, and that is the fast way. A few .NET writes in a form of its own: a
``TimeSpan`` as text or ticks, an enum by name. msgspec's hooks are never asked about the Python types of these. So a
type that contains such a one is read in three steps::

    bytes ──msgspec──▶ plain values ──repair──▶ plain values that msgspec takes ──msgspec──▶ the type asked for

A repair is a function made once for each type asked for. It touches only the places where such a value stands, and
never refuses anything: what it does not understand it leaves, and msgspec then says what is wrong, with the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Forms", "Rename", "Repair", "Repairs", "as_is", "wire_name"]

Repair: TypeAlias = Callable[[Any], Any]
"""Takes a plain value, which it may change, and returns what is to stand in its place."""

Rename: TypeAlias = Literal["camel", "pascal"] | Callable[[str], str | None]
"""How a field's name is spelled on the wire; a function returns ``None`` to leave a name."""

_Object: TypeAlias = inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType


def as_is(value: Any) -> Any:
    """No repair; the detour over plain values alone makes a difference."""
    return value


@dataclass(frozen=True, slots=True)
class Forms:
    """What one hub protocol writes in a form that msgspec does not read.

    Attributes:
        unreadable: Makes the repair of a type, by its kind; msgspec never reads it right by itself.
        unusual: The same for those that msgspec reads, but for some values.
    """

    unreadable: Mapping[type[inspect.Type], Callable[[Any], Repair | None]]
    unusual: Mapping[type[inspect.Type], Callable[[Any], Repair | None]]


@dataclass(slots=True)
class Repairs:
    """Makes the repair of one type asked for.

    Attributes:
        forms: What to look for.
        rename: The hub protocol's own spelling of fields.
        needed: Whether there was anything that msgspec does not read right by itself.
        useful: Whether there was anything at all.
        decimals: Whether there is a ``Decimal`` in the type.
    """

    forms: Forms
    rename: Rename | None = None
    needed: bool = False
    useful: bool = False
    decimals: bool = False
    _objects: dict[int, Repair] = field(default_factory=dict)

    def of(self, info: inspect.Type) -> Repair | None:
        """Return the repair of a type; ``None`` if there is nothing to do."""
        match info:
            case inspect.Metadata():
                return self.of(info.type)
            case inspect.UnionType():
                return _union([self.of(each) for each in info.types])
            case inspect.CollectionType():
                return _collection(self.of(info.item_type))
            case inspect.TupleType():
                return _array(self._specials(enumerate(info.item_types)))
            case inspect.DictType():
                return _mapping(self.of(info.key_type), self.of(info.value_type))
            case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
                return self._object(info)
        return self._leaf(info)

    def _leaf(self, info: inspect.Type) -> Repair | None:
        self.decimals |= isinstance(info, inspect.DecimalType)
        make = self.forms.unreadable.get(type(info))
        needed = make is not None
        make = make or self.forms.unusual.get(type(info))
        repair = make and make(info)
        self.needed |= needed and repair is not None
        self.useful |= repair is not None
        return repair

    def _specials(self, parts: Iterable[tuple[Any, inspect.Type]]) -> list[tuple[Any, Repair]]:
        repairs = ((place, self.of(part)) for place, part in parts)
        return [(place, repair) for place, repair in repairs if repair is not None]

    def _object(self, info: _Object) -> Repair | None:
        """Types may contain themselves: the repair is there before those of the fields, and gets them afterwards."""
        if id(info) in self._objects:
            return self._objects[id(info)]
        specials: list[tuple[Any, Repair]] = []
        is_array = isinstance(info, inspect.NamedTupleType) or getattr(info, "array_like", False)
        tag = (info.tag_field, info.tag) if isinstance(info, inspect.StructType) and info.tag_field else None
        names = {} if is_array else self._spellings(info)
        repair = _array(specials, force=True) if is_array else _members(specials, names, tag)
        assert repair is not None
        self._objects[id(info)] = repair
        first = 1 if is_array and tag else 0
        places = range(first, first + len(info.fields)) if is_array else [each.encode_name for each in info.fields]
        specials += self._specials(zip(places, (each.type for each in info.fields), strict=True))
        return repair if specials or names else None

    def _spellings(self, info: _Object) -> dict[str, str]:
        """Return the names on the wire of fields that are spelled otherwise there, with the names msgspec knows."""
        if self.rename is None or isinstance(info, inspect.TypedDictType):  # whose keys are data, as a dict's
            return {}
        fields = [(wire_name(each.name, each.encode_name, self.rename), each.encode_name) for each in info.fields]
        names = {wire: known for wire, known in fields if wire != known}
        self.needed |= bool(names)
        self.useful |= bool(names)
        return names


def wire_name(name: str, said: str, rename: Rename | None) -> str:
    """Return how a field is spelled on the wire; ``said`` is what its class says, and wins over ``rename``."""
    if rename is None or said != name:
        return said
    if callable(rename):
        return rename(name) or name
    words = [word for word in name.split("_") if word]
    pascal = "".join(word[0].upper() + word[1:] for word in words)
    return pascal if rename == "pascal" else pascal[:1].lower() + pascal[1:]


def _union(repairs: list[Repair | None]) -> Repair | None:
    """Apply all: each touches only what has its form."""
    found = [repair for repair in repairs if repair is not None]
    if len(found) < 2:
        return found[0] if found else None

    def repair(value: Any) -> Any:
        for each in found:
            value = each(value)
        return value

    return repair


def _collection(item: Repair | None) -> Repair | None:
    if item is None:
        return None
    return lambda value: [item(each) for each in value] if type(value) is list else value


def _mapping(key: Repair | None, item: Repair | None) -> Repair | None:
    if key is None and item is None:
        return None
    fix_key, fix_item = key or as_is, item or as_is

    def repair(value: Any) -> Any:
        return {fix_key(name): fix_item(each) for name, each in value.items()} if type(value) is dict else value

    return repair


def _array(specials: list[tuple[Any, Repair]], *, force: bool = False) -> Repair | None:
    if not specials and not force:
        return None

    def repair(value: Any) -> Any:
        if type(value) is list:
            for index, fix in specials:
                if index < len(value):
                    value[index] = fix(value[index])
        return value

    return repair


def _members(
    specials: list[tuple[Any, Repair]], names: dict[str, str], tag: tuple[str, str | int | None] | None
) -> Repair:
    def repair(value: Any) -> Any:
        if type(value) is dict:
            for name, fix in specials:
                if name in value:
                    value[name] = fix(value[name])
        return value

    def repair_all(value: Any) -> Any:
        # In a union, the tag tells whose fields these are.
        if type(value) is not dict or (tag is not None and value.get(tag[0], tag[1]) != tag[1]):
            return value
        return repair({names.get(name, name): part for name, part in value.items()})

    return repair if not names and tag is None else repair_all
