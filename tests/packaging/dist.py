"""``make dist``: build what a release uploads, into dist/, then use it as a stranger would.

The wheel is installed into new environments outside the checkout, alone and with each extra, and the source
distribution is unpacked and tested. All checks run, whatever fails, so that one run shows the whole picture.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.packaging.contents import (
    check_metadata,
    check_sdist,
    check_wheel,
    files_of_sdist,
    files_of_wheel,
    project,
)
from tests.packaging.environments import ROOT, Failed, run
from tests.packaging.installs import check_alone, check_extra

DIST = ROOT / "dist"
TOOLS = Path(sys.executable).parent
# Enough to know that the tests in a source distribution have all that they need; `make test` itself takes minutes.
SMOKE = (
    "-q -p no:cacheprovider tests/test_calls.py tests/test_layering.py tests/test_exports.py tests/test_repository.py"
)


class Checks:
    """Runs checks one after another, says how each went, and remembers those that failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def __call__(self, title: str, check: Callable[..., object], *args: object) -> bool:
        start = time.monotonic()
        failure = None
        try:
            check(*args)
        except Failed as exc:
            failure = str(exc)
        took = time.monotonic() - start
        print(f"{'ok    ' if failure is None else 'FAILED'} {took:5.1f} s  {title}", flush=True)
        if failure is not None:
            print(f"\n{failure}\n", flush=True)
            self.failures.append(title)
        return failure is None


def main() -> int:
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="trio-signalr-dist-") as name:
        folder = Path(name)
        if checks("build the source distribution, and the wheel from it", build):
            _check_all(checks, folder)
    for path in sorted(DIST.glob("*")):
        files = files_of_wheel(path) if path.suffix == ".whl" else files_of_sdist(path)
        print(f"dist/{path.name:40} {path.stat().st_size / 1024:7.1f} KiB  {len(files):4} files")
    if checks.failures:
        print(f"make dist: not content: {'; '.join(checks.failures)}", file=sys.stderr)
    return 1 if checks.failures else 0


def _check_all(checks: Checks, folder: Path) -> None:
    wheel, sdist = _only("*.whl"), _only("*.tar.gz")
    checks("what PyPI will show (twine check)", run, TOOLS / "twine", "check", "--strict", wheel, sdist)
    checks("the wheel (check-wheel-contents)", run, TOOLS / "check-wheel-contents", wheel)
    checks("the wheel holds the package, typed, and nothing else", check_wheel, wheel)
    checks("its metadata is that of pyproject.toml", check_metadata, wheel)
    checks("the source distribution is what git knows", check_sdist, sdist)
    checks("the checkout gives the same wheel, byte for byte", same_wheel, wheel, folder)
    checks("the wheel alone: import, demo, command", check_alone, wheel, folder)
    for extra in project().get("optional-dependencies", {}):
        checks(f"the wheel with extra {extra!r}", check_extra, wheel, extra, folder)
    checks("make test in the source distribution, unpacked elsewhere", test_unpacked, sdist, folder)


def build() -> None:
    """Into a folder that holds nothing else; the wheel is made from the source distribution, not from the checkout."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)


def same_wheel(wheel: Path, folder: Path) -> None:
    """A build depends on the source alone: not on where it lies, on the clock, or on files around it."""
    again = folder / "again"
    run(sys.executable, "-m", "build", "--wheel", "--outdir", again, ROOT)
    if (again / wheel.name).read_bytes() != wheel.read_bytes():
        ours, theirs = files_of_wheel(again / wheel.name), files_of_wheel(wheel)
        raise Failed(f"the two wheels differ; in one of them only: {sorted(ours ^ theirs)}")


def test_unpacked(sdist: Path, folder: Path) -> None:
    """The tests can all be collected there, so none lacks a file that it imports, and some of them pass."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    run("make", "test", f"PYTHON={sys.executable}", "VENV=.venv", "ARGS=-q --collect-only", cwd=unpacked)
    run("make", "test", f"PYTHON={sys.executable}", "VENV=.venv", f"ARGS={SMOKE}", cwd=unpacked)


def _only(pattern: str) -> Path:
    (path,) = DIST.glob(pattern)
    return path


if __name__ == "__main__":
    sys.exit(main())
