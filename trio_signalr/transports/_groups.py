"""What a nursery raised, and the one exception in it that matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["weightiest"]


def weightiest(raised: BaseException) -> BaseException:
    """Return the one exception that matters most in what a nursery raised: Ctrl-C, an error, a cancellation."""
    leaves = list(_leaves(raised))
    return min(leaves, key=lambda leaf: (isinstance(leaf, trio.Cancelled), isinstance(leaf, Exception)))


def _leaves(raised: BaseException) -> Iterator[BaseException]:
    if isinstance(raised, BaseExceptionGroup):
        for part in raised.exceptions:
            yield from _leaves(part)
    else:
        yield raised
