"""Calls from the server to its clients, with and without an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_signalr.errors import HubClosed, PayloadError
from trio_signalr.messages import Completion, Invocation
from trio_signalr.testing import HubException, HubServer

from .raw import open_raw


async def test_sends(protocol: str) -> None:
    server = HubServer()
    async with open_raw(server, protocol) as one, open_raw(server, protocol) as other:
        await one.client.send("Tell", 1, "a")
        await server.clients.send("All")
        assert await one.rest() == [Invocation("Tell", [1, "a"]), Invocation("All", [])]
        assert await other.rest() == [Invocation("All", [])]


async def test_sends_in_both_protocols_at_once() -> None:
    server = HubServer()
    async with open_raw(server, "json") as one, open_raw(server, "messagepack") as other:
        await server.clients.send("All", {"k": [1]})
        for raw in (one, other):
            assert await raw.receive() == Invocation("All", [{"k": [1]}])


async def test_clients_are_those_who_are_there() -> None:
    server = HubServer()
    assert len(server.clients) == 0
    await server.clients.send("Nobody")
    async with open_raw(server) as one:
        async with open_raw(server) as other:
            assert list(server.clients) == [one.client, other.client]
        assert list(server.clients) == [one.client]
        assert repr(server.clients) == "<Clients c1>"
        assert [repr(one.client), repr(other.client)] == ["<Client c1>", "<Client c2, gone>"]
    assert list(server.clients) == []


async def test_client_is_found_by_its_id(protocol: str) -> None:
    server = HubServer()
    async with server.connect(protocol=protocol) as hub:
        client = server.client(hub.connection_id)
        assert client.connected
        assert client.connection_id == hub.connection_id
        assert client.protocol == protocol
    gone = server.client(hub.connection_id)
    assert gone is client
    assert not gone.connected
    for unknown in ("c99", None):
        with pytest.raises(KeyError):
            server.client(unknown)


async def test_asking_a_client(protocol: str) -> None:
    server = HubServer()
    async with server.connect(protocol=protocol, handlers={"Double": lambda n: 2 * n}) as hub:
        client = server.client(hub.connection_id)
        assert await client.invoke("Double", 21, result_type=int) == 42
        assert await client.invoke("Double", "a") == "aa"


async def test_ids_count_per_server(protocol: str) -> None:
    server = HubServer()
    async with open_raw(server, protocol) as one, open_raw(server, protocol) as other, trio.open_nursery() as nursery:
        for raw, id_ in ((one, "s1"), (other, "s2"), (one, "s3")):
            nursery.start_soon(raw.client.invoke, "Question")
            assert await raw.receive() == Invocation("Question", [], id_)
            await raw.send(Completion(id_, 1))


async def ask(server: HubServer, protocol: str, answer: Completion[object]) -> object:
    """What the server makes of an answer."""
    outcome: list[object] = []

    async def question() -> None:
        try:
            outcome.append(await raw.client.invoke("Question", result_type=str))
        except Exception as error:
            outcome.append(error)

    async with open_raw(server, protocol) as raw, trio.open_nursery() as nursery:
        nursery.start_soon(question)
        await raw.receive()
        await raw.send(answer)
    return outcome[0]


async def test_answers(protocol: str) -> None:
    assert await ask(HubServer(), protocol, Completion("s1", "yes")) == "yes"
    for answer, text in [
        (Completion[object]("s1", error="Client didn't provide a result."), "Client didn't provide a result."),
        (Completion[object]("s1"), "The client answered without a result."),
    ]:
        error = await ask(HubServer(), protocol, answer)
        assert isinstance(error, HubException)
        assert str(error) == text
    error = await ask(HubServer(), protocol, Completion("s1", 5))
    assert isinstance(error, HubException)
    assert str(error).startswith("Error trying to deserialize result to str. ")


async def test_answers_that_nobody_waits_for(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    async with open_raw(server, protocol) as raw:
        with trio.move_on_after(1) as scope:
            await raw.client.invoke("Question")
        assert scope.cancelled_caught
        await raw.send(Completion("s1", "late"), Completion("s7", "unknown"))
        await raw.rest()
        assert raw.client.connected


async def test_client_that_has_gone(protocol: str) -> None:
    server = HubServer()
    async with open_raw(server, protocol) as raw:
        client = raw.client

        async def question() -> None:
            with pytest.raises(HubClosed):
                await client.invoke("Question")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(question)
            await raw.receive()
            await client.drop()
    await question()
    await client.send("Nothing")


async def test_what_cannot_be_encoded(protocol: str) -> None:
    server = HubServer()
    async with open_raw(server, protocol) as raw:
        with pytest.raises(PayloadError):
            await raw.client.send("Strange", object())
        with pytest.raises(PayloadError):
            await raw.client.invoke("Strange", object())
        with pytest.raises(PayloadError):
            await server.clients.send("Strange", object())
        assert await raw.rest() == []


async def test_method_calls_its_caller(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Greet(name: str) -> None:
        await server.caller.send("Hello", name)

    async with server.connect(protocol=protocol) as hub, hub.subscribe("Hello", str) as hellos:
        await hub.invoke("Greet", "Ada")
        assert await hellos.receive() == ("Ada",)


async def test_asking_the_caller_in_turn_is_refused_at_once(caplog: pytest.LogCaptureFixture, protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Ask() -> object:
        with pytest.raises(RuntimeError, match="max_parallel_invocations=2"):
            await server.caller.invoke("Question")
        return await server.client("c2").invoke("Question")  # anybody else may be asked

    handlers = {"Question": lambda: 42}
    async with server.connect(protocol=protocol, handlers=handlers) as hub, server.connect(handlers=handlers):
        assert await hub.invoke("Ask") == 42


@pytest.mark.parametrize("limit", [2, 3])
async def test_asking_the_caller_with_more_turns(limit: int, protocol: str) -> None:
    server = HubServer(max_parallel_invocations=limit)

    @server.method
    async def Ask(question: int) -> int:
        return await server.caller.invoke("Question", question, result_type=int)

    async def double(number: int) -> int:
        return 2 * number

    answers: list[int] = []

    async def call(number: int) -> None:
        answers.append(await hub.invoke("Ask", number, result_type=int))

    async with server.connect(protocol=protocol, handlers={"Question": double}) as hub:
        async with trio.open_nursery() as nursery:
            for number in range(20):  # however many ask at once, the answers get through
                nursery.start_soon(call, number)
    assert sorted(answers) == [2 * number for number in range(20)]


async def test_streams_may_ask_their_caller(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Stream() -> AsyncIterator[int]:
        yield await server.caller.invoke("Question", result_type=int)

    async with server.connect(protocol=protocol, handlers={"Question": lambda: 42}) as hub:
        async with hub.stream("Stream") as stream:
            assert [item async for item in stream] == [42]


async def test_sending_waits_for_a_client_that_is_behind(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()
    async with open_raw(server, protocol) as raw:
        raw.client.stall(incoming=False)
        with trio.move_on_after(1) as scope:
            while True:
                await raw.client.send("Bulk", "x" * 1000)
        assert scope.cancelled_caught
        with trio.move_on_after(1) as scope:
            await server.clients.send("Bulk", "x" * 1000)
        assert scope.cancelled_caught
        raw.client.resume()
        await wait_all_tasks_blocked()
        assert 50 < len(await raw.rest()) < 100
        await server.clients.send("Bulk", "x")
