"""The workloads by trio_signalr."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio

from tests.benchmarks.clients._measuring import Job, measure, memory, print_answer, readings, timed
from trio_signalr import open_hub

STAMP = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Reading:
    id: int
    name: str
    value: float
    flag: bool
    stamp: datetime


class ReadingStruct(msgspec.Struct):
    id: int
    name: str
    value: float
    flag: bool
    stamp: datetime


class Program:
    """Each public method is a workload; ``way`` says how, where there are several."""

    def __init__(self, job: Job, hub: Any) -> None:
        self.job = job
        self.hub = hub

    async def receive(self, method: str, item_type: Any, count: int, *more: object) -> None:
        received = 0
        async with self.hub.stream(method, count, *more, item_type=item_type) as stream:
            if self.job.way.endswith("batches"):
                async for batch in stream.batches():
                    received += len(batch)
            else:
                async for _ in stream:
                    received += 1
        assert received == count

    async def ints(self) -> dict[str, Any]:
        item_type = int if self.job.way.startswith("int") else Any
        return await measure(self.job, lambda count: self.receive("Numbers", item_type, count))

    async def objects(self) -> dict[str, Any]:
        types = {"dataclass": Reading, "Struct": ReadingStruct}
        item_type = types.get(self.job.way.split()[0] if self.job.way else "", Any)
        return await measure(self.job, lambda count: self.receive("Readings", item_type, count))

    async def flushed(self) -> dict[str, Any]:
        return await measure(self.job, lambda count: self.receive("FlushedCounter", Any, count))

    async def streams(self) -> dict[str, Any]:
        async def burst(count: int) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(count // 100):
                    nursery.start_soon(self.receive, "Numbers", Any, 100)

        return await measure(self.job, burst)

    async def upload_ints(self) -> dict[str, Any]:
        return await measure(self.job, lambda count: self.send("UploadChannel", range(count), sum(range(count))))

    async def upload_objects(self) -> dict[str, Any]:
        items = readings(self.job.count, STAMP)
        return await measure(self.job, lambda count: self.send("UploadReadings", items[:count], count))

    async def send(self, method: str, items: Any, expected: int) -> None:
        if self.job.way == "iterable":
            assert await self.hub.invoke(method, each(items)) == expected
            return
        async with self.hub.upload(method) as upload:
            for item in items:
                await upload.send(item)
        assert upload.result == expected

    async def at_once(self) -> dict[str, Any]:
        async def burst(count: int) -> None:
            async with trio.open_nursery() as nursery:
                for i in range(count):
                    nursery.start_soon(self.add, i)

        return await measure(self.job, burst)

    async def tasks(self) -> dict[str, Any]:
        async def fifty() -> None:
            for i in range(50):
                await self.add(i)

        async def burst(count: int) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(count // 50):
                    nursery.start_soon(fifty)

        return await measure(self.job, burst)

    async def sequential(self) -> dict[str, Any]:
        return await timed(self.job, lambda: self.add(1))

    async def add(self, i: int) -> None:
        assert await self.hub.invoke("Add", i, 1) == i + 1

    async def download(self) -> dict[str, Any]:
        async def burst(count: int) -> None:
            assert len(await self.hub.invoke("Bytes", count, result_type=bytes)) == count

        return await measure(self.job, burst)

    async def upload(self) -> dict[str, Any]:
        payload = bytes(self.job.count)

        async def burst(count: int) -> None:
            assert await self.hub.invoke("Length", payload[:count]) == count

        return await measure(self.job, burst)

    async def stream_memory(self) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            return await memory(self.job, lambda: stack.enter_async_context(self.hub.stream("Silence")))

    async def connection_memory(self) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            return await memory(self.job, lambda: stack.enter_async_context(self.open()))

    async def connect(self) -> dict[str, Any]:
        async def once() -> None:
            async with self.open():
                pass

        return await timed(self.job, once)

    connect_tls = connect

    def open(self) -> Any:
        return open_hub(self.job.url, protocol=self.job.protocol)


async def each(items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def main() -> None:
    job = Job.given()
    async with open_hub(job.url, protocol=job.protocol) as hub:
        print_answer(await getattr(Program(job, hub), job.workload.replace("-", "_"))())


if __name__ == "__main__":
    trio.run(main)
