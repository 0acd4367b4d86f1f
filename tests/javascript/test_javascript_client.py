"""HubServer as the official JavaScript client sees it: if that one is content, a test against it means something."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.javascript.conftest import Run
from tests.twin import Logs, make_hub
from trio_signalr.messages import CancelInvocation, Close, StreamItem
from trio_signalr.testing import Cancelled, Client, Completed, HubServer

WAYS = [
    ("websockets", "json"),
    ("websockets", "messagepack"),
    ("server_sent_events", "json"),
    ("long_polling", "json"),
    ("long_polling", "messagepack"),
]

HEAD = "An unexpected error occurred invoking '{}' on the server."


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Transport and hub protocol."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
def server(logs: Logs) -> HubServer:
    """The hub of tests/twin.py, and some more methods."""
    return make_server(logs)


def make_server(logs: Logs, **options: bool) -> HubServer:
    server = make_hub(logs, max_parallel_invocations=8, **options)

    @server.method
    async def DropMe() -> None:
        await server.caller.drop()

    @server.method
    async def UploadApart(words: AsyncIterator[str], label: str, numbers: AsyncIterator[int]) -> str:
        text = [word async for word in words]
        return f"{label}: {' '.join(text)}, {sum([number async for number in numbers])}"

    return server


def the_client(server: HubServer) -> Client:
    return server.client("c1")


async def goodbye(server: HubServer) -> None:
    """See that the client has gone in good order; its last words may still be under way when its process has ended."""
    with trio.fail_after(5):
        await the_client(server).wait_disconnected()
    assert the_client(server).error is None


async def test_invoke(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        seen = await run_javascript("invoke", url, *way)
        await goodbye(server)
    assert seen == {
        "sum": [3],
        "void": [None],
        "echo": ["text", "ünï ✓", 1.5, True, None, [1, "two"], {"key": [None]}],
        "same id": [True],
        "large": [2_000_000],
        "many": [[2 * number for number in range(50)]],
    }
    assert (the_client(server).transport, the_client(server).protocol) == way


async def test_send(server: HubServer, logs: Logs, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        assert await run_javascript("send", url, *way) == {"sum": [3]}
    assert logs["javascript"].events == ["sent"]


async def test_errors(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    bad_call = "Failed to invoke '{}' due to an error on the server."
    must_stream = "The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation."
    must_not = "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation."
    async with server.serve() as url:
        seen = await run_javascript("errors", url, *way)
    assert seen == {
        "unexpected": [HEAD.format("Fail")],
        "public": [HEAD.format("FailPublic") + " HubException: public message"],
        "unknown": [bad_call.format("NoSuch") + " HubException: Method does not exist."],
        "count": [bad_call.format("Add")],
        "types": [bad_call.format("Add")],
        "stream invoked": [must_stream],
        "call streamed": [[[], must_not]],
        "sum": [3],
    }


async def test_stream(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    names = ["id", "name", "value", "flag", "stamp"]
    head = "An error occurred on the server while streaming results."
    no_stream = (
        "The value returned by the streaming method 'NullStream' is not a ChannelReader<> or IAsyncEnumerable<>."
    )
    async with server.serve() as url:
        seen = await run_javascript("stream", url, *way)
    assert seen == {
        "items": [[[0, 1, 2, 3, 4], "complete"]],
        "objects": [[[name.title() if way[1] == "messagepack" else name for name in names]] * 2],
        "failing": [[[0, 1], head]],
        "failing in public": [[[0, 1], f"{head} HubException: public message"]],
        "none": [[[], no_stream]],
        "long": [20_000],
    }


async def test_dispose_cancels_the_method(
    server: HubServer, logs: Logs, way: tuple[str, str], run_javascript: Run
) -> None:
    async with server.serve() as url, server.events() as events:
        seen = await run_javascript("dispose", url, *way)
        assert seen == {"items": [[[0, 1, 2], "disposed"]], "sum": [3]}
        ended = [event async for event in events_so_far(events) if isinstance(event, Cancelled | Completed)]
    cancelled = [event for event in ended if isinstance(event, Cancelled)]
    assert [(event.method, event.by_client) for event in cancelled] == [("WatchedCounter", True)]
    assert len(the_client(server).messages(CancelInvocation)) == 1
    assert logs["javascript"].events[:2] == ["started", "cancelled"]


async def events_so_far(events: trio.MemoryReceiveChannel[object]) -> AsyncIterator[object]:
    while events.statistics().current_buffer_used:
        yield events.receive_nowait()


async def test_upload(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        seen = await run_javascript("upload", url, *way)
    assert seen == {
        "joined": ["hello big world"],
        "failed": [HEAD.format("UploadChannel") + " HubException: client boom"],
        "total": [600],
    }
    assert len(the_client(server).messages(StreamItem)) == 3 + 1 + 300


async def test_upload_and_stream_together(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        assert await run_javascript("upload_and_stream", url, *way) == {"doubled": [[[2, 4, 6], "complete"]]}


async def test_several_uploads(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        assert await run_javascript("several_uploads", url, *way) == {"both": ["label: a b, 6"]}


async def test_on(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        seen = await run_javascript("on", url, *way)
    assert seen == {"numbers": [list(range(50))], "told": [[{"deep": [1]}]]}


async def test_client_results(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        seen = await run_javascript("client_results", url, *way)
    assert seen == {
        "double": ["abab"],
        "later": ["ab later"],
        "fail": ["error: Error: bad"],
        "nothing": ["error: Client didn't provide a result."],
        "nobody": ["error: Client didn't provide a result."],
    }


async def test_automatic_reconnect_after_a_cut(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        seen = await run_javascript("reconnect", url, *way)
    assert seen == {"pending call failed": [True], "another id": [True], "sum": [3]}
    assert the_client(server).error == "the connection was cut"


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_stateful_reconnect(logs: Logs, protocol: str, run_javascript: Run) -> None:
    server = make_server(logs, stateful_reconnect=True)
    async with server.serve() as url:
        seen = await run_javascript("stateful_reconnect", url, "websockets", protocol)
    assert seen == {
        "stream": [[list(range(40)), "complete"]],
        "slow": ["slow"],
        "same id": [True],
        "sum": [0, 2, 4, 6, 8],
    }


async def test_stop(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        assert await run_javascript("stop", url, *way) == {"closed": [[None]], "state": ["Disconnected"]}
        await goodbye(server)
    if way[0] == "websockets":  # otherwise its last request may overtake the one that brings this
        assert the_client(server).messages() == [Close()]


async def test_close_by_the_server(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    async with server.serve() as url:
        seen = await run_javascript("aborted", url, *way)
    assert seen == {
        "pending": ["Invocation canceled due to the underlying connection being closed."],
        "closed": [[None]],
    }


async def test_a_message_over_the_limit(logs: Logs, way: tuple[str, str], run_javascript: Run) -> None:
    server = make_server(logs, detailed_errors=True)
    async with server.serve() as url:
        (closed,) = (await run_javascript("too_large", url, *way))["closed"]
    assert "The maximum message size of 32768B was exceeded." in closed[0]


async def test_a_refused_handshake(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    server.refuse("not today")
    async with server.serve() as url:
        (refused,) = (await run_javascript("refused", url, *way))["refused"]
    assert "not today" in refused


async def test_falling_back_to_the_next_transport(server: HubServer, run_javascript: Run) -> None:
    server.refuse(404, transport="websockets")
    async with server.serve() as url:
        assert await run_javascript("fallback", url, "any", "json") == {"transport": ["ServerSentEvents"]}
        server.refuse(404, transport="websockets")
        assert await run_javascript("fallback", url, "any", "messagepack") == {"transport": ["LongPolling"]}
    async with server.serve(transports=["long_polling"]) as url:
        assert await run_javascript("fallback", url, "any", "json") == {"transport": ["LongPolling"]}


async def test_a_token(server: HubServer, way: tuple[str, str], run_javascript: Run) -> None:
    server.require_token("sesame")
    async with server.serve() as url:
        seen = await run_javascript("token", url, *way)
    assert "401" in seen["without"][0]
    assert seen["sum"] == [3]
