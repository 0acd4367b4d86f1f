"""Each command as a program, with pipes, against HubServer on a port. The real server: tests/aspnetcore."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.cli.programs import COMMAND, Result, environment, run_program, start_program
from trio_signalr.messages import CancelInvocation, Close, Invocation, StreamItem
from trio_signalr.testing import HubServer

ROOT = Path(__file__).parents[2]
PROTOCOLS = pytest.mark.parametrize("protocol", ["json", "messagepack"])


async def run_all(*lines: tuple[str, ...], stdin: bytes = b"") -> list[Result]:
    """Run several programs side by side."""
    results: list[Result | None] = [None] * len(lines)

    async def run(index: int) -> None:
        results[index] = await run_program(*lines[index], stdin=stdin)

    async with trio.open_nursery() as nursery:
        for index in range(len(lines)):
            nursery.start_soon(run, index)
    return [result for result in results if result is not None]


@PROTOCOLS
async def test_invoke_prints_what_the_method_returns_and_nothing_else(url: str, protocol: str) -> None:
    p = ("-p", protocol)
    total, text, value, nothing = await run_all(
        ("invoke", url, "Add", "1", "-2", *p),
        ("invoke", url, "Echo", "hello", *p),
        ("invoke", *p, url, "Echo", '{"name": ["ünï", null, 1.5]}'),
        ("invoke", *p, url, "JoinGroup", "tea"),
    )
    assert (total.code, total.out, total.err) == (0, b"-1\n", "")
    assert (text.code, text.out, text.err) == (0, b'"hello"\n', "")
    assert (value.code, value.out) == (0, '{"name":["ünï",null,1.5]}\n'.encode())
    assert (nothing.code, nothing.out) == (0, b"null\n")


async def test_what_messagepack_has_and_json_lacks_is_printed_as_json_has_it(url: str) -> None:
    done = await run_program("stream", url, "Values", "-p", "messagepack")
    assert done.lines == [{"bytes": "AP8=", "nan": "NaN", "text": "ünï\n", "none": None}]


@PROTOCOLS
async def test_a_method_that_fails_is_told_by_the_code_and_in_its_words(url: str, protocol: str) -> None:
    failed, streams, plain = await run_all(
        ("invoke", url, "FailPublic", "-p", protocol),
        ("invoke", url, "Counter", "1", "1", "-p", protocol),
        ("stream", url, "Add", "1", "1", "-p", protocol),
    )
    assert [each.code for each in (failed, streams, plain)] == [1, 1, 1]
    assert [each.out for each in (failed, streams, plain)] == [b"", b"", b""]
    assert failed.err.startswith("error: FailPublic failed: ")
    assert failed.err.endswith("HubException: public message\n")
    assert "use trio-signalr stream" in streams.err
    assert "use trio-signalr invoke" in plain.err


async def test_send_arrives_and_prints_nothing(url: str, server: HubServer) -> None:
    async with server.events() as events:
        done = await run_program("send", url, "SendToGroup", "tea", "message", '{"text": 1}')
        client = (await events.receive()).client
    assert (done.code, done.out, done.err) == (0, b"", "")
    (message,) = client.messages(Invocation)
    assert message.invocation_id is None
    assert message.arguments == ["tea", "message", {"text": 1}]
    assert client.messages(Close), "it said goodbye"


@PROTOCOLS
async def test_stream_prints_a_line_for_each_item(url: str, protocol: str) -> None:
    some, many, limited = await run_all(
        ("stream", url, "Counter", "3", "1", "-p", protocol),
        ("stream", url, "Counter", "20000", "0", "-p", protocol),
        ("stream", url, "Counter", "1000000", "0", "-p", protocol, "--limit", "2500"),
    )
    assert (some.code, some.out, some.err) == (0, b"0\n1\n2\n", "")
    assert (many.code, many.lines) == (0, list(range(20_000)))
    assert (limited.code, limited.lines) == (0, list(range(2500)))


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
async def test_pipes_that_somebody_has_made_non_blocking(url: str) -> None:
    from_program, to_us = os.pipe()
    to_program, from_us = os.pipe()
    for end in (to_us, to_program):
        os.set_blocking(end, False)
    args = ("stream", url, "Transform", "--stdin", "--buffer", "inf")
    async with start_program(*args, stdin=to_program, stdout=to_us) as program:
        os.close(to_us)
        os.close(to_program)
        with open(from_us, "wb") as writer:  # noqa: ASYNC230 - in threads
            await trio.to_thread.run_sync(writer.writelines, [b"%d\n" % number for number in range(20_000)])
        with open(from_program, "rb") as reader:  # noqa: ASYNC230
            printed = await trio.to_thread.run_sync(reader.read)
        done = await program.result()
    assert (done.code, done.err) == (0, "")
    assert printed.split() == [b"%d" % (2 * number) for number in range(20_000)]


async def test_an_item_is_printed_as_soon_as_it_is_there(url: str) -> None:
    async with start_program("stream", url, "HeldCounter", "2") as program:
        assert [await program.line(), await program.line()] == [0, 1]


async def test_a_limit_stops_the_method(url: str, server: HubServer) -> None:
    async with server.events() as events:
        done = await run_program("stream", url, "HeldCounter", "5", "-n", "2")
        client = (await events.receive()).client
    assert (done.code, done.out, done.err) == (0, b"0\n1\n", "")
    assert len(client.messages(CancelInvocation)) == 1


@PROTOCOLS
async def test_upload_sends_lines_and_prints_the_result(url: str, protocol: str, tmp_path: Path) -> None:
    numbers = b"".join(b"%d\n" % number for number in range(20_000))
    piped = await run_program("upload", url, "Sum", "-p", protocol, stdin=numbers)
    assert (piped.code, piped.lines, piped.err) == (0, [sum(range(20_000))], "")

    path = tmp_path / "numbers"
    path.write_bytes(b"\xef\xbb\xbf1\n\n 2\r\n3")  # a mark of Windows editors, an empty line, no newline at the end
    with path.open("rb") as file:
        from_file = await run_program("upload", url, "Sum", "-p", protocol, stdin=file.fileno())
    assert (from_file.code, from_file.lines) == (0, [6])

    words = await run_program("upload", url, "UploadStream", "--text", "-p", protocol, stdin='ünï\n"x"\n\n1'.encode())
    assert (words.code, words.lines) == (0, ['ünï "x"  1'])


async def test_upload_sends_each_line_as_it_comes(url: str, server: HubServer) -> None:
    async with server.events() as events:
        async with start_program("upload", url, "Sum", stdin=subprocess.PIPE) as program:
            assert program.process.stdin is not None
            client = (await events.receive()).client
            await program.process.stdin.send_all(b"1\n2")
            while not client.messages(StreamItem):
                await events.receive()
            assert [item.item for item in client.messages(StreamItem)] == [1], "the second line is not complete"
            await program.process.stdin.send_all(b"0\n")
            await program.process.stdin.aclose()
            assert (await program.result()).lines == [21]


async def test_upload_stops_reading_when_the_method_is_done(url: str) -> None:
    async with start_program("upload", url, "First", stdin=subprocess.PIPE) as program:
        assert program.process.stdin is not None
        await program.process.stdin.send_all(b"7\n")
        done = await program.result()  # and standard input stays open
    assert (done.code, done.lines, done.err) == (0, [7], "")


async def test_a_line_that_is_no_json_is_told_by_its_number_after_what_came_before(url: str, server: HubServer) -> None:
    async with server.events() as events:
        done = await run_program("upload", url, "Sum", stdin=b"1\n2\nthree\n4\n")
        client = (await events.receive()).client
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: line 3 of standard input cannot be read: ")
    assert "--text" in done.err
    assert [item.item for item in client.messages(StreamItem)] == [1, 2]


async def test_an_argument_that_the_protocol_cannot_encode_is_wrong_usage(url: str) -> None:
    done = await run_program("invoke", url, "Echo", str(2**70), "-p", "messagepack")
    assert (done.code, done.out) == (2, b"")
    assert "$.arguments[0]" in done.err


async def test_stream_and_upload_in_one_call(url: str) -> None:
    done = await run_program("stream", url, "Transform", "--stdin", stdin=b"1\n2\n3\n")
    assert (done.code, done.out, done.err) == (0, b"2\n4\n6\n", "")


@PROTOCOLS
async def test_listen_prints_what_is_called_after_calling_first(url: str, server: HubServer, protocol: str) -> None:
    options = ("--call", "JoinGroup tea", "--call", 'JoinGroup "tea time"', "-p", protocol, "-n", "3")
    async with start_program("listen", url, "message", "joined", *options) as program:
        await program.says("listening for message, joined")
        await server.group("tea").send("message", "hello", 2)
        assert await program.line() == {"target": "message", "arguments": ["hello", 2]}
        await server.group("tea time").send("joined")
        assert await program.line() == {"target": "joined", "arguments": []}
        await server.group("tea").send("nobody listens to this")
        await server.group("tea").send("message", {"a": [None]})
        done = await program.result()
    assert (done.code, done.lines) == (0, [{"target": "message", "arguments": [{"a": [None]}]}])
    first, warning = done.err.splitlines()
    assert first == "listening for message, joined"
    assert "the server calls 'nobody listens to this', for which there is no handler" in warning


async def test_listen_answers_a_server_that_asks(url: str, server: HubServer) -> None:
    async with start_program("listen", url, "question", "--answer", '{"yes": true}', "-q") as program:
        async with server.events() as events:
            client = (await events.receive()).client
        answer = await client.invoke("question", "Milk?")
        assert answer == {"yes": True}
        assert await program.line() == {"target": "question", "arguments": ["Milk?"]}


async def test_a_call_before_listening_that_fails_is_a_method_that_failed(url: str) -> None:
    done = await run_program("listen", url, "message", "--call", "FailPublic")
    assert (done.code, done.out) == (1, b"")
    assert "public message" in done.err


async def test_listen_calls_again_after_a_reconnect(url: str, server: HubServer) -> None:
    async with server.events() as events:
        options = ("--call", "JoinGroup tea", "--reconnect")
        async with start_program("listen", url, "message", *options) as program:
            await program.says("listening")
            client = (await events.receive()).client
            await client.drop()
            await program.says("connected again")
            await server.group("tea").send("message", 1)
            assert await program.line() == {"target": "message", "arguments": [1]}
            program.interrupt()
            done = await program.result()
    assert done.code == 130
    assert "connection lost, trying to reconnect: " in done.err
    assert server.client(client.connection_id).error is not None


async def test_demo_serves_the_hub_that_its_hints_call() -> None:
    async with start_program("demo", "--port", "0") as demo:
        url = await demo.line()
        await demo.says("Ctrl-C ends it.")
        added, counted, stopped = await run_all(
            ("invoke", url, "Add", "1", "2"),
            ("stream", url, "Counter", "3", "0"),
            ("stream", url, "Counter", "1000", "10", "-n", "1", "--stateful-reconnect"),
        )
        assert (added.lines, counted.lines, stopped.lines) == ([3], [0, 1, 2], [0])
        await demo.says("Counter was told to stop")
        taken = await run_program("demo", "--port", url.split(":")[2].split("/")[0])
        assert taken.code == 2
        assert "there is no listening at 127.0.0.1" in taken.err
        demo.interrupt()
        done = await demo.result()
    assert (done.code, done.out) == (130, b"")
    assert f"trio-signalr stream {url} Counter 10 500\n" in done.err
    assert "Traceback" not in done.err


async def test_closed_standard_streams_are_told_and_not_mistaken_for_others(url: str) -> None:
    def shell(redirection: str) -> list[str]:
        command = f"exec python -m trio_signalr upload {url} Sum {redirection}"
        return ["sh", "-c", command]

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for redirection, text in (("<&-", b"standard input is closed"), ("</dev/null >&-", b"standard output is closed")):
        done = await trio.run_process(
            shell(redirection), capture_stderr=True, check=False, env={**os.environ, "PATH": path}
        )
        assert (done.returncode, text in done.stderr) == (2, True)


def sessions() -> list[tuple[str, str]]:
    """Each command that docs/command-line.md shows, and what it prints."""
    page = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.M | re.S):
        for entry in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, printed = entry.partition("\n")
            found.append((command, printed))
    return found


async def test_the_sessions_in_the_docs_are_real(url: str) -> None:
    shown = sessions()
    assert len(shown) > 10
    results: dict[str, str] = {}

    async def run(command: str) -> None:
        line = command.replace("http://localhost:5000/hub", url).replace("trio-signalr", " ".join(COMMAND))
        done = await trio.run_process(
            ["sh", "-c", line], capture_stdout=True, stderr=subprocess.STDOUT, env=environment(), check=False
        )
        results[command] = done.stdout.decode()

    async with trio.open_nursery() as nursery:
        for command, _ in shown:
            nursery.start_soon(run, command)
    assert results == dict(shown)
