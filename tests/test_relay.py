"""The relay itself: bytes pass unchanged and are recorded; connections break exactly when and how it is told."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from tests.relay import Connection, Relay, open_relay
from trio_signalr.messages import CancelInvocation, HubMessage, Invocation, Ping
from trio_signalr.protocols import HubProtocol, JsonHubProtocol, MessagePackHubProtocol

UPGRADE = b"GET /hub?id=t1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
NEGOTIATE = b"POST /hub/negotiate HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
HANDSHAKE = b'{"protocol":"json","version":1}\x1e'


@dataclass
class Pair:
    """A client and the server that it reached through a relay."""

    relay: Relay
    connection: Connection
    client: trio.SocketStream
    server: trio.SocketStream


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, trio.MemoryReceiveChannel[trio.SocketStream]]]:
    """A server on 127.0.0.1 that does nothing: its port, and the connections that it gets."""
    arrivals, accepted = trio.open_memory_channel[trio.SocketStream](100)

    async def arrive(stream: trio.SocketStream) -> None:
        await arrivals.send(stream)
        await trio.sleep_forever()  # returning would close it

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, arrive, [listener])
        yield listener.socket.getsockname()[1], accepted
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def relayed() -> AsyncIterator[Pair]:
    with trio.fail_after(10):
        async with listening() as (port, accepted), open_relay("127.0.0.1", port) as relay:
            async with await trio.open_tcp_stream("127.0.0.1", relay.port) as client:
                async with await accepted.receive() as server:
                    await trio.testing.wait_all_tasks_blocked()  # the relay knows that it is connected, too
                    yield Pair(relay, relay.connections[0], client, server)
                    relay.cut()  # nobody is going to end them in order


async def receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        assert more, f"ended after {data!r}"
        data += more
    return bytes(data)


async def receive_until_reset(stream: trio.SocketStream) -> bytes:
    """What comes before a reset; an ordinary end is a failure."""
    data = b""
    while True:
        try:
            more = await stream.receive_some()
        except trio.BrokenResourceError:
            return data
        assert more, f"ended in order after {data!r}"
        data += more


async def receive_until_end(stream: trio.SocketStream) -> bytes:
    return b"".join([more async for more in stream])


# Passing on


async def test_bytes_pass_both_ways_and_are_recorded() -> None:
    async with relayed() as pair:
        await pair.client.send_all(b"question")
        assert await receive_exactly(pair.server, 8) == b"question"
        await pair.server.send_all(b"answer")
        assert await receive_exactly(pair.client, 6) == b"answer"
        assert (pair.connection.to_server, pair.connection.to_client) == (b"question", b"answer")


async def test_much_data_passes_unchanged() -> None:
    """More than all buffers on the way can hold, with a reader that starts late."""
    data = bytes(range(256)) * 2**15
    async with relayed() as pair, trio.open_nursery() as nursery:
        nursery.start_soon(pair.client.send_all, data)
        await trio.testing.wait_all_tasks_blocked()
        assert await receive_exactly(pair.server, len(data)) == data
        assert pair.connection.to_server == data


async def test_each_direction_ends_by_itself() -> None:
    async with relayed() as pair:
        await pair.client.send_eof()
        assert await receive_until_end(pair.server) == b""
        assert pair.connection.open
        await pair.server.send_all(b"last words")
        await pair.server.send_eof()
        assert await receive_until_end(pair.client) == b"last words"
        await pair.relay.wait(lambda: not pair.connection.open)


async def test_a_reset_of_one_side_reaches_the_other() -> None:
    async with relayed() as pair:
        pair.server.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        pair.server.socket.close()
        assert await receive_until_reset(pair.client) == b""
        await pair.relay.wait(lambda: not pair.connection.open)


async def test_where_no_server_listens_the_client_is_reset() -> None:
    async with listening() as (port, _):
        pass
    with trio.fail_after(10):
        async with open_relay("127.0.0.1", port) as relay:
            async with await trio.open_tcp_stream("127.0.0.1", relay.port) as client:
                assert await receive_until_reset(client) == b""


async def test_the_last_words_arrive_although_the_block_is_left() -> None:
    """Nothing is reset that was about to end by itself."""
    with trio.fail_after(10):
        async with listening() as (port, accepted):
            async with open_relay("127.0.0.1", port) as relay:
                client = await trio.open_tcp_stream("127.0.0.1", relay.port)
                server = await accepted.receive()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.aclose)  # both have ended, the relay has seen neither end
                    await client.send_all(b"bye")
                    await client.send_eof()
            assert relay.connections[0].to_server in (b"bye", b"")  # the server may be gone already
            assert not relay.open_connections
            await client.aclose()


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_relay("127.0.0.1", 1):
            raise error
    assert caught.value is error


# Breaking


async def test_cut_resets_both_sides() -> None:
    async with relayed() as pair:
        pair.relay.cut()
        assert not pair.relay.open_connections
        assert await receive_until_reset(pair.client) == b""
        assert await receive_until_reset(pair.server) == b""


async def test_cut_can_be_an_ordinary_end() -> None:
    """Both sides see FIN, and what they send afterwards is lost, not answered by a reset."""
    async with relayed() as pair:
        pair.relay.cut(reset=False)
        assert not pair.relay.open_connections
        assert await receive_until_end(pair.client) == b""
        assert await receive_until_end(pair.server) == b""
        await pair.client.send_all(b"into the void")
        await pair.client.send_eof()
        await pair.server.send_eof()
        assert pair.connection.to_server == b""


@pytest.mark.parametrize("reset", [True, False])
async def test_cut_after_lets_so_many_bytes_pass(reset: bool) -> None:
    async with relayed() as pair:
        pair.relay.cut_after(7, "to_server", reset=reset)
        await pair.client.send_all(b"1234")
        assert await receive_exactly(pair.server, 4) == b"1234"
        await pair.client.send_all(b"567890")
        receive_rest = receive_until_reset if reset else receive_until_end
        assert await receive_rest(pair.server) == b"567"
        assert await receive_rest(pair.client) == b""
        assert pair.connection.to_server == b"1234567"


async def test_cut_after_counts_one_direction() -> None:
    async with relayed() as pair:
        pair.relay.cut_after(3, "to_client")
        await pair.client.send_all(b"as long as you like")
        assert await receive_exactly(pair.server, 19) == b"as long as you like"
        await pair.server.send_all(b"no!")
        assert await receive_until_reset(pair.client) == b"no!"


async def test_cut_after_nothing_is_refused() -> None:
    async with relayed() as pair:
        with pytest.raises(ValueError, match="at least 1"):
            pair.relay.cut_after(0, "to_client")


async def test_on_connection_can_cut_at_once() -> None:
    with trio.fail_after(10):
        async with listening() as (port, _), open_relay("127.0.0.1", port) as relay:
            relay.on_connection = lambda connection: connection.cut(reset=False)
            async with await trio.open_tcp_stream("127.0.0.1", relay.port) as client:
                assert await receive_until_end(client) == b""

            relay.on_connection = lambda connection: connection.cut()
            # The reset may come while the client is still connecting, which is an OSError then.
            with pytest.raises((OSError, trio.BrokenResourceError)):
                async with await trio.open_tcp_stream("127.0.0.1", relay.port) as client:
                    await client.receive_some()


async def test_on_connection_can_limit_a_connection_from_its_first_byte() -> None:
    with trio.fail_after(10):
        async with listening() as (port, accepted), open_relay("127.0.0.1", port) as relay:
            relay.on_connection = lambda connection: connection.cut_after(2, "to_server")
            async with await trio.open_tcp_stream("127.0.0.1", relay.port) as client:
                await client.send_all(b"abc")
                async with await accepted.receive() as server:
                    assert await receive_until_reset(server) == b"ab"


async def test_a_stalled_direction_goes_on_later() -> None:
    """Nothing is lost, and the other direction does not care."""
    async with relayed() as pair:
        pair.relay.stall("to_server")
        await pair.client.send_all(b"wait for it")
        await pair.server.send_all(b"are you there?")
        assert await receive_exactly(pair.client, 14) == b"are you there?"
        await trio.testing.wait_all_tasks_blocked()
        assert pair.connection.to_server == b""
        pair.relay.resume("to_server")
        assert await receive_exactly(pair.server, 11) == b"wait for it"


async def test_a_stall_jams_the_sender() -> None:
    """The relay does not read ahead, so a sender feels that nobody takes its data."""
    async with relayed() as pair, trio.open_nursery() as nursery:
        pair.relay.stall()
        data = bytes(2**26)
        sent = trio.Event()

        async def send() -> None:
            await pair.server.send_all(data)
            sent.set()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not sent.is_set()
        pair.relay.resume()
        assert len(await receive_exactly(pair.client, len(data))) == len(data)
        await sent.wait()


async def test_a_stalled_connection_can_be_cut() -> None:
    async with relayed() as pair:
        pair.relay.stall()
        await pair.client.send_all(b"lost")
        pair.relay.cut()
        assert await receive_until_reset(pair.server) == b""


async def test_new_connections_can_be_refused() -> None:
    """Those open go on; afterwards the port is the same."""
    async with relayed() as pair:
        port = pair.relay.port
        pair.relay.refuse()
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", port)
        await pair.client.send_all(b"still here")
        assert await receive_exactly(pair.server, 10) == b"still here"
        pair.relay.accept()
        assert pair.relay.port == port
        async with await trio.open_tcp_stream("127.0.0.1", port):
            await pair.relay.wait(lambda: len(pair.relay.connections) == 2)


# Reading


def websocket_bytes(opcode: Opcode, *payloads: bytes) -> bytes:
    """One message as a client sends it: masked, in as many fragments as there are payloads."""
    frames = FrameProtocol(client=True, extensions=[])
    data = b""
    for index, payload in enumerate(payloads, 1):
        data += frames.send_data(payload.decode() if opcode is Opcode.TEXT else payload, fin=index == len(payloads))
    return data


MESSAGES: list[HubMessage[object]] = [Invocation("Go", [1, "ü" * 100], "1"), CancelInvocation("1"), Ping()]


@pytest.mark.parametrize("protocol", [JsonHubProtocol(), MessagePackHubProtocol()], ids=lambda each: each.name)
@pytest.mark.parametrize("step", [1, 7, 10**6])
async def test_hub_messages_are_read_out_of_websocket_frames(protocol: HubProtocol, step: int) -> None:
    """Behind a negotiate on the same connection, after the handshake, wherever frames and reads were cut."""
    opcode = Opcode.TEXT if protocol.transfer_format == "Text" else Opcode.BINARY
    handshake = HANDSHAKE.replace(b"json", protocol.name.encode())
    first, *others = map(protocol.encode, MESSAGES)
    frames = [
        websocket_bytes(opcode, handshake + first[:9]),
        bytes(FrameProtocol(client=True, extensions=[]).ping(b"?")),
        websocket_bytes(opcode, first[9:30], first[30:]),
        websocket_bytes(opcode, b"".join(others)),
        bytes(FrameProtocol(client=True, extensions=[]).close(CloseReason.NORMAL_CLOSURE)),
    ]
    data = NEGOTIATE + UPGRADE + b"".join(frames)
    async with relayed() as pair:
        for start in range(0, len(data), step):
            await pair.client.send_all(data[start : start + step])
            # One by one, so that the relay reads them as they were cut.
            await receive_exactly(pair.server, len(data[start : start + step]))
        expected = protocol.parser().feed(b"".join(map(protocol.encode, MESSAGES)))
        assert pair.relay.client_messages(protocol) == expected
        assert pair.connection.client_messages(protocol) == expected
        assert CancelInvocation("1") in pair.relay.client_messages(protocol)
        assert pair.connection.handshake == {"protocol": protocol.name, "version": 1}
        assert [request.path for request in pair.connection.requests] == ["/hub/negotiate", "/hub"]
        closing = pair.connection.client_frames[-1]
        assert (closing.opcode, closing.payload[0]) == (Opcode.CLOSE, 1000)


@pytest.mark.parametrize("protocol", [JsonHubProtocol(), MessagePackHubProtocol()], ids=lambda each: each.name)
async def test_a_resumed_websocket_has_no_handshake(protocol: HubProtocol) -> None:
    """Even where the first message's length looks like the beginning of one: 0x7b is "{"."""
    # JSON always begins so; of MessagePack, the one message of that length.
    messages = (protocol.encode(Invocation[object]("Go", ["x" * length], "1")) for length in range(200))
    data = next(message for message in messages if message[:1] == b"{")
    opcode = Opcode.TEXT if protocol.transfer_format == "Text" else Opcode.BINARY
    async with relayed() as pair:
        await pair.client.send_all(UPGRADE + websocket_bytes(opcode, data[:1]) + websocket_bytes(opcode, data[1:]))
        await pair.relay.wait(lambda: len(pair.relay.client_messages(protocol)) == 1)
        assert pair.connection.handshake is None
        assert pair.relay.client_messages(protocol) == protocol.parser().feed(data)


async def test_hub_messages_are_read_out_of_posts() -> None:
    """In the order of all connections, with the handshake left out; polls and negotiate carry none."""
    protocol = JsonHubProtocol()

    def post(body: bytes) -> bytes:
        return b"POST /hub?id=t1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    chunked = b"POST /hub?id=t1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    cancel, ping = protocol.encode(CancelInvocation("1")), protocol.encode(Ping())
    async with relayed() as pair:
        async with await trio.open_tcp_stream("127.0.0.1", pair.relay.port) as other:
            await pair.client.send_all(NEGOTIATE + b"GET /hub?id=t1 HTTP/1.1\r\nHost: a\r\n\r\n" + post(HANDSHAKE))
            await pair.relay.wait(lambda: len(pair.relay.requests) == 3)
            await other.send_all(chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (len(cancel), cancel))
            await pair.relay.wait(lambda: len(pair.relay.requests) == 4)
            await pair.client.send_all(post(ping))
            await pair.relay.wait(lambda: len(pair.relay.requests) == 5)
        assert pair.relay.client_messages(protocol) == [CancelInvocation("1"), Ping()]
        assert [request.method for request in pair.relay.requests] == ["POST", "GET", "POST", "POST", "POST"]
        assert pair.relay.requests[0].headers == {"host": "a", "content-length": "0"}


async def test_a_refused_upgrade_is_followed_by_requests() -> None:
    async with relayed() as pair:
        await pair.client.send_all(UPGRADE)
        await receive_exactly(pair.server, len(UPGRADE))
        await pair.client.send_all(NEGOTIATE)
        await pair.relay.wait(lambda: len(pair.relay.requests) == 2)
        assert [request.path for request in pair.relay.requests] == ["/hub", "/hub/negotiate"]
        assert pair.relay.client_messages(JsonHubProtocol()) == []
