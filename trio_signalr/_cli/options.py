"""The options that all commands share which talk to a hub, and what they turn into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from .._http.requests import checked_headers
from ..negotiation import TRANSPORTS
from ..retry import DEFAULT_DELAYS, ExponentialBackoff, RetryDelays
from .connecting import Target
from .exits import CommandError
from .screen import Screen
from .secrets import Secrets
from .syntax import option, read_count, read_header, read_proxy, read_seconds, read_transport, read_url
from .tls import tls_context
from .tokens import TokenCommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http import AccessToken

__all__ = ["TOKEN_VARIABLE", "Common", "common_options", "output_options"]

TOKEN_VARIABLE = "TRIO_SIGNALR_TOKEN"

F = TypeVar("F", bound="Callable[..., Any]")

_CONNECTION, _SECRETS, _TIMES = "Connection", "Access and security", "Times and limits"
_OUTPUT = "What is shown, on standard error"
_RETRIES: dict[str, Any] = {"some": RetryDelays(*DEFAULT_DELAYS), "forever": ExponentialBackoff()}


def _timeout(name: str, help_: str) -> Callable[[F], F]:
    return option(f"--{name}", type=read_seconds, metavar="SECONDS", section=_TIMES, help=help_)


_OUTPUT_OPTIONS = [
    option("-v", "--verbose", count=True, section=_OUTPUT, help="Show what the connection does; -vv shows details."),
    option("-q", "--quiet", is_flag=True, section=_OUTPUT, help="Show errors only."),
]

_OPTIONS = [
    option(
        "-p",
        "--protocol",
        type=click.Choice(["json", "messagepack"]),
        default="json",
        section=_CONNECTION,
        help="The hub protocol; json by default.",
    ),
    option(
        "-t",
        "--transport",
        "transports",
        type=read_transport,
        metavar=f"[{'|'.join(TRANSPORTS.values())}]",
        multiple=True,
        section=_CONNECTION,
        help="Allow only this transport; may be given several times. The order is the server's.",
    ),
    option("--skip-negotiation", is_flag=True, section=_CONNECTION, help="Open a WebSocket at once."),
    option(
        "-H",
        "--header",
        "headers",
        type=read_header,
        metavar="'NAME: VALUE'",
        multiple=True,
        section=_CONNECTION,
        help="An HTTP header for every request; may be given several times.",
    ),
    option(
        "--proxy",
        type=read_proxy,
        metavar="URL",
        section=_CONNECTION,
        help="Go through this proxy, and not the environment's.",
    ),
    option(
        "--reconnect",
        "reconnect",
        flag_value="some",
        section=_CONNECTION,
        help="When the connection is lost, try again after 0, 2, 10 and 30 seconds.",
    ),
    option(
        "--reconnect-forever",
        "reconnect",
        flag_value="forever",
        section=_CONNECTION,
        help="Try again at once, and then with growing pauses, up to a minute.",
    ),
    option(
        "--stateful-reconnect",
        is_flag=True,
        section=_CONNECTION,
        help="Ask the server to keep the connection for a while when its WebSocket breaks: calls and streams live on.",
    ),
    option(
        "--token",
        metavar="TOKEN",
        envvar=TOKEN_VARIABLE,
        section=_SECRETS,
        help=f"The access token. Others can see it in the list of processes; better put it into {TOKEN_VARIABLE}.",
    ),
    option(
        "--token-command",
        metavar="COMMAND",
        section=_SECRETS,
        help="A command that prints the access token. It is run whenever a token is asked for, at each reconnect too.",
    ),
    option("--ca", metavar="FILE", section=_SECRETS, help="Trust the certificates in this PEM file, and no others."),
    option("--cert", metavar="FILE", section=_SECRETS, help="A client certificate in PEM, maybe with its key."),
    option("--key", metavar="FILE", section=_SECRETS, help="The key of --cert, if it is in a file of its own."),
    option("--insecure", is_flag=True, section=_SECRETS, help="Do not ask who the server is: for development."),
    _timeout("server-timeout", "Give the server up after so long without a word; 30 by default."),
    _timeout("keep-alive-interval", "Send a ping after so long without one; 15 by default."),
    _timeout("handshake-timeout", "Wait so long for the hub handshake; 15 by default."),
    _timeout("close-timeout", "Take so long at most to say goodbye; 5 by default."),
    option(
        "--max-message-size",
        metavar="BYTES",
        type=read_count,
        section=_TIMES,
        help="Refuse larger messages of the server; 64 MiB by default.",
    ),
]


def output_options(function: F) -> F:
    """Give a command the options about what is shown."""
    for each in reversed(_OUTPUT_OPTIONS):
        function = each(function)
    return function


def common_options(function: F) -> F:
    """Give a command the hub's URL, and all options about reaching it."""
    for each in reversed([*_OPTIONS, *_OUTPUT_OPTIONS]):
        function = each(function)
    return click.argument("url", type=read_url, metavar="URL")(function)


@dataclass(frozen=True, slots=True)
class Common:
    """What these options come to.

    Attributes:
        target: The hub.
        screen: Where to show things.
    """

    target: Target
    screen: Screen

    @classmethod
    def of(cls, options: dict[str, Any]) -> Common:
        """Take them out of what click has read, so that only a command's own are left.

        Raises:
            CommandError: They cannot be used.
        """
        secrets = Secrets()
        screen = Screen(options.pop("verbose"), quiet=options.pop("quiet"), secrets=secrets)
        url: str = options.pop("url")
        proxy: str | None = options.pop("proxy")
        for each in (url, proxy):
            secrets.add_url(each or "")
        transports = options.pop("transports")
        if options["skip_negotiation"] and transports and "websockets" not in transports:
            raise CommandError("only WebSockets work without negotiation")
        ours: dict[str, Any] = {
            "transports": transports or None,
            "skip_negotiation": options.pop("skip_negotiation"),
            "headers": _headers(options.pop("headers"), secrets),
            "proxy": proxy,
            "reconnect": _RETRIES.get(options.pop("reconnect") or ""),
            "stateful_reconnect": options.pop("stateful_reconnect"),
            "access_token": _token(options.pop("token"), options.pop("token_command"), secrets),
            "ssl_context": tls_context(**{name: options.pop(name) for name in ("ca", "cert", "key", "insecure")}),
            "max_message_size": options.pop("max_message_size"),
        }
        for name in ("server_timeout", "keep_alive_interval", "handshake_timeout", "close_timeout"):
            ours[name] = options.pop(name)
        given = {name: value for name, value in ours.items() if value is not None}
        return cls(Target(url, options.pop("protocol"), given), screen)


def _headers(pairs: tuple[tuple[str, str], ...], secrets: Secrets) -> dict[str, str]:
    for name, value in pairs:
        secrets.add_header(name, value)
    headers = dict(pairs)
    try:
        checked_headers(headers)
    except ValueError as error:
        raise CommandError(str(error)) from None
    return headers


def _token(token: str | None, command: str | None, secrets: Secrets) -> AccessToken | None:
    """Choose the token's source; an option wins over the environment."""
    secrets.add(token)
    if command is None:
        return token
    if token and click.get_current_context().get_parameter_source("token") is ParameterSource.COMMANDLINE:
        raise CommandError("--token and --token-command exclude each other")
    return TokenCommand(command, secrets)
