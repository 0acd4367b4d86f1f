"""How a function becomes a hub method, and how calls find it and fill its parameters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_signalr import errors
from trio_signalr.errors import InvocationError
from trio_signalr.testing import HubException, HubServer


@dataclass
class Point:
    x: int
    y: int = 0


async def answer_of(server: HubServer, protocol: str, method: str, *args: object) -> Any:
    async with server.connect(protocol=protocol) as hub:
        return await hub.invoke(method, *args)


async def error_of(server: HubServer, protocol: str, method: str, *args: object) -> str:
    with pytest.raises(InvocationError) as caught:
        await answer_of(server, protocol, method, *args)
    return str(caught.value)


async def test_sync_and_async_methods(autojump_clock: MockClock, protocol: str) -> None:
    server = HubServer()

    @server.method
    def Add(a: int, b: int) -> int:
        return a + b

    @server.method
    async def Slow(text: str) -> str:
        await trio.sleep(5)
        return text.upper()

    assert await answer_of(server, protocol, "Add", 1, 2) == 3
    assert await answer_of(server, protocol, "Slow", "x") == "X"


async def test_decorator_returns_the_function() -> None:
    server = HubServer()

    @server.method
    def One() -> int:
        return 1

    @server.method("Two")
    def second() -> int:
        return 2

    @server.method(name="Three")
    def third() -> int:
        return 3

    @server.method()
    def Four() -> int:
        return 4

    assert [One(), second(), third(), Four()] == [1, 2, 3, 4]
    async with server.connect() as hub:
        assert [await hub.invoke(name) for name in ("One", "Two", "Three", "Four")] == [1, 2, 3, 4]


async def test_bound_methods() -> None:
    class Chat:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def Say(self, line: str) -> int:
            self.lines.append(line)
            return len(self.lines)

    server, chat = HubServer(), Chat()
    server.method(chat.Say)
    assert await answer_of(server, "json", "Say", "hello") == 1
    assert chat.lines == ["hello"]


async def test_names_match_in_any_case(protocol: str) -> None:
    server = HubServer()
    server.method(lambda: "found", name="GetIt")
    for name in ("GetIt", "getit", "GETIT"):
        assert await answer_of(server, protocol, name) == "found"


async def test_arguments_are_converted(protocol: str) -> None:
    server = HubServer()

    @server.method
    def Show(point: Point, names: list[str], anything, fallback: float = 0.5, *rest: int):  # type: ignore[no-untyped-def]
        assert isinstance(point, Point)
        return [point.x, names, anything, fallback, *rest]

    assert await answer_of(server, protocol, "Show", {"x": 1}, ["a"], None) == [1, ["a"], None, 0.5]
    assert await answer_of(server, protocol, "Show", {"x": 1}, [], {"k": 2}, 2.5, 7, 8) == [1, [], {"k": 2}, 2.5, 7, 8]


async def test_void_methods_answer_null(protocol: str) -> None:
    server = HubServer()
    server.method(lambda: None, name="Nothing")
    assert await answer_of(server, protocol, "Nothing") is None


async def test_unknown_method(protocol: str) -> None:
    text = "Failed to invoke 'nope' due to an error on the server. HubException: Method does not exist."
    assert await error_of(HubServer(), protocol, "nope") == text
    async with HubServer().connect(protocol=protocol) as hub:
        with pytest.raises(InvocationError) as caught:
            async with hub.stream("nope") as stream:
                await stream.receive()
    assert str(caught.value) == text


def add(a: int, b: int, c: int = 0) -> int:
    return a + b + c


@pytest.mark.parametrize(
    ("args", "detail"),
    [
        ((), "Invocation provides 0 argument(s) but target expects 2 to 3."),
        ((1, 2, 3, 4), "Invocation provides 4 argument(s) but target expects 2 to 3."),
        (
            (1, "two"),
            "Error binding arguments. Make sure that the types of the provided values match the types of the hub "
            "method being invoked.",
        ),
    ],
)
@pytest.mark.parametrize("detailed", [False, True])
async def test_arguments_that_do_not_fit(args: tuple[Any, ...], detail: str, detailed: bool, protocol: str) -> None:
    server = HubServer(detailed_errors=detailed)
    server.method(add)
    expected = "Failed to invoke 'add' due to an error on the server."
    if detailed:
        expected += f" InvalidDataException: {detail}"
    assert await error_of(server, protocol, "add", *args) == expected


async def test_expected_arguments_are_counted_without_uploads(protocol: str) -> None:
    server = HubServer(detailed_errors=True)

    @server.method
    async def Both(a: int, items: AsyncIterable[int], *rest: int) -> None:
        raise AssertionError

    async def none() -> AsyncIterator[int]:
        for item in list[int]():
            yield item

    text = await error_of(server, protocol, "Both", none())
    assert text.endswith("InvalidDataException: Invocation provides 0 argument(s) but target expects 1 or more.")


@pytest.mark.parametrize(
    ("error", "detailed", "detail"),
    [
        (ValueError("secret"), False, ""),
        (ValueError("secret"), True, " ValueError: secret"),
        (HubException("public"), False, " HubException: public"),
        (HubException("public"), True, " HubException: public"),
        (ExceptionGroup("several", [ValueError("secret")]), True, " ExceptionGroup: several (1 sub-exception)"),
    ],
)
async def test_exceptions_in_a_method(error: Exception, detailed: bool, detail: str, protocol: str) -> None:
    server = HubServer(detailed_errors=detailed)

    @server.method
    async def Fail() -> None:
        raise error

    async with server.connect(protocol=protocol) as hub:
        for _ in range(2):  # the connection lives on
            with pytest.raises(InvocationError) as caught:
                await hub.invoke("fail")
            assert str(caught.value) == f"An unexpected error occurred invoking 'fail' on the server.{detail}"


async def test_subclass_of_hub_exception_is_shown(protocol: str) -> None:
    server = HubServer()

    class TooLate(HubException):
        pass

    @server.method
    def Fail() -> None:
        raise TooLate("by an hour")

    text = "An unexpected error occurred invoking 'Fail' on the server. TooLate: by an hour"
    assert await error_of(server, protocol, "Fail") == text


async def test_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = HubServer()

    @server.method
    def Fail() -> None:
        raise ValueError("secret")

    @server.method
    def Refuse() -> None:
        raise HubException("no")

    await error_of(server, "json", "Refuse")
    assert caplog.records == []
    await error_of(server, "json", "Fail")
    assert [record.getMessage() for record in caplog.records] == ["hub method 'Fail' failed"]
    assert "secret" in caplog.text


async def test_result_that_cannot_be_encoded(protocol: str) -> None:
    server = HubServer()
    server.method(lambda: object(), name="Strange")
    assert (
        await error_of(server, protocol, "Strange") == "An unexpected error occurred invoking 'Strange' on the server."
    )


async def test_wrong_kind_of_call(protocol: str) -> None:
    server = HubServer()

    @server.method
    async def Stream() -> AsyncIterator[int]:
        yield 1

    server.method(add)
    assert await error_of(server, protocol, "stream") == (
        "The client attempted to invoke the streaming 'stream' method with a non-streaming invocation."
    )
    async with server.connect(protocol=protocol) as hub:
        with pytest.raises(InvocationError) as caught:
            async with hub.stream("Add", 1, 2) as stream:
                await stream.receive()
    assert str(caught.value) == (
        "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation."
    )


async def test_sends_are_never_answered(protocol: str) -> None:
    server = HubServer()
    seen = []

    @server.method
    def Note(text: str) -> None:
        seen.append(text)
        raise ValueError(text)

    async with server.connect(protocol=protocol) as hub:
        await hub.send("Note", "one")
        await hub.send("Note")
        await hub.send("Unknown")
        await hub.send("Note", "two")
    assert seen == ["one", "two"]


async def test_function_that_does_not_tell_its_parameters(protocol: str) -> None:
    server = HubServer()
    server.method(max)
    assert await answer_of(server, protocol, "Max", 3, 7, 5) == 7


async def test_lone_surrogate_in_an_error(protocol: str) -> None:
    server = HubServer()

    @server.method
    def Fail() -> None:
        raise HubException("\ud800!")

    assert (await error_of(server, protocol, "Fail")).endswith("HubException: ?!")


def keyword_only(*, word: str) -> None: ...


def unresolvable(word: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


class Lock:
    __slots__ = ()


def not_decodable(word: Lock | int) -> None: ...


def plain_generator() -> Iterator[int]:
    yield 1


async def upload_with_default(words: AsyncIterable[str] = trio.abc.ReceiveChannel[str]) -> None:  # type: ignore[assignment]
    ...


async def uploads_as_rest(*words: AsyncIterable[str]) -> None: ...


async def generator_parameter(words: AsyncGenerator[str, None]) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        keyword_only,
        unresolvable,
        not_decodable,
        plain_generator,
        upload_with_default,
        uploads_as_rest,
        generator_parameter,
        partial(add, 1),
        42,
    ],
)
def test_what_cannot_be_a_method(function: Any) -> None:
    with pytest.raises(TypeError):
        HubServer().method(function)


def test_names_are_unique() -> None:
    server = HubServer()
    server.method(lambda: 1, name="Same")
    with pytest.raises(ValueError, match="SAME"):
        server.method(lambda: 2, name="SAME")


def test_hub_exception_is_the_client_s() -> None:
    assert HubException is errors.HubException


@pytest.mark.parametrize(
    "option",
    [
        "max_parallel_invocations",
        "keep_alive_interval",
        "client_timeout",
        "handshake_timeout",
        "send_timeout",
        "max_message_size",
        "stream_buffer_capacity",
    ],
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_options_are_checked(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        HubServer(**{option: value})  # type: ignore[arg-type]


def test_protocols_are_checked() -> None:
    with pytest.raises(ValueError, match="xml"):
        HubServer(protocols=["xml"])
