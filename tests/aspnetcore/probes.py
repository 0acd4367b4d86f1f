"""What a test can ask the running server: events, connections, tokens. Plain HTTP, beside all hub connections."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

__all__ = ["Control", "Probe"]


class Control:
    """The server's HTTP API.

    Args:
        base_url: Of the server.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def connections(self, probe: Probe | None = None) -> int:
        """Return how many hub connections are alive: all, or those opened with ``?probe=`` and the probe's name."""
        return int(await self._request("GET", "/connections", {"probe": probe.name} if probe else {}))

    async def revoke(self, token: str) -> None:
        """Make ``/authorized`` refuse ``token`` from now on."""
        await self._request("POST", "/revoke", {"token": token})

    async def _request(self, method: str, path: str, query: dict[str, str], *, patience: float = 10.0) -> Any:
        # Built for this request alone; without certificates that costs next to nothing. No proxy of the environment.
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=patience) as client:
            response = await client.request(method, self._base_url + path, params=query)
        if response.status_code == 408:
            raise AssertionError(response.text)
        response.raise_for_status()
        return response.json() if response.content else None


class Probe(Control):
    """An event log in the server, which hub methods fill that are given its :attr:`name`.

    A connection opened with ``?probe=NAME`` leaves ``"connected"`` and ``"disconnected"`` or ``"disconnected: error"``
    there, one opened with ``?trace=NAME`` its HTTP requests: ``"POST /hub/negotiate 200"``.

    Args:
        base_url: Of the server.
        name: Any text; by default one that nobody else has.
    """

    def __init__(self, base_url: str, name: str | None = None) -> None:
        super().__init__(base_url)
        self.name = uuid.uuid4().hex if name is None else name

    async def events(self) -> list[str]:
        """Return the events so far, in order."""
        return list(await self._request("GET", f"/probe/{self.name}", {}))

    async def wait(self, event: str, *, count: int = 1, within: float = 10.0) -> list[str]:
        """Wait until ``event`` was recorded, and return all events so far.

        Args:
            event: Its text, which may go on with ``": details"`` in the log.
            count: How often it must have been recorded.
            within: Seconds; then it is an :class:`AssertionError` that lists the events.
        """
        query = {"wait": event, "count": str(count), "timeout": str(within)}
        return list(await self._request("GET", f"/probe/{self.name}", query, patience=within + 10))

    async def record(self, event: str) -> None:
        """Add an event, such as the ``"go"`` that the ``Held...`` methods of the hub wait for."""
        await self._request("POST", f"/probe/{self.name}", {"event": event})
