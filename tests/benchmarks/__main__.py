"""``make bench``: this client and others against the same ASP.NET Core hub, in turns.

    make bench                                                   everything; takes about half an hour
    make bench ARGS="--workload ints --rounds 1 --seconds 0.3"   a quick look
    make bench ARGS="--peer pysignalr --protocol json"           ours and one other

Every measurement is a process of its own. Within a workload the clients take turns, round by round, so that what else
the machine does hits all of them alike; compare medians of one run, never figures of two.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.chart import chart
from tests.benchmarks.results import Results, Row, amount
from tests.benchmarks.running import Failed, Hub, Task, install_javascript, run, running_hub
from tests.benchmarks.workloads import CLIENTS, OURS, WORKLOADS

OUTPUT = Path(__file__).parent / ".build" / "benchmarks"


def main() -> int:
    options = _options()
    if shutil.which("dotnet") is None:
        print("There is no dotnet on PATH; the hub needs the .NET 10 SDK.", file=sys.stderr)
        return 1
    tasks = _tasks(options, _available(options.peer))
    results = Results(tasks, options.rounds, options.seconds)
    progress = Progress(len(tasks) * options.rounds)
    with running_hub() as hub:
        for rows in results.groups():
            _measure(rows, hub, options, progress)
            print(results.table(rows), flush=True)
            print()
    if verdicts := results.verdicts():
        print(verdicts)
    _write(results, options.output)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only this one; may be repeated")
    parser.add_argument("--peer", action="append", choices=CLIENTS, help="only ours and this one; may be repeated")
    parser.add_argument("--protocol", action="append", choices=("json", "messagepack"), help="only this one")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, in turns (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, at least (default: 1)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="path of the .json and .svg files, without suffix")
    return parser.parse_args()


def _available(wanted: list[str] | None) -> list[str]:
    """The clients asked for that are there; say what is missing."""
    clients = [client for client in CLIENTS if client == OURS or not wanted or client in wanted]
    for client in clients[:]:
        missing = install_javascript() if client == "javascript" else None
        if client != "javascript" and find_spec(client) is None:
            missing = f"{client} is not installed; it is left out"
        if missing:
            print(missing, file=sys.stderr)
            clients.remove(client)
    return clients


def _tasks(options: argparse.Namespace, clients: list[str]) -> list[Task]:
    return [
        Task(client, way, workload, protocol)
        for name, workload in WORKLOADS.items()
        if not options.workload or name in options.workload
        for protocol in workload.protocols
        if not options.protocol or protocol in options.protocol
        for client in clients
        for way in (workload.ways if client == OURS else ("",))
    ]


def _measure(rows: list[Row], hub: Hub, options: argparse.Namespace, progress: Progress) -> None:
    """Let the clients take turns; who begins changes from round to round."""
    _warm_up(rows[0], hub, options.seconds)
    for number in range(options.rounds):
        first = number % len(rows)
        for row in rows[first:] + rows[:first]:
            progress.begin(row, number)
            if row.samples or row.failure is None:  # who failed at once is not asked again
                _sample(row, hub, options.seconds)
            progress.end()


def _warm_up(row: Row, hub: Hub, seconds: float) -> None:
    """Give the server's just-in-time compiler its time before anybody is measured."""
    with suppress(Failed):  # it will fail again, and be heard then
        run(row.task, hub, seconds)


def _sample(row: Row, hub: Hub, seconds: float) -> None:
    try:
        row.samples.append(run(row.task, hub, seconds))
    except Failed as failure:
        row.failure = str(failure)


class Progress:
    """One line on standard error that says where we are; nothing where nobody watches."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._watched = sys.stderr.isatty()

    def begin(self, row: Row, number: int) -> None:
        self._done += 1
        if self._watched:
            last = f", {amount(row.values[-1], row.task.workload)} before" if row.samples else ""
            text = f"{row.task.workload.name}, {row.task.protocol}, round {number + 1}: {row.label}{last}"
            print(f"\r\033[K[{self._done}/{self._total}] {text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _write(results: Results, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    data, picture = output.with_suffix(".json"), output.with_suffix(".svg")
    data.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    picture.write_text(chart(results))
    print(f"\nwritten: {data}, {picture}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
