"""Traces and metrics for OpenTelemetry; the only module that imports it.

Spans are named and attributed as those of the .NET client, and metrics as those of ASP.NET Core's server with
``client`` in the place of ``server``, so that what is set up for them fits.

What happens often is only counted here, in plain integers: items and bytes are asked for when metrics are collected,
which happens in a thread of OpenTelemetry's. Reading an integer is safe there; where two must agree, a lock helps.

Source: SignalRClientActivitySource.cs and HubConnectionTests.Tracing.cs of the .NET client; OpenTelemetry's semantic
conventions, "SignalR metrics" and "RPC spans".
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

import trio
from opentelemetry import context, metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.trace import Link as SpanLink, SpanKind, StatusCode

from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, UpDownCounter
    from opentelemetry.trace import Tracer, TracerProvider

    from ._endings import Ending
    from ._link import Link
    from ._recorder import FlightRecorder

__all__ = ["CallWatch", "HubTelemetry", "Kind", "Telemetry", "is_set_up", "telemetry"]

SOURCE = "Microsoft.AspNetCore.SignalR.Client"
METER = "trio_signalr"

Kind: TypeAlias = Literal["invoke", "send", "stream", "upload"]
_Attributes: TypeAlias = "tuple[tuple[str, str | int], ...]"

_TRANSPORTS = {
    "websockets": "web_sockets",
    "server_sent_events": "server_sent_events",
    "long_polling": "long_polling",
}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_MANY_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class _Totals:
    """Integers that others count, summed by attributes when they are asked for.

    Args:
        read: The integers of one counter, each with the attributes to add.
    """

    def __init__(self, read: Callable[[object], Iterable[tuple[_Attributes, int]]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._live: dict[object, _Attributes] = {}
        self._finished: Counter[_Attributes] = Counter()

    def add(self, counter: object, attributes: _Attributes) -> None:
        """Ask this one, too, from now on."""
        with self._lock:
            self._live[counter] = attributes

    def finish(self, counter: object) -> None:
        """Its integers will not change any more."""
        with self._lock:
            attributes = self._live.pop(counter, None)
            if attributes is not None:
                self._add(self._finished, counter, attributes)

    def observe(self, _: CallbackOptions) -> Iterable[Observation]:
        """What all have counted, for an observable counter."""
        with self._lock:
            totals = self._finished.copy()
            for counter, attributes in self._live.items():
                self._add(totals, counter, attributes)
        return [Observation(total, dict(attributes)) for attributes, total in totals.items()]

    def _add(self, totals: Counter[_Attributes], counter: object, attributes: _Attributes) -> None:
        for more, count in self._read(counter):
            if count:
                totals[(*attributes, *more)] += count


_SENT = (("network.io.direction", "transmit"),)
_RECEIVED = (("network.io.direction", "receive"),)


class Telemetry:
    """The tracer and the instruments; one for the whole process."""

    def __init__(self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None) -> None:
        self.tracer: Tracer = trace.get_tracer(SOURCE, __version__, tracer_provider=tracers)
        meter = metrics.get_meter(METER, __version__, meter_provider=meters)
        self.items: _Totals = _Totals(lambda one: [(_SENT, one.items_sent), (_RECEIVED, one.items_received)])  # type: ignore[attr-defined]
        self.bytes: _Totals = _Totals(lambda one: [(_SENT, one.bytes_sent), (_RECEIVED, one.bytes_received)])  # type: ignore[attr-defined]
        self.calls: Histogram = _seconds(meter, "call", "Duration of calls of hub methods.", _SECONDS)
        self.streams: UpDownCounter = meter.create_up_down_counter(
            "signalr.client.active_streams", "{stream}", "Number of streams and uploads that are open."
        )
        self.handled: Histogram = _seconds(
            meter, "handler", "Duration of what handlers do for one call of the server's.", _SECONDS
        )
        self.connections: UpDownCounter = meter.create_up_down_counter(
            "signalr.client.active_connections", "{connection}", "Number of connections that are open."
        )
        self.connected: Histogram = _seconds(meter, "connection", "Duration of connections.", _MANY_SECONDS)
        self.reconnects: metrics.Counter = meter.create_counter(
            "signalr.client.reconnects", "{attempt}", "Number of attempts to reconnect or to resume."
        )
        meter.create_observable_counter(
            "signalr.client.stream.items", [self.items.observe], "{item}", "Number of items in streams and uploads."
        )
        meter.create_observable_counter(
            "signalr.client.io", [self.bytes.observe], "By", "Bytes of hub messages, without the transport's framing."
        )


def _seconds(meter: Meter, what: str, description: str, boundaries: Sequence[float]) -> Histogram:
    name = f"signalr.client.{what}.duration"
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=boundaries)


def is_set_up() -> bool:
    """Whether there is a provider that does something: the API's own do not."""
    tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    return not (_of_the_api(tracers, "opentelemetry.trace") and _of_the_api(meters, "opentelemetry.metrics"))


def _of_the_api(provider: object, package: str) -> bool:
    return type(provider).__module__.startswith(package)


@cache
def telemetry() -> Telemetry:
    """The one for the global providers: instruments exist once in a process."""
    return Telemetry()


class HubTelemetry:
    """What is told of one hub: its calls, what the server calls, its connections.

    Args:
        telemetry: Tracer and instruments.
        url: The hub's URL; ``None`` in memory.
    """

    def __init__(self, telemetry: Telemetry, url: str | None) -> None:
        self._telemetry = telemetry
        self._service = urlsplit(url).path.strip("/") if url is not None else ""
        self._server = _server(url)
        self._recorder: FlightRecorder | None = None
        self._connection: dict[str, str | int] = {}
        self._connected_at = 0.0

    # Calls of hub methods

    @contextmanager
    def call(self, kind: Kind, method: str) -> Iterator[CallWatch]:
        """Watch a call for the length of the block; what leaves it is how it ended, unless that was known before."""
        watch = CallWatch(self._telemetry, kind, method, self._service, self._server)
        try:
            yield watch
        except Exception as error:
            watch.end(error)
            raise
        except BaseException:
            watch.end(cancelled=True)
            raise
        watch.end()

    # Calls of handlers

    @contextmanager
    def handling(self, target: str, headers: Mapping[str, str]) -> Iterator[None]:
        """Watch handlers at work; the span is a trace of its own, linked to the server's if that has sent its context.

        A server calls thousands of clients at once: theirs are not parts of its own work. And they are no parts either
        of what was under way when the hub was opened.
        """
        name = f"{self._service}/{target}" if self._service else target
        attributes = {"rpc.system": "signalr", "rpc.service": self._service, "rpc.method": target, **self._server}
        link = trace.get_current_span(propagate.extract(headers, context=Context())).get_span_context()
        links = [SpanLink(link)] if link.is_valid else []
        began, failed = trio.current_time(), {}
        span = self._telemetry.tracer.start_span(
            name, context=Context(), kind=SpanKind.SERVER, attributes=attributes, links=links
        )
        token = context.attach(trace.set_span_in_context(span, Context()))
        try:
            yield
        except Exception as error:
            failed = {"error.type": error_type(error)}
            _fail(span, error)
            raise
        finally:
            context.detach(token)
            span.end()
            self._telemetry.handled.record(trio.current_time() - began, {**attributes, **failed})

    # Connections

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is done in the block is no part of what was under way when the hub was opened: that is long over."""
        token = context.attach(Context())
        try:
            yield
        finally:
            context.detach(token)

    def connected(self, link: Link, recorder: FlightRecorder) -> None:
        """A connection is there; where redirects led to is the server from now on."""
        if link.url is not None:
            self._server = _server(link.url)
        self._connection = {**self._server, "signalr.transport": _TRANSPORTS.get(link.transport.name, "_OTHER")}
        self._connected_at = trio.current_time()
        self._recorder = recorder
        self._telemetry.connections.add(1, self._connection)
        self._telemetry.bytes.add(recorder, tuple(self._connection.items()))

    def disconnected(self, ending: Ending) -> None:
        """The connection is over."""
        if self._recorder is None:
            return
        self._telemetry.connections.add(-1, self._connection)
        self._telemetry.bytes.finish(self._recorder)
        self._recorder = None
        failed = {} if ending.kind == "left" else {"error.type": error_type(ending.for_block())}
        status = "timeout" if ending.kind == "timeout" else "normal_closure"
        self._telemetry.connected.record(
            trio.current_time() - self._connected_at,
            {**self._connection, "signalr.connection.status": status, **failed},
        )

    def reconnected(self, how: Literal["new", "resumed"], error: Exception | None) -> None:
        """An attempt has failed with ``error``, or was good."""
        failed = {} if error is None else {"error.type": error_type(error)}
        self._telemetry.reconnects.add(1, {**self._server, "signalr.client.reconnect.type": how, **failed})


class CallWatch:
    """One call of a hub method, from its beginning to its end.

    Attributes:
        headers: For the message that makes the call, so that the server's span becomes a child of ours.
        items_sent: Items of its uploads.
        items_received: Items of its stream.
    """

    __slots__ = (
        "_attributes",
        "_began",
        "_counting",
        "_kind",
        "_span",
        "_telemetry",
        "headers",
        "items_received",
        "items_sent",
    )

    def __init__(
        self, telemetry: Telemetry, kind: Kind, method: str, service: str, server: Mapping[str, str | int]
    ) -> None:
        self._telemetry = telemetry
        self._kind = kind
        self._began: float | None = trio.current_time()
        self._attributes = {"rpc.system": "signalr", "rpc.service": service, "rpc.method": method, **server}
        # Never the current span: it must not become the parent of what users do while a stream is open.
        self._span = telemetry.tracer.start_span(
            f"{service}/{method}" if service else method, kind=SpanKind.CLIENT, attributes=self._attributes
        )
        self.headers: dict[str, str] = {}
        self.items_sent: int = 0
        self.items_received: int = 0
        self._counting = False
        if self._span.get_span_context().is_valid:
            propagate.inject(self.headers, context=trace.set_span_in_context(self._span))
        if kind in ("stream", "upload"):
            telemetry.streams.add(1, {**self._attributes, "signalr.client.call.type": kind})

    def count_items(self) -> None:
        """There are going to be items: have them asked for."""
        if not self._counting:
            self._counting = True
            self._telemetry.items.add(self, tuple(self._attributes.items()))

    def end(self, error: Exception | None = None, *, cancelled: bool = False) -> None:
        """The call is over; the first end counts. Being cancelled is no failure: somebody wanted no more of it."""
        if self._began is None:
            return
        began, self._began = self._began, None
        attributes = {**self._attributes, "signalr.client.call.type": self._kind}
        if self._kind in ("stream", "upload"):
            self._telemetry.streams.add(-1, attributes)
        if self._counting:
            self._telemetry.items.finish(self)
        if error is not None:
            attributes["error.type"] = error_type(error)
            _fail(self._span, error)
        elif cancelled:
            self._span.set_attribute("signalr.client.cancelled", True)
        self._span.end()
        self._telemetry.calls.record(trio.current_time() - began, attributes)


def error_type(error: BaseException) -> str:
    """An error's name for ``error.type``: qualified, unless it is one of Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _fail(span: trace.Span, error: Exception) -> None:
    span.set_attribute("error.type", error_type(error))
    span.set_status(StatusCode.ERROR)  # without the text, which may be the user's data


def _server(url: str | None) -> dict[str, str | int]:
    if url is None:
        return {}
    parts = urlsplit(url)
    default = 443 if parts.scheme in ("https", "wss") else 80
    return {"server.address": parts.hostname or "", "server.port": parts.port or default}
