"""The system check of traces and metrics that are half set up."""

from __future__ import annotations

from typing import Any

from django.core import checks
from opentelemetry import propagate
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from ... import signals
from .instrumentor import DjangoJobsInstrumentor


@checks.register("django_jobs")
def check_opentelemetry(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn when spans and metrics go nowhere, or when the spans of a job cannot be joined."""
    instrumentor = DjangoJobsInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        return []
    found: list[checks.CheckMessage] = []
    if _goes_nowhere(instrumentor) and not signals.worker_process_init.receivers:
        found.append(
            checks.Warning(
                "DjangoJobsInstrumentor is on, but OpenTelemetry has no SDK: spans and metrics go "
                "nowhere.",
                hint="Install opentelemetry-sdk, and set a TracerProvider or a MeterProvider in a "
                "receiver of worker_process_init and where your web processes start.",
                id="django_jobs.W010",
            )
        )
    if not propagate.get_global_textmap().fields:
        found.append(
            checks.Warning(
                "DjangoJobsInstrumentor is on, but no propagator is set: jobs do not continue the "
                "traces of their callers.",
                hint='Set OTEL_PROPAGATORS="tracecontext,baggage", or leave it out.',
                id="django_jobs.W011",
            )
        )
    return found


def _goes_nowhere(instrumentor: DjangoJobsInstrumentor) -> bool:
    tracers, meters = instrumentor.providers()
    no_traces = isinstance(tracers, (ProxyTracerProvider, NoOpTracerProvider))
    # The API does not export the class of its proxy.
    no_meters = isinstance(meters, NoOpMeterProvider) or type(meters).__name__.startswith("_Proxy")
    return no_traces and no_meters
