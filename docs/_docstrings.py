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

_ATTRIBUTE = re.compile(r"    (\w+): (.*)")

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
    name: value if isinstance(value, str) else stringify_annotation(value, "smart").replace("~collections.abc.", "")
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


def attributes_with_types(
    _app: Sphinx, _what: str, _name: str, obj: object, _options: object, lines: list[str]
) -> None:
    """Make a section ``Attributes`` entries with the types that the class or its constructor gives them."""
    if not inspect.isclass(obj) or "Attributes:" not in lines:
        return
    start = lines.index("Attributes:")
    end = next((i for i in range(start + 1, len(lines)) if lines[i] and not lines[i].startswith(" ")), len(lines))
    result: list[str] = []
    for line in lines[start + 1 : end]:
        attribute = _ATTRIBUTE.fullmatch(line)
        if attribute is None:
            result.append(line)
        else:
            result += [f".. attribute:: {attribute[1]}", *_type_option(obj, attribute[1]), "", f"    {attribute[2]}"]
    lines[start:end] = [each for each in result if each.strip() or each == ""]


def _type_option(owner: type, name: str) -> list[str]:
    annotations = [vars(base).get("__annotations__", {}) for base in owner.__mro__]
    annotations.append(getattr(owner.__init__, "__annotations__", {}))
    for found in annotations:
        if name in found:
            type_ = found[name]
            return [f"    :type: {type_ if isinstance(type_, str) else stringify_annotation(type_, 'smart')}"]
    return []


def struct_signatures(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Write defaults that msgspec makes anew each time as Python would, so that the signature can be parsed."""
    if what != "class" or signature is None:
        return None
    signature = re.sub(r"(list\[\w+\]) = <factory>", r"\1 = []", signature)
    return re.sub(r"(dict\[\w+, \w+\]) = <factory>", r"\1 = {}", signature).replace(
        "~trio_signalr.messages.", ""
    ), returns


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
    app.connect("autodoc-process-docstring", attributes_with_types, priority=BEFORE_NAPOLEON)
    app.connect("autodoc-process-signature", struct_signatures)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-process-signature", what_async_with_takes)
    return {"parallel_read_safe": True}
