"""What the relay of ``serve()`` sees in passing: requests for a WebSocket, and the frames by which clients close it."""

from __future__ import annotations

from hypothesis import given, strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from trio_signalr.testing._relay import _FrameWalker, _UpgradeFinder

PAYLOADS = st.one_of(st.binary(max_size=130), st.integers(60_000, 70_000).map(bytes))


@given(payloads=st.lists(PAYLOADS, max_size=5), closes=st.booleans(), cuts=st.lists(st.integers(1, 40), max_size=50))
def test_a_close_frame_is_seen_wherever_the_bytes_are_cut(payloads: list[bytes], closes: bool, cuts: list[int]) -> None:
    client = FrameProtocol(client=True, extensions=[])
    data = b"".join(client.send_data(payload, fin=True) for payload in payloads) + bytes(client.ping(b"\x88\x00"))
    closing = bytes(client.close(1000)) if closes else b""
    walker = _FrameWalker()
    for cut in cuts:
        walker.feed(data[:cut])
        data = data[cut:]
    walker.feed(data)
    assert not walker.seen_close, "a payload is no frame"
    for byte in closing:
        walker.feed(bytes([byte]))
    assert walker.seen_close == closes


HEADS = {
    b"POST /hub/negotiate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n": False,
    b"GET /hub?id=1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n": False,
    b"GET /hub HTTP/1.1\r\nX: upgrade: websocket\r\n\r\n": False,
    b"GET /hub HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: x\r\n\r\n": True,
    b"GET /hub HTTP/1.1\r\nHost: x\r\nUPGRADE:WebSocket \r\n\r\n": True,
}


@given(head=st.sampled_from(list(HEADS)), behind=st.binary(max_size=20), cut=st.integers(4, 120))
def test_a_request_for_a_websocket_is_seen_wherever_it_is_cut(head: bytes, behind: bytes, cut: int) -> None:
    finder, data, position = _UpgradeFinder(), head + behind, 0
    for part in (data[:cut], data[cut:]):
        end = finder.end(part)
        if end is not None:
            assert position + end == len(head)
            assert HEADS[head]
            assert finder.asked
            return
        position += len(part)
    assert not HEADS[head]
    assert not finder.asked


def test_close_is_what_we_think() -> None:
    assert Opcode.CLOSE == 8
