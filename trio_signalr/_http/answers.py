"""Answers: reading their bodies without leaving anything of httpx behind."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import trio

from .errors import refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ..errors import TransportError
    from .errors import Purpose
    from .tokens import Token

__all__ = ["MAX_ANSWER", "Answer", "read_body"]

MAX_ANSWER = 1024 * 1024
"""Bytes of a negotiate answer, and of a refusal, that are read at most."""

BODY_PATIENCE = 2.0
"""Seconds to wait for the body of an answer of which only the status matters."""


def body_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the body's pieces. One that is compressed was not asked for, and a few bytes could fill all memory."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise httpx.DecodingError("its body is compressed, which was not asked for", request=response.request)
    return response.aiter_bytes()


async def read_body(response: httpx.Response, limit: int = MAX_ANSWER) -> bytes:
    """Return the body, or what was read of it when it turned out to be beyond ``limit``."""
    chunks: list[bytes] = []
    size = 0
    body = body_of(response)
    async for chunk in body:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            await _exhaust(body)
            break
    return b"".join(chunks)


class Answer:
    """An answer whose body is still to be read. It has to be closed, or finished.

    How long its body may take is for the caller to say.

    Args:
        response: httpx's, as a stream.
        opening: What the request was for.
        reading: What reading the body is for.
        token: The one that was sent, so that it shows up nowhere.
    """

    def __init__(
        self, response: httpx.Response, opening: Purpose[TransportError], reading: Purpose[TransportError], token: Token
    ) -> None:
        self._response = response
        self._opening = opening
        self._reading = reading
        self._token = token
        self._chunks: AsyncIterator[bytes] | None = None
        response.request.extensions["timeout"]["read"] = None  # httpcore looks here again for each read

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status_code

    @property
    def media_type(self) -> str:
        """The ``Content-Type`` without parameters, in lower case."""
        content_type: str = self._response.headers.get("Content-Type", "")
        return content_type.partition(";")[0].strip().lower()

    async def receive(self) -> bytes:
        """Wait for the next bytes of the body; ``b""`` at its end. Cancelled or failed, there are no more.

        Raises:
            TransportError: The body broke off.
        """
        with self._reading.translating():
            try:
                if self._chunks is None:
                    self._chunks = body_of(self._response)
                return await self._chunks.__anext__()
            except StopAsyncIteration:
                return b""

    async def finish(self) -> bytes:
        """Read what there is of the body, and close; what does not come soon is not waited for."""
        body = b""
        try:
            with trio.move_on_after(BODY_PATIENCE), suppress(httpx.HTTPError):
                body = await read_body(self._response)
        finally:
            await self.aclose()
        return body

    async def refusal(self, hints: Mapping[int, str]) -> TransportError:
        """Close, and return the error for an unwanted status: what the server said, and what that often means."""
        body = await self.finish()
        return refusal(self._opening, self._response, body, hints, self._token.redacted)

    def unusable(self, reason: str) -> TransportError:
        """Return the error for an answer that is not what its status promises."""
        return self._opening.failure(reason, status=self.status)

    async def aclose(self) -> None:
        """Close at once: the connection too, unless the body was read to its end."""
        try:
            if self._chunks is not None:
                await _exhaust(self._chunks)
        finally:
            with suppress(httpx.HTTPError):  # the peer may be gone already
                await self._response.aclose()


async def _exhaust(chunks: AsyncIterator[bytes]) -> None:
    """End httpx's nested generators: closing the outermost one would leave the others to the garbage collector.

    All of them end where the innermost is cancelled.
    """
    with trio.CancelScope() as scope, suppress(httpx.HTTPError):
        scope.cancel()
        async for _ in chunks:
            pass
