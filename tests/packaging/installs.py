"""The wheel in new environments: alone, and with each of its extras."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.packaging.contents import project
from tests.packaging.environments import ROOT, Environment, Failed, clean_environ

HERE = Path(__file__).parent
COMMAND = "trio-signalr"
LAST_LINE_OF_DEMO = "the connection lives on: 1 + 2 = 3"


def check_alone(wheel: Path, folder: Path) -> None:
    """Without extras: all of the package can be imported, and the demo runs; the command says what it lacks."""
    environment = Environment(folder / "alone", [str(wheel)])
    report = _report(environment)
    for extra in _extras():
        if present := sorted(_brought_by(extra) & {*report["installed"], *report["imported"]}):
            raise Failed(f"{', '.join(present)} came along without the extra {extra!r}")
    _demo(environment)
    if not _has_command():
        return
    for command in ((environment.script(COMMAND),), (environment.python, "-m", "trio_signalr")):
        said = environment.run(*command, "--help", exits=2)
        if f"{COMMAND}[cli]" not in said or "Traceback" in said:
            raise Failed(f"without its extra, {COMMAND} --help should say what to install; it says:\n{said}")


def check_extra(wheel: Path, extra: str, folder: Path) -> None:
    """With an extra: what it brings is there, is no price for ``import trio_signalr``, and does what it is for."""
    environment = Environment(folder / f"with-{extra}", [f"{wheel}[{extra}]"])
    report = _report(environment)
    if missing := sorted(_brought_by(extra) - {*report["installed"]}):
        raise Failed(f"{', '.join(missing)} did not come with the extra {extra!r}")
    if early := sorted(_brought_by(extra) & {*report["imported"]}):
        raise Failed(f"import trio_signalr imports {', '.join(early)} as soon as it is installed")
    _demo(environment)
    if extra not in USES:
        raise Failed(f"nothing here tries the extra {extra!r}: add what it is for to USES in {Path(__file__).name}")
    USES[extra](environment)


def _serve(environment: Environment) -> None:
    """A hub on a port, and a client over each transport."""
    shutil.copy(HERE / "serving.py", environment.work)
    said = environment.run(environment.python, "serving.py")
    if said.splitlines() != ["websockets 3", "server_sent_events 3", "long_polling 3"]:
        raise Failed(f"the hub on a port said:\n{said}")


def _command_line(environment: Environment) -> None:
    """Help from both ways in; then a call to the hub that the command itself serves."""
    command = environment.script(COMMAND)
    for words in ((command,), (environment.python, "-m", "trio_signalr")):
        said = environment.run(*words, "--help")
        missing = [name for name in ("invoke", "send", "stream", "upload", "listen", "demo") if name not in said]
        if missing:
            raise Failed(f"{COMMAND} --help does not tell of {', '.join(missing)}:\n{said}")
    hub = subprocess.Popen(
        [str(command), "demo", "--port", "0"],
        cwd=environment.work,
        env=clean_environ() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = environment.run(command, "invoke", _url(hub), "Add", "1", "2")
    finally:
        hub.terminate()
        hub.communicate(timeout=20)
    if said.splitlines()[-1:] != ["3"]:
        raise Failed(f"{COMMAND} invoke URL Add 1 2 said:\n{said}")


def _url(hub: subprocess.Popen[str]) -> str:
    """The address of a demo hub, from the first line that has one."""
    assert hub.stdout is not None
    said = ""
    for line in hub.stdout:
        said += line
        if found := re.search(r"http://[\w.]+:\d+[\w/-]*", line):
            return found[0]
    raise Failed(f"{COMMAND} demo ended without an address:\n{said}")


def _trace(environment: Environment) -> None:
    """OpenTelemetry's API is there; its spans are a matter of the tests. The demo, which ran, had them all."""
    environment.run(environment.python, "-c", "import opentelemetry.trace, opentelemetry.metrics")


USES: dict[str, Callable[[Environment], None]] = {"testing": _serve, "cli": _command_line, "otel": _trace}


def _report(environment: Environment) -> dict[str, Any]:
    """What installed.py says, after a look at whether it speaks of the wheel at all."""
    shutil.copy(HERE / "installed.py", environment.work)
    report: dict[str, Any] = json.loads(environment.run(environment.python, "installed.py"))
    if not Path(report["file"]).is_relative_to(environment.folder):
        raise Failed(f"this is not the wheel: {report['file']}")
    if report["version"] != report["metadata"]:
        raise Failed(f"the package takes itself for {report['version']}, its metadata says {report['metadata']}")
    return report


def _demo(environment: Environment) -> None:
    """What `make demo` runs, from a folder that has the two files and nothing else of ours."""
    for name in ("counter.py", "embedded.py"):
        shutil.copy(ROOT / "examples" / name, environment.work)
    said = environment.run(environment.python, "counter.py")
    if said.splitlines()[-1:] != [LAST_LINE_OF_DEMO]:
        raise Failed(f"the demo said:\n{said}")


def _extras() -> dict[str, list[str]]:
    extras: dict[str, list[str]] = project().get("optional-dependencies", {})
    return extras


def _brought_by(extra: str) -> set[str]:
    """The distributions that an extra names."""
    return {re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower() for requirement in _extras()[extra]}


def _has_command() -> bool:
    return COMMAND in project().get("scripts", {})
