"""What README.md and docs/ show and promise: code that runs or type-checks, links that lead somewhere, every name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest
import trio
from trio.testing import MockClock

import trio_signalr
from tests.blocks import PAGES, ROOT, Block, all_blocks, blocks_in, source_text, without_blocks
from tests.programs import run_as_program
from tests.test_exports import PUBLIC_MODULES

BLOCKS = all_blocks()
CHECKED = [block for block in BLOCKS if block.not_checked is None]
COPIES = [block for block in CHECKED if block.source is not None]
PYTHON = [block for block in CHECKED if block.language == "python" and block.source is None]
PROGRAMS = [block for block in PYTHON if re.search(r"^(trio|asyncio)\.run\(", block.code, re.M)]
TESTS = [block for block in PYTHON if re.search(r"^async def test_", block.code, re.M)]
COMMANDS = [block for block in CHECKED if block.language in ("sh", "console")]

NO_CODE = {"", "text", "{eval-rst}", "{toctree}", "{include}"}
"""Drawings, output, and what Sphinx itself reads; the others are code, and something here has to check it."""


def each(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [pytest.param(block, id=block.where) for block in blocks])


# Blocks


def test_every_block_is_checked_here_or_says_why_not() -> None:
    checked = {block.where for block in (*COPIES, *PYTHON, *COMMANDS)}
    others = [block for block in CHECKED if block.where not in checked and block.language not in NO_CODE]
    assert [f"{block.where} ({block.language})" for block in others] == []


def test_a_block_and_the_comment_above_it_are_found() -> None:
    text = "<!-- not checked: it -->\n\n```python\na\n```\n- x\n  <!-- from y#z -->\n  ```csharp title\n  b\n  ```\n"
    assert blocks_in(text, "p") == [
        Block("p", 4, "python", "a\n", not_checked="it"),
        Block("p", 9, "csharp", "b\n", source="y#z"),
    ]


@each(COPIES)
def test_a_copy_equals_what_it_is_from(block: Block) -> None:
    assert block.source is not None
    assert block.code == source_text(block.source)


def hubs_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``open_hub`` lead to the examples' own hub, whatever the URL."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    embedded = __import__("embedded")
    monkeypatch.delitem(sys.modules, "embedded")
    monkeypatch.setattr(trio_signalr, "open_hub", lambda url, **options: embedded.server.connect(**options))


@each(PROGRAMS)
def test_programs_run(block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hubs_in_memory(monkeypatch)
    path = tmp_path / "program.py"
    path.write_text(block.code, encoding="utf-8")
    run_as_program(path, monkeypatch)


@each(TESTS)
def test_tests_pass(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "test_shown.py"
    path.write_text(block.code, encoding="utf-8")
    tests = {name: test for name, test in runpy.run_path(str(path)).items() if name.startswith("test_")}
    assert tests
    for test in tests.values():
        given = [MockClock(autojump_threshold=0)] if "autojump_clock" in inspect.signature(test).parameters else []
        trio.run(test, *given, clock=MockClock(autojump_threshold=0))


@each(PYTHON)
def test_python_compiles(block: Block) -> None:
    compile(block.code, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed; make check installs it")
def test_python_is_right_about_types(tmp_path: Path) -> None:
    """All blocks in one module, each in a function of its own, after a prelude of what they take for granted."""
    text = (ROOT / "tests/blocks_prelude.py").read_text(encoding="utf-8")
    starts = []
    for number, block in enumerate(PYTHON):
        text += f"\n\nasync def block_{number}() -> None:\n"
        starts.append((text.count("\n") + 1, block))
        text += indent(block.code, "    ") + "    ...\n"
    path = tmp_path / "blocks.py"
    path.write_text(text, encoding="utf-8")
    settings = tmp_path / "mypy.ini"
    settings.write_text(MYPY, encoding="utf-8")
    options = ["--config-file", str(settings), "--cache-dir", ".mypy_cache/docs"]
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    problems = []
    for line, problem in re.findall(r"^.*?blocks\.py:(\d+): (.*)$", checked.stdout, re.M):
        start, block = max((each for each in starts if each[0] <= int(line)), default=(1, Block("prelude", 1, "", "")))
        problems.append(f"{block.page}:{block.line + int(line) - start}: {problem}")
    assert not problems, "\n".join(problems)
    assert checked.returncode == 0, checked.stdout + checked.stderr


MYPY = """\
[mypy]
strict = true
disallow_untyped_defs = false
disallow_incomplete_defs = false
disallow_untyped_calls = false
warn_return_any = false
disable_error_code = empty-body
"""
"""As strict as a user's own code is likely to be: short functions in the docs go without annotations."""


@each(COMMANDS)
def test_commands_name_targets_and_files_that_exist(block: Block) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for line in re.findall(r"^(?:\$ )?make ([^#\n]*)", block.code, re.M):
        words = [word for word in re.sub(r'"[^"]*"', "", line).split() if "=" not in word]
        assert {*words} <= {*targets}
    for path in re.findall(r"\b(?:examples|tests)/[\w/.]+", block.code):
        assert (ROOT / path).exists()


# Links


def anchors(path: Path) -> set[str]:
    """What can follow a ``#``, by the rule of GitHub and MyST."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(path.read_text(encoding="utf-8")), re.M)
    bare = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in bare}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    prose = without_blocks(page.read_text(encoding="utf-8"))
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue  # elsewhere in the world
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            dead.append(target)
    assert dead == []


def test_every_page_is_in_the_contents() -> None:
    listed = set()
    for path in (ROOT / "docs").rglob("*.md"):
        for block in blocks_in(path.read_text(encoding="utf-8"), path.name):
            if block.language == "{toctree}":
                names = [line for line in block.code.splitlines() if line and not line.startswith(":")]
                listed |= {(path.parent / f"{name}.md").resolve() for name in names}
    pages = {path.resolve() for path in (ROOT / "docs").rglob("*.md")} - {ROOT / "docs/index.md"}
    assert pages - listed == set()


# The reference


def entries() -> set[str]:
    """Full names of all that docs/reference has an entry for."""
    found = set()
    for path in (ROOT / "docs/reference").glob("*.md"):
        module = ""
        text = path.read_text(encoding="utf-8")
        for directive, name in re.findall(r"^\.\. ([a-z]+):: ([\w.]+)(?:\(\))?$", text, re.M):
            if directive == "currentmodule":
                module = name
            else:
                found.add(name if "." in name else f"{module}.{name}")
    return found


@pytest.mark.parametrize("module", ["trio_signalr", *PUBLIC_MODULES])
def test_every_public_name_is_in_the_reference(module: str) -> None:
    known = entries()
    names = importlib.import_module(module).__all__
    assert [name for name in names if not known & {f"{module}.{name}", f"trio_signalr.{name}"}] == []
