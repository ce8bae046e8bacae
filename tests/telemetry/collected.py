"""What a test's OpenTelemetry SDK has collected, in forms that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from unbroken.telemetry import Telemetry


class Collected:
    """A `Telemetry` with an SDK in memory behind it."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.telemetry = Telemetry(tracer_provider=self.tracers, meter_provider=self._meters)

    def spans(self, name: str = "realtime.") -> Sequence[ReadableSpan]:
        """The ended spans whose names begin so, in the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name.startswith(name)]

    def points(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """By a metric's name, attributes and value of each point; of a histogram's the count, the sum and the bounds."""
        data = self._reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = found.setdefault(metric.name, [])
                    for point in metric.data.data_points:
                        value: Any
                        if isinstance(point, HistogramDataPoint):
                            value = (point.count, round(point.sum, 6), tuple(point.explicit_bounds))
                        else:
                            value = round(getattr(point, "value"), 6)  # noqa: B009
                        points.append((dict(point.attributes or {}), value))
        return found


def lasted(span: ReadableSpan) -> float:
    """How long a span lasted, in seconds."""
    assert span.start_time is not None
    assert span.end_time is not None
    return round((span.end_time - span.start_time) / 1e9, 6)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
