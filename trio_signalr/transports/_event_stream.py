"""Server-sent events: the data of an event stream, out of its bytes. No I/O.

Python's own line splitting (and so httpx's) cuts at 0x1E, too, the end of a hub message: here a line ends at CR, LF or
CRLF and nowhere else. Data is passed on as it comes, without waiting for the end of its line, since where it is cut
means nothing to hub messages: an endless line takes no memory.

Source: HTML Living Standard, "Interpreting an event stream".
"""

from __future__ import annotations

__all__ = ["EventStreamParser"]

_FIELD = b"data"
_LONGEST_PREFIX = len(b"data: ")


class EventStreamParser:
    """Takes the bytes of an event stream, returns those of its data.

    Several ``data`` lines of one event are joined by line feeds. Comments and the fields that SignalR does not use
    (``event``, ``id``, ``retry``) are dropped.
    """

    def __init__(self) -> None:
        self._after_cr = False  # the bytes so far ended in CR: an LF would belong to it
        self._head = b""  # of the current line, as long as it does not say what the line is
        self._in_data: bool | None = None  # what the current line is; None: not known yet
        self._has_data = False  # the current event has a line of data already

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, cut anywhere; return the data in them."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if not data:
            return b""
        self._after_cr = data.endswith(b"\r")
        first, *others = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        found = [self._continue_line(first)]
        for line in others:
            found.append(self._end_line())
            found.append(self._continue_line(line))
        return b"".join(found)

    def _continue_line(self, part: bytes) -> bytes:
        if self._in_data is not None:
            return part if self._in_data else b""
        self._head += part
        if len(self._head) < _LONGEST_PREFIX and (_FIELD + b": ").startswith(self._head):
            return b""  # it may still become anything
        return self._begin_value()

    def _end_line(self) -> bytes:
        is_blank = self._in_data is None and not self._head
        data = b""
        if self._in_data is None and not is_blank:
            data = self._begin_value()
        if is_blank:
            self._has_data = False
        self._in_data, self._head = None, b""
        return data

    def _begin_value(self) -> bytes:
        """Say what the current line is, now that enough of it is known; return the value's beginning."""
        field, _, value = self._head.partition(b":")
        self._head = b""
        self._in_data = field == _FIELD
        if not self._in_data:
            return b""
        joint = b"\n" if self._has_data else b""
        self._has_data = True
        return joint + value.removeprefix(b" ")
