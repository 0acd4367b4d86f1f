"""OpenTelemetry's SDK, collecting in memory what a hub tells it, for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from trio_signalr import _telemetry

__all__ = ["Collected", "collecting"]


class Collected:
    """Spans and metrics so far."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics])

    @property
    def tracer(self) -> Tracer:
        """For the test's own spans."""
        return self.tracers.get_tracer("test")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return list(self._spans.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """The only one of that name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def points(self, metric: str) -> list[tuple[dict[str, Any], Any]]:
        """Attributes and value of each point; of a histogram, how many it counted."""
        data = self._metrics.get_metrics_data()
        found: list[tuple[dict[str, Any], Any]] = []
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for each in scope.metrics:
                    if each.name == metric:
                        found += [
                            (dict(p.attributes or {}), getattr(p, "count", None) or getattr(p, "value", None))
                            for p in each.data.data_points
                        ]
        return found


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Have hubs that are opened within the block report to a :class:`Collected`, not to the global providers."""
    collected = Collected()
    telemetry = _telemetry.Telemetry(collected.tracers, collected.meters)
    with monkeypatch.context() as patch:
        patch.setattr(_telemetry, "telemetry", lambda: telemetry)
        patch.setattr(_telemetry, "is_set_up", lambda: True)
        yield collected
    collected.tracers.shutdown()
    collected.meters.shutdown()
