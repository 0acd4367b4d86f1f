"""How the relay of ``serve()`` tells a goodbye from a loss: it walks over the client's WebSocket frames."""

from __future__ import annotations

from hypothesis import given, strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from trio_signalr.testing._relay import _FrameWalker

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


def test_close_is_what_we_think() -> None:
    assert Opcode.CLOSE == 8
