"""What a person sees: colour and a live count on a terminal, neither of them elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.cli.programs import LIMIT, Program, run_program, start_program
from trio_signalr._cli.screen import Screen
from trio_signalr._cli.tally import Tally
from trio_signalr.testing import HubServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ERASE = "\r\x1b[2K"


class Terminal:
    """What was written to a pseudo-terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.text = ""
        self._changed = trio.Event()

    async def follow(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # the other side is closed
                return
            self.text += data.decode()
            self._changed.set()

    async def shows(self, pattern: str) -> None:
        with trio.fail_after(LIMIT):
            while re.search(pattern, self.text) is None:
                self._changed = trio.Event()
                await self._changed.wait()

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())


@asynccontextmanager
async def on_terminal(
    *args: str, only: tuple[str, ...] = ("stdin", "stdout", "stderr"), env: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Terminal, Program]]:
    """A program some of whose standard streams are one terminal."""
    ours, theirs = os.openpty()
    terminal = Terminal(ours)
    streams = {"stdin": subprocess.DEVNULL, **dict.fromkeys(only, theirs)}
    try:
        async with trio.open_nursery() as nursery, start_program(*args, env=env, **streams) as program:
            os.close(theirs)
            nursery.start_soon(terminal.follow)
            yield terminal, program
            nursery.cancel_scope.cancel()
    finally:
        os.close(ours)


async def test_a_stream_on_a_terminal(url: str) -> None:
    async with on_terminal("stream", url, "HeldCounter", "2") as (terminal, program):
        await terminal.shows(r"2 received  \S+/s  0:0\d")
        program.interrupt()
        assert (await program.result()).code == 130
        await terminal.shows("2 received in")
    lines = COLOUR.sub("", terminal.text).replace("\r\n", "\n")
    assert lines.startswith(f"connected to {url}, json over websockets\n0\n1\n2 received  ")
    # The live line is erased before the next one: no item and no other line ever stands behind it.
    assert re.fullmatch(
        r"(2 received  [^\n]+" + re.escape(ERASE) + r")+2 received in [^\n]+\n", lines[lines.index("2 rec") :]
    )


async def test_lines_do_not_run_into_the_live_count(server: HubServer, url: str) -> None:
    async with on_terminal("listen", url, "message") as (terminal, _):
        await terminal.shows("listening")
    async with on_terminal("stream", url, "Counter", "40", "50") as (terminal, program):
        await terminal.shows("40 received in")
        assert (await program.result()).code == 0
    plain = COLOUR.sub("", terminal.text).replace(ERASE, "\0")
    assert re.search(r"\d+ received  [\d.,]+/s  0:0\d", plain), "it was shown meanwhile"
    for number in range(40):
        assert re.search(rf"[\n\0]{number}\r\n", plain), f"{number} stands in a line of its own"


async def test_progress_shows_with_only_standard_error_on_a_terminal(url: str) -> None:
    async with on_terminal("stream", url, "HeldCounter", "3", only=("stderr",)) as (terminal, program):
        assert [await program.line() for _ in range(3)] == [0, 1, 2]
        await terminal.shows("3 received  ")
    async with on_terminal("stream", url, "HeldCounter", "3", "--no-progress", only=("stderr",)) as (terminal, program):
        assert [await program.line() for _ in range(3)] == [0, 1, 2]
        with trio.move_on_after(1.5):
            await terminal.shows("3 received  ")
        assert "3 received" not in terminal.text


async def test_progress_elsewhere_is_a_line_now_and_then(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def count_for(seconds: float, **options: Any) -> list[str]:
        tally = Tally(Screen(quiet=options.pop("quiet", False)), "received", **options)
        async with trio.open_nursery() as nursery:
            with tally.shown(nursery):
                tally.count = 20
                await trio.sleep(seconds)
        return capsys.readouterr().err.splitlines()

    assert await count_for(12, live=True) == [
        "20 received  4.0/s  0:05",
        "20 received  0.0/s  0:10",
        "20 received in 12.0 s, 1.7/s",
    ]
    assert await count_for(4, live=True) == ["20 received in 4.0 s, 5.0/s"]
    assert await count_for(12, live=True, quiet=True) == []
    assert await count_for(12) == await count_for(12, live=False) == []


async def test_an_upload_typed_on_a_terminal(url: str) -> None:
    async with on_terminal("upload", url, "Sum", "--progress") as (terminal, program):
        await terminal.shows("Ctrl-D")
        terminal.type("1\n")
        terminal.type("2\n")
        await terminal.shows("2 sent  ")
        terminal.type("\x04")
        assert (await program.result()).code == 0
        await terminal.shows(r"\n3\r\n")
    assert "2 sent in" in terminal.text


@pytest.mark.parametrize("command", [("upload", "Sum"), ("stream", "Transform", "--stdin")])
async def test_what_is_being_typed_is_not_erased_by_a_live_count(url: str, command: tuple[str, ...]) -> None:
    async with on_terminal(command[0], url, *command[1:]) as (terminal, program):
        await terminal.shows("Ctrl-D")
        terminal.type("1\n")
        terminal.type("20")
        with trio.move_on_after(1.5):  # by then the count would be there
            await terminal.shows(r"(sent|received)  |\x1b\[2K")
            pytest.fail(f"it was erased: {terminal.text!r}")
        terminal.type("\n\x04")
        assert (await program.result()).code == 0
        await terminal.shows("2 (sent|received) in|1 sent in|21")


async def test_colour_is_for_terminals_that_want_it(url: str) -> None:
    async with on_terminal("invoke", "http://127.0.0.1:1/hub", "Add") as (terminal, program):
        assert (await program.result()).code == 3
        await terminal.shows("hint")
        assert COLOUR.search(terminal.text)
    async with on_terminal("invoke", "http://127.0.0.1:1/hub", "Add", env={"NO_COLOR": "1"}) as (terminal, program):
        assert (await program.result()).code == 3
        await terminal.shows("hint")
        assert not re.search(r"\x1b\[[0-9;]*3[0-9][;m]", terminal.text)
    piped = await run_program("invoke", "http://127.0.0.1:1/hub", "Add")
    assert "\x1b" not in piped.err


async def test_what_a_server_says_does_not_reach_the_terminal_as_a_command(server: HubServer, url: str) -> None:
    from trio_signalr import HubException

    @server.method
    async def Trick() -> None:
        raise HubException("\x1b]0;owned\x07 \x9b31m [red]not markup[/red]")

    @server.method
    async def Sly() -> str:
        return "\x9b31m\x7f"

    async with on_terminal("invoke", url, "Trick", env={"NO_COLOR": "1"}) as (terminal, program):
        assert (await program.result()).code == 1
        await terminal.shows("not markup")
    assert r"\x1b]0;owned\x07 \x9b31m [red]not markup[/red]" in terminal.text
    async with on_terminal("invoke", url, "Sly") as (terminal, program):
        assert (await program.result()).code == 0
        await terminal.shows(r"31m")
    assert r'"\u009b31m\u007f"' in terminal.text


async def test_logs_are_shown_when_asked_for(url: str) -> None:
    quiet, some, more = [await run_program("invoke", url, "Add", "1", "2", *given) for given in ((), ("-v",), ("-vv",))]
    assert quiet.err == ""
    assert f"connected to {url}, json over websockets\n" in some.err
    assert "HTTP Request" not in some.err
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} httpx +HTTP Request: POST http\S+/hub/negotiate ", more.err, re.M)
    assert "?" not in more.err, "no query of a URL, where the connection token is"
