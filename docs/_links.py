"""Where a name leads to that is no entry of the reference as it is written.

Names of other libraries have their addresses here, by hand and not by intersphinx, which would need the network. Names
of our own are found wherever they are mentioned, by their last part. What is neither stays a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from _docstrings import MEANINGS
from docutils import nodes

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

_PYTHON = "https://docs.python.org/3/library/{}.html#{}"
_TRIO_CORE = "https://trio.readthedocs.io/en/stable/reference-core.html#{}"
_TRIO_IO = "https://trio.readthedocs.io/en/stable/reference-io.html#{}"

_MODULES = {
    "AbstractAsyncContextManager": "contextlib",
    "AsyncGenerator": "collections.abc",
    "AsyncIterable": "collections.abc",
    "AsyncIterator": "collections.abc",
    "Awaitable": "collections.abc",
    "Callable": "collections.abc",
    "Iterable": "collections.abc",
    "Iterator": "collections.abc",
    "Mapping": "collections.abc",
    "SSLContext": "ssl",
    "Enum": "enum",
    "datetime": "datetime",
}
"""Names of the standard library, and their modules."""

_ADDRESSES = {
    "httpx.AsyncClient": "https://www.python-httpx.org/api/#asyncclient",
    "msgspec.Raw": "https://jcristharif.com/msgspec/api.html#msgspec.Raw",
    "msgspec.UNSET": "https://jcristharif.com/msgspec/api.html#msgspec.UNSET",
    "typing_extensions.TypeForm": "https://peps.python.org/pep-0747/",
    "trio.MemoryReceiveChannel": _TRIO_CORE.format("trio.MemoryReceiveChannel"),
    **{
        f"trio.{name}": _TRIO_CORE.format(f"trio.{name}")
        for name in (
            "BrokenResourceError",
            "BusyResourceError",
            "ClosedResourceError",
            "EndOfChannel",
            "WouldBlock",
        )
    },
    **{f"trio.abc.{name}": _TRIO_IO.format(f"trio.abc.{name}") for name in ("ReceiveChannel", "SendChannel")},
    **{f"{module}.{name}": _PYTHON.format(module, f"{module}.{name}") for name, module in _MODULES.items()},
}
_SHORT = {name.rpartition(".")[2]: address for name, address in _ADDRESSES.items()}

_WORDS = {"Batches", "ConnectOptions", "F", "M", "P", "S", "T", "T2", "T3", "UnsetType", "Callable[[]"}
"""What is no more than a word: type variables, private classes, and half of a ``Callable`` that napoleon cut in two."""

_STAND_FOR = {
    "trio_signalr.protocols.json.JsonMessageParser": "MessageParser",
    "trio_signalr.protocols.messagepack.MessagePackMessageParser": "MessageParser",
}
"""Private classes, and the public ones that they are mentioned for."""


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Element | None:
    """Say what a reference leads to that Sphinx does not find; called for each of those."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"]
    if (meaning := MEANINGS.get(name)) is not None:
        return nodes.inline(meaning, meaning)
    if (address := _ADDRESSES.get(name) or _SHORT.get(name)) is not None:
        return nodes.reference("", "", content, refuri=address)
    if name.rpartition(".")[2] in _WORDS:
        return nodes.inline("", "", content)
    return _of_ours(app, env, node, content, _STAND_FOR.get(name, name))


def _of_ours(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement, name: str
) -> nodes.Element | None:
    """Find the one entry whose name ends like this."""
    domain = env.domains.python_domain
    found = {
        (entry.docname, entry.node_id)
        for known, entry in domain.objects.items()
        if known.endswith(f".{name}") and not entry.aliased
    }
    if len(found) != 1:
        return None
    ((page, anchor),) = found
    address = app.builder.get_relative_uri(node["refdoc"], page) + f"#{anchor}"
    return nodes.reference("", "", content, internal=True, refuri=address)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
