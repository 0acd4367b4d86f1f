"""Makes our docstrings' own sections, bases and type names into what Sphinx can show."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import trio
from sphinx.util.typing import stringify_annotation

from trio_signalr import _flow, _handlers, _http, retry
from trio_signalr._streams import BufferedChannel
from trio_signalr.protocols import HubProtocol, _forms
from trio_signalr.protocols._payloads import PayloadProtocol

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_FACT = re.compile(r"(Cancellation|Checkpoint|Tasks|Source): (.*)")

BEFORE_NAPOLEON = 400

_BASES: dict[type, type] = {BufferedChannel: trio.abc.ReceiveChannel, PayloadProtocol: HubProtocol}
"""Private classes in between, and the public ones that they stand for."""

_ALIASES = {
    "AccessToken": _http.AccessToken,
    "Handler": _handlers.Handler,
    "HttpClient": _http.HttpClient,
    "Overflow": _flow.Overflow,
    "Proxy": _http.Proxy,
    "Rename": _forms.Rename,
    "RetryPolicy": retry.RetryPolicy,
}
"""Names for types that signatures use and no public module has: what they stand for is shown instead."""

MEANINGS = {
    name: value if isinstance(value, str) else stringify_annotation(value, "smart").replace("~", "")
    for name, value in _ALIASES.items()
}


def facts_as_fields(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Make ``Checkpoint: always.`` and its like fields, as napoleon makes the sections that it knows."""
    result: list[str] = []
    inside = False
    for line in lines:
        fact = _FACT.fullmatch(line)
        if fact is not None:
            result.append(f":{fact[1]}: {fact[2][:1].upper()}{fact[2][1:]}")
        else:
            result.append(f"    {line}" if inside and line else line)
        inside = fact is not None or (inside and bool(line))
    lines[:] = result


def what_async_with_takes(
    _app: Sphinx, _what: str, _name: str, obj: Any, _options: object, signature: str, returns: str | None
) -> tuple[str, str] | None:
    """Say that an ``@asynccontextmanager`` returns a context manager, and not the generator that it was made of."""
    generated = re.fullmatch(r"(?:~?collections\.abc\.)?AsyncGenerator\[(.*)\]", returns or "")
    if generated is None or not inspect.isasyncgenfunction(inspect.unwrap(obj)):
        return None
    return signature, f"AbstractAsyncContextManager[{generated[1]}]"


def public_bases(_app: Sphinx, _name: str, _obj: object, _options: object, bases: list[Any]) -> None:
    """Show a public base in the place of a private one."""
    bases[:] = [_BASES.get(getattr(base, "__origin__", base), base) for base in bases]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", facts_as_fields, priority=BEFORE_NAPOLEON)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-process-signature", what_async_with_takes)
    return {"parallel_read_safe": True}
