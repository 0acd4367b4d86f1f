"""The official JavaScript client: installed when its package.json has changed, run once for each scenario."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

HERE = Path(__file__).parent
BUILDS = HERE / ".build"
NO_NODE = "no node and npm on PATH; install Node.js 18 or later: https://nodejs.org"

Run: TypeAlias = Callable[..., Awaitable[dict[str, list[Any]]]]


# First, so that "-m 'not javascript'" sees the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, and skip them where they cannot run."""
    missing = shutil.which("node") is None or shutil.which("npm") is None
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.javascript)
            if missing:
                item.add_marker(pytest.mark.skip(reason=NO_NODE))


def install() -> Path:
    """Install what package-lock.json names unless that was done before; return the folder with the packages."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("package.json", "package-lock.json")))
    # The folder is named for what is in it and appears in one step, so runs side by side cannot disturb each other.
    target = BUILDS / digest.hexdigest()[:16]
    if not target.exists():
        BUILDS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILDS, prefix="new-") as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")
            try:
                (Path(folder) / "node_modules").rename(target)
            except OSError:
                if not target.exists():  # otherwise another run was faster, with the same result
                    raise
    return target


@pytest.fixture(scope="session")
def packages() -> Path:
    """The installed packages."""
    return install()


@pytest.fixture
def run_javascript(packages: Path) -> Run:
    """Runs a scenario of scenarios.js: ``await run_javascript("invoke", url, "websockets", "json")``.

    Returns what it saw, as lists by name.
    """

    async def run(scenario: str, url: str, transport: str, protocol: str) -> dict[str, list[Any]]:
        done = await trio.run_process(
            ["node", str(HERE / "scenarios.js"), scenario, url, transport, protocol],
            env={**os.environ, "NODE_PATH": str(packages)},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert (done.returncode, done.stderr.decode()) == (0, "")
        seen: dict[str, list[Any]] = {}
        for line in done.stdout.splitlines():
            name, value = json.loads(line)
            seen.setdefault(name, []).append(value)
        return seen

    return run
