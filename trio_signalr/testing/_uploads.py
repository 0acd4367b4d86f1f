"""Client-to-server streams as the server has them: a small buffer each, read by the hub method.

A full buffer stops the whole connection from being read, as in ASP.NET Core: that is the only flow control there is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ..errors import HubClosed, HubException, PayloadError
from ..messages import UNSET
from ._texts import BAD_ITEM, CONNECTION_GONE, describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from msgspec import Raw

    from ..messages import Completion, StreamItem
    from ..protocols import HubProtocol

__all__ = ["Upload", "UploadReader", "Uploads"]

T = TypeVar("T")


class UploadReader(trio.abc.ReceiveChannel[T]):
    """What a hub method gets for an upload: a receive channel of the items, and an async iterable too."""

    def __init__(self, items: trio.MemoryReceiveChannel[T]) -> None:
        self._items = items
        self._failure: Callable[[], Exception] | None = None

    async def receive(self) -> T:
        """Wait for the next item and return it.

        Raises:
            trio.EndOfChannel: The client has completed the stream.
            HubException: The client has completed it with an error, or sent an item of the wrong type.
            HubClosed: The connection is over.
        """
        try:
            return await self._items.receive()
        except trio.EndOfChannel:
            if self._failure is None:
                raise
            raise self._failure() from None

    async def aclose(self) -> None:
        """Take no more items; what still comes is dropped. Idempotent; a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """What :meth:`aclose` does, without the checkpoint."""
        self._items.close()

    def fail(self, failure: Callable[[], Exception]) -> None:
        """Have ``receive`` raise after the last item, in place of a normal end."""
        self._failure = failure


class Upload:
    """The end of an upload that the connection fills.

    Attributes:
        id: The client's id for it.
        item_type: What the items are converted to.
        reader: The method's end.
    """

    def __init__(self, id_: str, item_type: Any, capacity: int) -> None:
        self.id = id_
        self.item_type = item_type
        self._items, source = trio.open_memory_channel[Any](capacity)
        self.reader: UploadReader[Any] = UploadReader(source)

    async def put(self, item: object, blocking: Callable[[], AbstractContextManager[None]]) -> None:
        """Buffer one item; wait for room if there is none, or drop it if nobody reads any more."""
        try:
            self._items.send_nowait(item)
        except trio.WouldBlock:
            with blocking():
                await self._wait_and_put(item)
        except trio.BrokenResourceError:
            pass

    async def _wait_and_put(self, item: object) -> None:
        # Unless the method is done with it, or the connection ends meanwhile.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._items.send(item)

    def finish(self, failure: Callable[[], Exception] | None = None) -> None:
        """No more items will come."""
        if failure is not None:
            self.reader.fail(failure)
        self._items.close()


class Uploads:
    """All uploads of one client that methods may still read.

    Args:
        protocol: Reads the items.
        detailed: Whether errors are told in detail.
        blocking: A context for waiting in while nothing else of the connection is handled.
    """

    def __init__(
        self, protocol: HubProtocol, *, detailed: bool, blocking: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._protocol = protocol
        self._detailed = detailed
        self._blocking = blocking
        self._uploads: dict[str, Upload] = {}

    def add(self, upload: Upload) -> None:
        """Take items for it from now on."""
        self._uploads[upload.id] = upload

    def forget(self, upload: Upload) -> None:
        """The method is over: what still comes is for nobody."""
        if self._uploads.get(upload.id) is upload:
            del self._uploads[upload.id]
        upload.finish()
        upload.reader.close()

    async def item(self, message: StreamItem[Raw]) -> None:
        """Hand an item to its upload; of an unknown one it is late, or came before its invocation, and dropped."""
        upload = self._uploads.get(message.invocation_id)
        if upload is None:
            return
        try:
            item = self._protocol.decode_payload(message.item, upload.item_type)
        except (PayloadError, TypeError) as error:
            text = describe(BAD_ITEM, error, detailed=self._detailed)
            self._finish(upload, lambda: HubException(text))
        else:
            await upload.put(item, self._blocking)

    def completion(self, message: Completion[Raw]) -> bool:
        """End an upload; ``False`` if the message is not about one. A result means nothing."""
        upload = self._uploads.get(message.invocation_id)
        if upload is None:
            return False
        error = message.error
        if error is None or message.result is not UNSET:
            self._finish(upload, None)
        else:
            self._finish(upload, lambda: HubException(error))
        return True

    def lose_all(self) -> None:
        """The connection is over."""
        for upload in list(self._uploads.values()):
            self._finish(upload, lambda: HubClosed(CONNECTION_GONE))

    def _finish(self, upload: Upload, failure: Callable[[], Exception] | None) -> None:
        del self._uploads[upload.id]
        upload.finish(failure)
