"""How the next connections are received: as usual, unless told otherwise."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["Delay", "Ignore", "Plan", "Reception", "Redirect"]


@dataclass(frozen=True, slots=True)
class Ignore:
    """Never answer the handshake."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Answer nothing for so many seconds, then as usual."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the client elsewhere when it negotiates."""

    url: str
    access_token: str | None = field(default=None, repr=False)


Plan: TypeAlias = Exception | str | Ignore | Delay | Redirect | None
"""An exception stands for a transport that does not open, a text for a handshake that is refused with it."""


class _Queue:
    """Plans, each for a number of occasions."""

    def __init__(self) -> None:
        self._plans: deque[tuple[Plan, float]] = deque()

    def append(self, plan: Plan, times: float) -> None:
        if not times >= 1:
            raise ValueError(f"times must be at least 1, not {times!r}")
        self._plans.append((plan, times))

    def peek(self) -> Plan:
        return self._plans[0][0] if self._plans else None

    def next(self) -> Plan:
        if not self._plans:
            return None
        plan, times = self._plans.popleft()
        if times > 1:
            self._plans.appendleft((plan, times - 1))
        return plan


class Reception:
    """What is planned for the next connections, and for the next transports of a kind."""

    def __init__(self) -> None:
        self._connections = _Queue()
        self._transports: dict[str, _Queue] = {}

    def plan(self, what: Plan, times: float) -> None:
        """Do this to so many connections, after what was planned before."""
        self._connections.append(what, times)

    def plan_transport(self, name: str, refusal: Exception, times: float) -> None:
        """Refuse so many transports of that kind, although negotiation offers them."""
        self._transports.setdefault(name, _Queue()).append(refusal, times)

    def clear(self) -> None:
        """Receive as usual again."""
        self._connections = _Queue()
        self._transports.clear()

    def next(self) -> Plan:
        """What is planned for this connection, if it does come about.

        Raises:
            Exception: It does not.
        """
        plan = self._connections.next()
        if isinstance(plan, Exception):
            raise plan
        return plan

    def check_resume(self) -> None:
        """See whether a client may come back to its connection now; only refusals count.

        Raises:
            Exception: It may not.
        """
        if isinstance(self._connections.peek(), Exception):
            self.next()

    def check_transport(self, name: str) -> None:
        """See whether this transport opens.

        Raises:
            Exception: It does not.
        """
        refusal = self._transports[name].next() if name in self._transports else None
        if isinstance(refusal, Exception):
            raise refusal
