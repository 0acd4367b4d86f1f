"""What `make test-all` and `make dist` decide. What they do is seen by running them."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import contents, pythons
from tests.packaging.contents import check_sdist, check_wheel, metadata
from tests.packaging.dist import Checks
from tests.packaging.environments import Failed, run
from tests.packaging.pythons import Python, Run, find, run_all, status, table

HERE = Python(tuple(sys.version_info[:3]), sys._base_executable)  # type: ignore[attr-defined]


def program(path: Path, text: str) -> None:
    """Write a shell script that can be run."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def claims(*version: int, lacks: str = "null", at: str = "/opt/python") -> str:
    """A program that answers as a Python does, whatever it is asked."""
    return f'echo \'["{at}", {list(version)}, "final", {lacks}]\''


# Which Pythons there are


def test_a_python_that_runs_is_found(tmp_path: Path) -> None:
    program(tmp_path / "python3", f'exec {sys.executable} "$@"')
    (found,) = find([tmp_path])
    assert (found.version, found.lacks) == (HERE.version, None)
    assert Path(found.executable).samefile(HERE.executable), "the one that environments are made of"


@pytest.mark.parametrize(
    "text",
    [
        "echo 'pyenv: python3.12: command not found' >&2; exit 127",
        claims(3, 10, 13),
        claims(2, 7, 18),
        "echo 'Python 3.12'",
        "exit 0",
    ],
)
def test_what_does_not_run_or_is_too_old_is_not_found(text: str, tmp_path: Path) -> None:
    program(tmp_path / "python3.12", text)
    assert find([tmp_path, tmp_path / "not-there"]) == []


def test_other_programs_are_not_asked(tmp_path: Path) -> None:
    for name in ("python3-config", "python3.12-config", "python2.7", "python3.13t"):
        program(tmp_path / name, claims(3, 12, 1))
    assert find([tmp_path]) == []


def test_each_version_once_oldest_first(tmp_path: Path) -> None:
    program(tmp_path / "a" / "python3", claims(3, 12, 1, at="/first"))
    program(tmp_path / "a" / "python3.9", claims(3, 9, 0))
    program(tmp_path / "b" / "python3.12", claims(3, 12, 1, at="/second"))
    program(tmp_path / "b" / "python3.11", claims(3, 11, 2))
    program(tmp_path / "b" / "python3.100", claims(3, 100, 0))
    found = [(python.name, python.executable) for python in find([tmp_path / "a", tmp_path / "b"])]
    assert found == [("3.11.2", "/opt/python"), ("3.12.1", "/first"), ("3.100.0", "/opt/python")]


def test_a_python_that_can_make_environments_goes_before_its_twin_that_cannot(tmp_path: Path) -> None:
    program(tmp_path / "a" / "python3.12", claims(3, 12, 1, lacks='"ensurepip"', at="/first"))
    program(tmp_path / "b" / "python3.12", claims(3, 12, 1, at="/second"))
    assert [python.executable for python in find([tmp_path / "a", tmp_path / "b"])] == ["/second"]


# Running the tests on them


def pretended(failing: str = "") -> list[Run]:
    """Runs on three Pythons, of which the one named fails."""

    def run_tests(python: Python, dependencies: str) -> Run:
        result = "FAILED" if f"{python.name} {dependencies}" == failing else "passed"
        return Run(python, dependencies, result, "3 passed", 1.0)

    return list(run_all([Python((3, minor, 0), "/opt/python") for minor in (11, 12, 13)], run_tests))


def test_newest_dependencies_everywhere_and_the_oldest_on_the_oldest_python() -> None:
    runs = pretended()
    assert [(run.python.name, run.dependencies) for run in runs] == [
        ("3.11.0", "oldest"),
        ("3.11.0", "newest"),
        ("3.12.0", "newest"),
        ("3.13.0", "newest"),
    ]
    assert status(runs) == 0


@pytest.mark.parametrize("failing", ["3.11.0 oldest", "3.12.0 newest"])
def test_one_failure_stops_nothing_and_is_told_at_the_end(failing: str) -> None:
    runs = pretended(failing)
    assert len(runs) == 4
    assert status(runs) == 1
    (line,) = [line for line in table(runs).splitlines() if "FAILED" in line]
    assert line.split()[:2] == failing.split()


def test_ctrl_c_shows_what_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run_all(pythons: list[Python]) -> Iterator[Run]:
        yield Run(pythons[0], "oldest", "passed", "3 passed", 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(pythons, "find", lambda _: [Python((3, 11, 2), "/opt/python")])
    monkeypatch.setattr(pythons, "run_all", run_all)
    assert pythons.main() == 130
    assert "3.11.2     oldest        passed" in capsys.readouterr().out


def test_no_python_is_a_failure() -> None:
    assert status([]) == 1


@pytest.mark.parametrize(
    ("code", "last", "version", "result"),
    [
        (0, "3 passed", (3, 12, 1), "passed"),
        (1, "1 failed, 2 passed", (3, 12, 1), "FAILED"),
        (2, None, (3, 12, 1), "FAILED"),
        (1, "1 failed, 2 passed", (3, 99, 0), "FAILED"),
        (2, None, (3, 99, 0), "not installed"),
    ],
)
def test_result_of_a_run(
    code: int, last: str | None, version: tuple[int, ...], result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a Python that nobody promised may be one that nothing installs on."""
    monkeypatch.setattr(pythons, "_make", lambda *_: (code, last))
    ran = pythons.run_tests(Python(version, "/opt/python"), "newest")
    assert ran.result == result
    assert ("no classifier names this Python" in table([ran])) == (version == (3, 99, 0))


def test_a_python_without_ensurepip_is_left_out_with_a_word() -> None:
    ran = pythons.run_tests(Python((3, 11, 2), "/opt/python", lacks="ensurepip"), "newest")
    assert (ran.result, status([ran])) == ("left out", 1)
    assert "python3-venv" in table([ran])


def test_the_table_says_which_promised_pythons_are_not_here() -> None:
    assert "3.12                     not here" in table([])
    assert "not here" not in table(pretended())


# Packages


def wheel(folder: Path, *names: str) -> Path:
    path = folder / "some.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "Name: trio-signalr\n\n# Read me")
    return path


GOOD = ("trio_signalr/__init__.py", "trio_signalr/py.typed", "t.dist-info/licenses/LICENSE", "t.dist-info/METADATA")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    files = {"trio_signalr/__init__.py", "trio_signalr/py.typed"}
    monkeypatch.setattr(contents, "tracked", lambda: files)
    return files


def test_a_good_wheel_passes(known: set[str], tmp_path: Path) -> None:
    path = wheel(tmp_path, *GOOD)
    check_wheel(path)
    assert metadata(path)["Name"] == "trio-signalr"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (GOOD[:1] + GOOD[2:], "py.typed"),
        (GOOD[:2] + GOOD[3:], "LICENSE"),
        ((*GOOD, "tests/conftest.py"), "beside the package"),
        ((*GOOD, "trio_signalr/scratch.py"), "git does not know: trio_signalr/scratch.py"),
        (GOOD[1:], "lacks trio_signalr/__init__.py"),
    ],
)
def test_a_bad_wheel_does_not(names: tuple[str, ...], words: str, known: set[str], tmp_path: Path) -> None:
    with pytest.raises(Failed, match=words):
        check_wheel(wheel(tmp_path, *names))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["PKG-INFO", "trio_signalr/__init__.py", "trio_signalr/py.typed"], None),
        (["PKG-INFO", "trio_signalr/__init__.py"], "lacks trio_signalr/py.typed"),
        (["trio_signalr/__init__.py", "trio_signalr/py.typed", "secrets.env"], "git does not know: secrets.env"),
    ],
)
def test_source_distribution_is_what_git_knows(
    names: list[str], words: str | None, known: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "some.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"trio_signalr-1.2.3/{name}"), io.BytesIO())
    if words is None:
        check_sdist(path)
    else:
        with pytest.raises(Failed, match=words):
            check_sdist(path)


def test_checks_go_on_after_a_failure_and_remember_it(capsys: pytest.CaptureFixture[str]) -> None:
    checks = Checks()
    assert not checks("first", run, sys.executable, "-c", "print('why'); raise SystemExit(3)")
    assert checks("second", run, sys.executable, "-c", "")
    assert checks.failures == ["first"]
    out = capsys.readouterr().out
    assert "ended with 3:\nwhy" in out
    assert [line.split()[0] for line in out.splitlines() if line.endswith(("  first", "  second"))] == ["FAILED", "ok"]
