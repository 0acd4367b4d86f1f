"""What is measured, with whom, and what must come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CLIENTS", "OURS", "TARGETS", "WORKLOADS", "Target", "Workload"]

OURS = "trio_signalr"
CLIENTS = (OURS, "pysignalr", "aiosignalr", "javascript")

Measure = Literal["rate", "seconds", "bytes"]


@dataclass(frozen=True)
class Workload:
    """One thing that all clients do.

    Attributes:
        name: As the command line takes it.
        title: As a person reads it.
        count: Items in one burst, or how many things are opened for the memory of one.
        measure: Items in a second; or the seconds or bytes that one takes.
        unit: What an item is.
        ways: Our client's ways to do it; the first one is compared with the others.
        over_tls: Whether the hub is reached over HTTPS.
        protocols: By which hub protocols; one is enough for what does not depend on it.
    """

    name: str
    title: str
    count: int = 1
    measure: Measure = "rate"
    unit: str = "items"
    ways: tuple[str, ...] = ("",)
    over_tls: bool = False
    protocols: tuple[str, ...] = ("json", "messagepack")

    @property
    def more_is_better(self) -> bool:
        return self.measure == "rate"


_ONE_PROTOCOL = ("json",)

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("ints", "Stream of small items", 200_000, ways=("", "int", "batches", "int batches")),
        Workload(
            "objects",
            "Stream of objects with five fields",
            50_000,
            ways=("", "dataclass", "Struct", "batches", "Struct batches"),
        ),
        Workload("flushed", "Stream flushed item by item", 50_000, ways=("", "batches")),
        Workload("streams", "1,000 streams at once of 100 items", 100_000),
        Workload("upload-ints", "Upload of small items", 20_000, ways=("", "iterable")),
        Workload("upload-objects", "Upload of objects with five fields", 20_000, ways=("", "iterable")),
        Workload("at-once", "5,000 invocations at once", 5_000, unit="calls"),
        Workload("tasks", "100 tasks of 50 invocations each", 5_000, unit="calls"),
        Workload("sequential", "One invocation after another", 1_000, unit="calls"),
        Workload("download", "Answer of 10 MB bytes", 10_000_000, unit="bytes"),
        Workload("upload", "Argument of 10 MB bytes", 10_000_000, unit="bytes"),
        Workload("connect", "Time to connect and part", 20, "seconds", protocols=_ONE_PROTOCOL),
        Workload(
            "connect-tls", "Time to connect and part over TLS", 20, "seconds", over_tls=True, protocols=_ONE_PROTOCOL
        ),
        Workload("import", "Time to import", 1, "seconds", protocols=_ONE_PROTOCOL),
        Workload("connection-memory", "Memory of a further idle connection", 200, "bytes", protocols=_ONE_PROTOCOL),
        Workload("stream-memory", "Memory of a further idle stream", 2_000, "bytes", protocols=_ONE_PROTOCOL),
    )
}


@dataclass(frozen=True)
class Target:
    """What the project asks of itself: ours, done in one of ``ways``, at least ``factor`` times as good as the peer."""

    workload: str
    protocol: str
    ways: tuple[str, ...]
    peer: str
    factor: float


def _targets(
    workload: str, peers: dict[str, float], *, ways: tuple[str, ...] = ("",), protocols: tuple[str, ...] = ()
) -> list[Target]:
    return [
        Target(workload, protocol, ways, peer, factor)
        for protocol in protocols or WORKLOADS[workload].protocols
        for peer, factor in peers.items()
    ]


TARGETS = [
    *_targets("ints", {"javascript": 0.8, "pysignalr": 3, "aiosignalr": 4}, protocols=("json",)),
    *_targets("ints", {"javascript": 1.0, "pysignalr": 2}, protocols=("messagepack",)),
    *_targets("ints", {"javascript": 1.3}, ways=("batches", "int batches")),
    *_targets("objects", {"javascript": 0.9, "pysignalr": 2}),
    *_targets("objects", {"javascript": 0.9, "pysignalr": 2}, ways=("dataclass", "Struct")),
    *_targets("objects", {"javascript": 1.3}, ways=("batches", "Struct batches")),
    *_targets("flushed", {"javascript": 1.2, "pysignalr": 2.5}),
    *_targets("flushed", {"javascript": 1.3}, ways=("batches",)),
    *_targets("upload-ints", {"javascript": 7, "pysignalr": 10}),
    *_targets("upload-objects", {"javascript": 7, "pysignalr": 10}),
    *_targets("at-once", {"pysignalr": 2.5, "aiosignalr": 2.5}),
    *_targets("sequential", {"javascript": 0.7, "pysignalr": 1.0, "aiosignalr": 1.0}),
    *_targets("connect-tls", {"javascript": 1.2, "pysignalr": 1.2, "aiosignalr": 1.2}),
]
