"""``trio-signalr`` as a program: with pipes, with a terminal, and with a hub to talk to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from trio_signalr.testing import HubServer
from trio_signalr.testing.examples import example_hub

__all__ = ["LIMIT", "Program", "Result", "make_hub", "run_program", "start_program"]

LIMIT = 30.0  # seconds that a program may take; each needs half a one
COMMAND = (sys.executable, "-m", "trio_signalr")
_OURS = ("TRIO_SIGNALR_TOKEN", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


def environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program, less what would make it behave differently."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, "TERM": "xterm-256color", **(added or {})}


@dataclass
class Result:
    """What came of a program."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[Any]:
        """Standard output: JSON lines, or it would raise."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


async def run_program(*args: str, stdin: bytes | int = b"", env: Mapping[str, str] | None = None) -> Result:
    """Run ``trio-signalr`` to its end, with pipes all around."""
    with trio.fail_after(LIMIT):
        done = await trio.run_process(
            [*COMMAND, *args],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(env),
        )
    return Result(done.returncode, done.stdout, done.stderr.decode())


@dataclass
class Program:
    """``trio-signalr`` while it runs."""

    process: trio.Process
    _out: bytes = b""
    _err: bytes = b""
    _changed: trio.Event = field(default_factory=trio.Event)

    async def line(self) -> Any:
        """Wait for a line of standard output."""
        await self._wait(lambda: b"\n" in self._out)
        line, _, self._out = self._out.partition(b"\n")
        return msgspec.json.decode(line)

    async def says(self, text: str) -> None:
        """Wait until standard error has ``text``."""
        await self._wait(lambda: text.encode() in self._err)

    async def _wait(self, condition: Any) -> None:
        with trio.fail_after(LIMIT):
            while not condition():
                assert self.process.returncode is None, f"it has ended: {self._err.decode()}"
                self._changed = trio.Event()
                await self._changed.wait()

    def interrupt(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    async def result(self) -> Result:
        """Wait for the end; standard output is what :meth:`line` has not taken."""
        with trio.fail_after(LIMIT):
            code = await self.process.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        return Result(code, self._out, self._err.decode())

    async def follow(self, name: str, stream: trio.abc.ReceiveStream) -> None:
        with suppress(trio.ClosedResourceError):  # a test has closed it
            async for data in stream:
                setattr(self, name, getattr(self, name) + bytes(data))
                self._changed.set()
        self._changed.set()


@asynccontextmanager
async def start_program(
    *args: str, env: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL, **options: Any
) -> AsyncGenerator[Program]:
    """Run ``trio-signalr`` for the length of the block; what is left of it then is killed."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = await trio.lowlevel.open_process([*COMMAND, *args], stdin=stdin, env=environment(env), **options)
    program = Program(process)
    try:
        async with trio.open_nursery() as nursery:
            if process.stdout is not None:
                nursery.start_soon(program.follow, "_out", process.stdout)
            if process.stderr is not None:
                nursery.start_soon(program.follow, "_err", process.stderr)
            yield program
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def make_hub(**options: Any) -> HubServer:
    """The hub of ``trio-signalr demo``, and what a test needs besides."""
    server = example_hub(**options)

    @server.method
    async def Hold() -> None:
        await trio.sleep_forever()

    @server.method
    async def HeldCounter(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        await trio.sleep_forever()

    @server.method
    async def Sum(items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @server.method
    async def First(items: trio.abc.ReceiveChannel[int]) -> int:
        return await items.receive()

    @server.method
    async def Call(target: str, argument: Any) -> None:
        await server.caller.send(target, argument)

    @server.method
    async def Values() -> AsyncIterator[Any]:
        yield {"bytes": b"\x00\xff", "nan": float("nan"), "text": "ünï\n", "none": None}

    return server
