"""The metrics of enqueues and attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from opentelemetry.metrics import Meter

from ...values import NewJob
from .names import (
    DESTINATION,
    DJANGO_JOBS,
    ERROR_TYPE,
    JOB_NAME,
    OPERATION_NAME,
    PROCESS,
    SEND,
    SYSTEM,
)

# The bounds that the semantic conventions recommend, and some for long jobs.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_LONG = (*_SECONDS, 30, 60, 300, 900, 3600)


class Instruments:
    """Counts and measures enqueues and attempts. Durations are in seconds."""

    def __init__(self, meter: Meter) -> None:
        self._sent = meter.create_counter(
            "messaging.client.sent.messages",
            unit="{message}",
            description="Jobs that were enqueued, also those of a call that failed.",
        )
        self._send_seconds = meter.create_histogram(
            "messaging.client.operation.duration",
            unit="s",
            description="Duration of enqueues.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._consumed = meter.create_counter(
            "messaging.client.consumed.messages",
            unit="{message}",
            description="Attempts that began.",
        )
        self._process_seconds = meter.create_histogram(
            "messaging.process.duration",
            unit="s",
            description="Duration of attempts, with their hooks.",
            explicit_bucket_boundaries_advisory=_LONG,
        )

    def sent(
        self, rows: Iterable[NewJob], written: Iterable[NewJob], seconds: float, error_type: str
    ) -> None:
        """Count the jobs that were *written* of *rows*; after an error all, with *error_type*."""
        numbers = Counter((row.queue, row.name) for row in written)
        for (queue, name), number in numbers.items():
            self._sent.add(number, _attributes(SEND, queue, error_type, name))
        queues = {row.queue for row in rows}
        queue = queues.pop() if len(queues) == 1 else ""
        self._send_seconds.record(seconds, _attributes(SEND, queue, error_type))

    def begins(self, queue: str, name: str) -> None:
        """Count an attempt of a job function."""
        self._consumed.add(1, _attributes(PROCESS, queue, "", name))

    def ended(self, queue: str, name: str, seconds: float, error_type: str) -> None:
        """Measure an attempt; *error_type* is empty if it did not fail."""
        self._process_seconds.record(seconds, _attributes(PROCESS, queue, error_type, name))


def _attributes(operation: str, queue: str, error_type: str, name: str = "") -> dict[str, str]:
    every = {
        SYSTEM: DJANGO_JOBS,
        OPERATION_NAME: operation,
        DESTINATION: queue,
        JOB_NAME: name,
        ERROR_TYPE: error_type,
    }
    return {key: value for key, value in every.items() if value}
