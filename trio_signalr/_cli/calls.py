"""``invoke``, ``send``, ``upload`` and ``stream``: one call of a hub method each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .._states import HubState
from ..errors import HubClosed
from .input import Lines, reads_terminal
from .tally import Tally
from .values import value_type

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._flow import Overflow
    from .._hub import HubConnection
    from .connecting import Target
    from .running import Run

__all__ = ["Call", "invoke", "send", "stream", "upload"]

Job: TypeAlias = "Callable[[Run], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be called.

    Attributes:
        target: The hub.
        method: Name of the hub method.
        arguments: For it.
        stdin: Whether the lines of standard input are its last argument, an upload.
        as_text: Whether these are strings as they stand, and no JSON.
        progress: Whether to show how it goes; ``None`` for terminals only, and not while somebody types on one.
    """

    target: Target
    method: str
    arguments: tuple[object, ...]
    stdin: bool = False
    as_text: bool = False
    progress: bool | None = None

    def tally(self, run: Run, noun: str) -> Tally:
        """Return what counts, and shows the count unless that would erase what is being typed."""
        is_typed = self.stdin and reads_terminal()
        return Tally(run.screen, noun, live=False if self.progress is None and is_typed else self.progress)


def invoke(call: Call) -> Job:
    """Call a method, and print what it returns."""

    async def job(run: Run) -> None:
        async with call.target.open(run) as hub:
            result = await _invoke_safely(call, hub, run)
            await run.output.write(result)

    return job


async def _invoke_safely(call: Call, hub: HubConnection, run: Run) -> Any:
    """Call once more if the connection was lost before anything was sent, and comes back."""
    while True:
        try:
            return await hub.invoke(call.method, *call.arguments, result_type=value_type(call.target.protocol))
        except HubClosed as error:
            if error.sent is not False or not _comes_back(call, hub):
                raise


def send(call: Call) -> Job:
    """Call a method, and wait for nothing."""

    async def job(run: Run) -> None:
        async with call.target.open(run) as hub:
            await hub.send(call.method, *call.arguments)

    return job


def upload(call: Call) -> Job:
    """Stream the lines of standard input to a method, and print what it returns."""

    async def job(run: Run) -> None:
        async with call.target.open(run) as hub:
            tally = call.tally(run, "sent")
            with tally.shown(run.nursery):
                arguments = (*call.arguments, _lines(call, run, tally))
                result = await hub.invoke(call.method, *arguments, result_type=value_type(call.target.protocol))
            await run.output.write(result)

    return job


def _lines(call: Call, run: Run, tally: Tally) -> Lines:
    if reads_terminal():
        kind = "a string" if call.as_text else "JSON"
        run.screen.status(f"type {kind} a line; Ctrl-D on a line of its own ends it")
    return Lines(call.target.protocol, as_text=call.as_text, tally=tally)


def stream(call: Call, *, limit: float = math.inf, max_buffer_size: float, overflow: Overflow) -> Job:
    """Print what a streaming method sends.

    Args:
        call: The call.
        limit: Items after which the method is told to stop.
        max_buffer_size: As for ``HubConnection.stream``.
        overflow: The same.
    """

    async def job(run: Run) -> None:
        run.stop_without_reader()
        async with call.target.open(run) as hub:
            tally = call.tally(run, "received")
            with tally.shown(run.nursery):
                while True:
                    try:
                        return await receive(run, hub, tally)
                    except HubClosed as error:
                        if call.stdin or not _comes_back(call, hub):
                            raise
                        run.screen.warn(f"the stream is lost; {call.method} will be called again: {error}")

    async def receive(run: Run, hub: HubConnection, tally: Tally) -> None:
        arguments = call.arguments
        if call.stdin:
            arguments = (*arguments, _lines(call, run, Tally(run.screen, "sent")))
        async with hub.stream(
            call.method,
            *arguments,
            item_type=value_type(call.target.protocol),
            max_buffer_size=max_buffer_size,
            overflow=overflow,
        ) as items:
            async for batch in items.batches():
                wanted = batch[: int(min(limit - tally.count, len(batch)))]
                await run.output.write_all(wanted)
                tally.count += len(wanted)
                if tally.count >= limit:
                    return

    return job


def _comes_back(call: Call, hub: HubConnection) -> bool:
    """Whether the connection is to be opened again, so that a further call waits for it."""
    return call.target.reconnects and hub.state is not HubState.CLOSED
