"""What typed decoding costs, against decoding without a type and converting by hand.

    python -m tests.benchmarks.types

By hand means what a user would write: one expression that builds the object and converts what needs it. Once without
any check of the other values, once with an ``isinstance`` for each, which is what asking for a type gives for free.
Times are in microseconds for one value of a list of a thousand; the ratio is typed to by hand.
"""

from __future__ import annotations

import enum
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trio_signalr import HubProtocol, JsonHubProtocol, MessagePackHubProtocol
from trio_signalr.messages import StreamItem

COUNT = 1_000


class Colour(enum.Enum):
    Red = 1
    Green = 2


class ItemStruct(msgspec.Struct):
    Id: int
    Name: str
    Value: float
    Flag: bool
    Stamp: datetime


@dataclass
class Item:
    Id: int
    Name: str
    Value: float
    Flag: bool
    Stamp: datetime


@dataclass
class Lap:
    Id: int
    Name: str
    Value: float
    Took: timedelta
    Colour: Colour


def check(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind}, got {value!r}")
    return value


def unchecked(value: Any, kind: type) -> Any:
    return value


def moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def span(value: Any) -> timedelta:
    if isinstance(value, int):
        return timedelta(microseconds=value // 10)
    hours, minutes, seconds = value.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds))


def colour(value: Any) -> Colour:
    return Colour[value] if isinstance(value, str) else Colour(value)


def item_by_hand(kind: Any) -> Callable[[Any], Any]:
    return lambda row: kind(row["Id"], row["Name"], row["Value"], row["Flag"], moment(row["Stamp"]))


def item_checked(kind: Any) -> Callable[[Any], Any]:
    return lambda row: kind(
        check(row["Id"], int),
        check(row["Name"], str),
        check(row["Value"], float),
        check(row["Flag"], bool),
        moment(row["Stamp"]),
    )


def lap_by_hand(row: Any) -> Lap:
    return Lap(row["Id"], row["Name"], row["Value"], span(row["Took"]), colour(row["Colour"]))


def lap_checked(row: Any) -> Lap:
    return Lap(
        check(row["Id"], int),
        check(row["Name"], str),
        check(row["Value"], float),
        span(row["Took"]),
        colour(row["Colour"]),
    )


ITEM = Item(1, "item 1", 1.5, True, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))
LAP = Lap(1, "lap 1", 1.5, timedelta(seconds=90), Colour.Green)
CASES: list[tuple[str, object, type, Callable[[Any], Any], Callable[[Any], Any]]] = [
    ("Struct", ITEM, ItemStruct, item_by_hand(ItemStruct), item_checked(ItemStruct)),
    ("dataclass", ITEM, Item, item_by_hand(Item), item_checked(Item)),
    ("dataclass with TimeSpan and enum", LAP, Lap, lap_by_hand, lap_checked),
]


def best(function: Callable[[], object]) -> float:
    """Microseconds for one value."""
    return min(timeit.repeat(function, number=10, repeat=9)) / 10 / COUNT * 1e6


def measure(protocol: HubProtocol, value: object, kind: type, convert: Callable[[Any], Any]) -> tuple[float, float]:
    """Typed, and by hand."""
    (message,) = protocol.parser().feed(protocol.encode(StreamItem("1", [value] * COUNT)))
    assert isinstance(message, StreamItem)
    raw, asked = message.item, list[kind]  # type: ignore[valid-type]
    by_hand = [convert(row) for row in protocol.decode_payload(raw, Any)]
    assert protocol.decode_payload(raw, asked) == by_hand
    typed_time = best(lambda: protocol.decode_payload(raw, asked))
    hand_time = best(lambda: [convert(row) for row in protocol.decode_payload(raw, Any)])
    return typed_time, hand_time


def main() -> None:
    print(f"{'':46} typed  by hand  ratio  checked  ratio")
    for protocol in (JsonHubProtocol(), MessagePackHubProtocol()):
        for title, value, kind, convert, convert_checked in CASES:
            typed, by_hand = measure(protocol, value, kind, convert)
            _, checked = measure(protocol, value, kind, convert_checked)
            times = f"{typed:5.2f}  {by_hand:7.2f}  {typed / by_hand:5.2f}  {checked:7.2f}  {typed / checked:5.2f}"
            print(f"{f'{protocol.name}, {title}':46} {times}")


if __name__ == "__main__":
    main()
