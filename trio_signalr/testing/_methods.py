"""Hub methods: what a Python function says about how it can be called."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args, get_origin

import trio
from msgspec import Raw

from .._binding import Parameters, bind
from ..errors import PayloadError
from ..protocols import JsonHubProtocol
from ._texts import ARGUMENT_COUNT, ARGUMENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..protocols import HubProtocol

__all__ = ["Method", "Methods"]

UPLOADS = (trio.abc.ReceiveChannel, AsyncIterable, AsyncIterator)
"""What a parameter that takes an upload is annotated as."""

STREAMS = (*UPLOADS, AsyncGenerator)
"""What a streaming method that is no async generator function is annotated to return."""


@dataclass(frozen=True, slots=True)
class Method:
    """One hub method.

    Attributes:
        name: As it was registered; clients may spell it in any case.
        function: What runs.
        streaming: Whether it answers with a stream.
        parameters: Those that come as arguments.
        uploads: The item type of each upload, by the parameter's position.
    """

    name: str
    function: Callable[..., object]
    streaming: bool
    parameters: Parameters
    uploads: dict[int, Any]

    @classmethod
    def of(cls, function: Callable[..., object], name: str | None, protocols: Iterable[HubProtocol]) -> Method:
        """Read a function's signature; its own name is the default, and one of ``protocols`` must know its types.

        Raises:
            TypeError: It cannot be called as a hub method.
        """
        if not callable(function):
            raise TypeError(f"a hub method is a function, not {function!r}")
        name = name or getattr(function, "__name__", None)
        if name is None:
            raise TypeError(f"{function!r} has no name of its own: give one")
        if inspect.isgeneratorfunction(function):
            raise TypeError(f"{function!r} is a plain generator: a streaming method is an async one")
        every = Parameters.of(function)
        uploads = {index: _item_type(type_) for index, type_ in enumerate(every.types) if _is(type_, UPLOADS)}
        _check_uploads(function, every, uploads)
        types = tuple(type_ for index, type_ in enumerate(every.types) if index not in uploads)
        parameters = replace(every, types=types, required=every.required - len(uploads))
        _check_types(function, [*types, *uploads.values(), parameters.rest], [*protocols] or [JsonHubProtocol()])
        return cls(name, function, _is_streaming(function), parameters, uploads)

    @classmethod
    def described(
        cls, hub: object, name: str, function: Callable[..., object], protocols: Iterable[HubProtocol]
    ) -> Method:
        """Take name and signature from a method of a description, and what runs from the object that implements it.

        Raises:
            TypeError: The object has no such method, or it cannot be called as a hub method.
        """
        implementation = getattr(hub, name, None)
        if not callable(implementation):
            raise TypeError(f"{hub!r} has no method {name!r}")
        return replace(cls.of(function.__get__(hub), name, protocols), function=implementation)

    def bind(self, payloads: Sequence[Raw], protocol: HubProtocol) -> list[Any]:
        """Convert received arguments.

        Raises:
            PayloadError: Too few, too many, or one that does not fit, as ASP.NET Core says it.
        """
        expected = self.parameters
        count, known = len(payloads), len(expected.types)
        if count < expected.required or (count > known and expected.rest is None):
            raise PayloadError(ARGUMENT_COUNT.format(count, _describe(expected)))
        try:
            return bind(payloads, expected, protocol)
        except PayloadError as error:
            raise PayloadError(ARGUMENT_TYPES, path=error.path) from error

    def merge(self, arguments: list[Any], uploads: Sequence[object]) -> list[Any]:
        """Return all arguments in the order of the parameters."""
        merged = list(arguments)
        for position, upload in zip(self.uploads, uploads, strict=True):
            merged.insert(position, upload)
        return merged


def _describe(parameters: Parameters) -> str:
    required, known = parameters.required, len(parameters.types)
    if parameters.rest is not None:
        return f"{required} or more"
    return str(known) if required == known else f"{required} to {known}"


def _is(annotation: Any, kinds: tuple[Any, ...]) -> bool:
    return (get_origin(annotation) or annotation) in kinds


def _item_type(annotation: Any) -> Any:
    return (get_args(annotation) or (Any,))[0]


def _check_uploads(function: object, parameters: Parameters, uploads: dict[int, Any]) -> None:
    """With a default in between, nobody could say which parameter a positional argument is for."""
    if any(index >= parameters.required for index in uploads):
        raise TypeError(f"{function!r} has an upload with a default: a call always brings all its uploads")
    if _is(parameters.rest, UPLOADS):
        raise TypeError(f"{function!r} takes uploads as *args: each needs a parameter of its own")


def _check_types(function: object, types: list[Any], protocols: list[HubProtocol]) -> None:
    """Find out now, not at the first call, that nothing can be converted to some type."""
    for type_ in types:
        reasons = [_why_not(type_, protocol) for protocol in protocols]
        if all(reasons):
            raise TypeError(f"{function!r} cannot be a hub method: {reasons[0]}")


def _why_not(type_: Any, protocol: HubProtocol) -> str | None:
    """Return why ``protocol`` cannot convert anything to a type; ``None`` if it can."""
    try:
        protocol.decode_payload(Raw(b"null"), type_)
    except PayloadError:
        return None  # null is none of its values, but there are values
    except TypeError as error:
        return str(error)
    return None


def _is_streaming(function: Callable[..., object]) -> bool:
    if inspect.isasyncgenfunction(function):
        return True
    try:
        return _is(inspect.signature(function, eval_str=True).return_annotation, STREAMS)
    except ValueError:  # some built-in functions do not tell
        return False


class Methods:
    """All methods of a hub, found by name whatever its case."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}

    def add(self, method: Method) -> None:
        """Put a method in place.

        Raises:
            ValueError: There is one of that name; hubs have no overloads.
        """
        if method.name.casefold() in self._methods:
            raise ValueError(f"there is a hub method named {method.name!r} already")
        self._methods[method.name.casefold()] = method

    def find(self, name: str) -> Method | None:
        """Return the method that a client means by ``name``."""
        return self._methods.get(name.casefold())
