"""A token, or another secret, is in nothing that is shown: not in logs with all details, nor in the process list."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.programs import make_hub, run_program, start_program
from trio_signalr._cli.secrets import Secrets
from trio_signalr.testing import HubServer

TOKEN = "tok-3n/very+secret="


def printing(token: str) -> str:
    """A command that prints a token which is not in the command."""
    return f"echo {shlex.quote(token[::-1])} | rev"


def process_list() -> str:
    """The command lines of all processes, as far as the system tells."""
    return subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("transport", ["websockets", "server_sent_events", "long_polling"])
@pytest.mark.parametrize("by", ["environment", "command"])
async def test_a_token_is_only_in_the_authorization_header(transport: str, by: str) -> None:
    server = make_hub()
    server.require_token(TOKEN)
    env = {"TRIO_SIGNALR_TOKEN": TOKEN if by == "environment" else "stale-and-secret-too"}
    options = ["--token-command", printing(TOKEN)] if by == "command" else []
    async with server.serve() as url, server.events() as events:
        args = ("listen", url, "message", "--call", "JoinGroup tea", "-vv", "-t", transport, *options)
        async with start_program(*args, env=env) as program:
            await program.says("listening")
            client = (await events.receive()).client
            # What the kernel shows to everybody; the environment is for the same user only.
            assert TOKEN not in process_list()
            program.interrupt()
            done = await program.result()
    assert client.request is not None
    assert client.request.token == TOKEN
    assert TOKEN not in str(dict(client.request.query))
    assert (done.code, done.out) == (130, b"")
    assert "/negotiate" in done.err, "the details are there, httpx's too"
    for secret in (TOKEN, "3n/very", "3n%2Fvery", "stale-and"):
        assert secret not in done.err


async def test_a_server_that_repeats_the_token_and_a_wrong_one(server: HubServer, url: str) -> None:
    @server.method
    async def Repeat() -> None:
        from trio_signalr import HubException

        raise HubException(f"you are {server.caller.request.token}")

    done = await run_program("invoke", url, "Repeat", "-vv", env={"TRIO_SIGNALR_TOKEN": TOKEN})
    assert done.code == 1
    assert "you are ***" in done.err
    server.require_token("another one")
    done = await run_program("invoke", url, "Repeat", "--token", TOKEN, "-vv")
    assert (done.code, TOKEN in done.err) == (3, False)
    assert "--token-command" in done.err


async def test_passwords_in_urls_and_headers_are_not_shown(url: str) -> None:
    with_secrets = url.replace("://", "://ada:pass-word-1@") + "?access_token=in-the-query"
    header = ("-H", "Authorization: Basic c2VjcmV0", "-H", "X-Api-Key: 12345678")
    done = await run_program("invoke", with_secrets, "Add", "1", "2", "-vv", *header)
    assert (done.code, done.lines) == (0, [3])
    for secret in ("pass-word-1", "in-the-query", "c2VjcmV0", "12345678"):
        assert secret not in done.err


@pytest.mark.parametrize(("transport", "times"), [("long_polling", 1), ("server_sent_events", 1), ("websockets", 2)])
async def test_a_token_command_is_run_anew_at_each_asking(
    server: HubServer, tmp_path: Path, transport: str, times: int
) -> None:
    """So many times for each connecting; a WebSocket is opened with a token of its own."""
    count = tmp_path / "count"
    command = f"echo x >> {shlex.quote(str(count))}; echo token-$(wc -l < {shlex.quote(str(count))} | tr -d ' ')"
    async with server.serve() as url, server.events() as events:
        args = ("listen", url, "message", "--token-command", command, "--reconnect", "-t", transport)
        async with start_program(*args) as program:
            await program.says("listening")
            client = (await events.receive()).client
            await client.drop()
            await program.says("connected again")
    asked = count.read_text().count("x")
    assert asked == 2 * times


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("exit 7", "failed with exit code 7"),
        ("true", "printed nothing"),
        ("echo two words-of-it", "printed what is no token"),
    ],
)
async def test_a_token_command_that_fails_keeps_from_connecting(url: str, command: str, text: str) -> None:
    done = await run_program("invoke", url, "Add", "1", "2", "--token-command", command)
    assert (done.code, done.out) == (3, b"")
    assert text in done.err
    assert "words-of-it" not in done.err


async def test_interrupting_ends_the_token_command_too(url: str) -> None:
    command = "echo pid=$$ >&2; exec sleep 60"
    async with start_program("invoke", url, "Add", "1", "2", "--token-command", command) as program:
        await program.says("\n")
        program.interrupt()
        done = await program.result()
    assert done.code == 130
    assert re.fullmatch(r"pid=\d+\n", done.err)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.err.removeprefix("pid=")), 0)


def test_two_tokens_at_once_are_wrong_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trio_signalr", "invoke", "http://h/", "m", "--token", TOKEN, "--token-command", "x"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, TOKEN in done.stderr) == (2, False)


def test_redacting() -> None:
    secrets = Secrets()
    assert secrets.redact("nothing is known") == "nothing is known"
    secrets.add("abcd", "abcdef", "a/b c", "xyz", None, "")
    secrets.add_header("X-Tenant", "seven")
    secrets.add_header("Cookie", "id=1234567")
    secrets.add_url("http://ada:p%40ss@host/hub?sig=mine&access_token=t%2Bk1")
    text = "abcdef abcd a%2Fb%20c a/b c xyz seven id=1234567 p@ss p%40ss mine t+k1 t%2Bk1"
    assert secrets.redact(text) == "*** *** *** *** xyz seven *** *** *** mine *** ***"
