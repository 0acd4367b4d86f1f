"""One HTTP request, or one WebSocket, as ASGI hands it to an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

from ._records import Request
from ._user_code import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from ..protocols import TransferFormat
    from ._network import Socket

__all__ = ["Exchange", "Receive", "Scope", "Send", "read_request"]

Message: TypeAlias = "MutableMapping[str, Any]"
Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Headers: TypeAlias = "Iterable[tuple[str, str]]"

TEXT = "text/plain"
NO_CONTENT = 204
DISCONNECTS = ("http.disconnect", "websocket.disconnect")


class Exchange:
    """One request and its answer.

    Args:
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
        socket: What it came by, if that is known.

    Attributes:
        request: What the client asks for.
        method: HTTP's; ``"WEBSOCKET"`` if it wants one.
        socket: What it came by, if that is known.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, socket: Socket | None) -> None:
        self._scope = scope
        self._receive = receive
        self._asgi_send = send
        self._gone = False
        self._has_more = True
        self.request = read_request(scope)
        self.method: str = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
        self.socket = socket

    async def _send(self, message: Message) -> None:
        """Send what ASGI calls a message; nothing if the client has gone, and :meth:`gone` will tell.

        Servers may raise then, says ASGI. hypercorn does when a client leaves in the middle of what it sends.
        """
        try:
            await self._asgi_send(message)
        except Exception as error:
            logger.debug("nobody took the %s: %r", message["type"], error)

    def option(self, name: str) -> str | None:
        """Return a parameter of the query, whose name may come in any case."""
        found = [value for key, value in self.request.query.items() if key.casefold() == name.casefold()]
        return found[-1] if found else None

    # HTTP

    async def read_some(self) -> bytes | None:
        """Return the next piece of the request's body, ``b""`` at its end; ``None`` if the client has left before."""
        data = b""
        while not data and self._has_more:
            event = await self._receive()
            if event["type"] in DISCONNECTS:
                return None
            data = event.get("body", b"")
            self._has_more = event.get("more_body", False)
        return data

    async def answer(
        self, status: int, content: str | bytes = b"", content_type: str = TEXT, headers: Headers = ()
    ) -> None:
        """Answer, be it a request or somebody who wants a WebSocket."""
        body = content.encode() if isinstance(content, str) else content
        every = [*headers]
        if status != NO_CONTENT:
            every += [("content-type", content_type), ("content-length", str(len(body)))]
        if self.method != "WEBSOCKET":
            await self.start(status, every)
            await self.write(body, more=False)
        elif "websocket.http.response" in (self._scope.get("extensions") or {}):
            await self._send(_response("websocket.http.response.start", status, every))
            await self._send({"type": "websocket.http.response.body", "body": body})
        else:  # this ASGI server can only say 403
            await self._send({"type": "websocket.close"})

    async def start(self, status: int, headers: Headers) -> None:
        """Begin an answer."""
        await self._send(_response("http.response.start", status, headers))

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Go on with it, or end it."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def gone(self) -> None:
        """Wait until the client has left."""
        while not self._gone:
            self._gone = (await self._receive())["type"] in DISCONNECTS

    # WebSockets

    async def accept(self) -> None:
        """Open the WebSocket."""
        await self._send({"type": "websocket.accept"})

    async def receive_data(self) -> bytes | int:
        """Return what the next WebSocket message holds; the close code when there are no more."""
        while True:
            event = await self._receive()
            if event["type"] in DISCONNECTS:
                return int(event.get("code") or 1005)
            if data := event.get("bytes") or (event.get("text") or "").encode():
                return bytes(data)

    async def send_data(self, data: bytes, format_: TransferFormat) -> None:
        """Send a WebSocket message; what is no text goes as binary in any case."""
        if format_ == "Text":
            try:
                return await self._send({"type": "websocket.send", "text": data.decode()})
            except UnicodeDecodeError:
                pass  # a test wanted it like that
        await self._send({"type": "websocket.send", "bytes": data})

    async def close(self) -> None:
        """Say goodbye with code 1000."""
        await self._send({"type": "websocket.close", "code": 1000})


def read_request(scope: Scope) -> Request:
    """Return what an ASGI scope says of its request."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    kind, _, token = headers.get("authorization", "").partition(" ")
    # Browsers, and the JavaScript client for event streams, cannot set the header.
    found = token if kind.lower() == "bearer" else query.get("access_token")
    return Request(scope["path"], query, headers, found or None)


def _response(type_: str, status: int, headers: Headers) -> Message:
    return {
        "type": type_,
        "status": status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
