"""The public surface: what can be imported, that it is documented, and that nothing else slips in."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_signalr
from trio_signalr import errors

# Every change here is a change for users: it wants a line in CHANGELOG.md.
PUBLIC = (
    # opening and using a hub
    "open_hub",
    "HubConnection",
    "HubStream",
    "Upload",
    "Registration",
    # what it tells, and what it can be told
    "HubState",
    "StateChange",
    "CloseReport",
    "MessageRecord",
    "RetryContext",
    "RetryDelays",
    "ExponentialBackoff",
    "HubProtocol",
    "JsonHubProtocol",
    "MessagePackHubProtocol",
    # types
    "Char",
    "DateTimeOffset",
    "streaming",
    # errors
    "HandshakeError",
    "HubClosed",
    "HubException",
    "InternalError",
    "InvocationError",
    "NegotiationError",
    "PayloadError",
    "ProtocolError",
    "ServerTimeout",
    "SignalRError",
    "StreamOverflow",
    "TransportError",
)
# Imported by users too, with an __all__ of their own.
PUBLIC_MODULES = (
    "trio_signalr.errors",
    "trio_signalr.messages",
    "trio_signalr.protocols",
    "trio_signalr.testing",
    "trio_signalr.testing.examples",
)


def test_all_is_what_is_documented() -> None:
    assert sorted(trio_signalr.__all__) == sorted(PUBLIC)


def test_every_error_is_public() -> None:
    assert set(errors.__all__) <= set(PUBLIC)
    classes = inspect.getmembers(errors, inspect.isclass)
    assert {name for name, value in classes if value.__module__ == errors.__name__} == set(errors.__all__)


def test_face_is_re_exports_and_nothing_else() -> None:
    path = Path(inspect.getfile(trio_signalr))
    docstring, *statements = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    names = []
    for statement in statements:
        if isinstance(statement, ast.ImportFrom) and statement.module != "__future__":
            for alias in statement.names:
                assert alias.asname == alias.name, f"line {statement.lineno}: write {alias.name} as {alias.name}"
                names.append(alias.name)
        else:
            assert isinstance(statement, ast.ImportFrom) or ast.unparse(statement).startswith("__all__ ="), (
                f"line {statement.lineno}: {ast.unparse(statement)}"
            )
    assert sorted(names) == sorted({*PUBLIC, "__version__"})


@pytest.mark.parametrize("module", ["trio_signalr", *PUBLIC_MODULES])
def test_all_names_exist_and_are_public(module: str) -> None:
    loaded = importlib.import_module(module)
    assert len(set(loaded.__all__)) == len(loaded.__all__)
    for name in loaded.__all__:
        assert not name.startswith("_")
        getattr(loaded, name)


def documented(owner: str, value: object) -> Iterator[tuple[str, object]]:
    """``value``, and what a user finds on it: whatever owes a docstring."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return  # a constant or a type alias; those have no __doc__ of their own
    yield owner, value
    if inspect.isclass(value):
        for name in dir(value):
            attribute = inspect.getattr_static(value, name)
            if isinstance(attribute, (staticmethod, classmethod)):
                attribute = attribute.__func__
            of_ours = inspect.isfunction(attribute) and attribute.__module__.partition(".")[0] == "trio_signalr"
            if not name.startswith("_") and (of_ours or isinstance(attribute, (property, functools.cached_property))):
                yield f"{owner}.{name}", getattr(value, name)


@pytest.mark.parametrize("module", ["trio_signalr", *PUBLIC_MODULES])
def test_everything_public_has_a_docstring(module: str) -> None:
    loaded = importlib.import_module(module)
    assert inspect.getdoc(loaded)
    bare = [
        owner
        for name in loaded.__all__
        for owner, value in documented(name, getattr(loaded, name))
        if not (inspect.getdoc(value) or "").strip()
    ]
    assert bare == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_says_where_it_is_from(name: str) -> None:
    value = getattr(trio_signalr, name)
    assert value.__module__.partition(".")[0] == "trio_signalr"
    assert value.__qualname__ == name
