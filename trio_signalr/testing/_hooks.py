"""What runs when a client comes and when it has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._calls import Context, context
from ._user_code import call, cancellation_alone, logger

if TYPE_CHECKING:
    from ._calls import Calls
    from ._client import Client
    from ._shared import Shared
    from ._wire import Inbox

__all__ = ["run_farewells", "run_greetings"]


async def run_greetings(client: Client, shared: Shared, calls: Calls, inbox: Inbox) -> Exception | None:
    """Run the ``on_connected`` hooks up to one that raises, and return what it has raised.

    Nothing that the client sends is handled meanwhile, and they are cancelled when all its calls are.
    """
    token = context.set(Context(client, is_hook=True))
    try:
        with cancellation_alone("an on_connected hook"), calls.guarded(), inbox.blocking():
            for hook in shared.on_connected:
                await call(hook, client)
    except Exception as error:
        logger.error("an on_connected hook failed", exc_info=error)
        return error
    finally:
        context.reset(token)
    return None


async def run_farewells(client: Client, shared: Shared) -> None:
    """Run the ``on_disconnected`` hooks, all of them."""
    context.set(Context(client, is_hook=True))
    for hook in shared.on_disconnected:
        try:
            with cancellation_alone("an on_disconnected hook"):
                await call(hook, client)
        except Exception as error:
            logger.error("an on_disconnected hook failed", exc_info=error)
