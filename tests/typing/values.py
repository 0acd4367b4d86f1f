"""What type checkers infer for calls with types: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, assert_type

from trio_signalr import (
    Char,
    DateTimeOffset,
    HubConnection,
    HubStream,
    JsonHubProtocol,
    MessagePackHubProtocol,
    Upload,
    open_hub,
)


@dataclass
class Person:
    name: str


async def words() -> AsyncIterator[str]:
    yield "word"


async def invoke(hub: HubConnection) -> None:
    assert_type(await hub.invoke("Add", 1, 2, result_type=int), int)
    assert_type(await hub.invoke("Add", 1, 2), Any)
    assert_type(await hub.invoke("Find", result_type=Person), Person)
    assert_type(await hub.invoke("All", result_type=list[Person]), list[Person])
    assert_type(await hub.invoke("Map", result_type=dict[str, tuple[int, ...]]), dict[str, tuple[int, ...]])
    assert_type(await hub.invoke("Maybe", result_type=int | None), int | None)
    assert_type(await hub.invoke("Mode", result_type=Literal["on", "off"]), Literal["on", "off"])
    assert_type(await hub.invoke("When", result_type=datetime), datetime)
    assert_type(await hub.invoke("Letter", result_type=Char), Char)
    assert_type(await hub.invoke("Upload", words(), result_type=int), int)
    assert_type(await hub.send("Add", 1, DateTimeOffset(datetime.now(UTC))), None)


async def stream(hub: HubConnection) -> None:
    async with hub.stream("Counter", 10, item_type=int) as counter:
        assert_type(counter, HubStream[int])
        assert_type(await counter.receive(), int)
        assert_type(counter.receive_nowait(), int)
        async for number in counter:
            assert_type(number, int)
        async for batch in counter.batches(max_size=10):
            assert_type(batch, list[int])
    async with hub.stream("Counter", item_type=Person | None, overflow="drop_oldest") as people:
        assert_type(await people.receive(), Person | None)
    async with hub.stream("Counter") as anything:
        assert_type(anything, HubStream[Any])


async def upload(hub: HubConnection) -> None:
    async with hub.upload("UploadStream", result_type=str | None) as upload:
        assert_type(upload, Upload[str | None])
        await upload.send(1)
    assert_type(upload.result, str | None)
    async with hub.upload("UploadStream") as untyped:
        pass
    assert_type(untyped, Upload[Any])


async def subscribe(hub: HubConnection) -> None:
    async with hub.subscribe("Moved", str) as one:
        assert_type(await one.receive(), tuple[str])
    async with hub.subscribe("Moved", str, int | None, max_buffer_size=5) as two:
        async for name, place in two:
            assert_type(name, str)
            assert_type(place, int | None)
    async with hub.subscribe("Moved", str, int, list[Person]) as three:
        assert_type(await three.receive(), tuple[str, int, list[Person]])
    async with hub.subscribe("Moved") as anything:
        assert_type(await anything.receive(), tuple[Any, ...])


def protocols() -> None:
    JsonHubProtocol(rename="camel")
    MessagePackHubProtocol(rename=str.upper, enc_hook=lambda value: str(value), dec_hook=lambda type_, value: value)
    open_hub("http://localhost", protocol=MessagePackHubProtocol(rename="pascal"))


async def mistakes_are_found(hub: HubConnection) -> None:
    number: int = await hub.invoke("Add", result_type=str)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    number = await hub.invoke("Add", result_type=int | None)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    await hub.invoke("Add", result_type=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    hub.stream("Counter", overflow="sometimes")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    async with hub.stream("Counter", item_type=int) as counter:
        text: str = await counter.receive()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    async with hub.upload("UploadStream", result_type=int) as upload:
        pass
    text = upload.result  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    async with hub.subscribe("Moved", str) as moves:
        (number,) = await moves.receive()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    JsonHubProtocol(rename="kebab")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    JsonHubProtocol("camel")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    DateTimeOffset("now")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    print(number, text)
