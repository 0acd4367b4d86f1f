"""What came out: medians and ratios, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.benchmarks.running import Task
from tests.benchmarks.workloads import OURS, TARGETS, WORKLOADS, Target, Workload

__all__ = ["Results", "Row", "amount"]


@dataclass
class Row:
    """All measurements of one task.

    Attributes:
        samples: What the client's program said, round by round.
        failure: Why there are none, or no more.
    """

    task: Task
    samples: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None

    @property
    def label(self) -> str:
        return f"{self.task.client}, {self.task.way}" if self.task.way else self.task.client

    @property
    def values(self) -> list[float]:
        return [float(sample[self.task.workload.measure]) for sample in self.samples]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def cpu(self) -> float | None:
        """Seconds of the client's processor time that an item takes."""
        if self.task.workload.measure == "rate":
            return float(median(sample["cpu"] / sample["items"] for sample in self.samples))
        return None

    def times(self, other: Row) -> float:
        """How many times as good as ``other`` this is."""
        return self.median / other.median if self.task.workload.more_is_better else other.median / self.median


class Results:
    """The rows of a run."""

    def __init__(self, tasks: Iterable[Task], rounds: int, seconds: float) -> None:
        self.rows = {task: Row(task) for task in tasks}
        self._rounds = rounds
        self._seconds = seconds

    def groups(self) -> Iterator[list[Row]]:
        """The rows to be compared with each other: of one workload and one protocol."""
        for workload in WORKLOADS.values():
            for protocol in workload.protocols:
                if rows := self.group(workload, protocol):
                    yield rows

    def group(self, workload: Workload, protocol: str) -> list[Row]:
        return [row for task, row in self.rows.items() if (task.workload, task.protocol) == (workload, protocol)]

    def table(self, rows: list[Row]) -> str:
        """One group as text."""
        task = rows[0].task
        lines = [["", "median", "min", "max", "CPU", "to ours", ""]]
        lines += [self._line(row, ours_of(rows)) for row in rows]
        title = task.workload.title if len(task.workload.protocols) == 1 else f"{task.workload.title}, {task.protocol}"
        return f"{title}\n{_aligned(lines)}"

    def _line(self, row: Row, ours: Row | None) -> list[str]:
        if not row.samples:
            return [row.label, "–", "", "", "", "", row.failure or "not measured"]
        workload = row.task.workload
        cells = [amount(value, workload) for value in (row.median, min(row.values), max(row.values))]
        cpu = "" if row.cpu is None else _cpu(row.cpu, workload)
        ratio = f"{row.times(ours):.2f} ×" if ours is not None else ""
        return [row.label, *cells, cpu, ratio, _remark(row)]

    def verdicts(self) -> str:
        """Which targets were met, of those that were measured."""
        lines = [["target", "", "ours", "at least", ""]]
        lines += [line for target in TARGETS for line in self._verdict(target)]
        return _aligned(lines) if len(lines) > 1 else ""

    def _verdict(self, target: Target) -> Iterator[list[str]]:
        rows = self.group(WORKLOADS[target.workload], target.protocol)
        peers = [row for row in rows if row.task.client == target.peer and row.samples]
        for row in rows:
            if peers and row.samples and row.task.client == OURS and row.task.way in target.ways:
                ratio = row.times(peers[0])
                where = f"{WORKLOADS[target.workload].name}, {target.protocol}"
                goal = f"{target.factor:g} × {target.peer}"
                met = "met" if ratio >= target.factor else "MISSED"
                yield [where, row.task.way, f"{ratio:.2f} ×", goal, met]

    def as_json(self) -> dict[str, Any]:
        """Everything, the single measurements too."""
        return {
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
            "rounds": self._rounds,
            "seconds": self._seconds,
            "results": [self._row_as_json(row, ours_of(rows)) for rows in self.groups() for row in rows],
        }

    def _row_as_json(self, row: Row, ours: Row | None) -> dict[str, Any]:
        task = row.task
        entry: dict[str, Any] = {
            "workload": task.workload.name,
            "protocol": task.protocol,
            "client": task.client,
            "way": task.way,
            "measure": task.workload.measure,
            "failure": row.failure,
            "samples": row.samples,
        }
        if row.samples:
            entry |= {"median": row.median, "min": min(row.values), "max": max(row.values), "cpu_per_item": row.cpu}
            entry["ratio_to_ours"] = None if ours is None else row.times(ours)
        return entry


def ours_of(rows: list[Row]) -> Row | None:
    """The row that the others are compared with."""
    plain = [row for row in rows if row.task.client == OURS and row.task.way == row.task.workload.ways[0]]
    return plain[0] if plain and plain[0].samples else None


def amount(value: float, workload: Workload) -> str:
    """A measured value with its unit."""
    if workload.measure == "seconds":
        return f"{value * 1e3:.1f} ms"
    if workload.measure == "bytes":
        return f"{value / 1024:.1f} KiB"
    if workload.unit == "bytes":
        return f"{value / 1e6:.0f} MB/s"
    return f"{value / 1e3:,.0f}k/s" if value >= 100_000 else f"{value:,.0f}/s"


def _cpu(seconds: float, workload: Workload) -> str:
    if workload.unit == "bytes":
        return f"{seconds * 1e9:.1f} ms/MB"
    return f"{seconds * 1e6:.2f} µs"


def _remark(row: Row) -> str:
    remarks = []
    if row.task.workload.name == "sequential":
        p50, p99 = (median(sample[name] for sample in row.samples) * 1e6 for name in ("p50", "p99"))
        remarks.append(f"p50 {p50:.0f} µs, p99 {p99:.0f} µs")
    if row.failure:
        remarks.append(f"failed once: {row.failure}")
    return "; ".join(remarks)


def _aligned(lines: list[list[str]]) -> str:
    """Lines of as many cells each: the first and the last to the left, those between them to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_justified(line, widths) for line in lines)


def _justified(line: list[str], widths: list[int]) -> str:
    numbers = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
    return "  " + "  ".join([line[0].ljust(widths[0]), *numbers, line[-1]]).rstrip()
