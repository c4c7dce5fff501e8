"""OpenTelemetry's SDK in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_jobs.contrib.opentelemetry import DjangoJobsInstrumentor


class Telemetry:
    """The spans and metrics that were exported since the test began."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False, **options)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def instrument(self, **options: Any) -> None:
        DjangoJobsInstrumentor().instrument(
            tracer_provider=self.tracers, meter_provider=self.meters, **options
        )

    def shutdown(self) -> None:
        DjangoJobsInstrumentor().uninstrument()
        self.tracers.shutdown()
        self.meters.shutdown()

    def spans(self) -> list[ReadableSpan]:
        """Return the ended spans, the earliest start first."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans with that name, without the module of the job function."""
        return [span for span in self.spans() if short(span) == name]

    def points(self, name: str) -> list[Any]:
        """Return the points of a metric, collected now."""
        found = self.metrics().get(name)
        return [] if found is None else list(found.data.data_points)

    def metrics(self) -> dict[str, Any]:
        """Collect all metrics now, by name."""
        data = self._reader.get_metrics_data()
        every = data.resource_metrics if data else []
        return {
            metric.name: metric
            for resource in every
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def short(span: ReadableSpan) -> str:
    operation, _space, function = span.name.partition(" ")
    return f"{operation} {function.rpartition('.')[2]}".strip()


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})
