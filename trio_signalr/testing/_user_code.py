"""Calling what users wrote: sync or async, and whatever it raises when it is cancelled."""

from __future__ import annotations

import inspect
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["call", "cancellation_alone", "logger"]

logger = logging.getLogger("trio_signalr.testing")


async def call(function: Callable[..., object], *arguments: object) -> Any:
    """Call a function or an async function, and return what it returns."""
    returned = function(*arguments)
    return await returned if inspect.isawaitable(returned) else returned


@contextmanager
def cancellation_alone(what: str) -> Iterator[None]:
    """Around user code that may be cancelled from further out: what it raises along with ``Cancelled`` is only logged.

    A nursery makes a group of the two. The scope further out would take the one and let the other fly, as if the server
    itself had failed.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        cancelled, others = group.split(trio.Cancelled)
        if cancelled is None or not isinstance(others, ExceptionGroup):
            raise
        logger.error("%s failed when it was cancelled", what, exc_info=others)
        raise cancelled from None
