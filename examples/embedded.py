"""What the examples share: a hub to talk to, and the two options that each of them takes.

The hub has the methods of the C# hub in tests/aspnetcore/hub that the examples call, under the same names and with the
same parameters. What it prints begins with "hub:".
"""

import argparse
import io
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import trio

from trio_signalr import HubConnection, HubException, SignalRError, open_hub
from trio_signalr.testing import HubServer

server = HubServer(max_parallel_invocations=8)  # with 1, the default, AskMe could not ask its own caller
groups: dict[str, list[str]] = defaultdict(list)  # connection ids by group


@contextmanager
def reporting(method: str) -> Iterator[None]:
    try:
        yield
    except trio.Cancelled:
        print(f"    hub: {method} was told to stop")
        raise


@server.method
async def Add(a: int, b: int) -> int:
    return a + b


@server.method
async def Counter(count: int, delay_ms: int) -> AsyncIterator[int]:
    with reporting("Counter"):
        for number in range(count):
            yield number
            await trio.sleep(delay_ms / 1000)


@server.method
async def TriggerStream(jobs_count: int) -> AsyncIterator[str]:
    with reporting("TriggerStream"):
        for number in range(jobs_count):
            if number > 0:
                await trio.sleep(1)
            yield f"Job {number} executed successfully"


@server.method
async def UploadStream(words: AsyncIterator[str]) -> str:
    return " ".join([word async for word in words])


@server.method
async def Transform(items: AsyncIterator[int]) -> AsyncIterator[int]:
    async for item in items:
        yield 2 * item


@server.method
async def JoinGroup(group: str) -> None:
    groups[group].append(server.caller.connection_id)


@server.method
async def SendToGroup(group: str, target: str, argument: Any) -> None:
    for connection_id in groups[group]:
        await server.client(connection_id).send(target, argument)


@server.method
async def SendTo(connection_id: str, target: str, argument: Any) -> None:
    await server.client(connection_id).send(target, argument)


@server.method
async def AskMe(target: str, argument: Any) -> str:
    try:
        return str(await server.caller.invoke(target, argument, result_type=str))
    except HubException as error:
        return f"error: {error}"


def open_either(url: str | None, protocol: str, **options: Any) -> AbstractAsyncContextManager[HubConnection]:
    """Open the hub at ``url``, as your program would; without one, the hub above, in memory."""
    if url is None:
        return server.connect(protocol=protocol, **options)
    return open_hub(url, protocol=protocol, **options)


def run(main: Callable[[str | None, str], Awaitable[None]], description: str | None) -> None:
    """Run an example as a program."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--url", help="of a hub with the same methods; by default, one in this very program")
    parser.add_argument("--protocol", choices=("json", "messagepack"), default="json", help="json by default")
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # print as it goes, into a pipe too
    try:
        trio.run(main, arguments.url, arguments.protocol)
    except KeyboardInterrupt:
        pass  # Ctrl-C: by now the hub was told to stop, and goodbye was said
    except SignalRError as error:
        sys.exit(f"{type(error).__name__}: {error}")
