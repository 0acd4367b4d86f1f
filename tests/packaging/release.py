"""``make release-check TAG=v1.2.3``: what a tag says, next to the version and the changelog."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: – (?P<rest>\S+))?$", re.M)


def version(root: Path = ROOT) -> str:
    """The version, from its one source; read, not imported, since nothing is installed yet."""
    text = (root / "trio_signalr" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.M)
    assert found is not None, "trio_signalr/_version.py holds one line: __version__ = ..."
    return found[1]


def sections(changelog: str) -> dict[str, str | None]:
    """The changelog's sections, newest first: version to date, ``None`` for the one that is not released."""
    found: dict[str, str | None] = {}
    for heading in HEADING.finditer(changelog):
        name, rest = heading["name"], heading["rest"]
        if name == "Unreleased":
            found[rest or name] = None
        else:
            found[name] = rest
    return found


def complaints(tag: str, version: str, changelog: str) -> list[str]:
    """Why this tag must not be released."""
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag!r}, but trio_signalr/_version.py says {version}: it should be v{version}")
    date = sections(changelog).get(version, "")
    if not date or not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        found.append(f"CHANGELOG.md has no dated section: ## [{version}] – 2001-02-03")
    return found


def main(tag: str) -> int:
    found = complaints(tag, version(), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    for complaint in found:
        print(complaint, file=sys.stderr)
    if not found:
        print(f"{tag} is the version, and the changelog has it")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
