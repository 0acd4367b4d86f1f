"""``demo``: a hub to try the other commands on."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import trio

from .exits import CommandError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .running import Run

__all__ = ["demo"]

_TRY = """\
{url} serves a hub with example methods. Try it, in another terminal:

  trio-signalr invoke {url} Add 1 2
  trio-signalr stream {url} Counter 10 500
  trio-signalr stream {url} Counter 1000000 0 | head -3
  printf '"hello"\\n"world"\\n' | trio-signalr upload {url} UploadStream
  seq 5 | trio-signalr stream {url} Transform --stdin
  trio-signalr listen {url} message --call 'JoinGroup tea'
  trio-signalr send {url} SendToGroup tea message '{{"text": "Milk?"}}'
  trio-signalr listen {url} question --answer Yes --call 'AskMe question Sugar?'

{methods}
Ctrl-C ends it."""


def demo(host: str, port: int) -> Callable[[Run], Awaitable[None]]:
    """Serve the hub of the examples.

    Args:
        host: Where to listen.
        port: The same; 0 lets the system choose.
    """

    async def job(run: Run) -> None:
        # Here, since nothing else needs a server, and loading it takes a while.
        from ..testing.examples import ExampleHub, example_hub

        server = example_hub(run.screen.note, stateful_reconnect=True, record=False)
        stopping = trio.Event()
        run.stop = stopping.set  # in order: event streams and polls say goodbye, WebSockets break
        try:
            async with server.serve(host, port) as url:
                methods = [name for name in vars(ExampleHub) if not name.startswith("_")]
                await run.output.write(url)
                run.screen.note(_TRY.format(url=url, methods=_sentence(methods)))
                await stopping.wait()
        except ImportError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            hint = "--port 0 lets the system choose" if port else None
            text = f"there is no listening at {host} port {port}: {error.strerror or error}"
            raise CommandError(text, hint=hint) from error

    return job


def _sentence(methods: list[str]) -> str:
    return textwrap.fill(f"Its methods: {', '.join(methods)}.", 79)
