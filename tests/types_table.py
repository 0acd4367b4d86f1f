"""Writes the table in docs/types.md: ``python -m tests.types_table``. A test says when that is due."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tests.type_rows import PROTOCOLS, ROWS, Row
from trio_signalr.messages import StreamItem

PAGE = Path(__file__).parent.parent / "docs" / "types.md"
START, END = "<!-- table: written by tests/types_table.py -->\n", "<!-- end of table -->\n"
HEAD = ("In .NET", "In Python", "In JSON", "In MessagePack", "There and back")


def payload(row: Row, protocol: str) -> bytes:
    (message,) = PROTOCOLS[protocol].parser().feed(PROTOCOLS[protocol].encode(StreamItem("", sample(row))))
    assert isinstance(message, StreamItem)
    return bytes(message.item)


def sample(row: Row) -> Any:
    return row.outgoing(next(value for value, _ in row.values if value is not None))


def shown(value: Any) -> str:
    """A MessagePack value in words."""
    match value:
        case datetime():
            return "timestamp"
        case str():
            return f'"{value}"'
        case bytes():
            return f"bin {value.hex(' ')}"
        case list():
            return f"[{', '.join(map(shown, value))}]"
        case dict():
            return "{" + ", ".join(f"{shown(key)}: {shown(part)}" for key, part in value.items()) + "}"
        case bool() | None:
            return {True: "true", False: "false", None: "nil"}[value]
    return str(value)


def shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def verdict(row: Row) -> str:
    refusals = [f"not in {'JSON' if name == 'json' else 'MessagePack'}: {why}" for name, why in row.refused.items()]
    both = "" if refusals else "both"
    return "; ".join(filter(None, [both, *refusals, row.note]))


def cells(row: Row) -> tuple[str, ...]:
    json = payload(row, "json").decode()
    messagepack = shown(msgspec.msgpack.decode(payload(row, "messagepack"), strict=False))
    code = [f"`{shortened(each)}`" for each in (row.dotnet, row.python, json, messagepack)]
    return (*code, verdict(row))


def table() -> str:
    rows = [HEAD, ("---",) * len(HEAD), *map(cells, ROWS)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def page(old: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = old.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
