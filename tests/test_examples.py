"""The examples as a user runs them."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.programs import run_as_program
from trio_signalr.testing.examples import ExampleHub

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PROTOCOLS = ("json", "messagepack")
EMBEDDED = "    hub: "  # how the lines begin that only the embedded hub prints

# What each example prints, at the most "{protocol}" and "{transport}" to be filled in.
OUTPUT = {
    "counter": """\
connected, {protocol} over {transport}
0
1
2
3
4
time is up: leaving the block tells the hub to stop
    hub: Counter was told to stop
the connection lives on: 1 + 2 = 3
""",
    "upload": """\
sending 'hello'
sending 'big'
sending 'world'
the hub returned 'hello big world'
yielding 'one'
yielding 'two'
yielding 'three'
the hub returned 'one two three'
""",
    "trigger_stream": """\
Job 0 executed successfully
Job 1 executed successfully
Job 2 executed successfully
that will do
    hub: TriggerStream was told to stop
no further job was reported
""",
    "duplex": """\
up    1
down  2
up    2
down  4
up    3
down  6
up    4
down  8
up    5
down  10
the generator has ended, and so has the stream
""",
    "chat": """\
Bob hears 'Hello?'
Ada hears 'You said Hello?'
Bob hears 'Is it tea time?'
Ada hears 'You said Is it tea time?'
Ada is asked 'Milk?'
the hub was answered 'Yes, please.'
""",
}


def expected_lines(name: str, protocol: str, transport: str) -> list[str]:
    """What an example prints; against a server of its own the embedded hub has nothing to say."""
    lines = OUTPUT[name].format(protocol=protocol, transport=transport).splitlines()
    return [line for line in lines if transport == "memory" or not line.startswith(EMBEDDED)]


def start(name: str, *args: str, **options: Any) -> subprocess.Popen[str]:
    """Start an example as a program, from some other folder."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        **options,
    )


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports an example, or what they share, as the interpreter does that is given its path."""
    monkeypatch.syspath_prepend(EXAMPLES)
    names = {path.stem for path in EXAMPLES.glob("*.py")}

    def load(name: str) -> ModuleType:
        return __import__(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


# The examples


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", OUTPUT)
async def test_against_the_embedded_hub(
    name: str, protocol: str, load: Callable[[str], Any], capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    await load(name).main(protocol=protocol)
    assert capsys.readouterr().out.splitlines() == expected_lines(name, protocol, "memory")
    assert trio.current_time() < 5, "an example takes seconds"


def test_every_example_is_tested_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        *OUTPUT,
        "embedded",
        "hello",
        "thousand_clients",
        "tracing",
    }


@pytest.mark.parametrize("name", OUTPUT)
def test_each_is_a_program_with_two_options(name: str) -> None:
    program = start(name, "--help")
    out, errors = program.communicate()
    assert (program.returncode, errors) == (0, "")
    assert "--url" in out
    assert "--protocol" in out


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send to one process")
def test_ctrl_c_stops_the_hub_and_ends_quietly() -> None:
    program = start("counter")
    assert program.stdout is not None
    assert program.stdout.readline() == "connected, json over memory\n"  # it prints as it goes, into a pipe too
    assert program.stdout.readline() == "0\n"
    program.send_signal(signal.SIGINT)
    out, errors = program.communicate()
    assert out.splitlines()[-1] == "    hub: Counter was told to stop"
    assert "time is up" not in out
    assert (program.returncode, errors) == (0, "")


def test_a_url_that_leads_nowhere_is_told_in_one_line() -> None:
    program = start("counter", "--url", "http://127.0.0.1:1/hub")
    out, errors = program.communicate()
    assert (program.returncode, out) == (1, "")
    assert re.fullmatch(r"NegotiationError: Negotiating at http://127\.0\.0\.1:1/hub/negotiate failed: .*\n", errors)


@pytest.mark.parametrize("transport", ["memory", "websockets", "server_sent_events", "long_polling"])
def test_a_thousand_clients(transport: str) -> None:
    """A few of them: that they all come, stream and end."""
    program = start("thousand_clients", "--clients", "20", "--items", "10", "--transport", transport)
    out, errors = program.communicate()
    assert (program.returncode, errors) == (0, "")
    assert out.startswith(f"20 clients at once, json over {transport}")
    assert "streamed    200 items" in out


def test_hello(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_as_program(EXAMPLES / "hello.py", monkeypatch)
    assert capsys.readouterr().out.split() == [str(number) for number in range(10)]


def test_tracing() -> None:
    out, errors = start("tracing").communicate()
    assert (out.splitlines(), errors) == (["Add ended", "3", "checkout ended"], "")


def test_the_embedded_hub_has_the_methods_of_the_real_one() -> None:
    """The same names, and as many parameters: a CancellationToken is none of the caller's business."""
    source = "\n".join(path.read_text() for path in (ROOT / "tests/aspnetcore/hub/Hubs").glob("TestHub.*.cs"))
    real = {}
    for name, parameters in re.findall(r"public [^(=;]*?\b(\w+)\(([^)]*(?:\[\w+\][^)]*)?)\)", source):
        given = [each for each in re.split(r",(?![^<]*>)", parameters) if each.strip()]
        real[name] = len([each for each in given if "CancellationToken" not in each])
    members = vars(ExampleHub)
    ours = {
        name: len(inspect.signature(member).parameters) - 1  # less self
        for name, member in members.items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert len(ours) == 11
    assert ours.items() <= real.items()
