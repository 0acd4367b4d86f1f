"""Every .NET type, there and back, in every place that a value can have, in both hub protocols."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterable, AsyncIterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import msgspec
import pytest
import trio
from hypothesis import given, settings, strategies as st

from tests.aspnetcore.server import HubProcess
from tests.type_rows import ANNA, ANNA_TEXT, CET, PROTOCOLS, ROWS, Person, Row, row_id
from trio_signalr import (
    Char,
    DateTimeOffset,
    HubConnection,
    InvocationError,
    JsonHubProtocol,
    MessagePackHubProtocol,
    PayloadError,
    open_hub,
    streaming,
)

BOTH = pytest.mark.parametrize("protocol", list(PROTOCOLS))
TAKEN = [(row, protocol) for row in ROWS for protocol in PROTOCOLS if protocol not in row.refused]
REFUSED = [(row, protocol) for row in ROWS for protocol in row.refused]


def name(value: object) -> str | None:
    return row_id(value) if isinstance(value, Row) else None


def open_types(server: HubProcess, hub: str, protocol: str, **options: Any) -> Any:
    return open_hub(server.url(f"/types/{hub}"), protocol=PROTOCOLS[protocol], **options)


async def iterate(values: list[object]) -> AsyncIterator[object]:
    for value in values:
        yield value


async def assert_there_and_back(hub: HubConnection, row: Row, protocol: str, values: list[Any]) -> None:
    """All six places."""
    told: list[Any] = []
    done = trio.Event()

    async def handler(value: Any) -> Any:
        told.append(value)
        if len(told) % 2 == 0:
            done.set()
        return row.outgoing(value)

    handler.__annotations__["value"] = row.type
    expected = [row.back(value, protocol) for value in values]
    with hub.on("Handle", handler):
        for value, back in zip(values, expected, strict=True):
            sent = row.outgoing(value)
            assert await hub.invoke("Echo", sent, result_type=row.type) == back  # argument, result
            assert await hub.invoke("Ask", "Handle", sent, result_type=row.type) == back  # client result
            await hub.invoke("Tell", "Handle", sent)  # handler's argument
            await done.wait()
            done = trio.Event()
            assert told == [back, back]
            told.clear()
    items = iterate([row.outgoing(value) for value in values])
    async with hub.stream("Transform", items, item_type=row.type) as stream:  # upload's and stream's items
        assert [item async for item in stream] == expected


@pytest.mark.parametrize(("row", "protocol"), TAKEN, ids=name)
async def test_there_and_back(aspnetcore: HubProcess, row: Row, protocol: str) -> None:
    async with open_types(aspnetcore, row.hub, protocol) as hub:
        await assert_there_and_back(hub, row, protocol, [value for value, _ in row.values])
        for value, text in row.values:
            if text:
                assert await hub.invoke("Understood", row.outgoing(value), result_type=str) == text


@pytest.mark.parametrize(("row", "protocol"), REFUSED, ids=name)
async def test_refused(aspnetcore: HubProcess, row: Row, protocol: str) -> None:
    """Told, not lost; and the table says so."""
    async with open_types(aspnetcore, row.hub, protocol) as hub:
        with pytest.raises(InvocationError):
            await hub.invoke("Echo", row.outgoing(row.values[0][0]))
        with pytest.raises(InvocationError):
            await hub.invoke("Echo")  # the connection lives


@pytest.mark.parametrize(("row", "protocol"), TAKEN, ids=name)
def test_any_value(aspnetcore: HubProcess, row: Row, protocol: str) -> None:
    """Many values in one go; Hypothesis has no patience for a connection for each."""

    @given(values=st.lists(row.strategy, max_size=8))
    @settings(max_examples=6)
    def check(values: list[Any]) -> None:
        async def main() -> None:
            with trio.fail_after(20):
                async with open_types(aspnetcore, row.hub, protocol) as hub:
                    await assert_there_and_back(hub, row, protocol, values)

        trio.run(main)

    check()


# What a client cannot send


class Colour(enum.Enum):
    Red = 1


LATEST = datetime(9999, 12, 31, 23, 59, 59, 999999)


@BOTH
@pytest.mark.parametrize(
    ("method", "type_", "value"),
    [
        ("DateTimeMax", datetime, LATEST),
        ("DateTimeMin", datetime, datetime.min),
        ("DateTimeOffsetMax", datetime, LATEST.replace(tzinfo=UTC)),
        ("DateTimeOffsetMax", DateTimeOffset, DateTimeOffset(LATEST.replace(tzinfo=UTC))),
        ("TimeOnlyMax", time, time.max),
        ("TimeSpanMax", timedelta, timedelta(microseconds=(2**63 - 1) // 10)),
        ("TimeSpanMin", timedelta, -timedelta(microseconds=2**63 // 10)),
        ("Tick", timedelta, timedelta(microseconds=-1)),
        ("DecimalMax", Decimal, Decimal(2**96 - 1)),
    ],
)
async def test_extremes(aspnetcore: HubProcess, protocol: str, method: str, type_: Any, value: Any) -> None:
    """The ends of .NET's ranges, and ticks finer than a microsecond."""
    async with open_types(aspnetcore, "extremes", protocol) as hub:
        result = await hub.invoke(method, result_type=type_)
        if protocol == "messagepack" and isinstance(value, datetime):
            value = value.replace(tzinfo=UTC)
        assert result == value


@BOTH
async def test_latest_moment_among_plain_values(aspnetcore: HubProcess, protocol: str) -> None:
    async with open_types(aspnetcore, "extremes", protocol) as hub:
        expected = {
            "json": {"start": "9999-12-31T23:59:59.9999999", "id": 1},
            "messagepack": {"Start": LATEST.replace(tzinfo=UTC), "Id": 1},
        }
        assert await hub.invoke("Mixed") == expected[protocol]
        assert await hub.invoke("Mixed", result_type=object) == expected[protocol]


@BOTH
async def test_undefined_enum_value(aspnetcore: HubProcess, protocol: str) -> None:
    """That is a misfit, of that call only."""
    async with open_types(aspnetcore, "extremes", protocol) as hub:
        with pytest.raises(PayloadError, match="answer of 'Undefined': Invalid enum value 7"):
            await hub.invoke("Undefined", result_type=Colour)
        assert await hub.invoke("Undefined") == {"json": 7, "messagepack": "7"}[protocol]


# Names


class Friend(msgspec.Struct):
    """Its names are said by the protocol object, like those of dataclasses and attrs classes."""

    first_name: str
    price: Decimal = Decimal(0)


@BOTH
@pytest.mark.parametrize("kind", [Friend, Person])
async def test_one_class_for_both_protocols(aspnetcore: HubProcess, protocol: str, kind: type) -> None:
    async with open_types(aspnetcore, "object", protocol) as hub:
        friend = await hub.invoke("Echo", ANNA, result_type=kind)
        assert friend == (ANNA if kind is Person else Friend("Anna", Decimal("12.50")))
        understood = msgspec.json.decode(await hub.invoke("Understood", friend, result_type=str))
        assert (understood["FirstName"], understood["Price"]) == ("Anna", 12.5)


async def test_without_rename(aspnetcore: HubProcess) -> None:
    """What the option is for: a name in another case is ignored without a word, in MessagePack."""
    for protocol in ("json", "messagepack"):
        async with open_hub(aspnetcore.url("/types/object"), protocol=protocol) as hub:
            person = msgspec.json.decode(await hub.invoke("Understood", ANNA, result_type=str))
            assert person["FirstName"] == ""
            assert person["Favourite"] == {"json": 2, "messagepack": 0}[protocol]


async def test_a_structs_own_names_win(aspnetcore: HubProcess) -> None:
    class Named(msgspec.Struct):
        name: str = msgspec.field(name="FirstName")
        favourite: int | str

    async with open_types(aspnetcore, "object", "messagepack") as hub:
        assert await hub.invoke("Echo", ANNA, result_type=Named) == Named("Anna", "Green")
        assert '"FirstName":"Bert"' in await hub.invoke("Understood", Named("Bert", "Red"))


# Hooks


class Complex:
    """Stands for a class of somebody else's, which no serializer knows."""

    def __init__(self, real: int, imag: int) -> None:
        self.parts = (real, imag)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Complex) and other.parts == self.parts

    __hash__ = None  # type: ignore[assignment]


def encode(value: Any) -> object:
    if isinstance(value, Complex):
        return list(value.parts)
    raise NotImplementedError


def decode(kind: type, value: Any) -> object:
    if kind is Complex:
        return Complex(*value)
    raise NotImplementedError


@pytest.mark.parametrize("make", [JsonHubProtocol, MessagePackHubProtocol])
async def test_hooks(aspnetcore: HubProcess, make: Any) -> None:
    protocol = make(enc_hook=encode, dec_hook=decode)
    async with open_hub(aspnetcore.url("/types/array"), protocol=protocol) as hub:
        assert await hub.invoke("Echo", Complex(1, 2), result_type=Complex) == Complex(1, 2)
        with pytest.raises(PayloadError, match=r"cannot call 'Echo': .* at `\$\.arguments\[0\]`"):
            await hub.invoke("Echo", object())
        with pytest.raises(PayloadError, match="the answer of 'Echo'"):
            await hub.invoke("Echo", [1, 2, 3], result_type=Complex)
        with pytest.raises(TypeError, match="cannot be converted"):
            await hub.invoke("Echo", [1], result_type=trio.Event)


# Misfits


@BOTH
async def test_misfits_say_where(aspnetcore: HubProcess, protocol: str) -> None:
    """Method, place and path; and the connection lives."""
    async with open_types(aspnetcore, "objects", protocol) as hub:

        class Wrong(msgspec.Struct):
            born: bool

        with pytest.raises(PayloadError, match="answer of 'Echo'") as caught:
            await hub.invoke("Echo", [ANNA, ANNA], result_type=list[Wrong])
        assert caught.value.path == "$[0].born"
        with pytest.raises(PayloadError, match="cannot call 'Echo'") as caught:
            await hub.invoke("Echo", [ANNA, Char], "b")
        assert caught.value.path == "$.arguments[0][1]"
        assert await hub.invoke("Understood", [ANNA], result_type=str) == f"[{ANNA_TEXT}]"


async def test_utc_needs_to_be_said(aspnetcore: HubProcess) -> None:
    moment = datetime(2024, 1, 2, tzinfo=UTC)
    async with open_types(aspnetcore, "datetimeoffset", "messagepack") as hub:
        with pytest.raises(InvocationError):
            await hub.invoke("Echo", moment)
        result = await hub.invoke("Echo", DateTimeOffset(moment), result_type=DateTimeOffset)
        assert result == DateTimeOffset(moment)
        back = await hub.invoke("Echo", moment.astimezone(CET), result_type=datetime)
        assert (back, back.utcoffset()) == (moment, timedelta(hours=2))


async def test_keys_that_are_booleans(aspnetcore: HubProcess) -> None:
    """JSON has them as text, and so they come back; msgspec reads no such keys."""
    async with open_types(aspnetcore, "bool-keys", "json") as hub:
        assert await hub.invoke("Echo", {True: 1}) == {"True": 1}
    async with open_types(aspnetcore, "bool-keys", "messagepack") as hub:
        assert await hub.invoke("Echo", {True: 1}, result_type=dict[bool, int]) == {True: 1}


async def test_uuid_is_a_uuid(aspnetcore: HubProcess) -> None:
    for protocol in PROTOCOLS:
        async with open_types(aspnetcore, "guid", protocol) as hub:
            assert type(await hub.invoke("Echo", UUID(int=5), result_type=UUID)) is UUID


# Typed hubs


class Described(Protocol):
    """A part of TestHub."""

    async def Add(self, a: int, b: int) -> int: ...

    async def Void(self) -> None: ...

    @streaming
    def CounterAsync(self, count: int, delay: int = 0) -> AsyncIterator[int]: ...

    async def UploadStream(self, words: AsyncIterable[str]) -> str: ...

    @streaming
    def Transform(self, items: AsyncIterable[int]) -> trio.abc.ReceiveChannel[int]: ...


async def words() -> AsyncIterator[str]:
    yield "one"
    yield "two"


async def numbers() -> AsyncIterator[int]:
    yield 1
    yield 2


@BOTH
async def test_typed_hub(aspnetcore: HubProcess, protocol: str) -> None:
    async with open_hub(aspnetcore.url(), protocol=protocol) as hub:
        described = hub.typed(Described)
        assert await described.Add(1, b=2) == 3
        await described.Void()
        assert await described.UploadStream(words()) == "one two"
        async with described.CounterAsync(3) as counter:
            assert [number async for number in counter] == [0, 1, 2]
        async with described.Transform(numbers()) as doubled:
            assert [number async for number in doubled] == [2, 4]
