"""Tells Sentry of enqueues, attempts, ends, ticks and processes."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.transport import make_transport
from sentry_sdk.utils import capture_internal_exceptions, event_from_exception

from ...define.context import JobContext
from ...define.instrumentation import Enqueuing, Instrumentation
from ...exceptions import Retry, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLost
from ...failure import body_traceback
from ...log.safe_error import error_of
from ...status import Status
from ...values import Outcome
from .attempt import Attempt, body_size, in_scope_of
from .check_ins import MONITOR, check_in, monitor_of
from .integration import BAGGAGE, TRACE, DjangoJobsIntegration, active

if TYPE_CHECKING:
    from ...models import Schedule

# Sentry would group them by the line that they interrupt, or by nothing.
_BY_JOB = (SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLost)


class SentryInstrument(Instrumentation):
    """``DjangoJobsIntegration`` registers it. Without a client of Sentry it does nothing."""

    path = "django_jobs.contrib.sentry"

    def header_names(self) -> Collection[str]:
        return (TRACE, BAGGAGE, MONITOR)

    @contextlib.contextmanager
    def enqueuing(self, jobs: Enqueuing) -> Iterator[Mapping[str, Any]]:
        integration = active()
        if integration is None or not integration.propagate_traces:
            yield {}
        elif jobs.cause:
            # The end of that job enqueues these, outside of its attempt.
            yield {name: jobs.cause[name] for name in (TRACE, BAGGAGE) if name in jobs.cause}
        elif any(row.schedule_id is not None for row in jobs.rows):
            yield {}  # a tick begins a trace
        elif sentry_sdk.get_current_span() is None:
            yield dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())
        else:
            with sentry_sdk.start_span(
                op="queue.publish",
                name=_title(jobs),
                origin=DjangoJobsIntegration.origin,
            ) as span:
                for name, value in _published(jobs).items():
                    span.set_data(name, value)
                yield dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers(span=span))

    def attempt(self, job: JobContext) -> AbstractContextManager[object]:
        integration = active()
        if integration is None or job.claimed is None:
            return contextlib.nullcontext()
        return Attempt(job, job.claimed, integration)

    def ended(self, outcome: Outcome, expected: bool) -> None:
        integration = active()
        if integration is None or outcome.status not in (Status.FAILURE, Status.RETRY):
            return
        with capture_internal_exceptions():
            if outcome.status == Status.FAILURE:
                check_in(outcome.job, "error", outcome.ended - outcome.began)
            elif not integration.report_retries:
                return
            if not expected:
                _capture(outcome, integration)

    def tick_headers(self, schedule: Schedule) -> dict[str, Any]:
        integration = active()
        monitor = None
        with capture_internal_exceptions():
            if integration is not None and integration.monitors(schedule.name):
                monitor = monitor_of(schedule)
        return {MONITOR: monitor} if monitor else {}

    def process_begins(self) -> None:
        client = sentry_sdk.get_client()
        with capture_internal_exceptions():
            if active() is not None:
                # The parent's connection to Sentry, its queue and its lock are not this process's.
                client.transport = make_transport(client.options)

    def process_ends(self) -> None:
        with capture_internal_exceptions():
            if active() is not None:
                sentry_sdk.get_client().flush()


def _capture(outcome: Outcome, integration: DjangoJobsIntegration) -> None:
    error = error_of(outcome)
    if error is None or isinstance(outcome.value, Retry):
        return
    event, hint = event_from_exception(
        (type(error), error, body_traceback(error)),
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": "django_jobs", "handled": False},
    )
    if isinstance(outcome.value, _BY_JOB):
        event["fingerprint"] = ["django_jobs", type(outcome.value).__name__, outcome.job.name]
    if outcome.status == Status.RETRY:
        event["level"] = "warning"
    with in_scope_of(outcome.job, integration):
        sentry_sdk.capture_event(event, hint=hint)


def _title(jobs: Enqueuing) -> str:
    first = jobs.rows[0].name
    others = len({row.name for row in jobs.rows} - {first})
    return f"{first} and {others} more" if others else first


def _published(jobs: Enqueuing) -> dict[str, Any]:
    """Return Sentry's attributes of the span around an enqueue."""
    rows = jobs.rows
    known: dict[str, Any] = {
        "messaging.system": "django_jobs",
        "messaging.destination.name": ", ".join(sorted({row.queue for row in rows})),
        "messaging.message.body.size": sum(map(body_size, rows)),
    }
    if len(rows) == 1:
        return known | {"messaging.message.id": str(rows[0].id)}
    return known | {"messaging.batch.message_count": len(rows)}
