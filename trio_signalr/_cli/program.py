"""The command line as click knows it: each command reads its options, and returns the work to be done."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .._flow import DEFAULT_MAX_BUFFER_SIZE
from .._version import __version__
from . import calls
from .calls import Call
from .exits import CommandError, Exit
from .listening import listen
from .logs import show_logs
from .options import TOKEN_VARIABLE, Common, common_options, output_options
from .running import run_job
from .screen import Screen
from .serving import demo
from .syntax import SectionedGroup, option, read_buffer_size, read_count
from .values import read_argument, read_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .running import Run

__all__ = ["run"]


class Work(NamedTuple):
    """What a command line asks for."""

    job: Callable[[Run], Awaitable[None]]
    screen: Screen


def run(arguments: list[str]) -> int:
    """Do what the command line says, and return the exit code."""
    try:
        work = main.main(arguments or ["--help"], standalone_mode=False)
        if not isinstance(work, Work):  # --help and the like
            return work if isinstance(work, int) else Exit.DONE
        show_logs(work.screen)
        return run_job(work.job, work.screen)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        Screen().error(error.format_message(), f"{context.command_path} --help tells more" if context else None)
        return error.exit_code
    except CommandError as error:
        Screen().error(str(error), error.hint)
        return error.code or Exit.USAGE


@click.group(
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"""
    Ctrl-C tells the hub to stop, and says goodbye. The access token is best put into the environment variable
    {TOKEN_VARIABLE}. `trio-signalr COMMAND --help` tells more.
    """,
)
@click.version_option(__version__, prog_name="trio-signalr", message="%(prog)s %(version)s")
def main() -> None:
    """Talk to an ASP.NET Core SignalR hub.

    Arguments of hub methods are JSON, and what is no JSON is the string that it looks like. Results are JSON lines on
    standard output; everything else goes to standard error.
    """


_method = click.argument("method", metavar="METHOD")
_arguments = click.argument("arguments", metavar="[ARGUMENT]...", nargs=-1)
_text = option("--text", "as_text", is_flag=True, help="Each line of standard input is a string as it stands.")
_progress = option(
    "--progress/--no-progress",
    default=None,
    section="What is shown, on standard error",
    help="Show a live count and rate; by default, if standard error is a terminal, and standard input is not typed on "
    "one. Elsewhere --progress is a line every 5 seconds.",
)


def _limit(help_: str) -> Callable[[Any], Any]:
    return option("-n", "--limit", type=read_count, metavar="N", help=help_)


def _call(common: Common, method: str, arguments: tuple[str, ...], **settings: Any) -> Call:
    protocol = common.target.protocol
    return Call(common.target, method, tuple(read_argument(each, protocol) for each in arguments), **settings)


@main.command(
    examples=[
        "trio-signalr invoke http://localhost:5000/hub Add 1 2",
        'trio-signalr invoke http://localhost:5000/hub Echo \'{"name": "Ada"}\'',
    ]
)
@common_options
@_method
@_arguments
def invoke(method: str, arguments: tuple[str, ...], **options: Any) -> Work:
    """Call a hub method, and print what it returns.

    An argument that begins with a dash and is no number goes behind --.
    """
    common = Common.of(options)
    return Work(calls.invoke(_call(common, method, arguments)), common.screen)


@main.command(
    examples=[
        "trio-signalr send http://localhost:5000/hub SendToGroup tea message hello",
    ]
)
@common_options
@_method
@_arguments
def send(method: str, arguments: tuple[str, ...], **options: Any) -> Work:
    """Call a hub method without waiting for an answer.

    Not even its failure is told.
    """
    common = Common.of(options)
    return Work(calls.send(_call(common, method, arguments)), common.screen)


@main.command(
    examples=[
        "trio-signalr stream http://localhost:5000/hub Counter 10 500",
        "trio-signalr stream http://localhost:5000/hub Counter 1000000 0 | head -3",
        "seq 5 | trio-signalr stream http://localhost:5000/hub Transform --stdin",
    ]
)
@common_options
@_method
@_arguments
@_limit("Stop after so many items.")
@option("--stdin", is_flag=True, help="Upload standard input, JSON lines, as the last argument.")
@_text
@option(
    "--buffer", metavar="N", type=read_buffer_size, help="Items that may wait to be printed, or inf; 1024 by default."
)
@option(
    "--overflow",
    type=click.Choice(["pause", "drop-oldest", "error"]),
    default="pause",
    help="What happens when they are more; by default, the server is made to wait.",
)
@_progress
def stream(
    method: str,
    arguments: tuple[str, ...],
    limit: float | None,
    buffer: float | None,
    overflow: str,
    **options: Any,
) -> Work:
    """Call a streaming hub method, and print its items as they come.

    The method is told to stop when the reader of standard output has seen enough. If the connection is lost, a stream
    cannot go on where it was; with --reconnect the method is called again, from its start.
    """
    common = Common.of(options)
    job = calls.stream(
        _call(common, method, arguments, **options),
        limit=limit or math.inf,
        max_buffer_size=buffer or DEFAULT_MAX_BUFFER_SIZE,
        overflow=overflow.replace("-", "_"),  # type: ignore[arg-type] # click has looked at it
    )
    return Work(job, common.screen)


@main.command(
    examples=[
        'printf \'"hello"\\n"world"\\n\' | trio-signalr upload http://localhost:5000/hub UploadStream',
        "tail -f app.log | trio-signalr upload http://localhost:5000/hub Log --text",
    ]
)
@common_options
@_method
@_arguments
@_text
@_progress
def upload(method: str, arguments: tuple[str, ...], **options: Any) -> Work:
    """Stream standard input to a hub method, and print what it returns.

    Each line is a JSON value, sent as soon as it is read. The upload is the method's last argument. Reading stops when
    the method is done.
    """
    common = Common.of(options)
    return Work(calls.upload(_call(common, method, arguments, stdin=True, **options)), common.screen)


@main.command(
    "listen",
    examples=[
        "trio-signalr listen http://localhost:5000/hub message",
        "trio-signalr listen http://localhost:5000/hub joined left --call 'JoinGroup \"tea time\"'",
    ],
)
@common_options
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@option(
    "--call",
    "texts",
    metavar="'METHOD [ARGUMENT]...'",
    multiple=True,
    help="Call this hub method first, and after each reconnect: to join a group. May be given several times.",
)
@option("--answer", metavar="VALUE", help="What to answer to a call that the server awaits; null by default.")
@_limit("Stop after so many calls.")
def listen_(
    targets: tuple[str, ...], texts: tuple[str, ...], answer: str | None, limit: float | None, **options: Any
) -> Work:
    """Print what the server calls on its clients.

    Each call of one of the TARGETs is a line: {"target": ..., "arguments": [...]}.
    """
    common = Common.of(options)
    protocol = common.target.protocol
    job = listen(
        common.target,
        targets,
        calls=[read_call(each, protocol) for each in texts],
        answer=None if answer is None else read_argument(answer, protocol),
        limit=limit or math.inf,
    )
    return Work(job, common.screen)


@main.command("demo")
@option("--host", default="127.0.0.1", metavar="ADDRESS", help="Where to listen; 127.0.0.1 by default.")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5000,
    metavar="PORT",
    help="The same; 5000 by default, 0 lets the system choose.",
)
@output_options
def demo_(host: str, port: int, verbose: int, quiet: bool) -> Work:
    """Serve a hub with example methods, to try the other commands on.

    It prints its URL on standard output. It is for trying things out, not for production.
    """
    return Work(demo(host, port), Screen(verbose, quiet=quiet))
