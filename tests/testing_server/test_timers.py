"""Pings and patience, to the second."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr.errors import HubClosed, ServerTimeout
from trio_signalr.messages import Close, Invocation, Ping
from trio_signalr.testing import HubServer

from .raw import RawClient, open_raw

SILENT = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."


async def next_bytes(raw: RawClient) -> bytes:
    with trio.fail_after(1000):
        return await raw.transport.receive()


async def test_pings_come_by_the_clock(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    async with open_raw(server, protocol) as raw:
        ping = raw.protocol.encode(Ping())
        assert await next_bytes(raw) == ping
        assert trio.current_time() == 15
        await trio.sleep(10)
        await raw.client.send("Something")  # does not put the next ping off
        assert await next_bytes(raw) == raw.protocol.encode(Invocation("Something", []))
        assert await next_bytes(raw) == ping
        assert trio.current_time() == 30


async def test_interval_can_be_chosen(autojump_clock: MockClock) -> None:
    async with open_raw(HubServer(keep_alive_interval=2)) as raw:
        await next_bytes(raw)
        assert trio.current_time() == 2
    async with open_raw(HubServer(keep_alive_interval=math.inf)) as raw:
        with pytest.raises(trio.TooSlowError):
            await next_bytes(raw)


@pytest.mark.parametrize("detailed", [False, True])
async def test_silent_client_is_given_up(detailed: bool, autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(HubServer(detailed_errors=detailed), protocol) as raw:
        await trio.sleep(5)
        await raw.send(Ping())
        text = "Connection closed with an error." + (f" OperationCanceledException: {SILENT}" if detailed else "")
        assert await raw.rest_of_connection() == [Close(text, allow_reconnect=True)]
        assert trio.current_time() == 35
        assert raw.client.error == SILENT


async def test_any_message_counts_and_a_piece_of_one_does_not(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(HubServer(client_timeout=10), protocol) as raw:
        await raw.send(Ping())
        await trio.sleep(9)
        await raw.call("Unknown", id_=None)
        await trio.sleep(9)
        await raw.send_bytes(raw.protocol.encode(Ping())[:1])  # seen on ASP.NET Core 10
        await raw.rest_of_connection()
        assert trio.current_time() == 19


async def test_client_that_never_pings_is_never_given_up(autojump_clock: MockClock, protocol: str) -> None:
    async with open_raw(HubServer(), protocol) as raw:
        await trio.sleep(1000)
        assert raw.client.connected


async def test_idle_connection_lives_by_pings(autojump_clock: MockClock, protocol: str) -> None:
    async with HubServer().connect(protocol=protocol) as hub:
        await trio.sleep(1000)
        assert hub.connection_id == "c1"


async def test_stalled_server_times_out(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    with pytest.raises(ServerTimeout):
        async with server.connect(protocol=protocol) as hub:
            server.client(hub.connection_id).stall(incoming=False)
            await trio.sleep_forever()
    assert trio.current_time() == 30


async def test_stalled_client_is_given_up(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer(detailed_errors=True)
    with pytest.raises(HubClosed, match="ClientTimeoutInterval") as caught:
        async with server.connect(protocol=protocol) as hub:
            await wait_all_tasks_blocked()  # the first ping arms the timeout
            server.client(hub.connection_id).stall(outgoing=False)
            await trio.sleep_forever()
    assert trio.current_time() == 30
    assert caught.value.allow_reconnect


async def test_short_timeout_is_armed_by_the_first_ping(autojump_clock: MockClock) -> None:
    async with open_raw(HubServer(client_timeout=1)) as raw:
        await trio.sleep(100.5)
        await raw.send(Ping())
        await raw.rest_of_connection()
        assert trio.current_time() == 101.5
