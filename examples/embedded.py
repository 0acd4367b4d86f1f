"""What the examples share: a hub to talk to, and the two options that each of them takes.

The hub is the one that `trio-signalr demo` serves. It has methods of the C# hub in tests/aspnetcore/hub, under the same
names and with the same parameters. What it prints begins with "hub:".
"""

import argparse
import io
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from trio_signalr import HubConnection, SignalRError, open_hub
from trio_signalr.testing.examples import example_hub

server = example_hub(report=lambda line: print(f"    hub: {line}"))


def open_either(url: str | None, protocol: str, **options: Any) -> AbstractAsyncContextManager[HubConnection]:
    """Open the hub at ``url``, as your program would; without one, the hub above, in memory."""
    if url is None:
        return server.connect(protocol=protocol, **options)
    return open_hub(url, protocol=protocol, **options)


def run(main: Callable[[str | None, str], Awaitable[None]], description: str | None) -> None:
    """Run an example as a program."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--url", help="of a hub with the same methods; by default, one in this very program")
    parser.add_argument("--protocol", choices=("json", "messagepack"), default="json", help="json by default")
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # print as it goes, into a pipe too
    try:
        trio.run(main, arguments.url, arguments.protocol)
    except KeyboardInterrupt:
        pass  # Ctrl-C: by now the hub was told to stop, and goodbye was said
    except SignalRError as error:
        sys.exit(f"{type(error).__name__}: {error}")
