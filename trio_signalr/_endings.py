"""How things end: why a connection is over, and which one exception leaves a scope.

Reasons are kept as data and every waiter gets a new exception, because one shared instance would collect the frames of
all that raise it.

"One error, not a group" is decided by identity, not by shape: nurseries rebuild group objects, and peeling groups by
shape would also open the group of a nursery that the user opened. So whoever owns a scope remembers the body's
exception object before any nursery sees it, collects other failures as values, and decides once everything is over.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NoReturn, TypeAlias, TypeVar

import trio

from .errors import CloseReport, HubClosed, InternalError, ProtocolError, ServerTimeout, SignalRError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from .errors import MessageRecord

__all__ = ["Ending", "choose_error", "open_tasks", "raise_as_is", "tell_history"]

E = TypeVar("E", bound=BaseException)

Kind: TypeAlias = Literal["closed", "timeout", "protocol", "internal", "left"]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is over.

    Attributes:
        kind: ``"closed"`` by the server or the network; ``"timeout"``, the server was silent; ``"protocol"``, it broke
            the protocol; ``"internal"``, a bug of ours; ``"left"``, the user's block is over.
        text: The message of the exceptions made from it.
        error: The server's own text, if it sent one.
        allow_reconnect: Whether connecting again makes sense.
        cause: The exception behind it.
        closed_by: Who ended it, as :class:`CloseReport` tells it.
        code: The WebSocket close code that the server sent.
        attempts: Attempts to reconnect that failed after it.
        resumable: Whether stateful reconnect could help: the transport broke, nobody closed it.
        messages: What the flight recorder has kept.
    """

    kind: Kind
    text: str
    error: str | None = None
    allow_reconnect: bool = False
    cause: BaseException | None = None
    closed_by: Literal["server", "client", "network"] = "client"
    code: int | None = None
    attempts: int = 0
    resumable: bool = False
    messages: tuple[MessageRecord, ...] = ()

    @property
    def report(self) -> CloseReport:
        """The same for users."""
        return CloseReport(
            self.closed_by, self.text, self.code, self.error, self.allow_reconnect, self.attempts, self.messages
        )

    def for_call(self, sent: bool | None) -> Exception:
        """A new exception for a call that was hit, or that comes too late."""
        if self.kind == "left":
            return trio.ClosedResourceError(self.text)
        if self.kind == "protocol":
            return self._from_cause(ProtocolError(self.text, report=self.report))
        return self._closed(sent)

    def for_block(self) -> SignalRError:
        """A new exception to leave the ``open_hub`` block."""
        if self.kind == "internal":
            text = f"{self.text}; this is a bug in trio_signalr, please report it"
            return self._from_cause(InternalError(text, report=self.report))
        if self.kind == "protocol":
            return self._from_cause(ProtocolError(self.text, report=self.report))
        return self._closed(None)

    def as_loss(self) -> Ending:
        """The same for calls of a hub that will reconnect: whatever it was, to them it is a loss."""
        if self.kind != "protocol":
            return self
        cause = ProtocolError(self.text)
        cause.__cause__ = self.cause
        return replace(self, kind="closed", text=f"the server broke the protocol: {self.text}", cause=cause)

    def _closed(self, sent: bool | None) -> HubClosed:
        make = ServerTimeout if self.kind == "timeout" else HubClosed
        error = make(self.text, error=self.error, allow_reconnect=self.allow_reconnect, sent=sent, report=self.report)
        return self._from_cause(error)

    def _from_cause(self, error: E) -> E:
        error.__cause__ = self.cause
        return error


def tell_history(error: BaseException | None) -> None:
    """Add the last messages of a connection as a note to the error that tells of its end, for tracebacks to show.

    Only once, and only when it leaves the block: of a thousand calls that were hit each has an error of its own.
    """
    for leaf in _leaves(error):
        seen: set[int] = set()  # chains of causes may be rings
        link: BaseException | None = leaf
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            if isinstance(link, HubClosed | ProtocolError | InternalError) and link.report is not None:
                history = link.report.history
                if history and history not in getattr(link, "__notes__", ()):
                    link.add_note(history)
                return
            link = link.__cause__ or link.__context__


def raise_as_is(error: BaseException) -> NoReturn:
    """Raise ``error`` without touching its ``__context__``, whatever is being handled at the moment."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context  # they would make a cycle through this frame


def choose_error(
    came_out: BaseException | None, body_error: BaseException | None, failures: Sequence[Exception] = ()
) -> BaseException | None:
    """Return the exception that should leave a scope whose nurseries are done, or ``None``.

    Args:
        came_out: What the nurseries raised, in their wrapping.
        body_error: What the scope's body raised, remembered before any nursery saw it.
        failures: What other parts of the scope failed with, collected as values.
    """
    leaves = _leaves(came_out)
    for error in leaves:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return error
    known = {id(error) for error in _leaves(body_error)}
    strays = [error for error in leaves if id(error) not in known and not isinstance(error, trio.Cancelled)]
    errors = [*_real(body_error), *failures, *strays]
    if not errors:
        return body_error or came_out  # Cancelled, or nothing at all
    if len(errors) == 1:
        return errors[0]
    return BaseExceptionGroup("several things failed at once", errors)


def _real(error: BaseException | None) -> tuple[BaseException, ...]:
    """Nothing for ``None`` and ``Cancelled``: being cancelled proves nothing, something else may have caused it."""
    return (error,) if error and any(not isinstance(e, trio.Cancelled) for e in _leaves(error)) else ()


def _leaves(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [] if error is None else [error]


@asynccontextmanager
async def open_tasks(*, outlive: bool = False) -> AsyncGenerator[trio.Nursery]:
    """A nursery for tasks that serve its block: leaving the block cancels them, and no group comes out.

    The tasks hand their failures over as values; what they raise nevertheless comes out if the block itself raised
    nothing.

    Args:
        outlive: Wait for them instead, unless the block has raised.
    """
    body_error = came_out = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                body_error = error
                raise
            finally:
                if not outlive:
                    nursery.cancel_scope.cancel()
    except BaseException as error:
        came_out = error
    chosen = choose_error(came_out, body_error)
    del came_out, body_error
    if chosen is not None:
        raise_as_is(chosen)
