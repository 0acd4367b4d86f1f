"""Hub messages as bare text, on two servers: what the real one answers to them, HubServer answers to the letter.

Everything that our own client would never send, or would not show to whoever uses it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.aspnetcore.server import HubProcess
from tests.aspnetcore.websocket import raw_websocket
from tests.twin import Twin

HELLO = '{"protocol":"json","version":1}'
ADD = '{"type":1,"invocationId":"9","target":"Add","arguments":[1,2]}'
SUM = {"type": 3, "invocationId": "9", "result": 3}

BAD_CALL = "Failed to invoke '{}' due to an error on the server."
FAILED = "An unexpected error occurred invoking '{}' on the server."
CLOSED = "Connection closed with an error."
INVALID = " InvalidDataException: "
NO_STREAM = "The value returned by the streaming method '{}' is not a ChannelReader<> or IAsyncEnumerable<>."
BINDING = (
    "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being "
    "invoked."
)


def call(target: str, *arguments: object, **more: object) -> str:
    return json.dumps({"type": 1, "invocationId": "1", "target": target, "arguments": arguments} | more)


def stream(target: str, *arguments: object, **more: object) -> str:
    return call(target, *arguments, type=4, **more)


def item(value: object, id_: str = "7") -> str:
    return json.dumps({"type": 2, "invocationId": id_, "item": value})


def completion(id_: str = "7", **more: object) -> str:
    return json.dumps({"type": 3, "invocationId": id_, **more})


def answer(**more: object) -> dict[str, Any]:
    return {"type": 3, "invocationId": "1", **more}


def failure(text: str) -> dict[str, Any]:
    return answer(error=text)


async def talk(server: HubProcess | Twin, path: str, sent: list[str], count: int | None) -> list[Any]:
    """Say all that in one piece, and return the first answers but pings; all until the end if ``count`` is ``None``."""
    seen: list[Any] = []
    async with raw_websocket(server.url(path)) as websocket:
        await websocket.send_message("".join(f"{text}\x1e" for text in [HELLO, *sent]))
        with trio.fail_after(10):
            while count is None or len(seen) < count + 1:
                piece = await next_piece(websocket)
                seen += piece
                if piece and isinstance(piece[-1], int):
                    break
    assert seen.pop(0) == {}, "the handshake succeeds"
    return seen


async def next_piece(websocket: WebSocketConnection) -> list[Any]:
    """What the next WebSocket message holds; the close code at the end."""
    try:
        message = str(await websocket.get_message())
    except ConnectionClosed as closed:
        return [closed.reason.code if closed.reason is not None else 0]
    return [each for each in map(json.loads, message.split("\x1e")[:-1]) if each != {"type": 6}]


ANSWERED: dict[str, tuple[str, list[str], list[Any]]] = {
    "void is null": ("/hub", [call("Void")], [answer(result=None)]),
    "null is null": ("/hub", [call("Echo", None)], [answer(result=None)]),
    "names in any case": ("/hub", [call("aDD", 1, 2)], [answer(result=3)]),
    "no method": ("/hub", [call("No")], [failure(BAD_CALL.format("No") + " HubException: Method does not exist.")]),
    "no stream": ("/hub", [stream("No")], [failure(BAD_CALL.format("No") + " HubException: Method does not exist.")]),
    "count": ("/hub", [call("Add", 1)], [failure(BAD_CALL.format("Add"))]),
    "count in detail": (
        "/detailed",
        [call("Add", 1)],
        [failure(BAD_CALL.format("Add") + INVALID + "Invocation provides 1 argument(s) but target expects 2.")],
    ),
    "types": ("/hub", [call("Add", 1, "two")], [failure(BAD_CALL.format("Add"))]),
    "types in detail": ("/detailed", [call("Add", 1, "two")], [failure(BAD_CALL.format("Add") + INVALID + BINDING)]),
    "exception": ("/hub", [call("Fail")], [failure(FAILED.format("Fail"))]),
    "exception in detail": (
        "/detailed",
        [call("Fail")],
        [failure(FAILED.format("Fail") + " InvalidOperationException: secret")],
    ),
    "public exception": (
        "/hub",
        [call("FailPublic")],
        [failure(FAILED.format("FailPublic") + " HubException: public message")],
    ),
    "stream as call": (
        "/hub",
        [call("Counter", 1, 0)],
        [failure("The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation.")],
    ),
    "call as stream": (
        "/hub",
        [stream("Add", 1, 2)],
        [failure("The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.")],
    ),
    "stream": ("/hub", [stream("Counter", 2, 0)], [json.loads(item(0, "1")), json.loads(item(1, "1")), answer()]),
    "failing stream": (
        "/hub",
        [stream("FailingStream", 1)],
        [json.loads(item(0, "1")), failure("An error occurred on the server while streaming results.")],
    ),
    "failing stream in detail": (
        "/detailed",
        [stream("FailingStream", 0)],
        [failure("An error occurred on the server while streaming results. InvalidOperationException: Ran out")],
    ),
    "null for a stream": ("/hub", [stream("NullStream")], [failure(NO_STREAM.format("NullStream"))]),
    "a stream that is not expected": (
        "/hub",
        [call("Add", 1, 2, streamIds=["7"])],
        [failure(FAILED.format("Add") + " HubException: Client sent 1 stream(s), Hub method expects 0.")],
    ),
    "cancelled stream": (
        "/hub",
        [stream("HeldCounter", "nobody", 0), '{"type":5,"invocationId":"1"}'],
        [answer()],
    ),
    "one id, two streams": (
        "/hub",
        [stream("HeldCounter", "nobody", 0), stream("Counter", 1, 0)],
        [failure("Invocation ID '1' is already in use.")],
    ),
    "one id, two calls": ("/hub", [call("Add", 1, 2), call("Add", 3, 4)], [answer(result=3), answer(result=7)]),
    "no id, no answer": ("/hub", [call("Add", 1, 2, invocationId=""), call("No", invocationId=""), ADD], [SUM]),
    "unknown ids": (
        "/hub",
        [item(1), completion(result=1), completion(error="x"), '{"type":5,"invocationId":"7"}', ADD],
        [SUM],
    ),
    "numbers of a stateful connection that is none": (
        "/hub",
        ['{"type":8,"sequenceId":5}', '{"type":9,"sequenceId":5}', ADD],
        [SUM],
    ),
    "unknown properties": ("/hub", [call("Add", 1, 2, more={"any": [1]})], [answer(result=3)]),
    "properties in any order": ("/hub", ['{"arguments":[1,2],"target":"Add","invocationId":"9","type":1}'], [SUM]),
    "headers": ("/hub", [call("Add", 1, 2, headers={"traceparent": "x"})], [answer(result=3)]),
    "upload": (
        "/hub",
        [item(99), call("UploadChannel", streamIds=["7"]), item(1), item(2), completion()],
        [answer(result=3)],
    ),
    "a result ends an upload": (
        "/hub",
        [call("UploadChannel", streamIds=["7"]), item(1), completion(result=None)],
        [answer(result=1)],
    ),
    "failed upload": (
        "/hub",
        [call("UploadChannel", streamIds=["7"]), item(1), completion(error="client boom")],
        [failure(FAILED.format("UploadChannel") + " HubException: client boom")],
    ),
    "items after the end": (
        "/hub",
        [call("UploadFirst", 1, streamIds=["7"]), item(5), item(6), item(7), completion(), ADD],
        [answer(result=[5]), SUM],
    ),
}

FATAL: dict[str, str] = {
    "no JSON": "{",
    "an empty message": "",
    "no type": '{"target":"Add"}',
    "a type that is no number": '{"type":"1","target":"Add","arguments":[1,2]}',
    "no arguments": '{"type":1,"invocationId":"1","target":"Add"}',
    "an id that is a number": call("Add", 1, 2, invocationId=1),
    "an id that is null": call("Add", 1, 2, invocationId=None),
    "a stream without id": '{"type":4,"target":"Counter","arguments":[1,0]}',
    "a header that is no text": call("Add", 1, 2, headers={"a": 1}),
    "an answer of two minds": completion(error="x", result=1),
    "no number": '{"type":1,"invocationId":"1","target":"Echo","arguments":[NaN]}',
}


@pytest.mark.parametrize("what", ANSWERED)
async def test_what_is_answered(either: HubProcess | Twin, what: str) -> None:
    path, sent, expected = ANSWERED[what]
    seen = await talk(either, path, sent, len(expected))
    assert sorted(seen, key=json.dumps) == sorted(expected, key=json.dumps)
    if len({message["invocationId"] for message in expected}) == 1:
        assert seen == expected


@pytest.mark.parametrize("what", FATAL)
async def test_what_ends_the_connection(either: HubProcess | Twin, what: str) -> None:
    close = {"type": 7, "error": CLOSED, "allowReconnect": True}
    assert await talk(either, "/hub", [FATAL[what], ADD], None) == [close, 1000]


async def test_errors_that_end_it_in_detail(either: HubProcess | Twin) -> None:
    too_large = "The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions."
    close, code = await talk(either, "/detailed", [call("Echo", "x" * 40_000)], None)
    assert (close["error"], code) == (CLOSED + INVALID + too_large, 1000)
    close, _ = await talk(either, "/detailed", ["{"], None)
    assert close["error"].startswith(CLOSED + INVALID)


async def test_silence_in_detail(either: HubProcess | Twin) -> None:
    silent = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
    close, code = await talk(either, "/impatient", ['{"type":6}'], None)
    assert close == {"type": 7, "error": f"{CLOSED} OperationCanceledException: {silent}", "allowReconnect": True}
    assert code == 1000


async def test_nothing_is_read_behind_a_message_of_unknown_type(either: HubProcess | Twin) -> None:
    async with raw_websocket(either.url()) as websocket:
        await websocket.send_message(f'{HELLO}\x1e{call("Add", 1, 2)}\x1e{{"type":10}}\x1e{ADD}\x1e')
        seen: list[Any] = []
        with trio.move_on_after(1.5):
            while True:
                if len(seen) == 2:
                    await websocket.send_message(f"{ADD}\x1e")
                seen += await next_piece(websocket)
        assert seen == [{}, answer(result=3)]


@pytest.mark.parametrize("goodbye", ['{"type":7}', '{"type":7,"error":"mine"}', '{"type":7,"allowReconnect":true}'])
async def test_goodbye(either: HubProcess | Twin, goodbye: str) -> None:
    assert await talk(either, "/hub", [goodbye, ADD], None) == [{"type": 7}, 1000]


@pytest.mark.parametrize("request_", ['{"version":2,"protocol":"JSON","more":[1]}', '{"protocol":"json","version":0}'])
async def test_handshakes_that_will_do(either: HubProcess | Twin, request_: str) -> None:
    async with raw_websocket(either.url()) as websocket:
        await websocket.send_message(f"{request_}\x1e{ADD}\x1e")
        seen: list[Any] = []
        with trio.fail_after(10):
            while len(seen) < 2:
                seen += await next_piece(websocket)
    assert seen == [{}, SUM]


async def test_text_that_is_none(either: HubProcess | Twin) -> None:
    """In binary frames everything is welcome, and answered in text."""
    async with raw_websocket(either.url()) as websocket:
        await websocket.send_message(f"{HELLO}\x1e".encode())
        assert await websocket.get_message() == "{}\x1e"
        await websocket.send_message(f"{ADD}\x1e".encode())
        assert await next_piece(websocket) == [SUM]
