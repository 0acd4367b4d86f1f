"""What the repository says of itself in several places is the same in all of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version as installed_version

import pytest

import trio_signalr
from tests.packaging import release
from tests.packaging.environments import ROOT, run

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def targets() -> set[str]:
    """The targets of the Makefile that are commands rather than files."""
    return {target for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.M) for target in line.split()}


def targets_named() -> Iterator[tuple[str, str]]:
    """Each ``make`` command in .github/, .ci/ and the pages: where it stands, and a target that it names."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
    workflows = sorted((ROOT / ".github").rglob("*.yml"))
    for path in [*pages, *workflows, ROOT / ".ci" / "run"]:
        text = path.read_text(encoding="utf-8")
        # In code, of which a page has lines of a block and words in backquotes.
        for words in re.findall(r"^\s*(?:- )?(?:run: |step )?make ([^#\n]+)|`make ([^`]+)`", text, re.M):
            for word in "".join(words).split():
                if not re.fullmatch(r"[a-z-]+", word):
                    break  # from here on variables
                yield f"{path.relative_to(ROOT)}", word


# The version


def test_version_has_one_source() -> None:
    assert PROJECT["project"].get("version") is None
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "trio_signalr/_version.py"
    assert trio_signalr.__version__ == release.version()
    quoted = re.compile(rf"(?<![\w.]){re.escape(release.version())}(?![\w.])")
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "trio_signalr").rglob("*.py")
    }
    holders = {name for name, text in sources.items() if quoted.search(text)}
    assert holders == {"trio_signalr/_version.py"}
    assert not quoted.search(str(PROJECT["project"]))


def test_version_is_the_installed_one() -> None:
    assert installed_version("trio-signalr") == trio_signalr.__version__, "reinstall: touch pyproject.toml, then make"


def test_changelog_begins_with_the_version() -> None:
    assert next(iter(release.sections(CHANGELOG))) == trio_signalr.__version__


@pytest.mark.parametrize(
    ("tag", "changelog", "words"),
    [
        ("v1.2.3", "## [1.2.3] – 2001-02-03\n", []),
        ("1.2.3", "## [1.2.3] – 2001-02-03\n", ["should be v1.2.3"]),
        ("v1.2.4", "## [1.2.3] – 2001-02-03\n", ["says 1.2.3"]),
        ("v1.2.3", "## [Unreleased] – 1.2.3\n", ["no dated section"]),
        ("v1.2.3", "## [1.2.2] – 2001-02-03\n", ["no dated section"]),
        ("v1.2", "", ["should be v1.2.3", "no dated section"]),
    ],
)
def test_release_check(tag: str, changelog: str, words: list[str]) -> None:
    found = release.complaints(tag, "1.2.3", changelog)
    assert len(found) == len(words)
    assert all(word in complaint for word, complaint in zip(words, found, strict=True))


# The Makefile


def test_every_target_has_a_line_of_help() -> None:
    helped = run("make", "--no-print-directory", "help")
    listed = dict(re.findall(r"^make ([a-z-]+) +(\S.+)$", helped, re.M))
    assert set(listed) == targets()
    assert len(listed) == len(helped.splitlines())


def test_every_command_is_declared_phony() -> None:
    """A file of the same name in the checkout would switch off a target that is not."""
    assert set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M)) == targets()


def test_commands_in_workflows_and_pages_exist() -> None:
    named = list(targets_named())
    assert {page for page, _ in named} >= {".github/workflows/ci.yml", ".ci/run", "CONTRIBUTING.md", "README.md"}
    assert [(page, target) for page, target in named if target not in targets()] == []


# The map in CONTRIBUTING.md


def test_the_map_names_what_exists() -> None:
    """Modules in the first column of backquotes, tests in the second; ``_cli.py`` is to come."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \|$", text.partition("## Where things are")[2].partition("\n## ")[0], re.M)
    named = {name for row in rows for name in re.findall(r"`([\w*/.]+(?:\.py|/))`", row)}
    assert len(named) > 50
    folders = (ROOT, ROOT / "trio_signalr", ROOT / "trio_signalr" / "testing", ROOT / "tests")
    assert {name for name in named if not any(any(folder.glob(name)) for folder in folders)} <= {
        "_cli.py",
        "__main__.py",
    }


# Pythons and dependencies


def test_pythons_that_are_promised_are_tested() -> None:
    """The classifiers, the lower bound and the matrix name the same."""
    promised = [
        found[1]
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert PROJECT["project"]["requires-python"] == f">={promised[0]}"
    for name in ("ci", "newest"):
        workflow = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
        assert re.findall(r"^ +python: \[(.+)\]", workflow, re.M) == [", ".join(f'"{each}"' for each in promised)]


def test_tools_have_exact_versions() -> None:
    """A new release of a checker must not turn a green tree red, nor one of a builder change what is released."""
    groups = PROJECT["dependency-groups"]
    loose = [
        requirement
        for group in ("lint", "dist")
        for requirement in groups[group]
        if isinstance(requirement, str) and "==" not in requirement
    ]
    assert loose == []
