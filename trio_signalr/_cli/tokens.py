"""Access tokens: given, or printed by a command that is run each time one is asked for."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import trio

from .exits import CommandError

if TYPE_CHECKING:
    from .secrets import Secrets

__all__ = ["TokenCommand"]


class TokenCommand:
    """Runs a command of the user's shell that prints an access token; what ``open_hub(access_token=...)`` takes.

    Its standard error is ours, for there it may ask to log in.

    Args:
        command: For the shell.
        secrets: Where the token is noted down as one.
    """

    def __init__(self, command: str, secrets: Secrets) -> None:
        self._command = command
        self._secrets = secrets

    async def __call__(self) -> str:
        """Run the command and return the token.

        Raises:
            CommandError: It failed, or printed no token.
        """
        done = await trio.run_process(
            self._command, shell=True, stdin=subprocess.DEVNULL, capture_stdout=True, check=False
        )
        if done.returncode != 0:
            raise CommandError(f"the token command failed with exit code {done.returncode}", code=None)
        words = done.stdout.decode("utf-8", "replace").split()
        if len(words) != 1 or not words[0].isascii():
            said = "nothing" if not words else "what is no token"
            raise CommandError(f"the token command printed {said}", code=None)
        self._secrets.add(words[0])
        return words[0]
