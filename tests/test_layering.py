"""Imports point down only, and the outside world is imported where it belongs. Nothing is run: the source is read.

A module may import at run time from the rows below its own, and within its own package. Under ``if TYPE_CHECKING`` it
may also name its neighbours in its own row, never what is above it: who must know a type from above wants a protocol
or a callable from below instead. The rules on packages from outside hold under ``TYPE_CHECKING`` too: a sans-I/O module
whose signatures speak of Trio is none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

NAME = "trio_signalr"
ROOT = Path(__file__).parent.parent / NAME

# Bottom to top. A package stands for all its modules; "__init__" is the face, trio_signalr itself.
LAYERS = (
    ("_version", "_logs", "errors"),
    ("messages",),
    ("protocols",),
    ("_contents",),
    ("replay", "retry", "_flow", "_binding", "_recorder", "negotiation"),
    # ---- up to here: sans-I/O
    ("_http", "_starting"),
    ("transports",),
    ("_link",),
    ("_connect",),
    ("_tools", "_waiting", "_pauses", "_resuming", "_endings", "_outbox"),
    ("_telemetry",),
    ("_calls", "_uploads", "_watching"),
    ("_streams",),
    ("_handlers", "_states", "_watched", "_acks", "_incoming"),
    ("_session",),
    ("_connection",),
    ("_calling", "_typed"),
    ("_hub",),
    ("_open",),
    ("__init__",),
    ("testing",),
    ("_cli",),
    ("__main__",),
)
RANK = {entry: rank for rank, row in enumerate(LAYERS) for entry in row}

SANS_IO = {entry for row in LAYERS[: RANK["_http"]] for entry in row}
SANS_IO_MODULES = {"transports._frames", "transports._event_stream"}  # bytes in, bytes out, in a package that does more
# No event loop, no I/O, no clock, no chance: time and ids are arguments.
NOT_SANS_IO = {
    *("trio", "trio_websocket", "httpx", "httpcore", "h11", "anyio", "asyncio", "socket", "ssl", "select", "selectors"),
    *("subprocess", "threading", "concurrent", "multiprocessing", "time", "random", "secrets"),
}
SANS_IO_MAY = {
    ("errors", "trio.BrokenResourceError"),  # HubClosed derives from it, so that generic Trio code understands it
    ("retry", "random"),  # the default of an argument: tests put their own in its place
}

# Who alone imports what, so that a successor of it changes one place.
IMPORTERS = {
    "click": {"_cli"},
    "rich": {"_cli"},
    "httpx": {"_http"},
    "httpcore": {"_http"},
    "hypercorn": {"testing"},
    "msgpack": {"protocols"},
    "opentelemetry": {"_telemetry"},
    "trio_websocket": {"transports"},
}
# The test hub is a second opinion: it shares codec and transports with the client, not its connection.
TESTING_AVOIDS = {"_session", "_connection", "_calling"}


class Import(NamedTuple):
    """``module`` (dotted, less the package's own name if ``ours``) imports ``target``."""

    module: str
    target: str
    ours: bool
    typing_only: bool
    line: int

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: imports {self.target}"


def entry(module: str) -> str:
    """The name in LAYERS that covers ``module``."""
    return module.partition(".")[0]


def package(target: str) -> str:
    return target.partition(".")[0]


def imports(source: str, module: str, *, is_package: bool, modules: set[str]) -> Iterator[Import]:
    """All imports in ``source``, those inside functions too."""
    here = [NAME, *([] if module == "__init__" else module.split("."))]
    if not is_package:
        here.pop()  # the package that relative imports start from

    def walk(node: ast.AST, typing_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.body:
                yield from walk(statement, True)
            for statement in node.orelse:
                yield from walk(statement, typing_only)
            return
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            for child in ast.iter_child_nodes(node):
                yield from walk(child, typing_only)
            return
        for name in names:
            if package(name) == NAME:
                yield Import(module, resolve(name), True, typing_only, node.lineno)
            else:
                yield Import(module, name, False, typing_only, node.lineno)

    def resolve(name: str) -> str:
        """The module that holds ``name``: the longest beginning that is one."""
        inner = name.split(".")[1:]
        while inner and ".".join(inner) not in modules:
            inner.pop()
        return ".".join(inner) or "__init__"

    return walk(ast.parse(source), False)


def complaints(found: Import) -> Iterator[str]:
    """What is wrong with one import."""
    module, target = found.module, found.target
    if found.ours:
        if entry(module) == entry(target):
            return
        allowed = RANK[entry(module)] + found.typing_only  # typing_only: a neighbour is no higher
        if RANK[entry(target)] >= allowed:
            yield "imports point down only"
        if entry(module) == "testing" and entry(target) in TESTING_AVOIDS:
            yield "the test hub must not share the client's connection"
        return
    pure = entry(module) in SANS_IO or module in SANS_IO_MODULES
    if pure and package(target) in NOT_SANS_IO and (module, target) not in SANS_IO_MAY:
        yield "sans-I/O modules know no I/O, event loop, clock or chance"
    importers = IMPORTERS.get(package(target))
    if importers is not None and entry(module) not in importers:
        yield f"only {', '.join(sorted(importers))} may"


FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


@pytest.mark.parametrize("module", FILES)
def test_module_imports_only_what_it_may(module: str) -> None:
    assert entry(module) in RANK, f"{module} is new: give it a place in LAYERS"
    path = FILES[module]
    source = path.read_text(encoding="utf-8")
    found = imports(source, module, is_package=path.name == "__init__.py", modules=set(FILES))
    wrong = [f"{each}: {complaint}" for each in found for complaint in complaints(each)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("_session", "from .errors import HubClosed", None),
        ("_session", "from . import errors", None),
        ("_session", "import trio_signalr.errors", None),
        ("_session", "from . import HubClosed", "down"),
        ("errors", "from ._session import Session", "down"),
        ("errors", "def f():\n    import trio_signalr._session", "down"),
        ("errors", "if TYPE_CHECKING:\n    from ._session import Session", "down"),
        ("retry", "from ._flow import Flow", "down"),
        ("retry", "if TYPE_CHECKING:\n    from ._flow import Flow", None),
        ("retry", "if TYPE_CHECKING:\n    pass\nelse:\n    from ._flow import Flow", "down"),
        ("protocols.json", "from ._base import HubProtocol", None),
        ("protocols.json", "from ..messages import Ping", None),
        ("protocols.json", "from ..retry import RetryContext", "down"),
        ("protocols.json", "import trio", "sans-I/O"),
        ("transports._frames", "if TYPE_CHECKING:\n    import trio", "sans-I/O"),
        ("transports.websockets", "import trio", None),
        ("errors", "from trio import BrokenResourceError", None),
        ("errors", "from trio import BrokenResourceError, Event", "sans-I/O"),
        ("_hub", "if TYPE_CHECKING:\n    from httpx import AsyncClient", "only _http"),
        ("_hub", "from .testing import HubServer", "down"),
        ("testing", "from .._hub import open_hub", None),
        ("testing", "from .._session import Session", "test hub"),
    ],
)
def test_the_check_itself(module: str, source: str, expected: str | None) -> None:
    modules = {"errors", "messages", "retry", "_flow", "protocols._base", "_session", "_hub", "testing"}
    found = imports(source, module, is_package=module == "testing", modules=modules)
    wrong = [complaint for each in found for complaint in complaints(each)]
    if expected is None:
        assert wrong == []
    else:
        assert [expected in each for each in wrong] == [True]
