"""The fenced blocks of README.md, CONTRIBUTING.md and docs/, and what a comment right above one says about it.

``<!-- from examples/x.py -->``: it is a copy of that file. ``<!-- from examples/x.py#name -->``: of the lines there
between ``# part: name`` and ``# end of part``. ``<!-- not checked: why -->``: nobody here can run or compile it.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))

_BLOCK = re.compile(
    r"(?:^[ ]*<!--[ ](?P<marker>from[ ]|not[ ]checked:[ ])(?P<text>.+?)[ ]-->\n+)?"
    r"^(?P<indent>[ ]*)```(?P<language>[^\n`]*)\n(?P<code>.*?)^[ ]*```$",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int  # of its first line of code
    language: str
    code: str
    source: str | None = None
    not_checked: str | None = None

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_in(text: str, page: str) -> list[Block]:
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        marker = {(match["marker"] or "").strip(" :"): match["text"]}
        code = dedent(match["code"]) if match["indent"] else match["code"]
        language = match["language"].partition(" ")[0]
        block = Block(page, line, language, code, marker.get("from"), marker.get("not checked"))
        found.append(block)
    return found


def all_blocks() -> list[Block]:
    return [
        block
        for path in PAGES
        for block in blocks_in(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]


def without_blocks(text: str) -> str:
    """The prose of a page."""
    return _BLOCK.sub("", text)


def source_text(source: str) -> str:
    """What ``<!-- from source -->`` names: a file, or a part of one."""
    path, _, part = source.partition("#")
    text = (ROOT / path).read_text(encoding="utf-8")
    if not part:
        return text
    found = re.findall(rf"^ *(?:#|//) part: {re.escape(part)}\n(.*?)^ *(?:#|//) end of part$", text, re.M | re.S)
    assert len(found) == 1, f"{path} has {len(found)} parts named {part!r}"
    return dedent(found[0])
