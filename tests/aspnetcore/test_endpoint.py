"""What a hub's endpoint answers to bare HTTP, on two servers: the real one, and HubServer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection

from tests.aspnetcore.server import HubProcess
from tests.aspnetcore.websocket import raw_websocket
from tests.twin import Twin

HANDSHAKE = b'{"protocol":"json","version":1}\x1e'
TEXT_AND_BINARY = ["Text", "Binary"]
OFFER = [
    {"transport": "WebSockets", "transferFormats": TEXT_AND_BINARY},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": TEXT_AND_BINARY},
]


class Endpoint:
    """One hub, by bare HTTP."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.client = client
        self.url = url

    async def negotiate(self, **query: str) -> dict[str, Any]:
        response = await self.client.post(f"{self.url}/negotiate", params=query)
        assert response.status_code == 200
        answer: dict[str, Any] = response.json()
        return answer

    async def token(self) -> str:
        """Negotiate, and return what requests have to name."""
        answer = await self.negotiate(negotiateVersion="1")
        assert answer["connectionToken"] != answer["connectionId"]
        return str(answer["connectionToken"])

    async def request(self, method: str, token: str | None = None, **options: Any) -> httpx.Response:
        url = self.url if token is None else f"{self.url}?id={token}"
        return await self.client.request(method, url, **options)

    async def poll(self, token: str) -> httpx.Response:
        return await self.request("GET", token)

    async def poll_messages(self, token: str) -> list[Any]:
        """What one poll brings."""
        response = await self.poll(token)
        assert (response.status_code, response.headers["content-type"]) == (200, "application/octet-stream")
        return [json.loads(text) for text in response.text.split("\x1e") if text]

    async def start_polling(self) -> str:
        """A connection that has polled once and shaken hands."""
        token = await self.token()
        assert (await self.poll(token)).content == b""
        assert (await self.request("POST", token, content=HANDSHAKE)).status_code == 200
        assert await self.poll_messages(token) == [{}]
        return token

    def websocket(self, token: str | None = None) -> Any:
        return raw_websocket(self.url if token is None else f"{self.url}?id={token}")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def endpoint(either: HubProcess | Twin, client: httpx.AsyncClient) -> Endpoint:
    return Endpoint(client, either.url())


@pytest.fixture
def impatient(either: HubProcess | Twin, client: httpx.AsyncClient) -> Endpoint:
    return Endpoint(client, either.url("/impatient"))


def said(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.text


# Negotiating


async def test_versions(endpoint: Endpoint) -> None:
    old = await endpoint.negotiate()
    assert list(old) == ["negotiateVersion", "connectionId", "availableTransports"]
    assert (old["negotiateVersion"], old["availableTransports"]) == (0, OFFER)
    new = await endpoint.negotiate(negotiateVersion="7")
    assert list(new) == ["negotiateVersion", "connectionId", "connectionToken", "availableTransports"]
    assert new["negotiateVersion"] == 1
    assert (await endpoint.negotiate(NegotiateVersion="1"))["negotiateVersion"] == 1
    error = {"error": "The client requested a non-integer protocol version."}
    assert await endpoint.negotiate(negotiateVersion="x") == error


async def test_stateful_reconnect_is_offered_to_those_who_ask(endpoint: Endpoint, impatient: Endpoint) -> None:
    asking = {"negotiateVersion": "1", "useStatefulReconnect": "true"}
    assert (await endpoint.negotiate(**asking))["useStatefulReconnect"] is True
    assert "useStatefulReconnect" not in await endpoint.negotiate(negotiateVersion="1")
    assert "useStatefulReconnect" not in await impatient.negotiate(**asking)


async def test_negotiating_is_a_post(endpoint: Endpoint) -> None:
    assert (await endpoint.client.get(f"{endpoint.url}/negotiate")).status_code == 405


async def test_the_id_of_an_old_negotiation_is_its_token(endpoint: Endpoint) -> None:
    id_ = (await endpoint.negotiate())["connectionId"]
    assert said(await endpoint.poll(id_)) == (200, "")
    answer = await endpoint.negotiate(negotiateVersion="1")
    assert (await endpoint.poll(answer["connectionId"])).status_code == 404


# What is refused


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_requests_need_an_id_that_is_known(endpoint: Endpoint, method: str) -> None:
    assert said(await endpoint.request(method)) == (400, "Connection ID required")
    assert said(await endpoint.request(method, "nobody")) == (404, "No Connection with that ID")


async def test_other_methods(endpoint: Endpoint) -> None:
    assert (await endpoint.request("PUT", await endpoint.token())).status_code == 405


async def refusal(endpoint: Endpoint, token: str) -> tuple[int, bytes]:
    """How a WebSocket is refused."""
    with pytest.raises(ExceptionGroup) as caught:  # of trio-websocket's nursery
        async with endpoint.websocket(token):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, ConnectionRejected)
    return error.status_code, error.body or b""


async def test_a_websocket_keeps_others_out(endpoint: Endpoint) -> None:
    assert (await refusal(endpoint, "nobody"))[0] == 404
    token = await endpoint.token()
    async with endpoint.websocket(token) as websocket:
        await websocket.send_message(HANDSHAKE.decode())
        assert await websocket.get_message() == "{}\x1e"
        assert (await refusal(endpoint, token))[0] == 409
        no_post = "POST requests are not allowed for WebSocket connections."
        assert said(await endpoint.request("POST", token, content=b"x")) == (405, no_post)
        other = "Cannot change transports mid-connection"
        assert said(await endpoint.poll(token)) == (400, other)
        assert said(await endpoint.request("GET", token, headers={"accept": "text/event-stream"})) == (400, other)
        no_delete = "Cannot terminate this connection using the DELETE endpoint."
        assert said(await endpoint.request("DELETE", token)) == (400, no_delete)


async def test_polling_keeps_others_out(endpoint: Endpoint) -> None:
    token = await endpoint.start_polling()
    assert (await refusal(endpoint, token))[0] == 400
    answer = await endpoint.request("GET", token, headers={"accept": "text/event-stream"})
    assert said(answer) == (400, "Cannot change transports mid-connection")


# WebSockets


async def closing(websocket: WebSocketConnection) -> tuple[list[Any], int]:
    """What still comes, and the close code."""
    seen = []
    try:
        while True:
            message = await websocket.get_message()
            text = message if isinstance(message, str) else message.decode()
            seen += [json.loads(part) for part in text.split("\x1e") if part]
    except ConnectionClosed as closed:
        assert closed.reason is not None
        return seen, closed.reason.code


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ('{"protocol":"nope","version":1}', "The protocol 'nope' is not supported."),
        ('{"protocol":"json","version":3}', "The server does not support version 3 of the 'json' protocol."),
        ('{"protocol":"json"}', "An unexpected error occurred during connection handshake."),
    ],
)
async def test_refused_handshakes(endpoint: Endpoint, request_: str, text: str) -> None:
    async with endpoint.websocket() as websocket:
        await websocket.send_message(request_ + "\x1e")
        assert await closing(websocket) == ([{"error": text}], 1000)


async def test_no_handshake(impatient: Endpoint) -> None:
    async with impatient.websocket() as websocket:
        assert await closing(websocket) == ([{"error": "Handshake was canceled."}], 1000)


async def test_a_client_that_stops_pinging(impatient: Endpoint) -> None:
    text = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
    async with impatient.websocket() as websocket:
        await websocket.send_message(HANDSHAKE.decode() + '{"type":6}\x1e')
        seen, code = await closing(websocket)
    assert code == 1000
    assert seen[0] == {}
    assert {"type": 6} in seen
    assert seen[-1]["type"] == 7
    assert text in seen[-1]["error"]
    assert seen[-1]["allowReconnect"] is True


async def test_goodbye_is_answered_by_goodbye(endpoint: Endpoint) -> None:
    async with endpoint.websocket() as websocket:
        await websocket.send_message(HANDSHAKE.decode() + '{"type":7}\x1e')
        assert await closing(websocket) == ([{}, {"type": 7}], 1000)


async def test_messages_cut_anywhere(endpoint: Endpoint) -> None:
    async with endpoint.websocket() as websocket:
        call = '{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]}\x1e'
        whole = HANDSHAKE.decode() + call
        for start in range(0, len(whole), 20):
            await websocket.send_message(whole[start : start + 20].encode())  # binary, and answered in text
        answers = ""
        while answers.count("\x1e") < 2:  # in one message or in two, as it happens
            answers += str(await websocket.get_message())
        handshake, completion, _ = answers.split("\x1e")
        assert handshake == "{}"
        assert json.loads(completion) == {"type": 3, "invocationId": "1", "result": 3}


# Event streams


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        piece = await stream.receive_some()
        assert piece, f"the server has ended the stream behind {got!r}"
        got += piece
    return got


def unchunked(data: bytes) -> bytes:
    size, _, rest = data.partition(b"\r\n")
    length = int(size, 16) if size else 0
    return rest[:length] + unchunked(rest[length + 2 :]) if length else b""


async def test_an_event_stream(endpoint: Endpoint) -> None:
    token = await endpoint.token()
    where = httpx.URL(endpoint.url)
    # By hand, because httpx hides where the pieces of an answer begin and end.
    async with await trio.open_tcp_stream(where.host, where.port or 80) as stream:
        request = (
            f"GET {where.path}?id={token} HTTP/1.1\r\nHost: {where.host}\r\nAccept: text/event-stream, */*\r\n\r\n"
        )
        await stream.send_all(request.encode())
        head, _, begin = (await read_until(stream, b":\r\n\r\n")).partition(b"\r\n\r\n")
        status, *headers = head.decode().lower().split("\r\n")
        assert status == "http/1.1 200 ok" or status == "http/1.1 200 "
        assert "content-type: text/event-stream" in headers
        assert "cache-control: no-cache,no-store" in headers
        assert "transfer-encoding: chunked" in headers
        assert begin == b"3\r\n:\r\n\r\n"
        second = await endpoint.request("GET", token, headers={"accept": "text/event-stream"})
        assert second.status_code == 409
        posted = await endpoint.request("POST", token, content=HANDSHAKE)
        assert said(posted) == (200, "")
        assert posted.headers["content-length"] == "0"
        chunks = await read_until(stream, b"\r\n\r\n\r\n")  # the end of an event, and of a chunk
        assert unchunked(chunks) == b"data: {}\x1e\r\n\r\n"
        assert (await endpoint.request("DELETE", token)).status_code == 400
    with trio.fail_after(5):
        while (await endpoint.request("POST", token, content=b'{"type":6}\x1e')).status_code != 404:  # noqa: ASYNC110
            await trio.sleep(0.01)  # there is nothing that would tell


async def test_a_weighted_media_type_is_a_poll(endpoint: Endpoint) -> None:
    response = await endpoint.request(
        "GET", await endpoint.token(), headers={"accept": "text/event-stream;q=0.9"}, timeout=5
    )
    assert said(response) == (200, "")


async def test_no_binary_protocol_over_an_event_stream(endpoint: Endpoint) -> None:
    token = await endpoint.token()
    await endpoint.request("POST", token, content=b'{"protocol":"messagepack","version":1}\x1e')  # before it starts
    url = f"{endpoint.url}?id={token}"
    async with endpoint.client.stream("GET", url, headers={"accept": "text/event-stream"}) as response:
        text = (await response.aread()).decode()
    assert text.startswith(":\r\ndata: ")
    assert json.loads(text[len(":\r\ndata: ") :].strip("\r\n\x1e")) == {
        "error": "Cannot use the 'messagepack' protocol on the current transport. "
        "The transport does not support 'Binary' transfer format."
    }


# Long polling


async def test_polls(endpoint: Endpoint) -> None:
    token = await endpoint.token()
    # Before the first poll: it waits for it, and that one is answered at once and empty all the same.
    assert said(await endpoint.request("POST", token, content=HANDSHAKE)) == (200, "")
    assert said(await endpoint.poll(token)) == (200, "")
    assert await endpoint.poll_messages(token) == [{}]
    await endpoint.request("POST", token, content=b'{"type":1,"invocationId":"1","target":"A')
    await endpoint.request("POST", token, content=b'dd","arguments":[1,2]}\x1e')
    assert await endpoint.poll_messages(token) == [{"type": 3, "invocationId": "1", "result": 3}]


async def test_a_later_poll_takes_over(endpoint: Endpoint) -> None:
    token = await endpoint.start_polling()
    first: list[httpx.Response] = []
    second: list[Any] = []
    taken_over = trio.Event()

    async def poll_first() -> None:
        first.append(await endpoint.poll(token))
        taken_over.set()

    async def poll_second() -> None:
        second.extend(await endpoint.poll_messages(token))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll_first)
        await trio.sleep(0.2)
        nursery.start_soon(poll_second)
        await taken_over.wait()
        await endpoint.request(
            "POST", token, content=b'{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]}\x1e'
        )
    assert first[0].status_code == 204
    assert second == [{"type": 3, "invocationId": "1", "result": 3}]


async def test_deleting_ends_the_pending_poll(endpoint: Endpoint) -> None:
    token = await endpoint.start_polling()
    last: list[tuple[int, str]] = []

    async def poll() -> None:
        last.append(said(await endpoint.poll(token)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.sleep(0.2)
        deleted = await endpoint.request("DELETE", token)
        assert said(deleted) == (202, "")
    # On a busy machine ASP.NET Core may end the poll before the hub's last word gets there; both mean the end.
    assert last in ([(200, '{"type":7,"allowReconnect":true}\x1e')], [(204, "")])
    for method in ("GET", "POST", "DELETE"):
        assert (await endpoint.request(method, token)).status_code == 404


async def test_a_poll_without_news_comes_back_empty(impatient: Endpoint) -> None:
    token = await impatient.start_polling()
    started = trio.current_time()
    assert said(await impatient.poll(token)) == (200, "")
    assert 0.8 < trio.current_time() - started < 3


async def test_an_end_by_the_server_is_polled(endpoint: Endpoint) -> None:
    token = await endpoint.start_polling()
    call = b'{"type":1,"invocationId":"1","target":"Echo","arguments":["' + b"x" * 40_000 + b'"]}\x1e'
    assert (await endpoint.request("POST", token, content=call)).status_code == 200
    (close,) = await endpoint.poll_messages(token)
    assert close == {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}
    assert said(await endpoint.poll(token)) == (204, "")
    assert (await endpoint.poll(token)).status_code == 404


async def test_a_token_is_asked_of_every_request(either: HubProcess | Twin, client: httpx.AsyncClient) -> None:
    endpoint = Endpoint(client, either.url("/authorized"))
    assert (await client.post(f"{endpoint.url}/negotiate")).status_code == 401
    headers = {"authorization": "Bearer good"}
    answer = (await client.post(f"{endpoint.url}/negotiate?negotiateVersion=1", headers=headers)).json()
    assert (await endpoint.poll(answer["connectionToken"])).status_code == 401
    assert (await endpoint.request("GET", answer["connectionToken"], headers=headers)).status_code == 200
