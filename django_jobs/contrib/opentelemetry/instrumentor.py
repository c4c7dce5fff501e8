"""Turns traces and metrics on and off."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection
from typing import Any, ClassVar, Self

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from ... import __version__, signals
from ...define import instrumentation
from .metrics import Instruments
from .names import SCHEMA_URL
from .queue_gauges import create_queue_gauges
from .tracing import JobsInstrumentation

_log = logging.getLogger("django_jobs.opentelemetry")
_NAME = "django_jobs"
# opentelemetry-instrument passes these to every instrumentor.
_OF_THE_COMMAND = {"skip_dep_check", "raise_exception_on_conflict"}


class DjangoJobsInstrumentor:
    """Traces and measures the jobs of this process, as OpenTelemetry's instrumentors do.

    Every call returns the same instance. The command ``opentelemetry-instrument`` finds it by
    itself.
    """

    _instance: ClassVar[DjangoJobsInstrumentor | None] = None
    _active: JobsInstrumentation | None
    _providers: tuple[TracerProvider | None, MeterProvider | None]

    def __new__(cls) -> Self:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance._active, cls._instance._providers = None, (None, None)
        return cls._instance  # type: ignore[return-value]

    def instrument(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        queue_metrics: bool = False,
        **of_the_command: Any,
    ) -> None:
        """Trace and measure every enqueue and every attempt from now on.

        *tracer_provider* and *meter_provider* are the global ones by default, which may be set
        later, as in a receiver of ``worker_process_init``. At the end of a worker's process the
        providers are flushed. *queue_metrics* adds gauges of the queues, which read the database at
        each collection: let one process have them. A second call is logged and changes nothing.
        Raises ``TypeError`` for other options.
        """
        if unknown := of_the_command.keys() - _OF_THE_COMMAND:
            raise TypeError(
                f"instrument() has no option {', '.join(sorted(unknown))}. Use tracer_provider=, "
                "meter_provider= or queue_metrics=."
            )
        if self._active is not None:
            _log.warning("already instrumented: uninstrument() comes first")
            return
        meter = metrics.get_meter(_NAME, __version__, meter_provider, SCHEMA_URL)
        tracer = trace.get_tracer(_NAME, __version__, tracer_provider, SCHEMA_URL)
        self._active = active = JobsInstrumentation(tracer, Instruments(meter))
        self._providers = (tracer_provider, meter_provider)
        if queue_metrics:
            create_queue_gauges(meter, lambda: self._active is active)
        instrumentation.register(active)
        signals.worker_process_shutdown.connect(self._flush)

    def uninstrument(self, **of_the_command: Any) -> None:
        """Trace and measure no more."""
        if self._active is not None:
            signals.worker_process_shutdown.disconnect(self._flush)
            instrumentation.unregister(self._active)
            self._active, self._providers = None, (None, None)

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Whether :meth:`instrument` was called."""
        return self._active is not None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no packages: the package instruments itself."""
        return ()

    def providers(self) -> tuple[TracerProvider, MeterProvider]:
        """Return the providers in use: those of :meth:`instrument`, or the global ones."""
        tracers, meters = self._providers
        return tracers or trace.get_tracer_provider(), meters or metrics.get_meter_provider()

    def _flush(self, **_: Any) -> None:
        """Export what is left. A worker's process calls nothing that ``atexit`` knows."""
        with contextlib.ExitStack() as stack:
            for provider in self.providers():
                # Only the SDK's have it.
                if flush := getattr(provider, "force_flush", None):
                    stack.callback(flush)
