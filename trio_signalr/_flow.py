"""Flow control as plain arithmetic: when is a buffer full, and may the reader go on?

One reader serves all streams, subscriptions and handlers of a connection, so it must never wait for one consumer in
particular. It stops only while some buffer is at its mark *and* no task waits for something that only reading can
bring (an answer, an item of an empty stream); otherwise a loop that asks the hub something for each item would wait
for ever. The price: a mark is soft while somebody waits.

No I/O and no waiting in here; the reader is told by a callback when it may have reason to go on.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DEFAULT_MAX_BUFFER_SIZE", "Buffer", "Flow", "Overflow"]

T = TypeVar("T")

Overflow: TypeAlias = Literal["pause", "drop_oldest", "error"]
"""What to do with a buffer at its mark: stop reading, forget the oldest item, or fail."""

DEFAULT_MAX_BUFFER_SIZE = 1024
"""Items. One read brings up to some thousand small ones, so a smaller mark would only make reading stutter."""


class Flow:
    """Whether the reader of one connection should pause.

    Attributes:
        on_resume: Called when a pause has lost its reason; set by the reader while it is paused.
    """

    __slots__ = ("_full", "_waiting", "on_resume")

    def __init__(self) -> None:
        self._full = 0
        self._waiting = 0
        self.on_resume: Callable[[], None] | None = None

    @property
    def paused(self) -> bool:
        """Whether reading should stop: a buffer is full and nobody waits for anything."""
        return self._full > 0 and self._waiting == 0

    def add_full(self) -> None:
        """One more buffer has reached its mark."""
        self._full += 1

    def remove_full(self) -> None:
        """One buffer has room again, or is gone."""
        self._full -= 1
        self._decide()

    def add_waiting(self) -> None:
        """One more task waits for something that only reading can bring."""
        self._waiting += 1
        self._decide()

    def remove_waiting(self) -> None:
        """One such task has what it waited for, or has stopped waiting."""
        self._waiting -= 1

    def _decide(self) -> None:
        if self.on_resume is not None and not self.paused:
            self.on_resume()


_MOST_SLACK = 64
"""Items that may be taken early from a buffer without end."""

_NO_ITEMS: deque[Any] = deque()
"""What buffers begin with, never to be filled: an empty deque takes 600 bytes."""


class Buffer(Generic[T]):
    """Items that were received but not taken yet, with a mark and a policy.

    Attributes:
        items: Them, the oldest first; to be looked at only.
        dropped: Items that ``"drop_oldest"`` has forgotten so far.
        overflowed: Whether ``"error"`` has refused an item; it refuses all after that one.
    """

    __slots__ = ("_flow", "_full", "_mark", "_overflow", "dropped", "items", "overflowed")

    def __init__(self, flow: Flow, max_buffer_size: float, overflow: Overflow) -> None:
        check_buffer_options(max_buffer_size, overflow)
        self._flow = flow
        self.items: deque[T] = _NO_ITEMS
        self._mark = max_buffer_size
        self._overflow = overflow
        self._full = False
        self.dropped: int = 0
        self.overflowed: bool = False

    def __len__(self) -> int:
        return len(self.items)

    @property
    def max_buffer_size(self) -> float:
        """The mark, in items."""
        return self._mark

    def put(self, item: T) -> bool:
        """Add an item, or do what the policy says; ``False`` if it was refused."""
        items = self._own_items()
        if len(items) + 1 >= self._mark and not self._has_room():
            return False
        items.append(item)
        return True

    def put_all(self, items: Sequence[T]) -> bool:
        """Add items in order, at once if there is nothing to decide; ``False`` if one was refused."""
        full = len(self.items) + len(items) >= self._mark
        if full and self._overflow != "pause":
            return all(map(self.put, items))  # stops at the first that is refused
        self._own_items().extend(items)
        if full:
            self._press()
        return True

    def _has_room(self) -> bool:
        """Apply the policy to a buffer that the next item brings to its mark."""
        if self._overflow == "pause":
            self._press()
            return True
        if len(self.items) < self._mark:
            return not self.overflowed
        if self._overflow == "drop_oldest":
            self.items.popleft()
            self.dropped += 1
            return True
        self.overflowed = True
        return False

    def _own_items(self) -> deque[T]:
        if self.items is _NO_ITEMS:
            self.items = deque()
        return self.items

    def _press(self) -> None:
        """Be a reason for a pause."""
        if not self._full:
            self._full = True
            self._flow.add_full()

    def take(self) -> T:
        """Remove and return the oldest item; there must be one."""
        item = self.items.popleft()
        if self._full and len(self.items) < self._mark:
            self.release()
        return item

    def take_many(self, max_size: float) -> list[T]:
        """Remove and return the oldest items, at most ``max_size`` of them."""
        items = self.items
        if len(items) <= max_size:
            taken = list(items)
            items.clear()
        else:
            taken = [items.popleft() for _ in range(int(max_size))]
        if self._full and len(items) < self._mark:
            self.release()
        return taken

    @property
    def loses_nothing(self) -> bool:
        """Whether items wait for as long as it takes, so that taking them is not urgent."""
        return self._overflow == "pause"

    @property
    def slack(self) -> int:
        """Items that may be taken a little early, without anybody noticing."""
        return int(min(self._mark, 16 * _MOST_SLACK)) // 16 if self.loses_nothing else 0

    def take_run(self, size: int) -> list[T]:
        """Remove and return the ``size`` oldest items, which must be there, the oldest one last."""
        items = self.items
        taken = [items.popleft() for _ in range(size)]
        if self._full and len(items) < self._mark:
            self.release()
        taken.reverse()
        return taken

    def put_back(self, items: list[T]) -> None:
        """Undo :meth:`take_run`, for what is left of it."""
        self._own_items().extendleft(items)

    def clear(self) -> None:
        """Forget all items."""
        self.items.clear()
        self.release()

    def release(self) -> None:
        """Stop being a reason for a pause (also when the connection is gone and nothing more can come)."""
        if self._full:
            self._full = False
            self._flow.remove_full()


def check_buffer_options(max_buffer_size: float, overflow: str) -> None:
    """Raise for options that make no sense, before anything is sent.

    Raises:
        TypeError: ``max_buffer_size`` is neither an integer nor ``math.inf``.
        ValueError: ``max_buffer_size`` is less than 1, or ``overflow`` is no policy.
    """
    if not isinstance(max_buffer_size, int) and max_buffer_size != math.inf:
        raise TypeError(f"max_buffer_size must be an integer or math.inf, not {max_buffer_size!r}")
    if max_buffer_size < 1:
        raise ValueError(f"max_buffer_size must be at least 1, not {max_buffer_size!r}")
    if overflow not in get_args(Overflow):
        raise ValueError(f"overflow must be one of {', '.join(map(repr, get_args(Overflow)))}, not {overflow!r}")
