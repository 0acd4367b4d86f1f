"""A transport that has come in: shake hands, or refuse to, then serve."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from ..errors import ProtocolError, TransportError
from ..protocols.handshake import encode_response
from ._connection import CLOSE_TIMEOUT, Connection
from ._handshake import HandshakeRefusedError, shake_hands
from ._shared import Reception

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocols import HubProtocol
    from ..transports import Transport
    from ._shared import Shared

__all__ = ["Incoming"]


class Incoming:
    """One incoming transport; whatever kind it is, :meth:`run` is all it takes to serve it.

    Args:
        shared: What all connections of the server share.
        transport: It.
        protocols: Hub protocols that are understood here besides the server's own.
        connection_id: What negotiation has told the client; a new one without it.

    Attributes:
        id: The connection id.
        drained: Set when all that the client will ever send was read.

    Raises:
        Exception: The server was told to refuse it.
    """

    def __init__(
        self,
        shared: Shared,
        transport: Transport,
        protocols: Iterable[HubProtocol] = (),
        connection_id: str | None = None,
    ) -> None:
        plan = shared.reception.next()
        if isinstance(plan, Exception):
            raise plan
        self._plan = plan
        self._shared = shared
        self._transport = transport
        self._protocols = {protocol.name.casefold(): protocol for protocol in protocols} | shared.protocols
        self._connection: Connection | None = None
        self.id = connection_id or shared.next_connection_id()
        self.drained = trio.Event()

    async def run(self) -> None:
        """Serve the client until it has gone; only a bug of the server's own is raised."""
        try:
            accepted = None
            with suppress(TransportError, ProtocolError):  # broken before there was anything to tell
                accepted = await self._shake_hands()
            if accepted is not None:
                protocol, rest = accepted
                self._connection = Connection(self._shared, self._transport, self.id, protocol, self.drained)
                await self._connection.run(rest)
        finally:
            self.drained.set()
            await trio.aclose_forcefully(self._transport)

    async def _shake_hands(self) -> tuple[HubProtocol, bytes] | None:
        if self._plan is Reception.IGNORE:
            await self._ignore()
            return None
        try:
            accepted = await shake_hands(self._transport, self._protocols, self._shared.options)
            if isinstance(self._plan, str):
                raise HandshakeRefusedError(self._plan)
        except HandshakeRefusedError as refusal:
            await self._refuse(str(refusal))
            return None
        return accepted

    async def _ignore(self) -> None:
        while await self._transport.receive():
            pass

    async def _refuse(self, text: str) -> None:
        with trio.move_on_after(CLOSE_TIMEOUT):
            await self._transport.send(encode_response(text))
            await self._transport.aclose()

    def client_left(self) -> None:
        """The other end is closed: read to the end of what it sent, whatever holds that up."""
        if self._connection is not None:
            self._connection.client_left()
