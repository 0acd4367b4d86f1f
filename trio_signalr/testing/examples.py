"""A hub with a method of every kind: the examples run on it, and ``trio-signalr demo`` serves it.

::

    server = example_hub()
    async with server.connect() as hub:
        print(await hub.invoke("Add", 1, 2))  # 3
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable  # noqa: TC003 - annotations of hub methods are read at run time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from ..errors import HubException
from ._server import HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ExampleHub", "example_hub"]


def example_hub(report: Callable[[str], object] | None = None, **options: Any) -> HubServer:
    """Return a :class:`HubServer` with the methods of :class:`ExampleHub`.

    Args:
        report: Called with a line of text when a client stops a stream: ``print`` shows them.
        **options: As for :class:`HubServer`. Plain methods of one client may run side by side unless they say
            otherwise, so that ``AskMe`` can ask its own caller.
    """
    server = HubServer(**{"max_parallel_invocations": 8, **options})
    server.register(ExampleHub(server, report or (lambda line: None)))
    return server


class ExampleHub:
    """The hub methods: a few of those of the C# hub in tests/aspnetcore/hub, under the same names.

    Args:
        server: Who serves them.
        report: Called with a line of text when a client stops a stream.
    """

    def __init__(self, server: HubServer, report: Callable[[str], object]) -> None:
        self._server = server
        self._report = report

    @contextmanager
    def _reporting(self, method: str) -> Iterator[None]:
        try:
            yield
        except trio.Cancelled:
            self._report(f"{method} was told to stop")
            raise

    async def Add(self, a: int, b: int) -> int:
        """Return the sum."""
        return a + b

    async def Echo(self, value: Any) -> Any:
        """Return what was given."""
        return value

    async def FailPublic(self) -> None:
        """Fail, with a text for the client."""
        raise HubException("public message")

    async def Counter(self, count: int, delay_ms: int) -> AsyncIterator[int]:
        """Stream 0, 1, 2, ..., with so many milliseconds after each."""
        with self._reporting("Counter"):
            for number in range(count):
                yield number
                await trio.sleep(delay_ms / 1000)

    async def TriggerStream(self, jobs_count: int) -> AsyncIterator[str]:
        """Stream a line for each job, one a second."""
        with self._reporting("TriggerStream"):
            for number in range(jobs_count):
                if number > 0:
                    await trio.sleep(1)
                yield f"Job {number} executed successfully"

    async def UploadStream(self, words: AsyncIterator[str]) -> str:
        """Return the words that were uploaded, joined by spaces."""
        return " ".join([word async for word in words])

    async def Transform(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        """Stream each uploaded number doubled, as it comes."""
        async for item in items:
            yield 2 * item

    async def JoinGroup(self, group: str) -> None:
        """Let the caller hear what is sent to a group."""
        self._server.caller.join(group)

    async def SendToGroup(self, group: str, target: str, argument: Any) -> None:
        """Call ``target`` on everybody in a group."""
        await self._server.group(group).send(target, argument)

    async def SendTo(self, connection_id: str, target: str, argument: Any) -> None:
        """Call ``target`` on one client."""
        await self._server.client(connection_id).send(target, argument)

    async def AskMe(self, target: str, argument: Any) -> str:
        """Call ``target`` on the caller, and return what it answers."""
        try:
            return str(await self._server.caller.invoke(target, argument, result_type=str))
        except HubException as error:
            return f"error: {error}"
