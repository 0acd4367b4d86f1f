"""How a command ends that does not end by itself: interrupted, unread, unanswered, cut off. Never with a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.cli.programs import COMMAND, LIMIT, Program, environment, make_hub, run_program, start_program
from trio_signalr._cli.running import run_job
from trio_signalr._cli.screen import Screen
from trio_signalr.messages import CancelInvocation, Close, Completion
from trio_signalr.testing import Called, Client, Connected, Disconnected, HubServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals and pipes")


@asynccontextmanager
async def calling(
    server: HubServer, *args: str, stdin: int = subprocess.DEVNULL
) -> AsyncIterator[tuple[Program, Client]]:
    """A program that has called its method, and the server's side of it."""
    async with server.events() as events, start_program(*args, stdin=stdin) as program:
        with trio.fail_after(LIMIT):
            while not isinstance(event := await events.receive(), Called):
                pass
        yield program, event.client


# Interrupted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_cancels_the_stream_and_says_goodbye(
    server: HubServer, url: str, number: signal.Signals, code: int
) -> None:
    async with calling(server, "stream", url, "HeldCounter", "3") as (program, client):
        assert [await program.line() for _ in range(3)] == [0, 1, 2]
        program.interrupt(number)
        done = await program.result()
    assert (done.code, done.out, done.err) == (code, b"", "")
    assert [type(each) for each in client.messages(CancelInvocation, Close)] == [CancelInvocation, Close]


async def test_interrupted_while_waiting_for_an_answer_or_for_calls(server: HubServer, url: str) -> None:
    async with calling(server, "invoke", url, "Hold") as (program, client):
        program.interrupt()
        done = await program.result()
    assert (done.code, done.out, done.err) == (130, b"", "")
    assert len(client.messages(CancelInvocation)) == 1
    async with start_program("listen", url, "message") as program:
        await program.says("listening")
        program.interrupt()
        done = await program.result()
    assert (done.code, done.out, done.err) == (130, b"", "listening for message\n")


async def test_interrupted_while_waiting_for_standard_input(server: HubServer, url: str) -> None:
    async with calling(server, "upload", url, "Sum", stdin=subprocess.PIPE) as (program, client):
        program.interrupt()
        done = await program.result()
    assert (done.code, done.out, done.err) == (130, b"", "")
    cancel, completion, close = client.messages(CancelInvocation, Completion, Close)
    assert isinstance(cancel, CancelInvocation)
    assert isinstance(completion, Completion)
    assert completion.error, "the hub method must not take it for all there was"
    assert isinstance(close, Close)


@asynccontextmanager
async def endless_input() -> AsyncIterator[int]:
    """A pipe that somebody writes into for ever."""
    yes = await trio.lowlevel.open_process(["yes", "1"], stdout=subprocess.PIPE)
    assert isinstance(yes.stdout, trio.lowlevel.FdStream)
    try:
        yield yes.stdout.fileno()
    finally:
        yes.kill()
        await yes.wait()
        await yes.stdout.aclose()


async def test_interrupted_while_uploading_endless_input(server: HubServer, url: str) -> None:
    async with endless_input() as stdin, calling(server, "upload", url, "Sum", stdin=stdin) as (program, client):
        program.interrupt()
        done = await program.result()
    assert (done.code, done.out, done.err) == (130, b"", "")
    assert len(client.messages(CancelInvocation)) == 1


async def test_a_second_signal_does_not_wait_for_the_goodbye(server: HubServer, url: str) -> None:
    options = ("--close-timeout", "60")
    async with endless_input() as stdin:
        async with calling(server, "upload", url, "Sum", *options, stdin=stdin) as (program, client):
            client.stall()
            await trio.sleep(0.5)  # what is sent fills all buffers on the way
            program.interrupt()
            with trio.move_on_after(0.5):
                await program.process.wait()
            assert program.process.returncode is None, "it is saying goodbye, but nobody listens"
            program.interrupt()
            done = await program.result()
            client.resume()
    assert (done.code, done.err) == (130, "")


async def test_interrupted_while_connecting(server: HubServer, url: str) -> None:
    async with server.events() as events:
        server.ignore_handshake()
        async with start_program("stream", url, "Counter", "3", "0") as program:
            with trio.move_on_after(1):  # nothing tells when it waits for the handshake
                await events.receive()
            program.interrupt()
            done = await program.result()
    assert (done.code, done.out, done.err) == (130, b"", "")


def test_interrupted_while_the_command_line_is_loaded() -> None:
    """But not while trio_signalr itself is, which comes before and takes longer: then Python shows a traceback."""
    program = """
import signal, sys
import trio_signalr._cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "trio_signalr._cli.program":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
sys.exit(trio_signalr._cli.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("args", [["--version"], ["invoke", "http://127.0.0.1:1/hub", "Add"]])
def test_interrupted_when_all_is_done(args: list[str]) -> None:
    program = f"""
import atexit, signal, sys
import trio_signalr._cli
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(signal.raise_signal, signal.SIGINT)
sys.argv[1:] = {args}
sys.exit(trio_signalr._cli.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment())
    assert done.returncode == (0 if args == ["--version"] else 3)
    assert b"KeyboardInterrupt" not in done.stderr


# Unread


async def test_the_reader_of_a_fast_stream_goes(server: HubServer, url: str) -> None:
    async with server.events() as events:
        command = f"{' '.join(COMMAND)} stream {url} Counter 1000000 0 | head -3"
        done = await trio.run_process(
            ["sh", "-c", command], capture_stdout=True, capture_stderr=True, env=environment(), check=False
        )
        client = (await events.receive()).client
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n1\n2\n", b"")
    assert [type(each) for each in client.messages(CancelInvocation, Close)] == [CancelInvocation, Close]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only a write tells that the reader is gone")
@pytest.mark.parametrize("command", [("stream", "HeldCounter", "1"), ("listen", "message")])
async def test_the_reader_goes_while_there_is_nothing_to_write(
    server: HubServer, url: str, command: tuple[str, ...]
) -> None:
    async with server.events() as events, start_program(command[0], url, *command[1:]) as program:
        client = (await events.receive()).client
        if command[0] == "stream":
            await program.line()
        else:
            await program.says("listening")
        assert program.process.stdout is not None
        await program.process.stdout.aclose()
        done = await program.result()
    assert done.code == 0
    assert "Traceback" not in done.err
    assert client.messages(Close)


async def test_a_reader_that_is_gone_does_not_stop_what_was_asked_for_besides(server: HubServer, url: str) -> None:
    async with calling(server, "upload", url, "Sum", stdin=subprocess.PIPE) as (program, client):
        assert program.process.stdout is not None
        assert program.process.stdin is not None
        await program.process.stdout.aclose()
        await program.process.stdin.send_all(b"1\n2\n")
        await program.process.stdin.aclose()
        done = await program.result()
    assert (done.code, done.err) == (0, "")
    assert not client.messages(CancelInvocation), "the upload came through"


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
async def test_a_reader_that_does_not_read_makes_the_server_wait_and_keeps_the_connection(
    server: HubServer, url: str, kind: str
) -> None:
    produced = 0

    @server.method
    async def Flood() -> AsyncIterator[str]:
        nonlocal produced
        while True:
            produced += 1
            yield "x" * 1000

    read_end, write_end = os.pipe() if kind == "pipe" else os.openpty()
    streams: dict[str, Any] = {"stdout": write_end} if kind == "pipe" else {"stdout": write_end, "stderr": write_end}
    async with (
        server.events() as events,
        start_program("stream", url, "Flood", "--keep-alive-interval", "0.2", **streams) as program,
    ):
        os.close(write_end)
        client = (await events.receive()).client
        await trio.sleep(2)  # by then all buffers on the way are full
        before, pings = produced, len(client.received)
        await trio.sleep(1.5)
        assert produced == before > 0, "the server waits"
        assert len(client.received) >= pings + 4, "pings go on"
        program.interrupt()
        with trio.fail_after(LIMIT):
            assert await program.process.wait() == 130
        os.close(read_end)


@pytest.mark.skipif(sys.platform != "linux", reason="no /dev/full")
async def test_an_output_that_cannot_be_written_is_told(url: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    async with start_program("invoke", url, "Add", "1", "2", stdout=full) as program:
        done = await program.result()
    os.close(full)
    assert (done.code, done.err) == (2, "error: standard output cannot be written: No space left on device\n")


# Not connected, and cut off


async def test_what_keeps_from_connecting(server: HubServer, url: str) -> None:
    nobody = await run_program("stream", "http://127.0.0.1:1/hub", "Counter", "1", "1")
    assert (nobody.code, nobody.out) == (3, b"")
    assert "Connection refused\nhint:  is the server running" in nobody.err
    no_hub = await run_program("invoke", url + "/elsewhere", "Add", "1", "2")
    assert (no_hub.code, "404" in no_hub.err) == (3, True)
    server.refuse("not today")
    refused = await run_program("invoke", url, "Add", "1", "2")
    assert (refused.code, refused.out) == (3, b"")
    assert "not today" in refused.err
    server.ignore_handshake()
    ignored = await run_program("invoke", url, "Add", "1", "2", "--handshake-timeout", "0.2")
    assert (ignored.code, ignored.err.startswith("error: ")) == (3, True)
    server.require_token("secret")
    unknown = await run_program("listen", url, "message")
    assert (unknown.code, "TRIO_SIGNALR_TOKEN" in unknown.err) == (3, True)


@pytest.mark.parametrize("command", [("stream", "HeldCounter", "2"), ("invoke", "Hold"), ("upload", "Sum")])
async def test_a_lost_connection(server: HubServer, url: str, command: tuple[str, ...]) -> None:
    async with calling(server, command[0], url, *command[1:], stdin=subprocess.PIPE) as (program, client):
        if command[0] == "stream":
            assert [await program.line(), await program.line()] == [0, 1]
        await client.drop()
        done = await program.result()
    assert (done.code, done.out) == (4, b"")
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err


async def test_a_server_that_is_killed_and_what_it_sent_before() -> None:
    async with start_program("demo", "--port", "0") as demo:
        url = await demo.line()
        async with start_program("listen", url, "message", "--call", "JoinGroup tea") as listener:
            await listener.says("listening")
            await run_program("send", url, "SendToGroup", "tea", "message", "last")
            assert await listener.line() == {"target": "message", "arguments": ["last"]}
            demo.process.kill()
            done = await listener.result()
    assert (done.code, done.out) == (4, b"")
    assert "Traceback" not in done.err


async def test_a_server_that_says_nothing_any_more(server: HubServer, url: str) -> None:
    async with calling(server, "invoke", url, "Hold", "--server-timeout", "0.3") as (program, client):
        client.stall()
        done = await program.result()
    assert done.code == 4
    assert "0.3" in done.err


async def test_a_stream_is_called_again_after_a_reconnect_and_only_if_asked(server: HubServer, url: str) -> None:
    async with calling(server, "stream", url, "HeldCounter", "2", "--reconnect", "-n", "4") as (program, client):
        assert [await program.line(), await program.line()] == [0, 1]
        await client.drop()
        assert [await program.line(), await program.line()] == [0, 1]
        done = await program.result()
    assert done.code == 0
    assert "HeldCounter will be called again" in done.err


async def test_stateful_reconnect_lets_a_stream_live_on() -> None:
    server = make_hub(stateful_reconnect=True)
    async with server.serve() as url:
        options = ("Counter", "30", "20", "--stateful-reconnect")
        async with calling(server, "stream", url, *options) as (program, client):
            assert await program.line() == 0
            await client.drop()
            done = await program.result()
    assert (done.code, done.lines) == (0, list(range(1, 30)))


def test_a_bug_is_told_with_its_traceback_and_a_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    async def job(run: object) -> None:
        raise ZeroDivisionError("a tok-en in it")

    screen = Screen()
    screen.secrets.add("tok-en")
    assert run_job(job, screen) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert "ZeroDivisionError: a *** in it" in err
    assert "please report it" in err


async def test_nobody_is_left_behind(server: HubServer, url: str) -> None:
    async with server.events() as events:
        await run_program("stream", url, "HeldCounter", "1", "-n", "1")
        kinds = []
        with trio.fail_after(LIMIT):
            while not isinstance(event := await events.receive(), Disconnected):
                kinds.append(type(event))
    assert Connected in kinds
    assert event.client.error is None
