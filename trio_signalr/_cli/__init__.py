"""The command ``trio-signalr``.

The command is always installed, what it needs comes with the extra ``cli``. So nothing from outside is imported here
before :func:`main` can say what is missing.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]

_EXTRA = {"click", "rich"}


def main() -> int:
    """Run the command, and return its exit code."""
    try:
        from .program import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(
            f"trio-signalr: the command line needs {error.name}, which is not installed. This brings what it needs:\n"
            '\n    pip install "trio-signalr[cli]"\n',
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # so soon
        return 130
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is Python's own end: the code is known
    return code
