"""Choosing a transport: the server's order, what is skipped, falling back, and the one error if nothing works."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio

from tests.transports.scripted import Trickle
from trio_signalr import HandshakeError, JsonHubProtocol, MessagePackHubProtocol, open_hub
from trio_signalr._connect import HttpConnector
from trio_signalr._http import HubHttp
from trio_signalr.errors import NegotiationError, TransportError
from trio_signalr.protocols import HubProtocol

URL = "http://host/hub?q=1"
ALL = ("websockets", "server_sent_events", "long_polling")
BOTH = ["Text", "Binary"]
OFFERS: list[tuple[str, list[str]]] = [("WebSockets", BOTH), ("ServerSentEvents", ["Text"]), ("LongPolling", BOTH)]


class Server:
    """Negotiates under running tokens, and answers what follows: the status or the handler for each transport.

    Attributes:
        log: What was asked for: ``"negotiate"``, or a transport and the token of the connection.
        negotiating: Answers of negotiate to give first, in place of its own.
    """

    def __init__(
        self,
        *offers: tuple[str, list[str]],
        websockets: Any = 404,
        server_sent_events: Any = 404,
        long_polling: Any = 404,
    ) -> None:
        self.offers = offers or OFFERS
        self.answers = {
            "websockets": websockets,
            "server_sent_events": server_sent_events,
            "long_polling": long_polling,
        }
        self.log: list[str] = []
        self.requests: list[httpx.Request] = []
        self.negotiating: list[httpx.Response] = []
        self.tokens = 0
        self.polled: set[str] = set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        if request.url.path.endswith("/negotiate"):
            self.log.append("negotiate")
            return self.negotiating.pop(0) if self.negotiating else self._negotiate()
        if request.method != "GET":
            return httpx.Response(200)
        token = request.url.params["id"]
        if token in self.polled:
            await trio.sleep_forever()
        transport = _transport(request)
        self.log.append(f"{transport} {token}")
        answer = self.answers[transport]
        if transport == "long_polling" and answer == 200:
            self.polled.add(token)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else answer()

    def _negotiate(self) -> httpx.Response:
        self.tokens += 1
        offers = [{"transport": name, "transferFormats": formats} for name, formats in self.offers]
        answer = {
            "negotiateVersion": 1,
            "connectionId": f"c{self.tokens}",
            "connectionToken": f"t{self.tokens}",
            "availableTransports": offers,
        }
        return httpx.Response(200, json=answer)

    def connector(self, *transports: str, **options: Any) -> HttpConnector:
        http = HubHttp(http_client=self.client(), **options)
        return HttpConnector(http, URL, transports=transports or ALL, skip_negotiation=False)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def _transport(request: httpx.Request) -> str:
    if "upgrade" in request.headers:
        return "websockets"
    return "server_sent_events" if request.headers["Accept"] == "text/event-stream" else "long_polling"


def event_stream(*parts: bytes | trio.Event) -> Callable[[], httpx.Response]:
    stream = parts or (trio.Event(),)
    return lambda: httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Trickle(*stream))


async def connect(connector: HttpConnector, protocol: HubProtocol | None = None) -> tuple[str, str | None]:
    async with connector.open_link(protocol or JsonHubProtocol(), max_message_size=1000) as link:
        return link.transport.name, link.connection_id


async def failure(connector: HttpConnector, kind: type[Any] = TransportError) -> Any:
    with pytest.raises(kind) as caught:
        await connect(connector)
    assert type(caught.value) is kind
    return caught.value


async def test_each_further_transport_has_a_negotiation_of_its_own() -> None:
    server = Server(long_polling=200)
    assert await connect(server.connector()) == ("long_polling", "c3")
    assert server.log == [
        "negotiate",
        "websockets t1",
        "negotiate",
        "server_sent_events t2",
        "negotiate",
        "long_polling t3",
    ]


async def test_the_servers_order_counts() -> None:
    server = Server(*reversed(OFFERS), server_sent_events=event_stream())
    assert await connect(server.connector()) == ("server_sent_events", "c2")
    assert server.log == ["negotiate", "long_polling t1", "negotiate", "server_sent_events t2"]


@pytest.mark.parametrize(
    ("allowed", "log"),
    [
        (["long_polling", "server_sent_events"], ["negotiate", "server_sent_events t1"]),
        (["long_polling"], ["negotiate", "long_polling t1"]),
    ],
)
async def test_skips_negotiate_nothing(allowed: list[str], log: list[str]) -> None:
    server = Server(("Pigeons", ["Text"]), *OFFERS, server_sent_events=event_stream(), long_polling=200)
    await connect(server.connector(*allowed))
    assert server.log == log


async def test_a_binary_protocol_never_uses_server_sent_events() -> None:
    server = Server(server_sent_events=event_stream(), long_polling=200)
    assert await connect(server.connector(), MessagePackHubProtocol()) == ("long_polling", "c2")
    assert server.log == ["negotiate", "websockets t1", "negotiate", "long_polling t2"]


async def test_the_protocol_decides_not_the_server_alone() -> None:
    server = Server(("WebSockets", ["Text"]), ("LongPolling", ["Binary"]), long_polling=200)
    assert await connect(server.connector(), MessagePackHubProtocol()) == ("long_polling", "c1")


async def test_all_failed_in_one_error() -> None:
    server = Server(
        ("Pigeons", []), *OFFERS, websockets=403, server_sent_events=httpx.ConnectError("no route"), long_polling=500
    )
    error = await failure(server.connector(access_token="t0ken"))
    text = str(error)
    assert text.startswith("Unable to connect to http://host/hub with any of the available transports: ")
    assert re.search("Opening a WebSocket to http://host/hub failed: the server answered 403", text)
    assert re.search("Opening an event stream at http://host/hub failed: no route", text)
    assert re.search("Long polling at http://host/hub failed: the server answered 500", text)
    assert "Pigeons: unknown to this client" in text
    assert (error.url, error.status) == ("http://host/hub", 500)
    assert isinstance(error.__cause__, TransportError)
    assert not re.search(r"t0ken|\bt[123]\b|q=1", text)


async def test_the_only_failure_comes_as_it_is() -> None:
    error = await failure(Server(OFFERS[0], websockets=401).connector())
    assert str(error).startswith("Opening a WebSocket to http://host/hub failed: the server answered 401")
    assert error.status == 401


async def test_nothing_that_can_be_used() -> None:
    error = await failure(Server(OFFERS[1], ("Pigeons", [])).connector("websockets"), NegotiationError)
    assert "None of the transports that http://host/hub offers can be used" in str(error)
    assert "ServerSentEvents: not among the transports allowed here; Pigeons: unknown" in str(error)


async def test_negotiating_again_may_fail_and_tells_all() -> None:
    server = Server()
    first = server._negotiate()
    server.negotiating = [first, httpx.Response(503)]
    error = await failure(server.connector(), NegotiationError)
    assert server.log == ["negotiate", "websockets t1", "negotiate"]
    assert str(error).startswith("Negotiating at http://host/hub/negotiate failed: the server answered 503")
    assert "Opening a WebSocket to http://host/hub failed: the server answered 404" in str(error)
    assert error.status == 503


async def test_negotiating_again_happens_where_a_redirect_led_to_with_its_token() -> None:
    async def ask() -> str:
        return "app"

    server = Server(long_polling=200)
    server.negotiating = [httpx.Response(200, json={"url": "http://service/client/?a=%2F", "accessToken": "svc"})]
    connector = server.connector(access_token=ask)
    assert await connect(connector) == ("long_polling", "c3")
    urls = [str(request.url) for request in server.requests if request.method == "POST"]
    assert urls == [
        "http://host/hub/negotiate?q=1&negotiateVersion=1",
        *["http://service/client/negotiate?a=%2F&negotiateVersion=1"] * 3,
    ]
    assert str(server.requests[-1].url) == "http://service/client/?a=%2F&id=t3"
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer app"] + ["Bearer svc"] * 6
    # The next connection begins where the first one did, with the app's own token.
    server.requests.clear()
    await connect(connector)
    assert str(server.requests[0].url).startswith("http://host/hub/negotiate")
    assert server.requests[0].headers["Authorization"] == "Bearer app"


async def test_when_a_token_is_asked_for() -> None:
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        return f"app{asked}"

    server = Server(long_polling=200)
    await connect(server.connector(access_token=ask))
    assert [(_kind(each), each.headers["Authorization"]) for each in server.requests[:6]] == [
        ("negotiate", "Bearer app1"),
        ("websockets", "Bearer app2"),  # before each WebSocket
        ("negotiate", "Bearer app3"),
        ("server_sent_events", "Bearer app3"),  # the one at hand
        ("negotiate", "Bearer app4"),
        ("long_polling", "Bearer app4"),
    ]


def _kind(request: httpx.Request) -> str:
    return "negotiate" if request.method == "POST" else _transport(request)


@pytest.mark.parametrize("handshake", [b'{"error":"no"}\x1e', b"", b"nonsense\x1e"])
async def test_a_failed_handshake_does_not_fall_back(handshake: bytes) -> None:
    stream = event_stream(b"data: " + handshake + b"\r\n\r\n", *([] if not handshake else [trio.Event()]))
    server = Server(server_sent_events=stream, long_polling=200)
    with pytest.raises(HandshakeError):
        async with open_hub(URL, http_client=server.client(), transports=["server_sent_events", "long_polling"]):
            pytest.fail("it opened")
    assert server.log == ["negotiate", "server_sent_events t1"]


async def test_what_the_users_code_raises_does_not_fall_back() -> None:
    async def ask() -> str:
        if len(server.requests) == 1:
            raise LookupError("mine")
        return "app"

    server = Server()
    error = await failure(server.connector(access_token=ask), LookupError)
    assert str(error) == "mine"
    assert server.log == ["negotiate"]


@pytest.mark.parametrize("transports", [(), ("pigeons",), ("websockets", "x"), "sse", (7,)])
def test_transports_that_make_no_sense(transports: Any) -> None:
    with pytest.raises(
        ValueError, match="transports must be some of 'websockets', 'server_sent_events', 'long_polling'"
    ):
        HttpConnector(HubHttp(), URL, transports=transports, skip_negotiation=False)


def test_skipping_negotiation_takes_websockets() -> None:
    with pytest.raises(ValueError, match="only WebSockets work without negotiation"):
        HttpConnector(HubHttp(), URL, transports=["long_polling"], skip_negotiation=True)
    HttpConnector(HubHttp(), URL, transports=ALL, skip_negotiation=True)


async def test_skipping_negotiation_is_one_request_without_an_id() -> None:
    server = Server()

    async def refuse(request: httpx.Request) -> httpx.Response:
        server.requests.append(request)
        return httpx.Response(404)

    http = HubHttp(http_client=httpx.AsyncClient(transport=httpx.MockTransport(refuse)))
    await failure(HttpConnector(http, URL, transports=ALL, skip_negotiation=True))
    assert [str(request.url) for request in server.requests] == [URL]


async def test_the_log_of_httpx_shows_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="httpx")
    server = Server(long_polling=200)
    client = server.client()
    connector = HttpConnector(HubHttp(http_client=client), URL, transports=ALL, skip_negotiation=False)
    await connect(connector)
    await client.post("http://host/negotiate?mine=1")
    texts = [record.getMessage() for record in caplog.records]
    assert 'HTTP Request: GET http://host/hub "HTTP/1.1 200 OK"' in texts
    assert not re.search("id=|q=1", " ".join(texts))
    assert "http://host/negotiate?mine=1" in texts[-1], "what is not ours is left alone"
