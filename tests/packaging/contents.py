"""What is in the two archives, next to what git and pyproject.toml say."""

from __future__ import annotations

import email.message
import email.parser
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from tests.packaging.environments import ROOT, Failed

PACKAGE = "trio_signalr"


def project() -> dict[str, Any]:
    """The table ``[project]`` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def tracked() -> set[str] | None:
    """The files that git knows; ``None`` outside of a clone, as in an unpacked source distribution."""
    if not (ROOT / ".git").exists():
        return None
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    return {name for name in listed.decode().split("\0") if name and (ROOT / name).exists()}


def files_of_wheel(path: Path) -> set[str]:
    """The names of all files in a wheel."""
    with zipfile.ZipFile(path) as wheel:
        return set(wheel.namelist())


def files_of_sdist(path: Path) -> set[str]:
    """The names of all files in a source distribution, without the folder that holds them all."""
    with tarfile.open(path) as sdist:
        return {name.partition("/")[2] for name in sdist.getnames()}


def metadata(path: Path) -> email.message.Message:
    """The METADATA of a wheel."""
    with zipfile.ZipFile(path) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.Parser().parsestr(wheel.read(name).decode())


def check_wheel(path: Path) -> None:
    """It holds the package, typed, with its licence, and nothing that is not ours."""
    files = files_of_wheel(path)
    packaged = {name for name in files if name.startswith(f"{PACKAGE}/")}
    beside = {name for name in files - packaged if ".dist-info/" not in name}
    if beside:
        raise Failed(f"the wheel would install files beside the package: {sorted(beside)}")
    if f"{PACKAGE}/py.typed" not in packaged:
        raise Failed("py.typed is missing: type checkers would take the installed package for untyped")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in files):
        raise Failed("the wheel has no LICENSE")
    if (known := tracked()) is not None:
        _same("the wheel", packaged, {name for name in known if name.startswith(f"{PACKAGE}/")})


def check_metadata(path: Path) -> None:
    """What PyPI will show is what pyproject.toml says."""
    fields = metadata(path)
    extras = sorted(fields.get_all("Provides-Extra", []))
    if extras != sorted(project().get("optional-dependencies", {})):
        raise Failed(f"the wheel has the extras {extras}")
    if not str(fields.get_payload()).startswith("# "):
        raise Failed("the wheel's description is not the README")


def check_sdist(path: Path) -> None:
    """It is the repository: from it everything can be built, checked and tested."""
    if (known := tracked()) is not None:
        _same("the source distribution", files_of_sdist(path) - {"PKG-INFO"}, known)


def _same(what: str, found: set[str], known: set[str]) -> None:
    if missing := sorted(known - found):
        raise Failed(f"{what} lacks {', '.join(missing)}: see [tool.hatch.build] in pyproject.toml")
    if strange := sorted(found - known):
        raise Failed(f"{what} has files that git does not know: {', '.join(strange)}")
