"""The server's half of the handshake, and every way to refuse it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr.errors import HandshakeError, TransportError
from trio_signalr.messages import Invocation
from trio_signalr.protocols import JsonHubProtocol
from trio_signalr.protocols.handshake import encode_request
from trio_signalr.testing import HubServer

from .raw import RawClient, open_raw, open_wire


async def answer_to(server: HubServer, *pieces: bytes) -> bytes:
    """All that the server says to these bytes, until it ends the connection or waits for more."""
    async with open_wire(server) as raw:
        for piece in pieces:
            await raw.send_bytes(piece)
            await wait_all_tasks_blocked()
        return await everything(raw)


async def everything(raw: RawClient) -> bytes:
    data = b""
    await wait_all_tasks_blocked()
    while raw.transport.pending:
        data += await raw.transport.receive()
        await wait_all_tasks_blocked()
    return data


@pytest.mark.parametrize(
    "request_",
    [
        b'{"protocol":"json","version":1}\x1e',
        b'{"protocol":"JSON","version":1}\x1e',
        b'{"version":0,"protocol":"json","more":[1]}\x1e',
        b'{"protocol":"json","version":2}\x1e',
        b'{"protocol":"messagepack","version":1}\x1e',
    ],
)
async def test_accepted(request_: bytes) -> None:
    assert await answer_to(HubServer(), request_) == b"{}\x1e"
    assert await answer_to(HubServer(), *[request_[i : i + 1] for i in range(len(request_))]) == b"{}\x1e"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b'{"protocol":"nope","version":1}\x1e', "The protocol 'nope' is not supported."),
        (b'{"protocol":"json","version":3}\x1e', "The server does not support version 3 of the 'json' protocol."),
        (b'{"protocol":"json"}\x1e', "An unexpected error occurred during connection handshake."),
        (b"GET / HTTP/1.1\x1e", "An unexpected error occurred during connection handshake."),
        (b"x" * 40_000, "Handshake was canceled."),
    ],
)
async def test_refused(request_: bytes, error: str) -> None:
    async with open_wire(HubServer()) as raw:
        await raw.send_bytes(request_)
        assert await raw.transport.receive() == b'{"error":"%s"}\x1e' % error.encode()
        assert await raw.transport.receive() == b""


async def test_malformed_in_detail() -> None:
    answer = await answer_to(HubServer(detailed_errors=True), b'{"protocol":"json"}\x1e')
    text = (
        b"An unexpected error occurred during connection handshake. InvalidDataException: malformed handshake request"
    )
    assert answer.startswith(b'{"error":"' + text)


async def test_client_that_says_nothing(autojump_clock: MockClock) -> None:
    async with open_wire(HubServer()) as raw:
        assert await raw.transport.receive() == b'{"error":"Handshake was canceled."}\x1e'
        assert trio.current_time() == 15
        assert await raw.transport.receive() == b""


async def test_timeout_can_be_chosen(autojump_clock: MockClock) -> None:
    async with open_wire(HubServer(handshake_timeout=3)) as raw:
        await raw.transport.receive()
        assert trio.current_time() == 3


@pytest.mark.parametrize("cut", [False, True])
async def test_client_that_leaves_before(cut: bool) -> None:
    server = HubServer()
    async with server.events() as events, open_wire(server) as raw:
        await raw.send_bytes(b'{"protocol"')
        if cut:
            raw.transport.cut()
        else:
            await raw.transport.aclose()
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            events.receive_nowait()


async def test_messages_right_behind(protocol: str) -> None:
    server, seen = HubServer(), list[str]()
    server.method(seen.append, name="Note")
    async with open_wire(server, protocol) as raw:
        call = raw.protocol.encode(Invocation("Note", ["early"]))
        await raw.send_bytes(encode_request(protocol, 1) + call + call[:3])
        await raw.send_bytes(call[3:])
        await wait_all_tasks_blocked()
    assert seen == ["early", "early"]


async def test_server_without_a_protocol(protocol: str) -> None:
    other = {"json": "messagepack", "messagepack": "json"}[protocol]
    with pytest.raises(HandshakeError, match=f"The protocol '{protocol}' is not supported."):
        async with HubServer(protocols=[other]).connect(protocol=protocol):
            raise AssertionError


async def test_protocol_of_the_user_s_own() -> None:
    class Own(JsonHubProtocol):
        name = "own"

    server = HubServer()
    server.method(lambda: "here", name="Echo")
    async with server.connect(protocol=Own()) as hub:
        assert hub.protocol == "own"
        assert await hub.invoke("Echo") == "here"
    async with HubServer(protocols=[Own()]).connect(protocol=Own()) as hub:
        assert hub.protocol == "own"
    with pytest.raises(ValueError, match="own"):
        async with server.connect(protocol="own"):
            raise AssertionError


async def test_refusing_on_purpose() -> None:
    server = HubServer()
    server.refuse("closed for today", times=2)
    server.refuse(TransportError("no route"))
    for _ in range(2):
        with pytest.raises(HandshakeError, match="closed for today"):
            async with server.connect():
                raise AssertionError
    with pytest.raises(TransportError, match="no route"):
        async with server.connect():
            raise AssertionError
    async with server.connect() as hub:
        assert hub.connection_id == "c3"


async def test_accepting_again() -> None:
    server = HubServer()
    server.refuse("closed", times=float("inf"))
    with pytest.raises(HandshakeError):
        async with server.connect():
            raise AssertionError
    server.accept()
    async with server.connect():
        pass
    with pytest.raises(ValueError, match="times"):
        server.refuse("closed", times=0)


async def test_never_answering(autojump_clock: MockClock) -> None:
    server = HubServer()
    server.ignore_handshake()
    with pytest.raises(HandshakeError, match="did not answer"):
        async with server.connect(handshake_timeout=20):
            raise AssertionError
    assert trio.current_time() == 20


async def test_hello_and_first_message_come_together(protocol: str) -> None:
    """As ASP.NET Core does it when OnConnectedAsync sends."""
    server = HubServer()

    @server.on_connected
    async def greet(client: object) -> None:
        await server.caller.send("Hi", "early")

    async with open_raw(server, protocol) as raw:
        assert await raw.receive() == Invocation("Hi", ["early"])
