"""What the tests of the test hub share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["json", "messagepack"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Every rule holds in both hub protocols."""
    return str(request.param)
