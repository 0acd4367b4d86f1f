"""Calling one, some, all; groups."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from trio.testing import wait_all_tasks_blocked

from trio_signalr.testing import Client, HubServer


class Room:
    """A server and three clients, each of which notes what it hears."""

    def __init__(self) -> None:
        self.server = HubServer()
        self.heard: dict[str, list[str]] = {}
        self.stack = AsyncExitStack()

    async def enter(self, protocol: str = "json") -> Client:
        name = f"c{len(self.heard) + 1}"
        words = self.heard[name] = list[str]()

        def hear(word: str) -> None:
            words.append(word)

        hub = await self.stack.enter_async_context(self.server.connect(handlers={"hear": hear}, protocol=protocol))
        return self.server.client(hub.connection_id)

    async def all_heard(self) -> dict[str, list[str]]:
        await wait_all_tasks_blocked()
        return {name: words for name, words in self.heard.items() if words}


async def test_one_some_all() -> None:
    room = Room()
    async with room.stack:
        first, second, third = [await room.enter(protocol) for protocol in ("json", "messagepack", "json")]
        await first.send("hear", "one")
        await room.server.clients.among(["c1", "c3", "nobody"]).send("hear", "some")
        await room.server.clients.besides(third).send("hear", "most")
        await room.server.clients.send("hear", "all")
        assert await room.all_heard() == {
            "c1": ["one", "some", "most", "all"],
            "c2": ["most", "all"],
            "c3": ["some", "all"],
        }
        assert [*room.server.clients.besides(first)] == [second, third]


async def test_groups() -> None:
    room = Room()
    async with room.stack:
        first, second, third = [await room.enter() for _ in range(3)]
        for client in (first, second, second):
            client.join("tea")
        assert [*room.server.group("tea")] == [first, second]
        assert len(room.server.group("coffee")) == 0
        await room.server.group("tea").send("hear", "hot")
        await room.server.group("coffee").send("hear", "nobody")
        first.leave("tea")
        third.leave("tea")
        await room.server.group("tea").send("hear", "milk")
        assert await room.all_heard() == {"c1": ["hot"], "c2": ["hot", "milk"]}


async def test_who_is_gone_is_in_no_group() -> None:
    room = Room()
    async with room.stack:
        client = await room.enter()
        client.join("tea")
    assert len(room.server.group("tea")) == 0
    client.join("tea")
    assert len(room.server.group("tea")) == 0


async def test_others_from_inside_a_method() -> None:
    room = Room()

    @room.server.method
    async def Say(word: str) -> None:
        await room.server.clients.besides(room.server.caller).send("hear", word)

    async with room.stack:
        await room.enter()
        await room.enter()
        async with room.server.connect() as hub:
            await hub.invoke("Say", "hello")
        assert await room.all_heard() == {"c1": ["hello"], "c2": ["hello"]}
    with pytest.raises(RuntimeError, match="caller"):
        _ = room.server.caller


async def test_a_server_that_does_not_record_forgets_who_has_gone() -> None:
    server, last_words = HubServer(record=False), list[str]()

    @server.method
    def Join(group: str) -> None:
        server.caller.join(group)

    @server.on_disconnected
    def note(client: Client) -> None:
        last_words.append(server.caller.connection_id)

    everybody = server.group("c2")
    for number in range(1, 4):
        async with server.connect() as hub:
            await hub.invoke("Join", hub.connection_id)
            client = server.client(hub.connection_id)
            assert client.received == []
            assert list(everybody) == ([client] if number == 2 else []), "as it is at the moment of asking"
        with pytest.raises(KeyError, match=f"no client 'c{number}' is connected"):
            server.client(f"c{number}")
    assert last_words == ["c1", "c2", "c3"]
    assert (server._shared.clients, server._shared.groups) == ({}, {})
