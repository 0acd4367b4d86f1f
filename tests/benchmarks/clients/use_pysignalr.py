"""The workloads by pysignalr, as its documentation uses it: callbacks, and a task for ``run()``."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Any

from msgpack import Timestamp
from pysignalr.client import SignalRClient
from pysignalr.messages import CompletionMessage
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol

from tests.benchmarks.clients._measuring import Job, measure, memory, print_answer, readings, timed

PROTOCOLS = {"json": JSONProtocol, "messagepack": MessagepackProtocol}
STAMPS = {"json": "2024-01-02T03:04:05Z", "messagepack": Timestamp(1704164645)}


class Program:
    """Each public method is a workload."""

    def __init__(self, job: Job, client: SignalRClient) -> None:
        self.job = job
        self.client = client

    async def receive(self, method: str, count: int, *more: object) -> None:
        received = 0
        done = asyncio.Event()

        async def on_next(_: Any) -> None:
            nonlocal received
            received += 1

        async def on_complete(_: CompletionMessage) -> None:
            done.set()

        await self.client.stream(method, [count, *more], on_next, on_complete)
        await done.wait()
        assert received == count

    async def ints(self) -> dict[str, Any]:
        return await measure(self.job, lambda count: self.receive("Numbers", count))

    async def objects(self) -> dict[str, Any]:
        return await measure(self.job, lambda count: self.receive("Readings", count))

    async def flushed(self) -> dict[str, Any]:
        return await measure(self.job, lambda count: self.receive("FlushedCounter", count))

    async def streams(self) -> dict[str, Any]:
        async def burst(count: int) -> None:
            await asyncio.gather(*(self.receive("Numbers", 100) for _ in range(count // 100)))

        return await measure(self.job, burst)

    async def upload_ints(self) -> dict[str, Any]:
        return await measure(self.job, lambda count: self.send("UploadChannel", range(count)))

    async def upload_objects(self) -> dict[str, Any]:
        items = readings(self.job.count, STAMPS[self.job.protocol])
        return await measure(self.job, lambda count: self.send("UploadReadings", items[:count]))

    async def send(self, method: str, items: Any) -> None:
        async with self.client.client_stream(method) as stream:
            for item in items:
                await stream.send(item)
        await self.add(1)  # its uploads have no answer; that of a call behind one tells that the server has the items

    async def invoke(self, method: str, *arguments: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def on_invocation(message: CompletionMessage) -> None:
            answer.set_result(message.result)

        await self.client.send(method, list(arguments), on_invocation)
        return await answer

    async def at_once(self) -> dict[str, Any]:
        async def burst(count: int) -> None:
            await asyncio.gather(*(self.add(i) for i in range(count)))

        return await measure(self.job, burst)

    async def tasks(self) -> dict[str, Any]:
        async def fifty() -> None:
            for i in range(50):
                await self.add(i)

        async def burst(count: int) -> None:
            await asyncio.gather(*(fifty() for _ in range(count // 50)))

        return await measure(self.job, burst)

    async def sequential(self) -> dict[str, Any]:
        return await timed(self.job, lambda: self.add(1))

    async def add(self, i: int) -> None:
        assert await self.invoke("Add", i, 1) == i + 1

    async def download(self) -> dict[str, Any]:
        async def burst(count: int) -> None:
            payload = await self.invoke("Bytes", count)
            if self.job.protocol == "json":
                payload = base64.b64decode(payload)
            assert len(payload) == count

        return await measure(self.job, burst)

    async def upload(self) -> dict[str, Any]:
        payload = bytes(self.job.count)

        async def burst(count: int) -> None:
            part: Any = payload[:count]
            if self.job.protocol == "json":
                part = base64.b64encode(part).decode()
            assert await self.invoke("Length", part) == count

        return await measure(self.job, burst)

    async def stream_memory(self) -> dict[str, Any]:
        async def ignore(_: Any) -> None:
            pass

        return await memory(self.job, lambda: self.client.stream("Silence", [], ignore, ignore))

    async def connection_memory(self) -> dict[str, Any]:
        running = []

        async def open_one() -> None:
            running.append((await opened(self.job))[1])

        return await memory(self.job, open_one)

    async def connect(self) -> dict[str, Any]:
        async def once() -> None:
            _, running = await opened(self.job)
            running.cancel()
            await asyncio.wait([running])

        return await timed(self.job, once)

    connect_tls = connect


async def opened(job: Job) -> tuple[SignalRClient, asyncio.Task[None]]:
    client = SignalRClient(job.url, PROTOCOLS[job.protocol](), max_size=None)
    connected = asyncio.Event()

    async def on_open() -> None:
        connected.set()

    async def on_error(message: CompletionMessage) -> None:
        sys.exit(f"pysignalr: {message.error}")

    client.on_open(on_open)
    client.on_error(on_error)
    running = asyncio.create_task(client.run())
    waiting = asyncio.create_task(connected.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    return client, running


async def main() -> None:
    job = Job.given()
    client, running = await opened(job)
    workload = asyncio.create_task(getattr(Program(job, client), job.workload.replace("-", "_"))())
    await asyncio.wait([running, workload], return_when=asyncio.FIRST_COMPLETED)
    if not workload.done():
        running.result()  # raises what broke the connection
    print_answer(workload.result())
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main())
