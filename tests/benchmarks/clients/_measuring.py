"""What the Python client programs share: the job they were given, the clock, and the answer they print.

A program is started with one argument, its job as JSON, and prints one line of JSON. Nothing in here knows of Trio or
asyncio.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Burst", "Job", "measure", "memory", "print_answer", "readings", "timed"]

Burst = Callable[[int], Awaitable[None]]
"""Does a workload with so many items, and checks that they were that many."""


@dataclass(frozen=True)
class Job:
    """What to do, and where.

    Attributes:
        workload: Its name.
        way: Which of the client's ways to do it; ``""`` if there is but one.
        protocol: ``"json"`` or ``"messagepack"``.
        url: The hub.
        count: Items in one burst.
        seconds: Go on with bursts until that much time has passed.
    """

    workload: str
    way: str
    protocol: str
    url: str
    count: int
    seconds: float

    @classmethod
    def given(cls) -> Job:
        return cls(**json.loads(sys.argv[1]))


async def measure(job: Job, burst: Burst) -> dict[str, Any]:
    """Warm up, then repeat the burst; return how many items took how long, and how much of the processor."""
    await burst(max(1, job.count // 10))
    gc.collect()
    items = 0
    began, cpu_began = time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - began) < job.seconds:
        await burst(job.count)
        items += job.count
    return {"items": items, "seconds": elapsed, "cpu": time.process_time() - cpu_began}


async def timed(job: Job, once: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    """As :func:`measure` for things done one after another, with the time that each took."""
    times: list[float] = []

    async def burst(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            await once()
            times.append(time.perf_counter() - began)

    answer = await measure(job, burst)
    del times[: -answer["items"]]  # the warm-up
    times.sort()
    return {**answer, "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


async def memory(job: Job, open_one: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    """How much each further one takes, once the first tenth has filled pools and caches."""
    for _ in range(max(1, job.count // 10)):
        await open_one()
    before = _resident()
    for _ in range(job.count):
        await open_one()
    return {"bytes": (_resident() - before) / job.count}


def _resident() -> int:
    gc.collect()
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # no Linux: the peak will do, for nothing is given back meanwhile
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def readings(count: int, stamp: object) -> list[dict[str, object]]:
    """Objects to upload; ``stamp`` as the client's protocol has points in time."""
    return [{"id": i, "name": f"item {i}", "value": i / 4.0, "flag": i % 2 == 0, "stamp": stamp} for i in range(count)]


def print_answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer))
