"""What type checkers infer for typed hubs: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Literal, Protocol, assert_type

import trio

from trio_signalr import HubConnection, HubStream, streaming
from trio_signalr.testing import HubServer


class Chat(Protocol):
    async def Add(self, a: int, b: int = 0) -> int: ...

    async def Find(self, name: str) -> str | None: ...

    async def Mode(self) -> Literal["on", "off"]: ...

    @streaming
    def Counter(self, count: int, delay: int) -> AsyncIterator[int]: ...

    @streaming
    def Words(self) -> trio.abc.ReceiveChannel[str]: ...

    async def UploadStream(self, words: AsyncIterable[str]) -> str: ...


class ChatHub(Chat):
    async def Add(self, a: int, b: int = 0) -> int:
        return a + b

    async def Find(self, name: str) -> str | None:
        return name or None

    async def Mode(self) -> Literal["on", "off"]:
        return "on"

    @streaming
    async def Counter(self, count: int, delay: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @streaming
    def Words(self) -> trio.abc.ReceiveChannel[str]:
        return trio.open_memory_channel[str](0)[1]

    async def UploadStream(self, words: AsyncIterable[str]) -> str:
        return " ".join([word async for word in words])


class WrongHub(Chat):
    async def Add(self, a: str, b: int = 0) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return b


class Plain:
    """No Protocol is needed."""

    async def Add(self, a: int) -> int:
        raise NotImplementedError


async def numbers() -> AsyncIterator[int]:
    yield 1


async def words() -> AsyncIterator[str]:
    yield "word"


async def methods_have_their_types(hub: HubConnection) -> None:
    chat = hub.typed(Chat)
    assert_type(chat, Chat)
    assert_type(await chat.Add(1, 2), int)
    assert_type(await chat.Add(a=1), int)
    assert_type(await chat.Find("x"), str | None)
    assert_type(await chat.Mode(), Literal["on", "off"])
    assert_type(await chat.UploadStream(words()), str)
    assert_type(await hub.typed(Plain).Add(1), int)
    async with chat.Counter(10, delay=500) as counter:
        assert_type(counter, HubStream[int])
        async for number in counter:
            assert_type(number, int)
        async for batch in counter.batches():
            assert_type(batch, list[int])
    async with chat.Words() as found:
        assert_type(await found.receive(), str)


async def mistakes_are_found(hub: HubConnection) -> None:
    chat = hub.typed(Chat)
    await chat.Add("1", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await chat.Add()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await chat.Add(1, 2, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await chat.Sub(1, 2)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await chat.UploadStream(numbers())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = await chat.Add(1, 2)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    chat.Counter("ten", 0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for _ in chat.Counter(1, 0):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    async with chat.Counter(1, 0) as counter:
        text = await counter.receive()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text)


def one_description_serves_both(server: HubServer) -> None:
    server.register(ChatHub(), Chat)
    server.register(ChatHub())
