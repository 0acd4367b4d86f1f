"""Virtual environments outside the checkout, so that nothing of the checkout can be imported in them by chance."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 300.0  # seconds; the longest is pip on a slow line


class Failed(Exception):
    """A step that did not go well; the text is all that is to be said about it."""


def run(*command: str | Path, cwd: Path = ROOT, exits: int = 0) -> str:
    """Run a program and return what it printed, both streams together; raise ``Failed`` unless it ends as said."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    if done.returncode != exits:
        wanted = f", not {exits}" if exits else ""
        raise Failed(f"{' '.join(words)}\nended with {done.returncode}{wanted}:\n{done.stdout.rstrip()}")
    return done.stdout


def clean_environ() -> dict[str, str]:
    """The environment variables without those that lead a Python, or a make, back to where we come from."""
    misleading = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
    return {name: value for name, value in os.environ.items() if name not in misleading}


class Environment:
    """A new virtual environment, with what pip installs for ``requirements`` and not even pip itself."""

    def __init__(self, folder: Path, requirements: Sequence[str]) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.work = folder / "work"  # where programs are started: an empty folder
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        self.work.mkdir()
        pip = (sys.executable, "-m", "pip", "--python", self.python, "-q", "--disable-pip-version-check")
        run(*pip, "install", *requirements, cwd=self.work)

    def script(self, name: str) -> Path:
        """The path of a command that the installed packages brought along."""
        path = self.folder / "bin" / name
        if not path.exists():
            raise Failed(f"{name} was not installed: {path} is not there")
        return path

    def run(self, *command: str | Path, exits: int = 0) -> str:
        """Run a program in the empty folder."""
        return run(*command, cwd=self.work, exits=exits)
