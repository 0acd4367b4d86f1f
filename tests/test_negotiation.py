"""Negotiation as data: URLs built byte for byte, answers read strictly where it matters, transports chosen in order.

Tokens must not show up in anything printed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_signalr.errors import NegotiationError
from trio_signalr.negotiation import (
    AvailableTransport,
    NegotiateAnswer,
    Redirect,
    choose_transports,
    connect_url,
    http_url,
    negotiate_url,
    parse_answer,
    redirect_target,
    without_secrets,
)

URL = "https://host/hub"
OFFERS = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]
V1 = {"negotiateVersion": 1, "connectionId": "public", "connectionToken": "s3cret", "availableTransports": OFFERS}


def parse(answer: Any) -> NegotiateAnswer | Redirect:
    return parse_answer(json.dumps(answer).encode(), url=URL + "/negotiate?q=s3cret")


def accepted(answer: Any) -> NegotiateAnswer:
    result = parse(answer)
    assert isinstance(result, NegotiateAnswer)
    return result


def redirected(answer: Any) -> Redirect:
    result = parse(answer)
    assert isinstance(result, Redirect)
    return result


# URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/hub", "https://host/hub/negotiate?negotiateVersion=1"),
        ("https://host/hub/", "https://host/hub/negotiate?negotiateVersion=1"),
        ("https://host", "https://host/negotiate?negotiateVersion=1"),
        ("wss://host:8443/hub", "https://host:8443/hub/negotiate?negotiateVersion=1"),
        ("ws://host/hub", "http://host/hub/negotiate?negotiateVersion=1"),
        ("WSS://host/hub", "https://host/hub/negotiate?negotiateVersion=1"),
        ("http://[::1]:5000/hub", "http://[::1]:5000/hub/negotiate?negotiateVersion=1"),
        ("https://host/hub?foo=1", "https://host/hub/negotiate?foo=1&negotiateVersion=1"),
        ("https://host/hub?foo=1&", "https://host/hub/negotiate?foo=1&negotiateVersion=1"),
        ("https://host/hub#part", "https://host/hub/negotiate?negotiateVersion=1"),
        ("https://host/hub?negotiateVersion=0", "https://host/hub/negotiate?negotiateVersion=0"),
        ("https://host/hub?NEGOTIATEversion=1&a=b", "https://host/hub/negotiate?NEGOTIATEversion=1&a=b"),
        ("https://host/hub?xnegotiateVersion=1", "https://host/hub/negotiate?xnegotiateVersion=1&negotiateVersion=1"),
        (
            "https://host/client/?hub=x&asrs.op=%2Fh&negotiateVersion=1&asrs_request_id=a%3D+'~%zz",
            "https://host/client/negotiate?hub=x&asrs.op=%2Fh&negotiateVersion=1&asrs_request_id=a%3D+'~%zz",
        ),
    ],
)
def test_negotiate_url(url: str, expected: str) -> None:
    assert negotiate_url(url) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "negotiateVersion=1&useStatefulReconnect=true"),
        ("?useStatefulReconnect=true", "useStatefulReconnect=true&negotiateVersion=1"),
        ("?usestatefulreconnect=1", "usestatefulreconnect=1&negotiateVersion=1"),
    ],
)
def test_stateful_reconnect_is_asked_for_once(query: str, expected: str) -> None:
    assert negotiate_url(URL + query, stateful_reconnect=True) == f"{URL}/negotiate?{expected}"


@pytest.mark.parametrize(
    ("url", "token", "expected"),
    [
        ("https://host/hub", "abc-_", "https://host/hub?id=abc-_"),
        ("wss://host/hub?foo=1", "abc", "https://host/hub?foo=1&id=abc"),
        ("https://host/client/?a=%3D&negotiateVersion=1", "a=", "https://host/client/?a=%3D&negotiateVersion=1&id=a="),
        ("https://host/hub", "a&b#c+d e", "https://host/hub?id=a%26b%23c%2Bd%20e"),
        ("ws://host/hub?foo=1", None, "http://host/hub?foo=1"),
    ],
)
def test_connect_url(url: str, token: str | None, expected: str) -> None:
    assert connect_url(url, token) == expected


@pytest.mark.parametrize(
    "url",
    ["", "/hub", "host/hub", "ftp://host/hub", "http:///hub", "http:/hub", "http://[::1/hub", "http://host:port/hub"],
)
def test_no_hub_url(url: str) -> None:
    with pytest.raises(ValueError, match="hub URL"):
        http_url(url)


@pytest.mark.parametrize("url", ["user:s3cret@host/hub", "http:/user:s3cret@host", "x://u:s3cret@[::1/"])
def test_a_wrong_url_is_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="hub URL") as caught:
        http_url(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64 + ".com"])
def test_a_host_name_that_cannot_be(host: str) -> None:
    with pytest.raises(ValueError, match="the host name in the hub URL") as caught:
        http_url(f"https://u:s3cret@{host}/hub")
    assert not isinstance(caught.value, UnicodeError)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(NegotiationError, match="redirects to what is no"):
        redirect_target(Redirect(f"https://{host}/hub"), url=URL)


@pytest.mark.parametrize("host", ["a.", "a" * 63 + ".com", "[::1]:5000", "[fe80::1%25eth0]", "b\u00fccher.de", "a_b"])
def test_an_unusual_host_name(host: str) -> None:
    assert http_url(f"https://{host}/hub") == f"https://{host}/hub"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:p@ss@host:1/hub?id=s3cret&x#f", "https://host:1/hub"),
        ("https://host", "https://host"),
        ("https://[::1", "(not a URL)"),
    ],
)
def test_without_secrets(url: str, expected: str) -> None:
    assert without_secrets(url) == expected


# Answers


def test_version_1_connects_by_the_token() -> None:
    answer = accepted(V1)
    assert (answer.connection_id, answer.token) == ("public", "s3cret")
    assert [each.transport for each in answer.transports] == ["WebSockets", "ServerSentEvents", "LongPolling"]
    assert answer.transports[1].transfer_formats == ("Text",)
    assert not answer.stateful_reconnect


@pytest.mark.parametrize("version", [{}, {"negotiateVersion": 0}, {"negotiateVersion": None}])
def test_version_0_connects_by_the_id(version: dict[str, Any]) -> None:
    answer = accepted({**version, "connectionId": "public", "connectionToken": "no", "availableTransports": OFFERS})
    assert (answer.connection_id, answer.token) == ("public", "public")


def test_what_is_unknown_or_null_does_not_matter() -> None:
    offer = {"transport": "Carrier", "transferFormats": ["Text", "Pigeon"], "wings": 2}
    extra = {"tokenLifetimeSeconds": 3600, "x": [{}], "url": None, "error": None, "ProtocolVersion": None}
    answer = accepted({**V1, **extra, "availableTransports": [offer]})
    assert answer.transports == (AvailableTransport("Carrier", ("Text", "Pigeon")),)


def test_a_byte_order_mark_is_no_harm() -> None:
    assert isinstance(parse_answer(b"\xef\xbb\xbf" + json.dumps(V1).encode(), url=URL), NegotiateAnswer)


def test_stateful_reconnect_and_a_new_token() -> None:
    answer = accepted({**V1, "useStatefulReconnect": True, "accessToken": "s3cret2"})
    assert answer.stateful_reconnect
    assert answer.access_token == "s3cret2"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "The client requested a non-integer protocol version."}, "non-integer protocol version"),
        ({"error": "no", **V1}, "refused to negotiate: no"),
        ({"ProtocolVersion": "1.5", "ConnectionId": "x"}, "old ASP.NET SignalR"),
        ({"negotiateVersion": 1, "connectionId": "x", "availableTransports": []}, "no connectionToken"),
        ({**V1, "connectionToken": "  "}, "no connectionToken"),
        ({**V1, "connectionId": None}, "no connectionId"),
        ({**V1, "connectionId": ""}, "no connectionId"),
        ({"connectionId": "x"}, "no availableTransports"),
        ({}, "no connectionId"),
        ({**V1, "availableTransports": [{"transferFormats": []}]}, "missing required field `transport`"),
        ({**V1, "negotiateVersion": "one"}, "negotiateVersion"),
        ([], "Expected `object`"),
        ("s3cret", "Expected `object`"),
    ],
)
def test_unusable_answers(answer: Any, words: str) -> None:
    with pytest.raises(NegotiationError, match=words) as caught:
        parse(answer)
    assert caught.value.url == "https://host/hub/negotiate"
    assert caught.value.status == 200
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"s3cret", b'{"connectionToken":"s3cret', b'{"url":"\xffs3cret"}', b"[" * 5000])
def test_no_json(body: bytes) -> None:
    with pytest.raises(NegotiationError, match="is this the hub's URL") as caught:
        parse_answer(body, url=URL)
    assert caught.value.__cause__ is None
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html>", b"\r\n  <html>", b"\xef\xbb\xbf<p>"])
def test_a_web_page(body: bytes) -> None:
    with pytest.raises(NegotiationError, match="web page"):
        parse_answer(body, url=URL)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_garbage_is_a_negotiation_error(body: bytes) -> None:
    with pytest.raises(NegotiationError):
        parse_answer(body, url=URL)


# Redirects


def test_a_redirect() -> None:
    answer = redirected(
        {"url": "https://svc/client/?hub=x&asrs_request_id=a%3D", "accessToken": "s3cret", "availableTransports": []}
    )
    assert answer.access_token == "s3cret"
    assert redirect_target(answer, url=URL) == "https://svc/client/?hub=x&asrs_request_id=a%3D"


def test_a_redirect_without_a_token_keeps_the_users() -> None:
    assert redirected({"url": "https://svc/"}).access_token is None
    assert redirected({"url": "https://svc/", "accessToken": ""}).access_token is None


@pytest.mark.parametrize("target", ["/client", "mailto:x@y", "javascript:1", "//svc/hub"])
def test_a_redirect_to_nowhere(target: str) -> None:
    with pytest.raises(NegotiationError, match="redirects to what is no"):
        redirect_target(Redirect(target), url=URL)


@pytest.mark.parametrize("source", ["https://host/hub", "wss://host/hub"])
@pytest.mark.parametrize("target", ["http://host/hub?x=s3cret", "ws://host/hub?x=s3cret"])
def test_encryption_is_not_given_up(source: str, target: str) -> None:
    with pytest.raises(NegotiationError, match="without encryption") as caught:
        redirect_target(Redirect(target), url=source)
    assert "s3cret" not in str(caught.value)


def test_it_may_be_gained_or_absent_all_along() -> None:
    assert redirect_target(Redirect("https://svc/"), url="http://host/hub") == "https://svc/"
    assert redirect_target(Redirect("http://svc/"), url="ws://host/hub") == "http://svc/"


def test_secrets_are_not_printed() -> None:
    answer = accepted({**V1, "accessToken": "s3cret2"})
    assert (
        repr(answer)
        == "<NegotiateAnswer connection_id='public' transports="
        + repr(["WebSockets", "ServerSentEvents", "LongPolling"])
        + ">"
    )
    assert repr(Redirect("https://u:p@svc/x?y=s3cret", "s3cret")) == "<Redirect to 'https://svc/x'>"


# Choosing a transport


def offers(*names: str) -> list[AvailableTransport]:
    return [AvailableTransport(name, ("Text",) if name == "ServerSentEvents" else ("Text", "Binary")) for name in names]


EVERY = ("websockets", "server_sent_events", "long_polling")


@pytest.mark.parametrize(
    ("available", "allowed", "transfer_format", "candidates", "skipped"),
    [
        (["WebSockets", "ServerSentEvents", "LongPolling"], EVERY, "Text", EVERY, ()),
        (["LongPolling", "WebSockets"], EVERY, "Text", ("long_polling", "websockets"), ()),
        (["LongPolling", "WebSockets"], EVERY[::-1], "Text", ("long_polling", "websockets"), ()),
        (
            ["WebSockets", "ServerSentEvents", "LongPolling"],
            EVERY,
            "Binary",
            ("websockets", "long_polling"),
            ("ServerSentEvents: cannot carry Binary, which the hub protocol needs",),
        ),
        (
            ["ForeverFrame", "WebSockets"],
            ("long_polling",),
            "Text",
            (),
            ("ForeverFrame: unknown to this client", "WebSockets: not among the transports allowed here"),
        ),
        ([], EVERY, "Text", (), ()),
    ],
)
def test_choosing(
    available: list[str],
    allowed: tuple[str, ...],
    transfer_format: str,
    candidates: tuple[str, ...],
    skipped: tuple[str, ...],
) -> None:
    choice = choose_transports(offers(*available), allowed=allowed, transfer_format=transfer_format)
    assert (choice.candidates, choice.skipped) == (candidates, skipped)
