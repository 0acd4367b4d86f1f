"""Small WebSocket frames merged into large ones, before wsproto reads them. Bytes in, bytes out.

A server that streams puts a few hub messages into each frame, and each costs wsproto and trio-websocket 18 µs; joining
them first costs a small part of that. SignalR does not care where messages are cut, so consecutive frames may become
one if the receiver could not tell the difference from a server that had sent one: complete unfragmented data frames of
one kind, all within one read.

wsproto stays the judge of everything. Whatever is not such a frame passes as it is: control frames, fragments, lengths
in eight bytes, a frame cut by the read. Before the first byte that breaks RFC 6455 merging stops for good, so wsproto
meets the same violation. Text is no exception: two halves of a character in two frames are invalid, joined they would
be valid, so a text frame that starts inside a character (valid ones never do) is not joined to what is before it.
"""

from __future__ import annotations

__all__ = ["FrameMerger"]

_TEXT = 0x81  # FIN set, no reserved bit, opcode 1
_BINARY = 0x82
_WHOLE = (_TEXT, _BINARY)
_FIRST_FRAGMENTS = (0x01, 0x02)
_MIDDLE_FRAGMENT = 0x00
_LAST_FRAGMENT = 0x80
_CLOSE = 0x88
_PING, _PONG = 0x89, 0x8A

_MAX_LENGTH_IN_1 = 125
_LENGTH_IN_2 = 126  # in the place of a length: it follows in two bytes, or in eight
_MASKED = 0x80  # a server must not


class FrameMerger:
    """Merges the frames of one connection, client side.

    Attributes:
        close_received: The header of a Close frame has passed: the peer ends the WebSocket by its rules.
    """

    def __init__(self) -> None:
        self.close_received = False
        self._held = b""  # a header that the last read cut; at most 9 bytes
        self._remaining = 0  # payload bytes to come of a frame that the last read cut
        self._fragmented = False  # inside a message of several frames
        self._passive = False  # nothing is merged any more

    def feed(self, data: bytes) -> bytes:
        """Take what was read and return what wsproto should read; ``b""`` means: nothing yet, read on."""
        if self._passive:
            return data
        if self._held:
            data, self._held = self._held + data, b""
        size = len(data)
        if self._remaining >= size:
            self._remaining -= size
            return data
        return self._merge(data, size)

    def _merge(self, data: bytes, size: int) -> bytes:
        """Walk over the frames. One loop in one piece, because it runs for each of them."""
        position = self._remaining
        out: list[bytes] = []  # stands for data[:done]
        done = 0
        run: list[bytes] = []  # payloads of the frames from run_start to position, to become one
        run_kind = run_start = 0
        while size - position >= 2:
            kind = data[position]
            length = data[position + 1]
            start = position + 2
            if kind in _WHOLE and length <= _LENGTH_IN_2 and not self._fragmented:
                if length == _LENGTH_IN_2 and size >= start + 2:
                    length = data[start] << 8 | data[start + 1]
                    start += 2
                end = start + length
                if end <= size and (length > _MAX_LENGTH_IN_1) == (start - position == 4):
                    if kind == run_kind and not (kind == _TEXT and length and data[start] & 0xC0 == 0x80):
                        run.append(data[start:end])
                    else:
                        if len(run) > 1:
                            done = _emit(out, data, done, run, run_kind, run_start, position)
                        if end == size:  # alone: spare the copy
                            run = []
                            position = end
                            break
                        run = [data[start:end]]
                        run_kind, run_start = kind, position
                    position = end
                    continue
            if len(run) > 1:
                done = _emit(out, data, done, run, run_kind, run_start, position)
            run, run_kind = [], 0
            if (passed := self._end(data, position, size)) is None:
                break
            position = passed
        if len(run) > 1:
            done = _emit(out, data, done, run, run_kind, run_start, position)
        self._remaining = max(position - size, 0)
        self._held = data[position:]
        if not out:
            return data[:position]
        out.append(data[done:position])
        return b"".join(out)

    def _end(self, data: bytes, position: int, size: int) -> int | None:
        """Return where the frame at ``position`` ends, which may be to come; ``None`` if its header is not all there.

        From a violation on, and after a Close, nothing matters any more: all the rest passes as one.
        """
        kind, length = data[position], data[position + 1]
        if self._breaks_rules(kind, length):
            self._passive = True
            return size
        start = position + 2
        if length >= _LENGTH_IN_2:
            start += 2 if length == _LENGTH_IN_2 else 8
            if size < start:
                return None
            length = int.from_bytes(data[position + 2 : start])
            if length <= _MAX_LENGTH_IN_1 or (start - position == 10 and not 0xFFFF < length < 1 << 63):
                self._passive = True
                return size
        if kind in _FIRST_FRAGMENTS or kind == _LAST_FRAGMENT:
            self._fragmented = kind != _LAST_FRAGMENT
        elif kind == _CLOSE:
            self.close_received = self._passive = True
            return size
        return start + length

    def _breaks_rules(self, kind: int, length: int) -> bool:
        """Whether two bytes of a header are enough to know that wsproto will refuse the frame."""
        if kind in (_CLOSE, _PING, _PONG):
            return length > _MAX_LENGTH_IN_1
        if kind in (_MIDDLE_FRAGMENT, _LAST_FRAGMENT):
            return length >= _MASKED or not self._fragmented
        if kind in _WHOLE or kind in _FIRST_FRAGMENTS:
            return length >= _MASKED or self._fragmented
        return True


def _emit(out: list[bytes], data: bytes, done: int, run: list[bytes], kind: int, start: int, end: int) -> int:
    """Add what is untouched before a run, and its frames as one; return the new ``done``."""
    payload = b"".join(run)
    length = len(payload)
    if length <= _MAX_LENGTH_IN_1:
        header = bytes((kind, length))
    elif length <= 0xFFFF:
        header = bytes((kind, _LENGTH_IN_2)) + length.to_bytes(2)
    else:
        header = bytes((kind, 127)) + length.to_bytes(8)
    out += (data[done:start], header, payload)
    return end
