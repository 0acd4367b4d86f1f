"""What type checkers infer for users: checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

import trio

from trio_signalr.errors import HubClosed, InvocationError, NegotiationError, PayloadError, ServerTimeout, SignalRError


def errors_have_typed_attributes(
    closed: HubClosed, invocation: InvocationError, negotiation: NegotiationError, payload: PayloadError
) -> None:
    assert_type(closed.error, str | None)
    assert_type(closed.allow_reconnect, bool)
    assert_type(closed.sent, bool | None)
    assert_type(invocation.method, str)
    assert_type(negotiation.url, str | None)
    assert_type(negotiation.status, int | None)
    assert_type(payload.path, str)


def server_timeout_is_all_of_these(error: ServerTimeout) -> tuple[HubClosed, trio.BrokenResourceError, SignalRError]:
    return error, error, error
