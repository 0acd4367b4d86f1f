"""The server's half of the hub handshake.

Source: the protocol notes, "Handshake", seen on ASP.NET Core 3.1 and 10.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import trio

from ..errors import HandshakeError
from ..protocols.handshake import HandshakeReader, parse_request
from ._texts import BAD_HANDSHAKE, HANDSHAKE_CANCELED, NO_FORMAT, NO_PROTOCOL, NO_VERSION, describe, invalid_data
from ._transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..protocols import HubProtocol
    from ..protocols.handshake import HandshakeRequest
    from ..transports import Transport
    from ._options import ServerOptions

__all__ = ["Accepted", "HandshakeRefusedError", "shake_hands"]

MAX_VERSION = 2
"""2 adds what stateful reconnect needs; the messages are the same."""


class HandshakeRefusedError(Exception):
    """The handshake is to be answered with this text."""


class Accepted(NamedTuple):
    """A handshake that is to be answered with success.

    Attributes:
        protocol: To speak.
        version: That the client asked for.
        rest: The bytes that came behind the request.
    """

    protocol: HubProtocol
    version: int
    rest: bytes


async def shake_hands(
    transport: Transport, protocols: Mapping[str, HubProtocol], options: ServerOptions
) -> Accepted | None:
    """Read the client's request; the answer is for the caller to send.

    Returns:
        What to answer; ``None`` if the client left.

    Raises:
        HandshakeRefusedError: There is something wrong with it.
        TransportError: The connection broke.
    """
    with trio.move_on_after(options.handshake_timeout):
        try:
            request = await _receive(transport, options.max_message_size)
        except HandshakeError as error:
            text = describe(BAD_HANDSHAKE, invalid_data(error), detailed=options.detailed_errors)
            raise HandshakeRefusedError(text) from error
        return None if request is None else _accept(*request, protocols, transport)
    raise HandshakeRefusedError(HANDSHAKE_CANCELED)


async def _receive(transport: Transport, max_size: float) -> tuple[HandshakeRequest, bytes] | None:
    reader = HandshakeReader(parse_request, max_size=math.inf)  # type: ignore[arg-type]
    size = 0
    while data := await transport.receive():
        request = reader.feed(data)
        if request is not None:
            return request, reader.rest
        size += len(data)
        if size > max_size:
            raise HandshakeRefusedError(HANDSHAKE_CANCELED)
    return None


def _accept(
    request: HandshakeRequest, rest: bytes, protocols: Mapping[str, HubProtocol], transport: Transport
) -> Accepted:
    protocol = protocols.get(request.protocol.casefold())
    if protocol is None:
        raise HandshakeRefusedError(NO_PROTOCOL.format(request.protocol))
    if request.version > MAX_VERSION:
        raise HandshakeRefusedError(NO_VERSION.format(request.version, request.protocol))
    if isinstance(transport, HttpTransport):
        if protocol.transfer_format not in transport.formats:
            raise HandshakeRefusedError(NO_FORMAT.format(protocol.name, protocol.transfer_format))
        transport.format = protocol.transfer_format
    return Accepted(protocol, request.version, rest)
