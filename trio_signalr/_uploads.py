"""Client-to-server streams: one id each, fed by the user through an ``Upload`` or from an async iterable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ._tools import ConflictDetector, Pace
from .errors import HubException, PayloadError
from .messages import Completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from typing_extensions import TypeForm

    from ._calls import ResultCall
    from ._outbox import Outbox
    from .protocols import HubProtocol

__all__ = ["Upload", "UploadStream", "feed", "is_upload"]

T = TypeVar("T")


def is_upload(argument: object) -> TypeGuard[AsyncIterable[object]]:
    """Whether an argument of a call is to be streamed."""
    return hasattr(type(argument), "__aiter__")


class UploadStream:
    """One client-to-server stream: its id, and whether anything may still be sent under it.

    Attributes:
        id: The stream id, from the same counter as the invocation ids.
        open: Whether it was neither completed by us nor made pointless by the server.
        scope: Cancelled when the server wants no more items.
    """

    __slots__ = ("_encode", "_method", "_outbox", "_protocol", "id", "open", "scope")

    def __init__(self, id_: str, method: str, protocol: HubProtocol) -> None:
        self.id: str = id_
        self._method = method
        self._protocol = protocol
        self._encode: Callable[[object], bytes] = protocol.item_encoder(id_)
        self._outbox: Outbox | None = None
        self.open: bool = False
        self.scope: trio.CancelScope = trio.CancelScope()

    def start(self, outbox: Outbox) -> None:
        """The invocation was put into ``outbox``, so items may follow."""
        self._outbox = outbox
        self.open = True

    @property
    def ready(self) -> bool:
        """Whether an item can be put and need not wait."""
        return self.open and self._outbox is not None and self._outbox.has_room

    async def wait_for_room(self) -> None:
        """Wait until the connection takes more; a checkpoint only if it waits."""
        if self._outbox is not None:
            await self._outbox.wait_for_room()

    def put(self, item: object) -> None:
        """Send one item; for nothing if the stream is over.

        Raises:
            PayloadError: The protocol cannot encode it; nothing was sent.
        """
        try:
            data = self._encode(item)
        except PayloadError as error:
            raise PayloadError(f"upload item of {self._method!r}: {error}", path=error.path) from error
        if self.open and self._outbox is not None:
            self._outbox.put(data, self.id)

    def complete(self, error: str | None = None) -> None:
        """End the stream, if it is not over."""
        if self.open and self._outbox is not None:
            self.open = False
            completion: Completion[object] = Completion(self.id, error=error)
            self._outbox.put_message(self._protocol.encode(completion), "Completion", self.id)

    def fail(self, error: str) -> None:
        """End the stream with an error, if it is not over, and stop whoever feeds it."""
        self.complete(error)
        self.scope.cancel()

    def server_is_done(self) -> None:
        """The call is over: nothing more may be sent, whoever feeds the stream can stop."""
        self.open = False
        self.scope.cancel()


async def feed(upload: UploadStream, items: AsyncIterable[object], failed: Callable[[Exception], None]) -> None:
    """Send all ``items``, complete the stream, and close ``items`` if they can be closed.

    What ``items`` raises is handed to ``failed``, after the stream was completed with an error. Cancelled, it sends
    nothing: the call's own cleanup knows what goes first.
    """
    pace = Pace()
    with upload.scope:
        try:
            async for item in items:
                await pace.checkpoint()
                if not upload.ready:
                    await upload.wait_for_room()
                upload.put(item)
            upload.complete()
        except Exception as error:
            upload.fail(describe_failure(error))
            failed(error)
        finally:
            await _close(items)


async def _close(items: AsyncIterable[object]) -> None:
    """Close a generator or channel that we were given; whoever fills a channel then learns that nobody reads on."""
    aclose = getattr(items, "aclose", None)
    if aclose is not None:
        await aclose()


def describe_failure(error: BaseException) -> str:
    """A short text for the server: a stranger, who gets no more than the kind of error unless told otherwise."""
    if isinstance(error, HubException):
        return str(error)
    return f"Stream errored by client: {type(error).__name__}"


class Upload(trio.abc.SendChannel[Any], Generic[T]):
    """A client-to-server stream under way; made by :meth:`HubConnection.upload`.

    One task may send at a time; a second one gets :exc:`trio.BusyResourceError`.
    """

    def __init__(self, call: ResultCall, stream: UploadStream, result_type: TypeForm[T]) -> None:
        self._call = call
        self._stream = stream
        self._result_type: TypeForm[T] = result_type
        self._left = Pace.EVERY
        self._conflict = ConflictDetector("another task is sending into this upload")
        self._closed = False
        self._result: tuple[T] | None = None
        self._broken: Exception | None = None

    @property
    def result(self) -> T:
        """What the hub method returned, as ``result_type``; there is one after the block.

        Raises:
            RuntimeError: The answer is not there yet.
        """
        if self._result is None:
            raise RuntimeError("the hub method has not answered yet: result is there once the upload's block is left")
        return self._result[0]

    async def send(self, value: Any) -> None:
        """Send one item.

        Returns as soon as the item is on its way, and waits while the connection is behind.

        Args:
            value: Anything that the hub protocol can encode.

        Raises:
            PayloadError: It cannot; nothing was sent, the upload goes on.
            trio.BrokenResourceError: The method finished without waiting for the end of the upload. If it failed, the
                block raises :exc:`InvocationError` in place of this error; otherwise :attr:`result` is set already.
            HubClosed: The connection ended.
            trio.ClosedResourceError: The upload was closed.
            trio.BusyResourceError: Another task is sending.

        Cancellation: the item was not sent.
        Checkpoint: a cancel point each time, a schedule point when it waits and at least every few dozen items.
        Tasks: one at a time.
        """
        if self._left > 1 and self._stream.ready and not self._conflict.busy:
            # The common case: what follows neither waits nor lets others run.
            self._left -= 1
            await checkpoint_if_cancelled()
            self._stream.put(value)
            return
        with self._conflict:
            self._left = Pace.EVERY
            await trio.lowlevel.checkpoint()
            self._check()
            await self._stream.wait_for_room()
            self._check()
            self._stream.put(value)

    def _check(self) -> None:
        """Raise if nothing can be sent any more; keep the error, so that the block can tell it from a user's."""
        if self._closed:
            raise trio.ClosedResourceError("this upload was closed")
        if not self._stream.open:
            self._broken = self._why_broken()
            raise self._broken

    def _why_broken(self) -> Exception:
        answer = self._call.answer
        if isinstance(answer, Completion):
            if answer.error is None:
                self.settle()
            return trio.BrokenResourceError(f"{self._call.method!r} finished before the upload did")
        try:
            self._call.result(object)
        except Exception as error:
            return error
        raise AssertionError("an upload broke for no reason")

    async def aclose(self) -> None:
        """End the stream: the hub method sees its end. Idempotent; a checkpoint. The answer is still waited for."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """What :meth:`aclose` does, without the checkpoint."""
        self._closed = True
        self._stream.complete()

    def failed_early(self, error: BaseException) -> bool:
        """Whether ``error`` is the one by which :meth:`send` told that the method was over, and the method failed."""
        answer = self._call.answer
        return error is self._broken and isinstance(answer, Completion) and answer.error is not None

    def settle(self) -> None:
        """Take the answer over as :attr:`result`, or raise what it stands for."""
        if self._result is None:
            self._result = (self._call.result(self._result_type),)
