"""Typed hubs: a hub described once, as a class, and called by its methods.

::

    class Chat(Protocol):
        async def Add(self, a: int, b: int) -> int: ...

        @streaming
        def Counter(self, count: int, delay: int) -> AsyncIterator[int]: ...

        async def UploadStream(self, words: AsyncIterable[str]) -> str: ...


    async with open_hub(url) as hub:
        chat = hub.typed(Chat)
        total = await chat.Add(1, 2)  # an int, for type checkers too
        async with chat.Counter(10, 500) as counter:  # a HubStream[int]
            async for number in counter:
                print(number)

There is no more to it than this: each method of the class becomes a function that calls ``hub.invoke`` or
``hub.stream`` with the method's name, its arguments in order, and its return annotation as the type.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, get_args, get_origin

import trio

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from ._streams import HubStream

__all__ = ["described_methods", "streaming", "typed_hub"]

S = TypeVar("S")
P = ParamSpec("P")
T = TypeVar("T")

STREAMS = (AsyncIterable, AsyncIterator, AsyncGenerator, trio.abc.ReceiveChannel)
"""What a streaming method is annotated to return."""


class Hub(Protocol):
    """What a typed hub needs of a ``HubConnection``."""

    def invoke(self, method: str, *args: object, result_type: Any) -> Any:
        """See :meth:`HubConnection.invoke`."""

    def stream(self, method: str, *args: object, item_type: Any) -> Any:
        """See :meth:`HubConnection.stream`."""


def streaming(
    method: Callable[Concatenate[S, P], AsyncIterable[T]],
) -> Callable[Concatenate[S, P], AbstractAsyncContextManager[HubStream[T]]]:
    """Tell type checkers how a streaming method of a typed hub is called; at run time this does nothing.

    Who writes a streaming method sees an async generator; who calls it over :meth:`HubConnection.typed` opens a stream
    for the length of a block. Put this decorator on it wherever it is described or implemented.

    Args:
        method: A method that is annotated to return ``AsyncIterator[T]`` or the like.

    Returns:
        The method itself.
    """
    return cast("Any", method)  # type: ignore[no-any-return]


def described_methods(description: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """Return name and function of each public method of a class, in alphabetical order."""
    for name, value in inspect.getmembers(description, inspect.isfunction):
        if not name.startswith("_") and not isinstance(inspect.getattr_static(description, name), staticmethod):
            yield name, value


def typed_hub(hub: Hub, description: Any) -> Any:
    """See :meth:`HubConnection.typed`."""
    if not inspect.isclass(description):
        raise TypeError(f"a hub is described by a class, not {description!r}")
    return _TypedHub(hub, description)


class _TypedHub:
    """Has an attribute for each method of the description."""

    def __init__(self, hub: Hub, description: type) -> None:
        self._name = description.__name__
        for name, method in described_methods(description):
            setattr(self, name, _caller(hub, name, method))

    def __repr__(self) -> str:
        return f"<typed hub {self._name}>"


def _caller(hub: Hub, name: str, method: Callable[..., object]) -> Callable[..., Any]:
    """Return the function that stands for ``method`` on the client."""
    signature = _signature(name, method)
    answer = signature.return_annotation
    if (get_origin(answer) or answer) in STREAMS:
        item_type = (get_args(answer) or (Any,))[0]
        return lambda *args, **kwargs: hub.stream(name, *_in_order(signature, args, kwargs), item_type=item_type)
    result_type = Any if answer is signature.empty else answer
    return lambda *args, **kwargs: hub.invoke(name, *_in_order(signature, args, kwargs), result_type=result_type)


def _signature(name: str, method: Callable[..., object]) -> inspect.Signature:
    """Return what can be passed from outside, that is, without ``self``."""
    try:
        signature = inspect.signature(method, eval_str=True)
    except NameError as error:
        raise TypeError(f"an annotation of {name!r} cannot be resolved: {error}") from error
    _, *parameters = signature.parameters.values()
    named_only = [each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.VAR_KEYWORD)]
    if named_only:
        raise TypeError(f"{name!r} has parameters without a place in order, which no call can fill: {named_only}")
    return signature.replace(parameters=parameters)


def _in_order(signature: inspect.Signature, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Any, ...]:
    """Return the arguments as hub methods take them: by place, defaults filled in; ``TypeError`` if they do not fit."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args
