"""A transport that has come in: shake hands, or refuse to, then serve."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from ..errors import ProtocolError, TransportError
from ..protocols.handshake import encode_response
from ._connection import CLOSE_TIMEOUT, Connection
from ._handshake import HandshakeRefusedError, shake_hands
from ._reception import Delay, Ignore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocols import HubProtocol
    from ..transports import Transport
    from ._handshake import Accepted
    from ._reception import Plan
    from ._records import Request
    from ._shared import Shared
    from ._transport import ServerEnd

__all__ = ["Incoming"]


class Incoming:
    """One incoming transport; whatever kind it is, :meth:`run` is all it takes to serve it.

    Args:
        shared: What all connections of the server share.
        transport: It.
        protocols: Hub protocols that are understood here besides the server's own.
        connection_id: What negotiation has told the client; a new one without it.
        plan: How to receive it.
        request: The HTTP request that it came by.
        resumable: Whether negotiation has promised stateful reconnect.

    Attributes:
        id: The connection id.
        drained: Set when all that the client will ever send was read.
    """

    def __init__(
        self,
        shared: Shared,
        transport: Transport,
        protocols: Iterable[HubProtocol] = (),
        connection_id: str | None = None,
        *,
        plan: Plan,
        request: Request,
        resumable: bool,
    ) -> None:
        self._plan = plan
        self._shared = shared
        self._transport = transport
        self._protocols = {protocol.name.casefold(): protocol for protocol in protocols} | shared.protocols
        self._request = request
        self._resumable = resumable
        self._connection: Connection | None = None
        self._delay: trio.CancelScope = trio.CancelScope()
        self.id = connection_id or shared.next_connection_id()
        self.drained = trio.Event()

    async def run(self, methods: trio.Nursery) -> None:
        """Serve the client until it has gone; only a bug of the server's own is raised.

        Args:
            methods: Where hub methods run; some may outlive the connection.
        """
        try:
            accepted = None
            with suppress(TransportError, ProtocolError):  # broken before there was anything to tell
                accepted = await self._shake_hands()
            if accepted is not None:
                self._connection = self._connect(accepted)
                await self._connection.run(accepted.rest, methods)
        finally:
            self.drained.set()
            transport = self._transport if self._connection is None else self._connection.line.transport
            await trio.aclose_forcefully(transport)

    def _connect(self, accepted: Accepted) -> Connection:
        return Connection(
            self._shared,
            self._transport,
            self.id,
            accepted.protocol,
            self.drained,
            request=self._request,
            resumable=self._resumable and accepted.version == 2,  # a client that says 1 does not know how
        )

    async def _shake_hands(self) -> Accepted | None:
        if isinstance(self._plan, Ignore):
            await self._ignore()
            return None
        if isinstance(self._plan, Delay):
            with self._delay:
                await trio.sleep(self._plan.seconds)
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

    def resume(self, transport: ServerEnd) -> bool:
        """Go on with another transport, where stateful reconnect allows it; ``False`` if the client is forgotten."""
        return self._connection is not None and self._connection.resume_on(transport)

    def client_left(self) -> None:
        """The other end is closed: read to the end of what it sent, whatever holds that up."""
        self._delay.cancel()
        if self._connection is not None:
            self._connection.client_left()

    def end(self, error: str) -> bool:
        """End it at the server's wish; ``False`` if hands were not shaken yet."""
        self._delay.cancel()
        if self._connection is not None:
            self._connection.shut_down(error)
        return self._connection is not None
