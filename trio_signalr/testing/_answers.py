"""Client results: calls of the client that the server awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..errors import HubClosed, HubException, PayloadError
from ..messages import UNSET, Completion, Invocation
from ._calls import context
from ._texts import BAD_RESULT, CONNECTION_GONE, NO_RESULT

if TYPE_CHECKING:
    from msgspec import Raw

    from ._client import Client
    from ._shared import Shared
    from ._wire import Wire

__all__ = ["Answers"]


class _Question:
    """One call that waits for its answer; without one, the connection is over."""

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.answer: Completion[Raw] | None = None


class Answers:
    """All calls of one client that wait for their answer.

    Args:
        client: Who is asked.
        shared: What all connections of the server share.
        wire: The way to the client.
    """

    def __init__(self, client: Client, shared: Shared, wire: Wire) -> None:
        self._client = client
        self._shared = shared
        self._wire = wire
        self._questions: dict[str, _Question] = {}
        self._over = False

    async def ask(self, target: str, arguments: list[object], result_type: Any) -> Any:
        """Call the client and return its answer as ``result_type``."""
        self._check_asker()
        await trio.lowlevel.checkpoint()
        if self._over:
            raise HubClosed(CONNECTION_GONE)
        id_, question = next(self._shared.question_ids), _Question()
        self._wire.post(Invocation(target, arguments, id_))
        self._questions[id_] = question
        try:
            await question.settled.wait()
        finally:
            self._questions.pop(id_, None)  # an answer that comes later is nobody's
        return self._read(question.answer, result_type)

    def _check_asker(self) -> None:
        """See that whoever asks the client does not keep the answer from coming.

        Raises:
            RuntimeError: It would.
        """
        current = context.get()
        if current is None or current.client is not self._client:
            return
        if current.is_hook:
            raise RuntimeError("a hook cannot ask its own client: its messages are not handled meanwhile")
        if current.has_slot and self._shared.options.max_parallel_invocations == 1:
            raise RuntimeError(
                "a method that takes its turn cannot ask its caller: use HubServer(max_parallel_invocations=2) or more"
            )
        current.release_slot()  # or the answer might wait behind calls that wait for the slot

    def completion(self, message: Completion[Raw]) -> None:
        """Hand an answer on; of an unknown one it is too late, and dropped."""
        question = self._questions.get(message.invocation_id)
        if question is not None:
            question.answer = message
            question.settled.set()

    def lose_all(self) -> None:
        """The connection is over: there will be no answers."""
        self._over = True
        for question in self._questions.values():
            question.settled.set()

    def _read(self, answer: Completion[Raw] | None, result_type: Any) -> Any:
        if answer is None:
            raise HubClosed(CONNECTION_GONE)
        if answer.error is not None:
            raise HubException(answer.error)
        if answer.result is UNSET:
            raise HubException(NO_RESULT)
        try:
            return self._wire.protocol.decode_payload(answer.result, result_type)
        except PayloadError as error:
            raise HubException(BAD_RESULT.format(_name(result_type), error)) from error


def _name(type_: Any) -> str:
    return getattr(type_, "__name__", None) or str(type_)
