"""Options as programs obey them, seen from the server, and from what stands between."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.cli.programs import make_hub, run_program, start_program
from tests.gates import open_proxy, open_tls_gate
from tests.transports.tls import CERTIFICATE, KEY, server_context
from trio_signalr._cli.exits import Exit, verdict
from trio_signalr.errors import (
    HandshakeError,
    HubClosed,
    InternalError,
    InvocationError,
    NegotiationError,
    PayloadError,
    ProtocolError,
    ServerTimeout,
    StreamOverflow,
    TransportError,
)
from trio_signalr.testing import HubServer


async def test_transport_protocol_and_headers(server: HubServer, url: str) -> None:
    async with server.events() as events:
        for transport, protocol in (("long_polling", "messagepack"), ("server-sent-events", "json")):
            options = ("-t", transport, "-p", protocol, "-H", "X-Tenant: seven", "-v")
            done = await run_program("invoke", url, "Add", "1", "2", *options)
            client = (await events.receive()).client
            assert (done.code, done.lines) == (0, [3])
            assert client.request is not None
            assert client.request.headers["x-tenant"] == "seven"
            assert (client.transport, client.protocol) == (transport.replace("-", "_"), protocol)
            assert f"{protocol} over {client.transport}" in done.err
            while type(await events.receive()).__name__ != "Disconnected":
                pass


async def test_skipping_negotiation(server: HubServer, url: str) -> None:
    done = await run_program("invoke", url, "Add", "1", "2", "--skip-negotiation", "-vv")
    assert (done.code, done.lines) == (0, [3])
    assert "negotiate" not in done.err


async def test_a_private_authority_and_a_client_certificate(url: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    ca, key = str(tmp_path / "ca.pem"), str(tmp_path / "key.pem")
    port = urlsplit(url).port
    assert port is not None
    async with open_tls_gate(port, server_context(asks_for_certificate=True)) as gate:
        add = ("invoke", f"{gate}/hub", "Add", "1", "2")
        known = await run_program(*add, "--ca", ca, "--cert", ca, "--key", key)
        assert (known.code, known.lines, known.err) == (0, [3], "")
        insecure = await run_program(*add, "--insecure", "--cert", ca, "--key", key)
        assert (insecure.code, insecure.lines) == (0, [3])
        distrusted = await run_program(*add)
        assert (distrusted.code, distrusted.out) == (3, b"")
        assert "name it by --ca" in distrusted.err
        unknown = await run_program(*add, "--ca", ca)
        assert (unknown.code, unknown.out) == (3, b"")


async def test_a_proxy_that_wants_a_password(url: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    port = urlsplit(url).port
    assert port is not None
    async with open_tls_gate(port, server_context()) as gate, open_proxy("ada:pass-word") as proxy:
        add = ("invoke", f"{gate}/hub", "Add", "1", "2", "--ca", str(tmp_path / "ca.pem"), "-vv", "--proxy")
        done = await run_program(*add, proxy.with_credentials("ada:pass-word"))
        assert (done.code, done.lines, "pass-word" in done.err) == (0, [3], False)
        assert proxy.tunnels
        refused = await run_program(*add, proxy.with_credentials("ada:other-word"))
        assert (refused.code, "other-word" in refused.err) == (3, False)


async def test_a_message_that_is_too_large(url: str) -> None:
    done = await run_program("invoke", url, "Echo", "x" * 5000, "--max-message-size", "1000")
    assert (done.code, done.out) == (4, b"")
    assert "1000" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes to leave unread")
async def test_a_reader_that_does_not_read_and_overflow_error() -> None:
    server = make_hub(record=False)
    async with server.serve() as url:
        read_end, write_end = os.pipe()
        options = ("--buffer", "10", "--overflow", "error")
        async with start_program("stream", url, "Counter", "1000000", "0", *options, stdout=write_end) as program:
            os.close(write_end)
            await trio.sleep(1)  # a full pipe, and nobody reads
            with open(read_end, "rb") as reader:  # noqa: ASYNC230 - it is there, and the writer ends
                await trio.to_thread.run_sync(reader.read)
            done = await program.result()
    assert done.code == 2
    assert "--overflow" in done.err


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (NegotiationError("x"), 3, 4),
        (TransportError("x"), 3, 4),
        (HandshakeError("x"), 3, 4),
        (ProtocolError("x"), 3, 4),
        (HubClosed("x"), 3, 4),
        (ServerTimeout("x"), 3, 4),
        (InvocationError("x", method="M"), 1, 1),
        (PayloadError("x"), 2, 2),
        (StreamOverflow("x"), 2, 2),
        (ValueError("x"), 2, None),
        (InternalError("x"), None, None),
        (ZeroDivisionError("x"), None, None),
        (ExceptionGroup("", [HubClosed("x"), InvocationError("x", method="M")]), 3, 4),
        (ExceptionGroup("", [HubClosed("x"), ZeroDivisionError("x")]), None, None),
    ],
)
def test_what_an_error_comes_to(error: Exception, before: int | None, after: int | None) -> None:
    for connected, code in ((False, before), (True, after)):
        found = verdict(error, connected=connected)
        assert (None if found is None else found.code) == code
        assert found is None or isinstance(found.code, Exit)
