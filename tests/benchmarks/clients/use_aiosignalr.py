"""The workloads by aiosignalr, as its documentation uses it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from aiosignalr.client import HubConnection
from msgpack import Timestamp

from tests.benchmarks.clients._measuring import Job, measure, memory, print_answer, readings, timed

STAMPS = {"json": "2024-01-02T03:04:05Z", "messagepack": Timestamp(1704164645)}


class Program:
    """Each public method is a workload."""

    def __init__(self, job: Job, connection: HubConnection) -> None:
        self.job = job
        self.connection = connection

    async def receive(self, method: str, count: int, *more: object) -> None:
        received = 0
        async for _ in await self.connection.stream(method, count, *more):
            received += 1
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
        return await measure(self.job, lambda count: self.send("UploadChannel", range(count), sum(range(count))))

    async def upload_objects(self) -> dict[str, Any]:
        items = readings(self.job.count, STAMPS[self.job.protocol])
        return await measure(self.job, lambda count: self.send("UploadReadings", items[:count], count))

    async def send(self, method: str, items: Any, expected: int) -> None:
        async with self.connection.client_stream(method) as stream:
            for item in items:
                await stream.send_item(item)
        assert stream.result == expected

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
        assert await self.connection.invoke("Add", i, 1) == i + 1

    async def download(self) -> dict[str, Any]:
        async def burst(count: int) -> None:
            payload = await self.connection.invoke("Bytes", count)
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
            assert await self.connection.invoke("Length", part) == count

        return await measure(self.job, burst)

    async def stream_memory(self) -> dict[str, Any]:
        streams = []

        async def open_one() -> None:
            streams.append(await self.connection.stream("Silence"))

        return await memory(self.job, open_one)

    async def connection_memory(self) -> dict[str, Any]:
        connections = []

        async def open_one() -> None:
            connections.append(await opened(self.job))

        return await memory(self.job, open_one)

    async def connect(self) -> dict[str, Any]:
        async def once() -> None:
            await (await opened(self.job)).stop()

        return await timed(self.job, once)

    connect_tls = connect


async def opened(job: Job) -> HubConnection:
    connection = HubConnection(protocol=job.protocol)
    await connection.start(job.url)
    return connection


async def main() -> None:
    job = Job.given()
    connection = await opened(job)
    print_answer(await getattr(Program(job, connection), job.workload.replace("-", "_"))())
    await connection.stop()


if __name__ == "__main__":
    asyncio.run(main())
