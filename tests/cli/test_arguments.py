"""What words on the command line turn into: values, calls, options; and what values look like when they are printed."""

from __future__ import annotations

import math
import re
import ssl
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from tests.transports.tls import CERTIFICATE, KEY
from trio_signalr import ExponentialBackoff, RetryDelays
from trio_signalr._cli import input as standard_input, program
from trio_signalr._cli.exits import EXIT_CODES, CommandError, Exit
from trio_signalr._cli.input import Lines
from trio_signalr._cli.options import Common
from trio_signalr._cli.screen import Screen
from trio_signalr._cli.tally import Tally
from trio_signalr._cli.tokens import TokenCommand
from trio_signalr._cli.values import read_argument, read_call, to_lines
from trio_signalr._http import clients

# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1.5", -1.5),
        (" 2 ", 2),
        ("true", True),
        ("null", None),
        ('"7"', "7"),
        ('{"a": [1, {"b": "ü"}]}', {"a": [1, {"b": "ü"}]}),
        ("hello", "hello"),
        ("True", "True"),
        ("01", "01"),
        ("1 2", "1 2"),
        ("NaN", "NaN"),
        ("{a: 1}", "{a: 1}"),
        ("", ""),
        ("ünï", "ünï"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_an_argument_is_json_or_the_string_that_it_looks_like(text: str, value: object) -> None:
    assert read_argument(text, "messagepack") == value
    read = read_argument(text, "json")
    assert (msgspec.json.decode(read) if isinstance(read, msgspec.Raw) else read) == value


def test_json_is_passed_on_digit_by_digit() -> None:
    assert read_argument("0.10000000000000000000001", "json") == msgspec.Raw(b"0.10000000000000000000001")
    assert to_lines([msgspec.Raw(b"79228162514264337593543950335.10")]) == b"79228162514264337593543950335.10\n"


def test_an_argument_in_another_encoding_is_refused() -> None:
    with pytest.raises(CommandError, match="UTF-8"):
        read_argument("\udcfc", "json")


@pytest.mark.parametrize(
    ("text", "method", "arguments"),
    [
        ("Ready", "Ready", []),
        ("  JoinGroup   tea  ", "JoinGroup", ["tea"]),
        ('JoinGroup "tea time" 7', "JoinGroup", ["tea time", 7]),
        ('Join {"a": [1, 2], "b": " "} x {y', "Join", [{"a": [1, 2], "b": " "}, "x", "{y"]),
        ("Add 1 -2", "Add", [1, -2]),
        ("Tell 1a [1]2", "Tell", ["1a", "[1]2"]),
    ],
)
def test_a_call_in_one_text(text: str, method: str, arguments: list[object]) -> None:
    assert read_call(text, "messagepack") == (method, arguments)


def test_a_call_without_a_method() -> None:
    with pytest.raises(CommandError):
        read_call("  ", "json")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "null"),
        ("ü\u2028\n", '"ü\u2028\\n"'),
        (b"\x00\xff", '"AP8="'),
        (datetime(2024, 1, 2, 3, 4, 5, 600, UTC), '"2024-01-02T03:04:05.000600Z"'),
        ([math.nan, math.inf, {"x": -math.inf}, None], '["NaN","Infinity",{"x":"-Infinity"},null]'),
        ({1: "a", None: "b", (1, 2): "c", b"k": "d"}, '{"1":"a","null":"b","[1,2]":"c","aw==":"d"}'),
        (msgspec.msgpack.Ext(5, b"abc"), '{"type":5,"data":"YWJj"}'),
        (2**64 - 1, "18446744073709551615"),
        (msgspec.Raw(b'{ "a b":\n 1.0, "b": "\\u00fc\\n" }'), '{"a b":1.0,"b":"ü\\n"}'),
        (msgspec.Raw(b'{"t":"\\u0041","n":1e99999999999999999999}'), '{"t":"A","n":1e99999999999999999999}'),
        (msgspec.Raw(b'["\\u0041", -0, -0.0, 1E5, 0.1e1, 1.10]'), '["A",-0,-0.0,1E5,0.1e1,1.10]'),
        (msgspec.Raw(b'{"\\u0061":1,\r\n"a":2}'), '{"a":1,"a":2}'),
        (
            msgspec.Raw(b'["\\ud800", "\\ud83d\\ude00", "\\u0000\\\\u0041"]'),
            '["\\ud800","\U0001f600","\\u0000\\\\u0041"]',
        ),
        (msgspec.Raw(b'["a  \\" b\\\\", \t"\\n", ""]'), '["a  \\" b\\\\", \t"\\n", ""]'),
        (msgspec.Raw(b"[" * 5000 + b'"\\u0041"' + b"]" * 5000), "[" * 5000 + '"A"' + "]" * 5000),
        (msgspec.Raw(b'"\xff"'), '"\ufffd"'),
        ({"target": "t", "arguments": (msgspec.Raw(b"[ 1,\n2]"),)}, '{"target":"t","arguments":[[1,2]]}'),
    ],
)
def test_a_value_is_printed_as_one_line_of_json(value: object, line: str) -> None:
    assert to_lines([value]).decode() == line + "\n"
    assert to_lines([1, value, "x"] if not isinstance(value, msgspec.Raw) else [value, value]).count(b"\n") > 1


# Standard input


@pytest.fixture
def lines_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Reads lines, by reads as they are given, and returns the values before the error, and the error's text."""

    async def lines_of(*reads: bytes, protocol: str = "json", as_text: bool = False) -> tuple[list[Any], str]:
        left: Iterable[bytes] = iter([*reads, b""])

        async def read() -> bytes:
            return next(iter(left))

        monkeypatch.setattr(standard_input, "_read", read)
        values: list[Any] = []
        try:
            async for value in Lines(protocol, as_text=as_text, tally=Tally(Screen(), "sent")):
                values.append(msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value)
        except CommandError as error:
            return values, str(error)
        return values, ""

    return lines_of


PRETTY = b'{\n  "a": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
@pytest.mark.parametrize(
    ("data", "values", "number"),
    [
        (b'1\n"a b"\n[1, 2]\n', [1, "a b", [1, 2]], None),
        (b"1\r\n\r\n \t\n2\r\n3", [1, 2, 3], None),
        (b"1 2 3\n", [], 1),
        (b'1\n{"a":1}{"b":2}\n3\n', [1], 2),
        (PRETTY, [], 1),
        (b"1\n\n" + PRETTY * 2, [1], 3),
        (b"[1,\n2] 3\n", [], 1),  # as many values as lines
        (b"1\r2\n", [], 1),
        (b"1\n2\r3\noops\n", [1], 2),
        (b'1\n"\xff"\n', [1], 2),
    ],
)
async def test_a_line_is_a_value_wherever_reads_end(
    lines_of: Any, protocol: str, data: bytes, values: list[Any], number: int | None
) -> None:
    by_bytes = [data[i : i + 1] for i in range(len(data))]
    for reads in ([data], by_bytes, data.splitlines(keepends=True), [data[:5], data[5:]]):
        found, error = await lines_of(*reads, protocol=protocol)
        assert found == values
        assert error.startswith(f"line {number} of standard input cannot be read: ") if number else error == ""


@pytest.mark.parametrize(
    ("reads", "values"),
    [
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"a\r\n", b"b\r\n"], ["a", "b"]),
        ([b"a\r", b"\nb\r\n\r\n"], ["a", "b", ""]),
        ([b"a\rb\n", b"c"], ["a\rb", "c"]),
        ([], []),
    ],
)
async def test_the_ends_of_lines_are_no_part_of_their_text(
    lines_of: Any, reads: list[bytes], values: list[str]
) -> None:
    assert await lines_of(*reads, as_text=True) == (values, "")


async def test_a_text_that_is_not_utf_8_is_told_by_its_line(lines_of: Any) -> None:
    values, error = await lines_of(b"a\rb\r\nc\r\n\xff\r\nd\n", as_text=True)
    assert values == ["a\rb", "c"]
    assert error.startswith("line 3 ")


# Options


def parse(*args: str) -> Any:
    return program.main.main(list(args), standalone_mode=False)


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parses, and returns what the common options came to."""
    seen: list[Common] = []
    original = Common.of

    def of(options: dict[str, Any]) -> Common:
        seen.append(original(options))
        return seen[-1]

    monkeypatch.setattr(Common, "of", of)
    monkeypatch.delenv("TRIO_SIGNALR_TOKEN", raising=False)

    def read(*args: str, command: Sequence[str] = ("invoke", "http://h/hub", "m")) -> Common:
        parse(*command, *args)
        return seen[-1]

    return read


def test_without_options_everything_is_as_in_open_hub(common: Any) -> None:
    target = common().target
    assert (target.url, target.protocol) == ("http://h/hub", "json")
    assert target.options == {"skip_negotiation": False, "headers": {}, "stateful_reconnect": False}


def test_options_of_the_connection(common: Any) -> None:
    options = common(
        *("-t", "long-polling", "--transport", "websockets", "--skip-negotiation", "--stateful-reconnect"),
        *("-H", "X-A: 1", "--header", "X-B:2:3", "--proxy", "http://p:1", "--max-message-size", "1000"),
        *("--server-timeout", "inf", "--keep-alive-interval", "1.5", "--handshake-timeout", "2"),
        *("--close-timeout", "0.5", "--token", "a-token"),
    ).target.options
    assert options == {
        "transports": ("long_polling", "websockets"),
        "skip_negotiation": True,
        "stateful_reconnect": True,
        "headers": {"X-A": "1", "X-B": "2:3"},
        "proxy": "http://p:1",
        "max_message_size": 1000,
        "server_timeout": math.inf,
        "keep_alive_interval": 1.5,
        "handshake_timeout": 2.0,
        "close_timeout": 0.5,
        "access_token": "a-token",
    }


def test_reconnecting(common: Any) -> None:
    some = common("--reconnect").target
    assert isinstance(some.options["reconnect"], RetryDelays)
    assert some.reconnects
    assert isinstance(common("--reconnect-forever").target.options["reconnect"], ExponentialBackoff)


def test_the_token_of_the_environment_and_what_wins_over_it(common: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_SIGNALR_TOKEN", "from-environment")
    assert common().target.options["access_token"] == "from-environment"
    assert common("--token", "from-option").target.options["access_token"] == "from-option"
    assert isinstance(common("--token-command", "x").target.options["access_token"], TokenCommand)


def test_tls(common: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    (tmp_path / "both.pem").write_text(KEY + CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    (tmp_path / "empty.pem").write_text("")
    ca, both, key, empty = (str(tmp_path / f"{name}.pem") for name in ("ca", "both", "key", "empty"))
    context = common("--ca", ca, "--cert", both).target.options["ssl_context"]
    assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "trio_signalr tests"),),)]
    assert context.verify_mode is ssl.CERT_REQUIRED
    trusted = ssl.create_default_context(cafile=ca)  # what SSL_CERT_FILE names
    monkeypatch.setenv("SSL_CERT_FILE", ca)
    with_cert = common("--cert", ca, "--key", key).target.options["ssl_context"]
    assert with_cert.get_ca_certs() == trusted.get_ca_certs(), "a certificate of ours does not change whom we trust"
    assert with_cert is not clients.default_tls(ca, None), "nor what other connections show"
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with pytest.raises(CommandError, match="SSL_CERT_FILE"):
        common("--cert", ca, "--key", key)
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with_cert = common("--cert", ca, "--key", key).target.options["ssl_context"]
    assert len(with_cert.get_ca_certs()) == len(clients.usual_tls().get_ca_certs()) > 20, "certifi's list, as without"
    assert common("--insecure").target.options["ssl_context"].verify_mode is ssl.CERT_NONE
    for wrong in (("--key", key), ("--cert", ca), ("--ca", empty), ("--ca", "/nowhere"), ("--cert", "/nowhere")):
        with pytest.raises(CommandError):
            common(*wrong)


@pytest.mark.parametrize(
    "args",
    [
        ("invoke",),
        ("invoke", "localhost/hub", "m"),
        ("invoke", "ftp://h/", "m"),
        ("invoke", "http://h/"),
        ("listen", "http://h/"),
        ("frobnicate",),
        ("invoke", "http://h/", "m", "--frobnicate"),
        ("invoke", "http://h/", "m", "-p", "xml"),
        ("invoke", "http://h/", "m", "-t", "pigeons"),
        ("invoke", "http://h/", "m", "-H", "no colon"),
        ("invoke", "http://h/", "m", "--server-timeout", "0"),
        ("invoke", "http://h/", "m", "--server-timeout", "nan"),
        ("invoke", "http://h/", "m", "--server-timeout", "-1"),
        ("invoke", "http://h/", "m", "--max-message-size", "1.5"),
        ("stream", "http://h/", "m", "--limit", "0"),
        ("stream", "http://h/", "m", "--buffer", "-1"),
        ("stream", "http://h/", "m", "--overflow", "explode"),
        ("demo", "--port", "70000"),
        ("invoke", "http://h/", "m", "-H", "näme: x"),
        ("listen", "http://h/", "t", "--call", " "),
        ("invoke", "http://h/", "m", "\udcfc"),
        ("invoke", "http://h/", "m", "--skip-negotiation", "-t", "long_polling"),
        ("invoke", "http://a..b/hub", "m"),
    ],
)
def test_wrong_usage_is_told_and_has_code_2(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(list(args)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")


@pytest.mark.parametrize(
    "proxy", ["http://ada:s3cret@[::1", "ada:s3cret@proxy:1", "http://ada:s3cret#@proxy", "s3cret"]
)
def test_a_malformed_proxy_is_wrong_usage_and_not_shown(proxy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["invoke", "http://h/", "m", "--proxy", proxy]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match("error: Invalid value for '--proxy': .*proxy's URL", err)
    assert "s3cret" not in err


def test_help_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    for args in ([], ["--help"], ["-h"], *([name, "--help"] for name in program.main.commands)):
        assert program.run(args) == 0
        out, err = capsys.readouterr()
        assert err == ""
        for code, meaning in EXIT_CODES.items():
            assert f"  {code:<3}  {meaning}\n" in out
    assert {str(int(code)) for code in Exit} == set(EXIT_CODES)
    assert list(program.main.commands) == ["invoke", "send", "stream", "upload", "listen", "demo"]


def test_help_lists_every_option_once(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in program.main.commands.items():
        program.run([name, "--help"])
        out = capsys.readouterr().out
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert out.count(f" {parameter.opts[-1]} ") + out.count(f" {parameter.opts[-1]}\n") >= 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from trio_signalr import __version__

    assert program.run(["--version"]) == 0
    assert capsys.readouterr().out == f"trio-signalr {__version__}\n"


# Without the extra


@pytest.mark.parametrize("missing", ["click", "rich"])
@pytest.mark.parametrize("args", [["--help"], ["invoke", "http://h/", "m"]])
def test_without_the_extra_it_says_what_to_install(
    missing: str, args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import trio_signalr._cli

    for name in list(sys.modules):
        if name.startswith("trio_signalr._cli.") or name.partition(".")[0] == missing:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(sys, "argv", ["trio-signalr", *args])
    assert trio_signalr._cli.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert missing in err
    assert 'pip install "trio-signalr[cli]"' in err


def test_another_missing_module_is_a_bug_and_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import trio_signalr._cli

    monkeypatch.delitem(sys.modules, "trio_signalr._cli.program")
    monkeypatch.setitem(sys.modules, "trio_signalr._cli.listening", None)
    with pytest.raises(ModuleNotFoundError):
        trio_signalr._cli.main()
