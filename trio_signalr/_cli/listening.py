"""``listen``: print what the server calls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Raw  # noqa: TC002 - read at run time, as annotations of handlers are

from ..errors import SignalRError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .._hub import HubConnection
    from .connecting import Target
    from .running import Run

__all__ = ["listen"]

BACKLOG = 1024  # calls that wait to be written; then their handlers wait, and then the server


def listen(
    target: Target,
    names: Sequence[str],
    *,
    calls: Sequence[tuple[str, list[object]]] = (),
    answer: object = None,
    limit: float = math.inf,
) -> Callable[[Run], Awaitable[None]]:
    """Print a line for each call of the server.

    Args:
        target: The hub.
        names: What the server calls.
        calls: Methods to call first, after every connecting: to join a group.
        answer: For a server that awaits one.
        limit: Calls after which to leave.
    """

    async def job(run: Run) -> None:
        run.stop_without_reader()
        heard, queue = trio.open_memory_channel[dict[str, object]](BACKLOG)
        handlers = {name: _handler(name, heard, answer, target.protocol) for name in names}
        printer = _Printer(run, queue, limit)
        try:
            async with target.open(run, handlers=handlers, on_connected=first):
                run.screen.note(f"listening for {', '.join(names)}")
                await printer.print_all()
        except SignalRError:
            await printer.print_ready()  # what came before the end
            raise

    async def first(hub: HubConnection) -> None:
        for method, arguments in calls:
            await hub.invoke(method, *arguments)

    return job


def _handler(
    name: str, heard: trio.MemorySendChannel[dict[str, object]], answer: object, protocol: str
) -> Callable[..., Awaitable[object]]:
    async def hear(arguments: Sequence[object]) -> object:
        await heard.send({"target": name, "arguments": arguments})
        return answer

    async def hear_json(*arguments: Raw) -> object:  # the annotation says how they are read
        return await hear(arguments)

    async def hear_any(*arguments: Any) -> object:
        return await hear(arguments)

    return hear_json if protocol == "json" else hear_any


class _Printer:
    """Prints what was heard."""

    def __init__(self, run: Run, queue: trio.MemoryReceiveChannel[dict[str, object]], limit: float) -> None:
        self._run = run
        self._queue = queue
        self._left = limit

    async def print_all(self) -> None:
        """Print what comes, for ever or up to the limit; as much at once as is there."""
        while self._left > 0:
            await self._print([await self._queue.receive(), *self._ready()])

    async def print_ready(self) -> None:
        """Print what is there already."""
        await self._print(self._ready())

    def _ready(self) -> list[dict[str, object]]:
        ready = []
        while True:
            try:
                ready.append(self._queue.receive_nowait())
            except trio.WouldBlock:
                return ready

    async def _print(self, lines: list[dict[str, object]]) -> None:
        lines = lines[: int(min(self._left, len(lines)))]
        self._left -= len(lines)
        if lines:
            await self._run.output.write_all(lines)
