"""The flight recorder by itself: what it keeps of what it is told, and in which words."""

from __future__ import annotations

import sys

import msgspec
import pytest

from trio_signalr import MessageRecord
from trio_signalr._recorder import SIZE, FlightRecorder
from trio_signalr.errors import CloseReport
from trio_signalr.messages import Close, Completion, Invocation


def told(recorder: FlightRecorder, now: float = 10.0) -> list[str]:
    return [f"{record.before_end:g} {record}" for record in recorder.records(now)]


def method_of(id_: str) -> str | None:
    return "Add" if id_ == "1" else None


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def test_messages_are_told_in_the_order_of_time() -> None:
    recorder = FlightRecorder()
    recorder.sending("Invocation", "1", "Add", 45)
    recorder.written(2.0, 1, 45)
    recorder.received_one(3.0, Completion("1", raw("[1,2]")), method_of)
    recorder.received_one(4.0, Invocation("hello", [raw("1"), raw('"x"')], "s1"), method_of)
    recorder.received_one(5.0, Completion("9"), method_of)
    recorder.received_one(5.0, Close("bye"), method_of)
    assert told(recorder) == [
        "8 → Invocation 1 'Add', 45 B",
        "7 ← Completion 1 'Add', 5 B",
        "6 ← Invocation s1 'hello', 4 B",
        "5 ← Completion 9",
        "5 ← Close",
    ]


def test_a_run_of_items_is_one_record() -> None:
    recorder = FlightRecorder()
    recorder.received(1.0, "StreamItem", "5", "Counter", 1234, 37)
    recorder.received(2.0, "StreamItem", None, None, 2_345_678, 1200)
    assert told(recorder) == ["9 ← StreamItem ×37 of 5 'Counter', 1.2 kB", "8 ← StreamItem ×1,200, 2.3 MB"]


def test_what_was_written_and_not_announced_are_items_of_uploads() -> None:
    recorder = FlightRecorder()
    recorder.sending("Invocation", "2", "Sum", 50)
    recorder.uploading("1", "Sum")
    recorder.written(1.0, 11, 450)
    recorder.written(2.0, 30, 1200)
    recorder.sending("Completion", "1", None, 20)
    recorder.written(3.0, 3, 100)
    recorder.written(4.0, 1, 40)
    assert told(recorder) == [
        "9 → Invocation 2 'Sum', 50 B",
        "9 → StreamItem ×10 of 1 'Sum', 400 B",
        "8 → StreamItem ×30 of 1 'Sum', 1.2 kB",
        "7 → StreamItem ×2 of 1 'Sum', 80 B",
        "7 → Completion 1 'Sum', 20 B",
        "6 → StreamItem, 40 B",
    ]


def test_items_of_several_uploads_at_once_have_no_name() -> None:
    recorder = FlightRecorder()
    recorder.uploading("1", "Sum")
    recorder.uploading("2", "Max")
    recorder.written(1.0, 5, 100)
    recorder.uploads_over(["1", "7"])
    recorder.written(2.0, 5, 100)
    assert told(recorder) == ["9 → StreamItem ×5, 100 B", "8 → StreamItem ×5 of 2 'Max', 100 B"]


def test_what_was_taken_back_was_never_sent() -> None:
    recorder = FlightRecorder()
    recorder.sending("Invocation", "1", "Add", 45)
    recorder.sending("Invocation", "2", "Add", 45)
    recorder.withdrawn("1")
    recorder.written(1.0, 2, 45)
    assert told(recorder) == ["9 → Invocation 2 'Add', 45 B"]


def test_taking_back_many_is_no_more_work_than_few() -> None:
    recorder = FlightRecorder()
    for number in range(1000):
        recorder.sending("Invocation", str(number), "Add", 45)
    recorder.sending("Completion", "7", None, 30)  # an answer to the server, whose ids are its own
    waiting = recorder._waiting
    for number in range(999):
        recorder.withdrawn(str(number))
    assert recorder._waiting is waiting, "looked at once, when it is written"
    recorder.written(1.0, 1001, 75)
    assert told(recorder) == ["9 → Invocation 999 'Add', 45 B", "9 → Completion 7, 30 B"]


def test_uploads_that_end_together_are_all_forgotten() -> None:
    recorder = FlightRecorder()
    for number in range(200):
        recorder.uploading(str(number), "Sum")
        recorder.sending("Completion", str(number), None, 20)
    recorder.written(1.0, 200, 4000)
    assert recorder._uploads == {}


def test_what_was_not_sent_leaves_room_for_what_led_to_it() -> None:
    recorder = FlightRecorder()
    for second in range(100):
        recorder.received(float(second) / 10, "Completion", str(second), "Add", 1)
    for number in range(100):
        recorder.sending("Invocation", str(number), "Add", 45)
    directions = [record.direction for record in recorder.records(10.0)]
    assert directions == ["received"] * (SIZE // 2) + ["not sent"] * (SIZE // 2)


def test_what_still_waits_was_not_sent() -> None:
    recorder = FlightRecorder()
    recorder.sending("Invocation", None, "Notify", 45)
    assert told(recorder) == ["0 → Invocation 'Notify', 45 B, not sent"]


def test_pings_are_counted_so_that_they_push_out_nothing() -> None:
    recorder = FlightRecorder()
    recorder.received(1.0, "Completion", "1", "Add", 1)
    for second in range(2, 9):
        recorder.sending("Ping", None, None, 11)
        recorder.written(second, 1, 11)
        recorder.background(second + 0.5, "received", "Ping", 2, 0)
    recorder.received(8.2, "Completion", "2", "Add", 1)
    assert told(recorder) == [
        "9 ← Completion 1 'Add', 1 B",
        "2 → Ping ×7, 77 B",
        "1.8 ← Completion 2 'Add', 1 B",
        "1.5 ← Ping ×14",
    ]


def test_it_keeps_the_last_ones_and_stays_small() -> None:
    recorder = FlightRecorder()
    for number in range(10_000):
        recorder.sending("Invocation", str(number), "Add", 45)
        recorder.sending("Invocation", f"{number}b", "Add", 45)
        if number % 100 == 99:
            recorder.written(float(number), 200, 9000)
    recorder.background(20_000.0, "received", "Ping", 1, 0)
    records = recorder.records(20_000.0)
    assert len(records) == SIZE
    assert [record.type for record in records[-2:]] == ["Invocation", "Ping"]
    assert records[-2].id == "9999b"
    slots = [getattr(recorder, name) for name in FlightRecorder.__slots__]
    assert sum(map(sys.getsizeof, slots)) + sum(map(sys.getsizeof, recorder._records)) < 8_000, "and some for numbers"
    assert recorder.bytes_sent == 900_000


@pytest.mark.parametrize(
    ("size", "text"),
    [(999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (10**6, "1.0 MB"), (10**9, "1.0 GB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert str(MessageRecord(0.0, "sent", "Invocation", "1", "Add", 1, size)) == f"→ Invocation 1 'Add', {text}"


def test_a_listener_hears_of_each_as_it_comes() -> None:
    heard: list[str] = []
    recorder = FlightRecorder()
    recorder.listener = lambda record: heard.append(str(record))
    recorder.sending("Ping", None, None, 11)
    recorder.sending("Invocation", "1", "Add", 45)
    recorder.written(1.0, 2, 56)
    recorder.sending("Invocation", "2", "Add", 45)
    recorder.written(1.0, 1, 45)
    recorder.received(2.0, "StreamItem", "5", "Counter", 10, 2)
    assert heard == [
        "→ Ping, 11 B",
        "→ Invocation 1 'Add', 45 B",
        "→ Invocation 2 'Add', 45 B",
        "← StreamItem ×2 of 5 'Counter', 10 B",
    ]


def test_a_report_without_messages_has_no_history() -> None:
    assert CloseReport("server", "bye").history == ""


def test_reports_are_equal_whatever_led_to_them() -> None:
    record = MessageRecord(0.0, "sent", "Ping", None, None, 1, 11)
    assert CloseReport("server", "bye", messages=(record,)) == CloseReport("server", "bye")
    assert "Ping" not in repr(CloseReport("server", "bye", messages=(record,)))


def test_names_that_a_server_thinks_up_are_cut_and_cannot_end_a_line() -> None:
    recorder = FlightRecorder()
    recorder.received_one(1.0, Invocation("x" * 10**6, [], "y" * 10**6), method_of)
    recorder.received(2.0, "StreamItem", "z" * 10**6, None, 1)
    recorder.sending("Completion", "y" * 10**6, None, 1)
    recorder.written(3.0, 1, 1)
    recorder.received_one(4.0, Invocation("a\nb", [], "c\nd"), method_of)
    assert all(len(line) < 500 for line in told(recorder))
    assert told(recorder)[-1] == "6 ← Invocation 'c\\nd' 'a\\nb'"
