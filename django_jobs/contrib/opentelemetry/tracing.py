"""The spans of enqueues and of attempts, and the headers that join them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from ...define.instrumentation import Enqueuing, Instrumentation
from ...define.sensitive import secrets_of
from ...exceptions import Retry
from ...failure import describe
from ...values import Failure, NewJob
from . import names
from .metrics import Instruments

if TYPE_CHECKING:
    from ...define.context import JobContext


class JobsInstrumentation(Instrumentation):
    """Makes a span of each enqueue and of each attempt, and measures them."""

    path = "django_jobs.contrib.opentelemetry"

    def __init__(self, tracer: Tracer, instruments: Instruments) -> None:
        self._tracer = tracer
        self._instruments = instruments

    def header_names(self) -> Collection[str]:
        """Return the headers that the configured propagator writes."""
        return propagate.get_global_textmap().fields

    @contextlib.contextmanager
    def enqueuing(self, jobs: Enqueuing) -> Iterator[Mapping[str, Any]]:
        """Make the producer span of jobs that are enqueued together; return its headers."""
        rows = written = jobs.rows
        headers: dict[str, Any] = {}
        began, error_type = time.perf_counter(), ""
        with (
            _attached(jobs.cause),
            self._tracer.start_as_current_span(
                _of_all(names.SEND, {row.name for row in rows}),
                kind=SpanKind.PRODUCER,
                attributes=_send_attributes(rows),
                links=_own_traces(rows),
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
        ):
            propagate.inject(headers)
            try:
                yield headers
            except Exception as error:
                failure = describe(error, secrets_of(*rows))
                error_type = failure.error_class
                _fail(span, failure)
                raise
            else:
                written = jobs.written
                span.set_attributes(_written_attributes(written, is_batch=len(rows) > 1))
            finally:
                self._instruments.sent(rows, written, time.perf_counter() - began, error_type)

    @contextlib.contextmanager
    def attempt(self, job: JobContext) -> Iterator[None]:
        """Make the consumer span of an attempt. Its parent is the span that enqueued the job."""
        request = job.request
        began = time.perf_counter()
        self._instruments.begins(request.queue, job.name)
        with (
            _attached(request.headers) as creation,
            self._tracer.start_as_current_span(
                f"{names.PROCESS} {job.name}",
                kind=SpanKind.CONSUMER,
                attributes=_process_attributes(job),
                links=[Link(creation)] if creation else [],
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
        ):
            try:
                yield
            finally:
                error_type = _end(span, job)
                seconds = time.perf_counter() - began
                self._instruments.ended(request.queue, job.name, seconds, error_type)


def _carrier(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that a propagator can read."""
    return {name: value for name, value in headers.items() if isinstance(value, str)}


@contextlib.contextmanager
def _attached(headers: Mapping[str, Any]) -> Iterator[trace.SpanContext | None]:
    """Make the context in a job's *headers* the current one; yield that of its span, if any."""
    here = context.get_current()
    carried = propagate.extract(_carrier(headers), here) if headers else here
    token = context.attach(carried)
    try:
        found = trace.get_current_span(carried).get_span_context()
        yield found if found.is_remote else None
    finally:
        context.detach(token)


def _of_all(operation: str, found: Collection[str]) -> str:
    """Return the name of a span about one job function, or about several."""
    return f"{operation} {next(iter(found))}" if len(found) == 1 else operation


def _send_attributes(rows: Sequence[NewJob]) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(names.operation(names.SEND))
    functions, queues = {row.name for row in rows}, {row.queue for row in rows}
    if len(queues) == 1:
        attributes[names.DESTINATION] = queues.pop()
    if len(functions) == 1:
        attributes[names.JOB_NAME] = functions.pop()
    if len(rows) > 1:
        attributes[names.MESSAGE_COUNT] = len(rows)
    return attributes


def _written_attributes(written: Sequence[NewJob], *, is_batch: bool) -> dict[str, Any]:
    if is_batch:
        return {names.MESSAGE_COUNT: len(written)}
    return {names.MESSAGE_ID: str(written[0].id)} if written else {}


def _own_traces(rows: Sequence[NewJob]) -> list[Link]:
    """Return links to the traces that the calls' own headers carry; these stay as they are."""
    found = []
    for text in sorted({row.headers for row in rows if row.headers}):
        carried = propagate.extract(_carrier(json.loads(text)), Context())
        own = trace.get_current_span(carried).get_span_context()
        if own.is_valid:
            found.append(Link(own))
    return found


def _process_attributes(job: JobContext) -> dict[str, Any]:
    request = job.request
    return {
        **names.operation(names.PROCESS),
        names.DESTINATION: request.queue,
        names.MESSAGE_ID: str(request.uuid),
        names.CONVERSATION_ID: str(request.root_uuid or request.uuid),
        names.CLIENT_ID: request.worker,
        names.JOB_NAME: job.name,
        names.JOB_ATTEMPT: request.attempt,
    }


def _end(span: Span, job: JobContext) -> str:
    """Note how an attempt ended; return the class of its error, or an empty text."""
    outcome = job.outcome
    if outcome is None:  # a person interrupts an eager job
        return ""
    span.set_attribute(names.JOB_STATUS, outcome.status)
    asked = outcome.exception
    if outcome.failure is None or (isinstance(asked, Retry) and asked.exc is None):
        return ""
    _fail(span, outcome.failure)
    return outcome.failure.error_class


def _fail(span: Span, failure: Failure) -> None:
    """Give *span* the status and the exception of a failure, whose texts have no secrets."""
    span.set_status(Status(StatusCode.ERROR, failure.message))
    span.set_attribute(names.ERROR_TYPE, failure.error_class)
    span.add_event(
        "exception",
        {
            names.EXCEPTION_TYPE: failure.error_class,
            names.EXCEPTION_MESSAGE: failure.message,
            names.EXCEPTION_STACKTRACE: failure.traceback,
        },
    )
