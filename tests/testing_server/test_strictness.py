"""What a client must not send: the test hub is as strict as ASP.NET Core, however it comes cut."""

from __future__ import annotations

import logging
import math
from typing import Any

import msgpack
import pytest
from trio.testing import MockClock

from tests.testing_server.raw import open_raw
from trio_signalr.messages import Close, Completion, HubMessage, Invocation, Ping
from trio_signalr.protocols import JsonHubProtocol
from trio_signalr.protocols._framing import encode_length
from trio_signalr.testing import HubServer

ADD: Invocation[Any] = Invocation("Add", [1, 2], "9")
SUM: list[HubMessage[Any]] = [Completion("9", 3)]

JSON: dict[str, bytes] = {
    "null id": b'{"type":1,"invocationId":null,"target":"Add","arguments":[1,2]}\x1e',
    "id that is a number": b'{"type":5,"invocationId":1}\x1e',
    "header that is no text": b'{"type":1,"headers":{"a":1},"target":"Add","arguments":[1,2]}\x1e',
    "null headers": b'{"type":1,"headers":null,"target":"Add","arguments":[1,2]}\x1e',
}
MESSAGEPACK: dict[str, list[Any]] = {
    "no headers": [1, None, "1", "Add", [1, 2], []],
    "header that is no text": [2, {"a": 1}, "1", 5],
    "id that is a number": [1, {}, 1, "Add", [1, 2], []],
    "id of bytes": [1, {}, b"1", "Add", [1, 2], []],
    "no streams": [1, {}, "1", "Add", [1, 2], None],
    "a stream without id": [4, {}, None, "Counter", [1, 0], []],
    "kind of result": [3, {}, "1", 7],
    "nothing": [],
}


def make_server(**options: Any) -> HubServer:
    server = HubServer(**options)

    @server.method
    def Add(a: int, b: int) -> int:
        return a + b

    return server


def packed(body: object) -> bytes:
    data = msgpack.packb(body)
    assert isinstance(data, bytes)
    return encode_length(len(data)) + data


def unknown(protocol: str) -> bytes:
    """A message of a type that is none."""
    return b'{"type":10,"x":[{}]}\x1e' if protocol == "json" else packed([10, "x"])


BAD = [("json", what) for what in JSON] + [("messagepack", what) for what in MESSAGEPACK]


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize(("protocol", "what"), BAD)
async def test_what_ends_the_connection(protocol: str, what: str, step: int) -> None:
    data = JSON[what] if protocol == "json" else packed(MESSAGEPACK[what])
    async with open_raw(make_server(), protocol) as raw:
        await raw.send(ADD)
        assert await raw.rest() == SUM
        for start in range(0, len(data), step):
            await raw.send_bytes(data[start : start + step])
        answers = await raw.rest_of_connection()
    assert answers == [Close("Connection closed with an error.", allow_reconnect=True)]


@pytest.mark.parametrize("step", [1, 1000])
async def test_nothing_is_read_behind_a_message_of_unknown_type(
    protocol: str, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_raw(make_server(), protocol) as raw:
        data = raw.protocol.encode(ADD) + unknown(protocol) + raw.protocol.encode(ADD)
        for start in range(0, len(data), step):
            await raw.send_bytes(data[start : start + step])
        await raw.send(ADD)
        assert await raw.rest() == SUM
    assert [(record.levelno, "unknown type 10" in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


async def test_and_so_the_client_is_silent(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(make_server(keep_alive_interval=math.inf), protocol) as raw:
        await raw.send(Ping())
        await raw.send_bytes(unknown(protocol))
        await raw.send(Ping())
        (close,) = await raw.rest_of_connection()
    assert close == Close("Connection closed with an error.", allow_reconnect=True)
    assert autojump_clock.current_time() == 30


async def test_without_a_limit_unknown_types_are_skipped(protocol: str) -> None:
    async with open_raw(make_server(max_message_size=math.inf), protocol) as raw:
        await raw.send_bytes(unknown(protocol) + raw.protocol.encode(ADD))
        assert await raw.rest() == SUM


async def test_a_long_message_in_small_pieces() -> None:
    server = make_server(max_message_size=math.inf)

    @server.method
    def Length(text: str) -> int:
        return len(text)

    for protocol in ("json", "messagepack"):
        async with open_raw(server, protocol) as raw:
            data = raw.protocol.encode(Invocation("Length", ["x" * 2_000_000], "9")) * 2
            for start in range(0, len(data), 4096):
                await raw.send_bytes(data[start : start + 4096])
            assert await raw.rest() == [Completion("9", 2_000_000)] * 2


async def test_a_protocol_of_ones_own_is_read_as_it_says() -> None:
    class Own(JsonHubProtocol):
        name = "own"

    async with make_server().connect(protocol=Own()) as hub:
        assert await hub.invoke("Add", 1, 2) == 3
