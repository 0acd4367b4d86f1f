"""The C# hub of tests/aspnetcore/hub once more, in Python: what a test sees there, it should see here.

Methods, endpoints, probes and the HTTP API for tests have the same names and do the same. Left out is what no test of
the client's calls needs.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import trio

from tests.aspnetcore.probes import Probe
from trio_signalr import HubException
from trio_signalr.testing import Client, HubServer

__all__ = ["Twin", "open_twin"]


class InvalidOperationException(Exception):  # noqa: N818, RUF100 - named as in .NET, for the name is on the wire
    """What the C# hub raises."""


class Log:
    """The events of one probe."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._changed = trio.Event()

    def record(self, text: str) -> None:
        self.events.append(text)
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self, name: str, count: int = 1) -> None:
        while sum(text == name or text.startswith(f"{name}: ") for text in self.events) < count:
            await self._changed.wait()


class Logs(defaultdict[str, Log]):
    """All probes, by name."""

    def __init__(self) -> None:
        super().__init__(Log)

    def record(self, name: str | None, text: str) -> None:
        if name is not None:
            self[name].record(text)

    @contextmanager
    def watch(self, name: str) -> Iterator[list[object]]:
        """What Watch does in C#; the block appends its items to the list."""
        self.record(name, "started")
        items: list[object] = []
        try:
            yield items
        except trio.Cancelled:
            self.record(name, "cancelled")
            raise
        finally:
            self.record(name, f"finished: {len(items)}")


async def count_up(count: int, delay: int) -> AsyncGenerator[int]:
    for number in range(count):
        yield number
        if delay > 0:
            await trio.sleep(delay / 1000)


def add_calls(server: HubServer, logs: Logs) -> None:
    """Add what is in TestHub.cs and TestHub.Calls.cs."""

    @server.method
    def ConnectionId() -> str:
        return server.caller.connection_id

    @server.method
    def Query(key: str) -> str | None:
        return server.caller.request.query.get(key)

    @server.method
    def TransportName() -> str:
        return server.caller.transport.title().replace("_", "").replace("Websockets", "WebSockets")

    @server.method
    async def Abort() -> None:
        await server.caller.close()

    @server.method
    def Add(a: int, b: int) -> int:
        return a + b

    @server.method
    def Echo(value: Any) -> Any:
        return value

    @server.method
    def Void() -> None:
        pass

    @server.method
    def Big(length: int) -> str:
        return "x" * length

    @server.method
    def Record(probe: str, text: str) -> None:
        logs.record(probe, text)

    @server.method
    def Notify(text: str) -> None:
        logs.record(probe_of(server.caller), f"notified: {text}")

    @server.method
    async def RecordLater(probe: str, text: str, milliseconds: int) -> None:
        await trio.sleep(milliseconds / 1000)
        logs.record(probe, text)

    @server.method
    async def Slow(milliseconds: int) -> str:
        await trio.sleep(milliseconds / 1000)
        return "slow"

    @server.method
    async def Held(probe: str) -> str:
        caller = server.caller
        logs.record(probe, "started")
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await caller.wait_disconnected()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await logs[probe].wait("go")
            except trio.Cancelled:
                logs.record(probe, "cancelled")
                raise
            logs.record(probe, "finished")
            nursery.cancel_scope.cancel()
        return "held"

    @server.method
    def Fail() -> None:
        raise InvalidOperationException("secret")

    @server.method
    def FailPublic() -> None:
        raise HubException("public message")


def add_streams(server: HubServer, logs: Logs) -> None:
    """Add what is in TestHub.Streams.cs."""

    for name in ("Counter", "CounterAsync"):
        server.method(count_up, name=name)

    async def watched(probe: str, count: int, delay: int) -> AsyncIterator[int]:
        with logs.watch(probe) as items:
            async for number in count_up(count, delay):
                items.append(number)
                yield number

    for name in ("WatchedCounter", "WatchedCounterChannel"):
        server.method(watched, name=name)

    @server.method
    async def HeldCounter(probe: str, count: int) -> AsyncIterator[int]:
        with logs.watch(probe) as items:
            for number in range(count):
                items.append(number)
                yield number
            await logs[probe].wait("go")

    @server.method
    async def Objects(count: int) -> AsyncIterator[dict[str, Any]]:
        start = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
        spell: Callable[[str], str] = str.title if server.caller.protocol == "messagepack" else str
        for i in range(count):
            item = {"id": i, "name": f"item {i}", "value": i / 4, "flag": i % 2 == 0}
            item["stamp"] = start + timedelta(seconds=i)
            yield {spell(key): value for key, value in item.items()}

    @server.method
    async def BigStream(count: int, length: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield "x" * length

    @server.method
    async def Nulls(count: int) -> AsyncIterator[None]:
        for _ in range(count):
            yield None

    async def then_fail(count: int, error: Exception) -> AsyncGenerator[int]:
        for number in range(count):
            yield number
        raise error

    @server.method
    def FailingStream(count: int) -> AsyncIterator[int]:
        return then_fail(count, InvalidOperationException("Ran out"))

    @server.method
    def FailingStreamPublic(count: int) -> AsyncIterator[int]:
        return then_fail(count, HubException("public message"))

    @server.method
    def NullStream() -> AsyncIterator[int]:
        return None  # type: ignore[return-value] # that is the point


def add_uploads(server: HubServer, logs: Logs) -> None:
    """Add what is in TestHub.Uploads.cs."""

    @server.method
    async def UploadStream(words: AsyncIterator[str]) -> str:
        return " ".join([word async for word in words])

    @server.method
    async def UploadChannel(items: trio.abc.ReceiveChannel[int]) -> int:
        return sum([item async for item in items])

    @server.method
    async def UploadWatched(probe: str, items: trio.abc.ReceiveChannel[int]) -> int:
        logs.record(probe, "started")
        total = 0
        try:
            async for item in items:
                logs.record(probe, f"item: {item}")
                total += item
        except BaseException as error:  # Cancelled too: .NET 10 does not cancel the method, but the reader fails
            logs.record(probe, f"reader failed: {error}")
            raise
        logs.record(probe, "reader ended")
        return total

    @server.method
    async def UploadTwo(label: str, numbers: AsyncIterator[int], words: AsyncIterator[str]) -> str:
        total = text = None

        async def add() -> None:
            nonlocal total
            total = sum([number async for number in numbers])

        async with trio.open_nursery() as nursery:  # side by side: one that nobody reads stops the connection
            nursery.start_soon(add)
            text = await UploadStream(words)
        return f"{label}: {total}, {text}"

    async def first(items: AsyncIterator[int], count: int) -> list[int]:
        taken: list[int] = []
        while len(taken) < count:
            taken.append(await anext(items))
        return taken

    @server.method
    async def UploadFirst(items: AsyncIterator[int], count: int) -> list[int]:
        return await first(items, count)

    @server.method
    async def UploadThenFail(items: AsyncIterator[int], count: int) -> None:
        await first(items, count)
        raise HubException("enough")

    @server.method
    async def UploadSlow(items: AsyncIterator[int], delay: int) -> int:
        count = 0
        async for _ in items:
            count += 1
            await trio.sleep(delay / 1000)
        return count

    @server.method
    async def Transform(items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in items:
            yield 2 * item


def add_callbacks(server: HubServer) -> None:
    """Add what is in TestHub.Callbacks.cs."""

    @server.method
    async def CallMe(target: str, argument: Any) -> None:
        await server.caller.send(target, argument)

    @server.method
    async def CallMeMany(target: str, count: int) -> None:
        for number in range(count):
            await server.caller.send(target, number)

    @server.method
    async def SendTo(connection_id: str, target: str, argument: Any) -> None:
        await server.client(connection_id).send(target, argument)

    @server.method
    def JoinGroup(group: str) -> None:
        server.caller.join(group)

    @server.method
    def LeaveGroup(group: str) -> None:
        server.caller.leave(group)

    @server.method
    async def SendToGroup(group: str, target: str, argument: Any) -> None:
        await server.group(group).send(target, argument)

    async def ask(target: str, argument: Any, kind: type) -> str:
        try:
            return str(await server.caller.invoke(target, argument, result_type=kind))
        except HubException as error:
            return f"error: {error}"

    @server.method
    async def AskMe(target: str, argument: Any) -> str:
        return await ask(target, argument, str)

    @server.method
    async def AskMeForNumber(target: str, argument: Any) -> str:
        return await ask(target, argument, int)

    @server.method
    async def AskMany(target: str, count: int) -> list[str]:
        answers: dict[int, str] = {}

        async def ask_one(number: int) -> None:
            answers[number] = await ask(target, number, str)

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(ask_one, number)
        return [answers[number] for number in range(count)]


def probe_of(client: Client) -> str | None:
    return client.request.query.get("probe")


def make_hub(logs: Logs, **options: Any) -> HubServer:
    """Return a hub with all the methods."""
    server = HubServer(**options)
    add_calls(server, logs)
    add_streams(server, logs)
    add_uploads(server, logs)
    add_callbacks(server)

    @server.on_connected
    def record_connected(client: Client) -> None:
        logs.record(probe_of(client), "connected")

    @server.on_disconnected
    def record_disconnected(client: Client) -> None:
        logs.record(probe_of(client), f"disconnected: {client.error}" if client.error else "disconnected")

    return server


def make_hubs(logs: Logs) -> dict[str, HubServer]:
    """Return the hubs by their path; Program.cs and Variants.cs have the same."""
    impatient = {"keep_alive_interval": 1, "client_timeout": 2, "handshake_timeout": 1, "poll_timeout": 1}
    hubs = {
        "/hub": make_hub(logs, stateful_reconnect=True),
        "/detailed": make_hub(logs, detailed_errors=True),
        "/parallel": make_hub(logs, max_parallel_invocations=8),
        "/impatient": make_hub(logs, detailed_errors=True, **impatient),
        "/abort-on-connect": make_hub(logs),
        "/early": make_hub(logs),
        "/authorized": make_hub(logs),
    }

    @hubs["/abort-on-connect"].on_connected
    def fail(client: Client) -> None:
        raise InvalidOperationException("not today")

    @hubs["/early"].on_connected
    async def speak_first(client: Client) -> None:
        await client.send("Early", "early")

    hubs["/authorized"].require_token(lambda token: token is not None and token.startswith("good"))
    return hubs


class Twin:
    """The running hub.

    Attributes:
        hubs: By their path.
        port: Of 127.0.0.1.
    """

    def __init__(self) -> None:
        self._logs = Logs()
        self.hubs = make_hubs(self._logs)
        self.port = 0

    def url(self, path: str = "/hub", **query: str) -> str:
        """Return the URL of an endpoint: ``url("/detailed", probe=probe.name)``."""
        return f"http://127.0.0.1:{self.port}{path}" + (f"?{urlencode(query)}" if query else "")

    def probe(self, name: str | None = None) -> Probe:
        """Return the event log called ``name``, by default a new one that nobody else uses."""
        return Probe(f"http://127.0.0.1:{self.port}", name or uuid.uuid4().hex)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request; this is an ASGI application."""
        if scope["type"] == "lifespan":
            return await self.hubs["/hub"].asgi_app(scope, receive, send)
        path = scope["path"]
        hub = self.hubs.get(path.removesuffix("/negotiate"))
        if hub is not None:
            return await hub.asgi_app(scope, receive, send)
        status, answer = await self._control(scope["method"], path, dict(parse_qsl(scope["query_string"].decode())))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def _control(self, method: str, path: str, query: dict[str, str]) -> tuple[int, object]:
        log = self._logs[path.removeprefix("/probe/")]
        if not path.startswith("/probe/"):
            return 404, None
        if method == "POST":
            log.record(query["event"])
        elif "wait" in query:
            with trio.move_on_after(float(query["timeout"])) as scope:
                await log.wait(query["wait"], int(query["count"]))
            if scope.cancelled_caught:
                return 408, f"no event {query['wait']!r} in time; events: {log.events}"
        return 200, log.events


@asynccontextmanager
async def open_twin() -> AsyncGenerator[Twin]:
    """Run the hub, for the length of the block."""
    twin = Twin()
    async with twin.hubs["/hub"].serve(app=twin) as url:
        twin.port = urlsplit(url).port or 0
        yield twin
