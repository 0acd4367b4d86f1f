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
_DATA = frozenset((*_WHOLE, *_FIRST_FRAGMENTS, _MIDDLE_FRAGMENT, _LAST_FRAGMENT))
_FIN = 0x80
_CLOSE = 0x88
_PING, _PONG = 0x89, 0x8A

_MAX_LENGTH_IN_1 = 125
_LENGTH_IN_2 = 126  # in the place of a length: it follows in two bytes, or in eight
_MASKED = 0x80  # a server must not


class _Output:
    """What was read, with some of its frames replaced by one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._out: list[bytes] = []
        self._done = 0  # what comes before is in _out

    def replace(self, start: int, end: int, kind: int, payloads: list[bytes]) -> None:
        """Put one frame in the place of the bytes from ``start`` to ``end``, unless it is one already."""
        if len(payloads) < 2:
            return
        payload = b"".join(payloads)
        self._out += (self._data[self._done : start], _header(kind, len(payload)), payload)
        self._done = end

    def finish(self, end: int) -> bytes:
        """Return all up to ``end``."""
        if not self._out:
            return self._data[:end]
        self._out.append(self._data[self._done : end])
        return b"".join(self._out)


def _header(kind: int, length: int) -> bytes:
    if length <= _MAX_LENGTH_IN_1:
        return bytes((kind, length))
    if length <= 0xFFFF:
        return bytes((kind, _LENGTH_IN_2)) + length.to_bytes(2)
    return bytes((kind, 127)) + length.to_bytes(8)


def _starts_inside_a_character(payloads: list[bytes]) -> bool:
    return next(filter(None, payloads), b"a")[0] & 0xC0 == 0x80


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
        out = _Output(data)
        run: list[bytes] = []  # payloads of the frames from run_start on: whole messages, to become one
        run_kind = run_start = 0
        part: list[bytes] = []  # behind those, fragments of a message that is not all there yet, to become one
        part_kind = part_start = 0
        while size - position >= 2:
            kind = data[position]
            length = data[position + 1]
            start = position + 2
            if kind in _DATA and length <= _LENGTH_IN_2:
                if length == _LENGTH_IN_2 and size >= start + 2:
                    length = data[start] << 8 | data[start + 1]
                    start += 2
                end = start + length
                if end <= size and (length > _MAX_LENGTH_IN_1) == (start - position == 4):
                    if kind in _WHOLE and not self._fragmented:
                        if kind == run_kind and not (kind == _TEXT and length and data[start] & 0xC0 == 0x80):
                            run.append(data[start:end])
                        else:
                            out.replace(run_start, position, run_kind, run)
                            if end == size:  # alone: spare the copy
                                run = []
                                position = end
                                break
                            run = [data[start:end]]
                            run_kind, run_start = kind, position
                        position = end
                        continue
                    if self._fragmented == (kind not in _FIRST_FRAGMENTS) and kind not in _WHOLE:
                        if not part:
                            part_kind, part_start = kind, position
                        part.append(data[start:end])
                        position = end
                        self._fragmented = kind != _LAST_FRAGMENT
                        if self._fragmented:
                            continue
                        whole = part_kind | _FIN
                        if whole == run_kind and not (whole == _TEXT and _starts_inside_a_character(part)):
                            run += part
                        else:
                            out.replace(run_start, part_start, run_kind, run)
                            run, run_kind, run_start = part, whole, part_start
                        part = []
                        if run_kind == _LAST_FRAGMENT:  # the rest of a message; the next one is another
                            out.replace(run_start, position, run_kind, run)
                            run, run_kind = [], 0
                        continue
            out.replace(run_start, part_start if part else position, run_kind, run)
            out.replace(part_start, position, part_kind, part)
            run, run_kind, part = [], 0, []
            if (passed := self._end(data, position, size)) is None:
                break
            position = passed
        out.replace(run_start, part_start if part else position, run_kind, run)
        out.replace(part_start, position, part_kind, part)
        self._remaining = max(position - size, 0)
        self._held = data[position:]
        return out.finish(position)

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
