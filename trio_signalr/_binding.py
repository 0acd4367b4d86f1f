"""Binding what a message carries to what a Python function takes: the annotations are the types."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import Raw

    from .protocols import HubProtocol

__all__ = ["Parameters", "bind"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The positional parameters of a function.

    Attributes:
        types: One type each, in order.
        required: How many have no default.
        rest: The type of ``*args``; ``None`` if the function has none.
    """

    types: tuple[Any, ...]
    required: int
    rest: Any = None

    @classmethod
    def of(cls, function: Callable[..., object]) -> Parameters:
        """Read a function's signature.

        Raises:
            TypeError: Its annotations cannot be resolved, or it has keyword-only parameters without defaults.
        """
        types: list[Any] = []
        required, rest = 0, None
        for parameter in _signature(function).parameters.values():
            annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                types.append(annotation)
                required += parameter.default is parameter.empty
            elif parameter.kind is parameter.VAR_POSITIONAL:
                rest = annotation
            elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                raise TypeError(
                    f"{function!r} has the keyword-only parameter {parameter.name!r}, which no call can fill"
                )
        return cls(tuple(types), required, rest)


def _signature(function: Callable[..., object]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError as error:
        raise TypeError(f"an annotation of {function!r} cannot be resolved: {error}") from error
    except ValueError:  # some built-in functions do not tell
        return inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)])


def bind(payloads: Sequence[Raw], parameters: Parameters, protocol: HubProtocol) -> list[Any]:
    """Convert received arguments to what a function takes.

    Raises:
        PayloadError: Too few, too many, or one that does not fit its annotation; ``.path`` starts with its index.
    """
    count, known = len(payloads), len(parameters.types)
    if count < parameters.required or (count > known and parameters.rest is None):
        raise PayloadError(f"{count} arguments came for {_expected(parameters)}")
    types = [*parameters.types, *[parameters.rest] * (count - known)]
    return [_read(payload, types[index], protocol, index) for index, payload in enumerate(payloads)]


def _expected(parameters: Parameters) -> str:
    if parameters.rest is not None:
        return f"{parameters.required} parameters or more"
    if parameters.required != len(parameters.types):
        return f"{parameters.required} to {len(parameters.types)} parameters"
    return f"{parameters.required} parameters"


def _read(payload: Raw, type_: Any, protocol: HubProtocol, index: int) -> Any:
    try:
        return protocol.decode_payload(payload, type_)
    except PayloadError as error:
        raise PayloadError(f"argument {index}: {error}", path=f"$[{index}]{error.path[1:]}") from error
