"""``make test-all``: the tests on every Python that is here, and with the oldest dependencies on the oldest of them.

    make test-all
    make test-all ARGS="-k cancel"       any arguments for pytest

Each Python gets an environment of its own, .venv-3.12.1, with the newest dependencies that pyproject.toml allows.
It goes on after a failure, and ends with a table.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.packaging.contents import project
from tests.packaging.environments import ROOT, clean_environ

OLDEST = (3, 11)
NAME = re.compile(r"python3(\.\d+)?")
# Asked of each candidate. A name on PATH proves little: pyenv's stand-ins are there for Pythons that are switched off,
# and Debian's Python may lack what makes environments.
QUESTION = """
import json, sys
try:
    import ensurepip, venv
except ImportError as error:
    lacks = error.name
else:
    lacks = None
print(json.dumps([sys._base_executable, sys.version_info[:3], sys.version_info.releaselevel, lacks]))
"""


class Python(NamedTuple):
    """A Python that runs."""

    version: tuple[int, ...]
    executable: str
    level: str = "final"
    lacks: str | None = None

    @property
    def name(self) -> str:
        """As in ``3.12.1``."""
        return ".".join(map(str, self.version)) + ("" if self.level == "final" else f" {self.level}")


class Run(NamedTuple):
    """The tests, once, and how they went: ``result`` is one of passed, FAILED, not installed, left out."""

    python: Python
    dependencies: str
    result: str
    words: str
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether it may be so."""
        return self.result != "FAILED"


def folders() -> Iterator[Path]:
    """Where Pythons are: on PATH, and where pyenv and uv keep those that are not on it."""
    home = Path.home()
    yield from (Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    yield from sorted((Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions").glob("*/bin"))
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    yield from sorted(Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python").glob("*/bin"))


def find(folders: Iterable[Path]) -> list[Python]:
    """Every Python in these folders that runs and is new enough, oldest first, each version once."""
    found: dict[tuple[int, ...], Python] = {}
    for folder in folders:
        for path in sorted(folder.glob("python3*")):
            if not NAME.fullmatch(path.name):
                continue
            python = ask(path)
            if python is None or python.version < OLDEST:
                continue
            if python.version not in found or (found[python.version].lacks and not python.lacks):
                found[python.version] = python
    return sorted(found.values())


def ask(path: Path) -> Python | None:
    """What a program that is called Python says of itself; ``None`` if it does not answer."""
    try:
        done = subprocess.run([path, "-c", QUESTION], capture_output=True, env=clean_environ(), timeout=30, check=True)
        executable, version, level, lacks = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Python(tuple(version), executable, level, lacks)


def promised() -> set[tuple[int, ...]]:
    """The versions that pyproject.toml's classifiers name."""
    names = [re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", line) for line in project()["classifiers"]]
    return {(3, int(name[1])) for name in names if name}


def run_tests(python: Python, dependencies: str) -> Run:
    """Install, then run the tests; all they print goes to standard output as it comes."""
    if python.lacks:
        return Run(python, dependencies, "left out", f"it has no {python.lacks} (Debian: install python3-venv)")
    start = time.monotonic()
    words = (f"PYTHON={python.executable}", f"VENV=.venv-{python.name.replace(' ', '-')}")
    print(f"\n==== Python {python.name} ({python.executable}), {dependencies} dependencies", flush=True)
    status, last = _make(f"test-{dependencies}", *words)
    seconds = time.monotonic() - start
    if status == 0:
        return Run(python, dependencies, "passed", last or "", seconds)
    if last is None and python.version[:2] not in promised():
        return Run(
            python, dependencies, "not installed", "newer than the dependencies allow, and not promised", seconds
        )
    return Run(python, dependencies, "FAILED", last or "before the tests began: see above", seconds)


def _make(*words: str) -> tuple[int, str | None]:
    """The exit status, and pytest's last line if it came that far. The arguments for pytest go along in MAKEFLAGS."""
    last = None
    with subprocess.Popen(
        ["make", "--no-print-directory", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := re.fullmatch(r"=*\s*(\d+ \w+.*) in [\d.]+s.*?", line.strip()):
                last = found[1]
    return process.returncode, last


def run_all(pythons: list[Python], run_tests: Callable[[Python, str], Run] = run_tests) -> Iterator[Run]:
    """Newest dependencies everywhere, oldest ones on the oldest Python; one failure stops nothing."""
    runs = [(python, "newest") for python in pythons]
    runs[:0] = [(python, "oldest") for python in pythons if not python.lacks][:1]
    for python, dependencies in runs:
        yield run_tests(python, dependencies)


def table(runs: list[Run]) -> str:
    """One line for each run."""
    known = promised()
    lines = [f"{'Python':10} {'dependencies':12}  {'':13} {'time':>5}"]
    for run in runs:
        remark = "" if run.python.version[:2] in known else " [no classifier names this Python]"
        lines.append(
            f"{run.python.name:10} {run.dependencies:12}  {run.result:13} {run.seconds:3.0f} s  {run.words}{remark}"
        )
    absent = sorted(known - {run.python.version[:2] for run in runs})
    lines += [f"{'.'.join(map(str, version)):10} {'':12}  not here" for version in absent]
    return "\n".join(lines)


def status(runs: list[Run]) -> int:
    """The exit status: failure if anything failed, and also if nothing was run."""
    return 0 if {run.result for run in runs} >= {"passed"} and all(run.good for run in runs) else 1


def main() -> int:
    pythons = find(folders())
    print("Pythons:", ", ".join(f"{python.name} ({python.executable})" for python in pythons))
    runs: list[Run] = []
    interrupted = False
    try:
        runs.extend(run_all(pythons))
    except KeyboardInterrupt:  # what took minutes is worth a table
        interrupted = True
    print(f"\n{table(runs)}")
    return 130 if interrupted else status(runs)


if __name__ == "__main__":
    sys.exit(main())
