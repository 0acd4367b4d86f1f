"""Running what users run."""

from __future__ import annotations

import runpy
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock


def run_as_program(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a file as ``__main__``, on a clock that jumps."""
    monkeypatch.setattr(trio, "run", partial(trio.run, clock=MockClock(autojump_threshold=0)))
    runpy.run_path(str(path), run_name="__main__")
