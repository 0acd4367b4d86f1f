"""What the server calls on the client: handlers, subscriptions, and answers that the server awaits.

Nothing here runs in the reader. Each target has a queue and, while there is something in it, a task, so calls of one
target run in order and targets side by side. A call that the server awaits runs in a task of its own and is answered
exactly once, whatever happens. What a handler raises is handed over as a value and ends the hub's scope.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from ._binding import Parameters, bind
from ._calls import Unsettled
from ._flow import DEFAULT_MAX_BUFFER_SIZE, Buffer
from ._logs import CONNECTION
from ._recorder import NAME_LIMIT
from ._streams import BufferedChannel
from .errors import HubException, PayloadError
from .messages import Completion, Invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from msgspec import Raw

    from ._endings import Ending
    from ._flow import Flow, Overflow
    from ._outbox import Outbox
    from .protocols import HubProtocol

__all__ = ["Handler", "Handlers", "Registration", "Subscription"]

Handler: TypeAlias = "Callable[..., object]"
"""A function or an async function; its annotations are the types its arguments are converted to."""

NO_RESULT = "Client didn't provide a result."
MANY_RESULTS = "Client provided multiple results."
BAD_ARGUMENTS = "Client failed to parse argument(s)."
CLOSING = "Client is closing the connection."

MAX_MISSED = 100
"""Targets without a handler that are logged, for it is the server who thinks them up."""

_NOT_WATCHED = nullcontext()


class Registration:
    """A handler in its place: ``with`` block or :meth:`remove` takes it out again.

    Attributes:
        target: The name that the server calls.
        handler: The function.
    """

    def __init__(self, owner: _Target, target: str, handler: Handler) -> None:
        self._owner: _Target | None = owner
        self.target = target
        self.handler = handler
        self._parameters = Parameters.of(handler)

    def remove(self) -> None:
        """Take the handler out; calls that came before are still handled by it. Idempotent, not a checkpoint."""
        if self._owner is not None:
            self._owner.registrations = tuple(r for r in self._owner.registrations if r is not self)
            self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<Registration of {self.handler!r} for {self.target!r}{'' if self._owner else ', removed'}>"

    def bind(self, arguments: list[Raw], protocol: HubProtocol) -> list[Any]:
        """Convert received arguments to what the handler takes."""
        try:
            return bind(arguments, self._parameters, protocol)
        except PayloadError as error:
            raise PayloadError(f"call of {self.target!r}: {error}", path=error.path) from error

    async def run(self, arguments: list[Any]) -> Any:
        """Call the handler and return what it returns."""
        result = self.handler(*arguments)
        return await result if inspect.isawaitable(result) else result


class Subscription(BufferedChannel["tuple[Any, ...]"]):
    """A receive channel of argument tuples; made by :meth:`HubConnection.subscribe`."""

    _converts = True

    def __init__(
        self,
        target: str,
        types: tuple[Any, ...],
        protocol: HubProtocol,
        flow: Flow,
        max_buffer_size: float,
        overflow: Overflow,
    ) -> None:
        super().__init__(flow, max_buffer_size, overflow, f"subscription {target!r}")
        self._protocol = protocol
        self._parameters = Parameters(types, len(types)) if types else Parameters((), 0, Any)

    def _read(self, item: Any) -> tuple[Any, ...]:
        try:
            return tuple(bind(item, self._parameters, self._protocol))
        except PayloadError as error:
            raise PayloadError(f"{self._name}: {error}", path=error.path) from error


class _Target:
    """One name that the server calls, with all that is registered for it."""

    def __init__(self, flow: Flow) -> None:
        self.registrations: tuple[Registration, ...] = ()
        self.subscriptions: tuple[Subscription, ...] = ()
        self.queue: Buffer[tuple[tuple[Registration, ...], Invocation[Raw]]] = Buffer(
            flow, DEFAULT_MAX_BUFFER_SIZE, "pause"
        )
        self.busy = False
        self.unsettled: Unsettled = Unsettled()


class Handlers:
    """All handlers and subscriptions of one hub; they outlive its connections.

    Args:
        protocol: Reads arguments, writes answers.
        flow: Told of every full queue.
        failed: Called with what a handler raised, before its task ends.

    Attributes:
        watch: Called with target and headers of each call that handlers are run for, to be watched for the length of
            the block; ``None`` if nobody does.
    """

    def __init__(self, protocol: HubProtocol, flow: Flow, failed: Callable[[Exception], None]) -> None:
        self._protocol = protocol
        self._flow = flow
        self._failed = failed
        self._targets: dict[str, _Target] = {}
        self._missed: frozenset[str] = frozenset()  # targets that nobody handles, as far as that was logged
        self._nursery: trio.Nursery | None = None
        self._closing = False
        self.watch: Callable[[str, Mapping[str, str]], AbstractContextManager[None]] | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Run handlers in ``nursery`` from now on."""
        self._nursery = nursery

    def close(self) -> None:
        """Stop calling handlers; calls that the server awaits are answered with an error from now on."""
        self._closing = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def add(self, target: str, handler: Handler) -> Registration:
        """Put a handler in place.

        Raises:
            TypeError: It is not callable, or its signature cannot be used.
        """
        if not callable(handler):
            raise TypeError(f"the handler for {target!r} is not callable: {handler!r}")
        owner = self._target(target)
        registration = Registration(owner, target, handler)
        owner.registrations = (*owner.registrations, registration)
        return registration

    @contextmanager
    def subscribed(
        self, target: str, types: tuple[Any, ...], max_buffer_size: float, overflow: Overflow
    ) -> Iterator[Subscription]:
        """A subscription in its place for the length of the block."""
        subscription = Subscription(target, types, self._protocol, self._flow, max_buffer_size, overflow)
        owner = self._target(target)
        owner.subscriptions = (*owner.subscriptions, subscription)
        try:
            yield subscription
        finally:
            owner.subscriptions = tuple(s for s in owner.subscriptions if s is not subscription)
            subscription.close()

    def _subscriptions(self) -> Iterator[Subscription]:
        return (subscription for target in self._targets.values() for subscription in target.subscriptions)

    def lose_all(self, ending: Ending) -> None:
        """The hub is gone for good: end the subscriptions, after what they hold."""
        for subscription in self._subscriptions():
            subscription.finish(lambda: ending.for_call(None))

    def unsettled(self) -> Iterator[Unsettled]:
        """Subscriptions, and handlers that have something to do."""
        yield from (subscription.unsettled for subscription in self._subscriptions())
        yield from (target.unsettled for target in self._targets.values() if target.busy)

    def dispatch(self, message: Invocation[Raw], outbox: Outbox) -> None:
        """Hand a call from the server on; an awaited one is answered through ``outbox``."""
        target = self._targets.get(message.target)
        if target is not None:
            for subscription in target.subscriptions:
                if subscription.open:
                    subscription.put([message.arguments])
        registrations = () if target is None else target.registrations
        if not registrations and (target is None or not target.subscriptions):
            self._missing(message.target)
        if message.invocation_id is not None:
            self._dispatch_awaited(message, registrations, outbox)
        elif target is not None and registrations and not self._closing:
            target.queue.put((registrations, message))
            self._serve(target, message.target)

    def _dispatch_awaited(
        self, message: Invocation[Raw], registrations: tuple[Registration, ...], outbox: Outbox
    ) -> None:
        assert message.invocation_id is not None
        answer = _Answer(message.invocation_id, self._protocol, outbox)
        if self._closing or self._nursery is None:
            answer.error(CLOSING)
        elif not registrations:
            answer.error(NO_RESULT)
        else:
            name = f"trio_signalr answer to {message.target!r}"
            self._nursery.start_soon(self._answer, registrations, message, answer, name=name)

    def _serve(self, target: _Target, name: str) -> None:
        """Make sure that a task works on the target's queue."""
        if not target.busy and self._nursery is not None:
            target.busy = True
            target.unsettled = Unsettled()
            self._nursery.start_soon(self._work, target, name=f"trio_signalr handler of {name!r}")

    async def _work(self, target: _Target) -> None:
        """Handle what is queued, in order."""
        try:
            while target.queue:
                registrations, message = target.queue.take()
                with self._watched(message):
                    for registration in registrations:
                        await registration.run(registration.bind(message.arguments, self._protocol))
                target.unsettled.progressed()
                await trio.lowlevel.checkpoint()
        except Exception as error:
            self._failed(error)
        finally:
            target.busy = False
            target.unsettled.settle()

    async def _answer(self, registrations: tuple[Registration, ...], message: Invocation[Raw], answer: _Answer) -> None:
        """Run the handlers and answer, whatever happens: result, error, bad arguments, closing."""
        with answer:
            try:
                answer.result(await self._results(registrations, message))
            except HubException as error:
                answer.error(str(error))
            except _BadArguments:
                answer.error(BAD_ARGUMENTS)
            except Exception as error:
                answer.error(type(error).__name__)
                self._failed(error)

    async def _results(self, registrations: tuple[Registration, ...], message: Invocation[Raw]) -> list[Any]:
        bound = None
        try:
            with self._watched(message):
                bound = [(each, each.bind(message.arguments, self._protocol)) for each in registrations]
                return [await registration.run(values) for registration, values in bound]
        except PayloadError as error:
            if bound is None:
                raise _BadArguments from error
            raise

    def _watched(self, message: Invocation[Raw]) -> AbstractContextManager[None]:
        return _NOT_WATCHED if self.watch is None else self.watch(message.target, message.headers)

    def _missing(self, target: str) -> None:
        """Say that nobody handles this, once: a name that is spelled otherwise on the server, more often than not."""
        target = target[:NAME_LIMIT]
        if target not in self._missed and len(self._missed) < MAX_MISSED:
            self._missed |= {target}
            CONNECTION.warning("the server calls %r, for which there is no handler and no subscription", target)

    def _target(self, name: str) -> _Target:
        return self._targets.setdefault(name, _Target(self._flow))


class _BadArguments(Exception):
    """Arguments that do not fit: the server is told, the hub lives. Apart from what a handler itself may raise."""


class _Answer:
    """The one Completion that an awaited call gets: the first counts, leaving the block without one says "closing"."""

    def __init__(self, invocation_id: str, protocol: HubProtocol, outbox: Outbox) -> None:
        self._id = invocation_id
        self._protocol = protocol
        self._outbox = outbox
        self._given = False

    def result(self, results: list[Any]) -> None:
        """Answer with the one result that is not ``None``, or with null."""
        values = [value for value in results if value is not None]
        if len(values) > 1:
            self.error(MANY_RESULTS)
        else:
            self._give(Completion(self._id, values[0] if values else None))

    def error(self, text: str) -> None:
        """Answer with an error."""
        self._give(Completion(self._id, error=text))

    def _give(self, completion: Completion[Any]) -> None:
        if not self._given:
            data = self._protocol.encode(completion)  # may refuse the result: then an error follows
            self._given = True
            self._outbox.put_message(data, "Completion", self._id)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.error(CLOSING)
