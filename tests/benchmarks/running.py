"""Runs the client programs, each in a process of its own, against one hub."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.aspnetcore.server import HubProcess, build_hub
from tests.benchmarks.workloads import OURS, Workload
from tests.transports.tls import CERTIFICATE, KEY

__all__ = ["Failed", "Hub", "Task", "install_javascript", "run", "running_hub"]

ROOT = Path(__file__).parents[2]
JAVASCRIPT = Path(__file__).parent / "javascript"
PATIENCE = 20.0  # seconds for a program beyond what it was asked to measure
START_TIMEOUT = 10.0

_TIMED_IMPORT = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"
_PYTHON_IMPORTS = {OURS: "trio_signalr", "pysignalr": "pysignalr.client", "aiosignalr": "aiosignalr.client"}
_JAVASCRIPT_IMPORT = (
    "const began = performance.now(); require('@microsoft/signalr'); require('@microsoft/signalr-protocol-msgpack'); "
    "console.log((performance.now() - began) / 1000)"
)


class Failed(Exception):
    """A client could not do a workload; the text says why."""


@dataclass(frozen=True)
class Hub:
    """A running hub: its URLs, and the environment in which clients trust its certificate."""

    url: str
    tls_url: str
    environment: dict[str, str]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Build and run the hub, on a port with TLS and one without."""
    with tempfile.TemporaryDirectory(prefix="trio-signalr-bench-") as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate.write_text(CERTIFICATE)
        key.write_text(KEY)
        with _environment(
            Kestrel__Endpoints__Plain__Url="http://127.0.0.1:0",
            Kestrel__Endpoints__Tls__Url="https://127.0.0.1:0",
            Kestrel__Certificates__Default__Path=str(certificate),
            Kestrel__Certificates__Default__KeyPath=str(key),
        ):
            server = HubProcess(build_hub())
            server.start()
        try:
            # The way in which every client, left to itself, looks for certificates.
            trust = {"SSL_CERT_FILE": str(certificate), "NODE_EXTRA_CA_CERTS": str(certificate)}
            yield Hub(server.url("/benchmarks"), f"{_tls_base(server)}/benchmarks", trust)
        finally:
            server.kill()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _tls_base(server: HubProcess) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if found := re.search(r"Now listening on: (https://127\.0\.0\.1:[0-9]+)", "\n".join(server.output)):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError("the server does not listen for TLS:\n" + "\n".join(server.output))


def install_javascript() -> str | None:
    """Get the official JavaScript client from npm; return why there is none."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "there is no node or no npm on PATH; the JavaScript client is left out"
    if not (JAVASCRIPT / "node_modules" / "@microsoft" / "signalr-protocol-msgpack").exists():
        print("installing the JavaScript client from npm", file=sys.stderr)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(command, cwd=JAVASCRIPT, stdout=sys.stderr).returncode:
            return "npm could not install the JavaScript client; it is left out"
    return None


@dataclass(frozen=True)
class Task:
    """One measurement: who does what, how."""

    client: str
    way: str
    workload: Workload
    protocol: str


def run(task: Task, hub: Hub, seconds: float) -> dict[str, Any]:
    """Let one client do one workload, and return what its program says.

    Raises:
        Failed: It could not.
    """
    if task.workload.name == "import":
        command = _import_command(task.client)
        _output(command, hub, seconds)  # compiles what was not compiled at its installation
        return {"seconds": float(_output(command, hub, seconds))}
    job = {
        "workload": task.workload.name,
        "way": task.way,
        "protocol": task.protocol,
        "url": hub.tls_url if task.workload.over_tls else hub.url,
        "count": task.workload.count,
        "seconds": seconds,
    }
    answer = json.loads(_output([*_program(task.client), json.dumps(job)], hub, seconds))
    if task.workload.measure == "seconds":
        answer["seconds"] = answer["p50"]
    elif task.workload.measure == "rate":
        answer["rate"] = answer["items"] / answer["seconds"]
    return dict(answer)


def _program(client: str) -> list[str]:
    if client == "javascript":
        return ["node", "--expose-gc", str(JAVASCRIPT / "client.js")]
    return [sys.executable, "-m", f"tests.benchmarks.clients.use_{client}"]


def _import_command(client: str) -> list[str]:
    if client == "javascript":
        return ["node", "-e", _JAVASCRIPT_IMPORT]
    return [sys.executable, "-c", _TIMED_IMPORT.format(_PYTHON_IMPORTS[client])]


def _output(command: list[str], hub: Hub, seconds: float) -> str:
    patience = PATIENCE + 3 * seconds
    folder = JAVASCRIPT if command[0] == "node" else ROOT
    environment = {**os.environ, **hub.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end within {patience:.0f} s") from None
    if done.returncode:
        raise Failed(_reason(done.stderr) or f"exit code {done.returncode}")
    return done.stdout


def _reason(errors: str) -> str:
    """The line that names the exception; what a broken program prints after it is noise."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Closed|Exit)\w*:", line)]
    return (named or lines or [""])[-1]
