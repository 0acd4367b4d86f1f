"""The hub for these tests, on a port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cli.programs import make_hub
from trio_signalr.testing import HubServer


@pytest.fixture
def server() -> HubServer:
    return make_hub()


@pytest.fixture
async def url(server: HubServer) -> AsyncIterator[str]:
    async with server.serve() as url:
        yield url
