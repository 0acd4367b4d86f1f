"""Typed hubs: one class describes the hub to its clients and to the test hub."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import pytest
import trio

from trio_signalr import HubStream, InvocationError, PayloadError, streaming
from trio_signalr.messages import CancelInvocation
from trio_signalr.testing import HubServer

BOTH = pytest.mark.parametrize("protocol", ["json", "messagepack"])


@dataclass
class Lap:
    name: str
    took: timedelta


class Race(Protocol):
    async def Add(self, a: int, b: int = 10) -> int: ...

    async def Faster(self, lap: Lap) -> Lap: ...

    async def Untyped(self, value): ...  # type: ignore[no-untyped-def]

    async def Void(self) -> None: ...

    @streaming
    def Counter(self, count: int) -> AsyncIterator[int]: ...

    @streaming
    def Channel(self, laps: AsyncIterable[Lap]) -> trio.abc.ReceiveChannel[timedelta]: ...

    async def Join(self, words: AsyncIterable[str], between: str = " ") -> str: ...

    def _private(self) -> None:
        return


class RaceHub(Race):
    """Has no annotations of its own: the description's count."""

    async def Add(self, a, b=10):  # type: ignore[no-untyped-def]
        return a + b

    async def Faster(self, lap):  # type: ignore[no-untyped-def]
        return Lap(lap.name, lap.took / 2)

    async def Untyped(self, value):  # type: ignore[no-untyped-def]
        return value

    async def Void(self) -> None:
        pass

    @streaming
    async def Counter(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @streaming
    async def Channel(self, laps: AsyncIterable[Lap]) -> AsyncIterator[timedelta]:
        async for lap in laps:
            yield lap.took

    async def Join(self, words, between=" "):  # type: ignore[no-untyped-def]
        return between.join([word async for word in words])

    async def Extra(self) -> str:
        return "extra"


def race_server() -> HubServer:
    server = HubServer()
    server.register(RaceHub(), Race)
    return server


async def words() -> AsyncIterator[str]:
    yield "one"
    yield "two"


async def laps() -> AsyncIterator[Lap]:
    yield Lap("first", timedelta(seconds=90))


@BOTH
async def test_every_kind_of_method(protocol: str) -> None:
    async with race_server().connect(protocol=protocol) as hub:
        race = hub.typed(Race)
        assert await race.Add(1, 2) == 3
        assert await race.Add(b=3, a=1) == 4
        assert await race.Add(1) == 11, "defaults are the description's"
        assert await race.Faster(Lap("x", timedelta(seconds=90))) == Lap("x", timedelta(seconds=45))
        assert await race.Untyped([1, None]) == [1, None]  # type: ignore[no-untyped-call]
        assert await race.Join(words()) == "one two"
        assert await race.Join(words(), between="+") == "one+two"
        await race.Void()
        async with race.Counter(3) as counter:
            assert isinstance(counter, HubStream)
            assert [number async for number in counter] == [0, 1, 2]
        async with race.Channel(laps()) as times:
            assert [took async for took in times] == [timedelta(seconds=90)]


async def test_leaving_a_stream_cancels_it() -> None:
    server = race_server()
    async with server.connect() as hub:
        async with hub.typed(Race).Counter(1_000_000) as counter:
            assert await counter.receive() == 0
        await hub.typed(Race).Void()
        assert len(server.client(hub.connection_id).messages(CancelInvocation)) == 1


async def test_arguments_are_counted_before_anything_is_sent() -> None:
    server = race_server()
    async with server.connect() as hub:
        race: Any = hub.typed(Race)
        for mistake in (race.Add, lambda: race.Add(1, 2, 3), lambda: race.Add(1, c=2), lambda: race.Counter()):
            with pytest.raises(TypeError):
                mistake()
        assert server.client(hub.connection_id).received == []


async def test_values_are_checked_where_they_arrive() -> None:
    class Wrong(Protocol):
        async def Add(self, a: object, b: int) -> str: ...

    async with race_server().connect() as hub:
        wrong = hub.typed(Wrong)
        with pytest.raises(InvocationError):
            await wrong.Add("x", 1)
        with pytest.raises(PayloadError, match="the answer of 'Add'"):
            await wrong.Add(1, 2)


async def test_nothing_but_the_public_methods() -> None:
    async with race_server().connect() as hub:
        race = hub.typed(Race)
        assert repr(race) == "<typed hub Race>"
        assert not hasattr(race, "_private")
        assert not hasattr(race, "Extra")


async def test_register_by_its_own_class() -> None:
    class Own:
        async def Extra(self, a: int) -> int:
            return a

        def _hidden(self) -> None:
            pass

    server = HubServer()
    server.register(Own())
    async with server.connect() as hub:
        assert await hub.typed(Own).Extra(5) == 5
        with pytest.raises(InvocationError, match="does not exist"):
            await hub.invoke("_hidden")


def test_what_cannot_be_registered() -> None:
    with pytest.raises(TypeError, match="has no method 'Add'"):
        HubServer().register(object(), Race)
    server = race_server()
    with pytest.raises(ValueError, match="named 'Add' already"):
        server.register(RaceHub(), Race)


class Unresolved(Protocol):
    async def Add(self, a: int) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821


class NamedOnly(Protocol):
    async def Add(self, *, a: int) -> int: ...


async def test_what_describes_no_hub() -> None:
    async with HubServer().connect() as hub:
        with pytest.raises(TypeError, match="an annotation of 'Add' cannot be resolved"):
            hub.typed(Unresolved)
        with pytest.raises(TypeError, match="without a place in order"):
            hub.typed(NamedOnly)
        with pytest.raises(TypeError, match="described by a class"):
            hub.typed(int | None)
