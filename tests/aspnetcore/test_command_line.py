"""The command line as programs, on two servers: the real one and its twin. More of it: tests/cli."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
import trio

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess
from tests.cli.programs import COMMAND, environment, run_program, start_program
from tests.twin import Twin

PROTOCOLS = pytest.mark.parametrize("protocol", ["json", "messagepack"])


@pytest.fixture
def probe(either: HubProcess | Twin) -> Probe:
    """A new event log in that server."""
    return either.probe()


@PROTOCOLS
async def test_each_kind_of_call(either: HubProcess | Twin, probe: Probe, protocol: str) -> None:
    url, p = either.url(), ("-p", protocol)
    added = await run_program("invoke", url, "Add", "1", "-2", *p)
    assert (added.code, added.out, added.err) == (0, b"-1\n", "")
    value = '{"a":[1,"ünï 😀",null],"b":false}'
    echoed = await run_program("invoke", url, "Echo", value, *p)
    assert echoed.out.decode() == value + "\n"
    sent = await run_program("send", url, "Record", probe.name, "told", *p)
    assert (sent.code, sent.out, sent.err) == (0, b"", "")
    assert await probe.wait("told") == ["told"]
    counted = await run_program("stream", url, "Counter", "1000", "0", *p)
    assert (counted.code, counted.lines, counted.err) == (0, list(range(1000)), "")
    joined = await run_program("upload", url, "UploadStream", *p, stdin=b'"hello"\n"world"\n')
    assert (joined.code, joined.lines) == (0, ["hello world"])
    doubled = await run_program("stream", url, "Transform", "--stdin", *p, stdin=b"1\n2\n")
    assert (doubled.code, doubled.lines) == (0, [2, 4])
    failed = await run_program("stream", url, "FailingStreamPublic", "2", *p)
    assert (failed.code, failed.lines) == (1, [0, 1])
    assert "public message" in failed.err


async def told(probe: Probe) -> tuple[list[str], str]:
    """What was told of a stream that the client has left, and how far it had come; which of the last two comes first is
    the server's to say."""
    await probe.wait("finished")
    events = await probe.wait("disconnected")
    last = sorted(events[3:])
    assert last[0] == "disconnected"
    return events[:3], last[1]


@PROTOCOLS
@pytest.mark.parametrize("real", ["aspnetcore"], indirect=True)
async def test_a_closed_pipe_fires_the_cancellation_token(
    either: HubProcess | Twin, probe: Probe, protocol: str
) -> None:
    await probe.events()
    url = either.url(probe=probe.name)
    command = f"{' '.join(COMMAND)} stream -p {protocol} '{url}' WatchedCounter {probe.name} 1000000 0 | head -3"
    with trio.fail_after(10):
        done = await trio.run_process(
            ["sh", "-c", command], capture_stdout=True, capture_stderr=True, env=environment(), check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n1\n2\n", b"")
    began, finished = await told(probe)
    assert began == ["connected", "started", "cancelled"], "and goodbye was said"
    assert int(finished.removeprefix("finished: ")) < 1_000_000


@PROTOCOLS
async def test_an_interrupt_fires_the_cancellation_token(
    either: HubProcess | Twin, probe: Probe, protocol: str
) -> None:
    url = either.url(probe=probe.name)
    async with start_program("stream", url, "HeldCounter", probe.name, "2", "-p", protocol) as program:
        assert [await program.line(), await program.line()] == [0, 1]
        program.interrupt()
        done = await program.result()
    assert (done.code, done.out, done.err) == (130, b"", "")
    assert await told(probe) == (["connected", "started", "cancelled"], "finished: 2")


@PROTOCOLS
async def test_an_interrupted_upload_ends_with_an_error(either: HubProcess | Twin, probe: Probe, protocol: str) -> None:
    url = either.url(probe=probe.name)
    args = ("upload", url, "UploadWatched", probe.name, "-p", protocol)
    async with start_program(*args, stdin=subprocess.PIPE) as program:
        assert program.process.stdin is not None
        await program.process.stdin.send_all(b"1\n2\n")
        await probe.wait("item: 2")
        program.interrupt()
        done = await program.result()
    assert (done.code, done.out, done.err) == (130, b"", "")
    await probe.wait("reader failed")
    assert "reader ended" not in await probe.wait("disconnected")


@PROTOCOLS
async def test_listen_hears_a_group(either: HubProcess | Twin, protocol: str) -> None:
    url, group = either.url(), either.probe().name
    args = ("listen", url, "message", "--call", f"JoinGroup {group}", "-p", protocol, "-n", "2")
    async with start_program(*args) as program:
        await program.says("listening for message")
        for value in ("1", '{"text": "ünï"}'):
            assert (await run_program("send", url, "SendToGroup", group, "message", value, "-p", protocol)).code == 0
        done = await program.result()
    assert (done.code, done.err) == (0, "listening for message\n")
    assert done.lines == [
        {"target": "message", "arguments": [1]},
        {"target": "message", "arguments": [{"text": "ünï"}]},
    ]


@PROTOCOLS
async def test_listen_answers_a_server_that_asks(either: HubProcess | Twin, protocol: str) -> None:
    call = 'AskMe question "Milk?"'
    done = await run_program(
        "listen", either.url("/parallel"), "question", "--call", call, "--answer", "Yes", "-n", "1", "-p", protocol
    )
    assert (done.code, done.lines) == (0, [{"target": "question", "arguments": ["Milk?"]}])


@pytest.mark.parametrize("real", ["aspnetcore"], indirect=True)
async def test_values_of_net_are_printed_the_same_over_both_protocols(either: HubProcess | Twin) -> None:
    over_json = await run_program("stream", either.url(), "Objects", "2")
    over_messagepack = await run_program("stream", either.url(), "Objects", "2", "-p", "messagepack")
    assert over_json.lines[1] == {
        "id": 1,
        "name": "item 1",
        "value": 0.25,
        "flag": False,
        "stamp": "2024-01-02T03:04:06Z",
    }
    assert [{key.lower(): value for key, value in each.items()} for each in over_messagepack.lines] == over_json.lines


@pytest.mark.parametrize("real", ["aspnetcore"], indirect=True)
async def test_tokens_of_the_environment_and_of_a_command(either: HubProcess | Twin) -> None:
    url = either.url("/authorized")
    by_environment = await run_program("invoke", url, "UserName", "-vv", env={"TRIO_SIGNALR_TOKEN": "good-and-secret"})
    assert (by_environment.code, by_environment.lines) == (0, ["tester"])
    by_command = await run_program("invoke", url, "UserName", "-vv", "--token-command", "echo good-and-$((6*7))")
    assert (by_command.code, by_command.lines) == (0, ["tester"])
    assert "good-and" not in by_environment.err
    assert "good-and-42" not in by_command.err
    without = await run_program("invoke", url, "UserName")
    assert (without.code, "401" in without.err) == (3, True)


async def test_a_server_that_is_killed(start_aspnetcore: Callable[..., HubProcess]) -> None:
    server = await trio.to_thread.run_sync(start_aspnetcore)
    async with start_program("stream", server.url(), "Counter", "1000", "50") as program:
        assert await program.line() == 0
        await trio.to_thread.run_sync(server.kill)
        done = await program.result()
    assert done.code == 4
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
