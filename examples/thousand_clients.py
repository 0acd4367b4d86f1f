"""A thousand clients of one hub, each with a stream, in one process; at the end, what that has cost.

python examples/thousand_clients.py --transport websockets
"""

import argparse
import gc
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeAlias

import trio

from trio_signalr import HubConnection, open_hub
from trio_signalr.testing import HubServer

TRANSPORTS = ("memory", "websockets", "server_sent_events", "long_polling")
SOCKETS = 8  # for one client: two requests at a time, each with the client's socket, the relay's two, and the server's

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[HubConnection]]


class Demo:
    """The hub, and its clients.

    Nobody streams before all are there, so that there are as many connections and streams at once as clients.
    """

    def __init__(self, clients: int, items: int) -> None:
        self.clients = clients
        self.items = items
        self.server = HubServer(record=False, disconnect_timeout=60)  # nothing that clients have sent is kept
        self.server.method(self.Ticks)
        self.door = trio.CapacityLimiter(20)  # all at once, they would wait longer than an HTTP request may take
        self.streaming = 0
        self.everybody_is_here = trio.Event()
        self.received = 0

    async def Ticks(self, count: int) -> AsyncIterator[int]:
        self.streaming += 1
        if self.streaming == self.clients:
            self.everybody_is_here.set()
        await self.everybody_is_here.wait()
        for number in range(count):
            yield number

    async def client(self, connect: Connect) -> None:
        async with AsyncExitStack() as stack:
            async with self.door:
                hub = await stack.enter_async_context(connect())
            ticks = await stack.enter_async_context(hub.stream("Ticks", self.items, item_type=int))
            async for _ in ticks:
                self.received += 1

    async def run(self, connect: Connect) -> tuple[float, float]:
        """Let all of them come and stream; return the seconds until all were there, and until all were done."""
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(self.clients):
                nursery.start_soon(self.client, connect)
            await self.everybody_is_here.wait()
            connected = trio.current_time()
        return connected - start, trio.current_time() - connected


async def open_door(stack: AsyncExitStack, server: HubServer, transport: str, protocol: str) -> Connect:
    """Return what connects a client; what that needs stays open with ``stack``."""
    if transport == "memory":
        return lambda: server.connect(protocol=protocol)
    url = await stack.enter_async_context(server.serve())
    return lambda: open_hub(url, transports=[transport], protocol=protocol, handshake_timeout=60)


def memory() -> float:
    """The most memory that this process has had so far, in KB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 if sys.platform == "darwin" else most


class CollectorClock:
    """How long Python's garbage collector has run: with this many objects alive, it looks at them again and again."""

    def __init__(self) -> None:
        self.seconds = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: object) -> None:
        self.seconds += time.process_time() * (1 if phase == "stop" else -1)


def allow_sockets(count: int) -> None:
    """Raise the limit of open files, as far as that goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard)
        )


async def main(clients: int = 1000, items: int = 100, transport: str = "memory", protocol: str = "json") -> None:
    demo = Demo(clients, items)
    async with AsyncExitStack() as stack:
        connect = await open_door(stack, demo.server, transport, protocol)
        await Demo.run(
            warm_up := Demo(1, 1), lambda: warm_up.server.connect()
        )  # what is loaded once is no client's cost
        before, cpu, collector = memory(), time.process_time(), CollectorClock()
        connecting, streaming = await demo.run(connect)
        cpu = time.process_time() - cpu
        per_client = (memory() - before) / clients
    assert demo.received == clients * items, "an item was lost, or came twice"
    print(f"{clients} clients at once, {protocol} over {transport}, both sides in one process")
    print(f"connected   {connecting:.2f} s, {1000 * connecting / clients:.2f} ms a client")
    print(f"streamed    {demo.received} items in {streaming:.2f} s, {demo.received / streaming:,.0f} a second")
    print(f"CPU         {cpu:.2f} s in all, {collector.seconds:.2f} s of it Python's garbage collector")
    print(f"memory      {per_client:.0f} KB a client, client and server together")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--items", type=int, default=100, help="of each stream")
    parser.add_argument("--transport", choices=TRANSPORTS, default="memory", help="memory by default")
    parser.add_argument("--protocol", choices=("json", "messagepack"), default="json")
    chosen = vars(parser.parse_args())
    allow_sockets(SOCKETS * chosen["clients"] + 100)
    trio.run(lambda: main(**chosen))
