"""The scope and the transaction of an attempt."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import sentry_sdk
from sentry_sdk.utils import capture_internal_exceptions

from ...define.context import JobContext
from ...define.sensitive import rules_of_row, secrets_of, shown_arguments
from ...exceptions import Replaced
from ...status import Status
from ...values import Claimed, NewJob
from .check_ins import check_in, headers_of
from .integration import DjangoJobsIntegration
from .shown_event import without_secrets

# Sentry's names of the ends; all others are "aborted".
_STATUSES = {
    Status.SUCCESS: "ok",
    Status.SCHEDULED: "ok",
    Status.FAILURE: "internal_error",
    Status.RETRY: "internal_error",
}
#: The job whose scope is the current one.
_in_scope: contextvars.ContextVar[Claimed | None] = contextvars.ContextVar(
    "django_jobs_sentry_job", default=None
)


class Attempt(AbstractContextManager["Attempt"]):
    """An isolation scope, a transaction and the check-ins around an attempt at a job."""

    def __init__(
        self, context: JobContext, job: Claimed, integration: DjangoJobsIntegration
    ) -> None:
        self._context, self._job, self._integration = context, job, integration
        self._stack = contextlib.ExitStack()
        self._transaction: Any = None
        self._began = time.monotonic()

    def __enter__(self) -> Attempt:
        try:
            self._enter()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _enter(self) -> None:
        self._stack.enter_context(in_scope_of(self._job, self._integration, self._context))
        headers = self._context.request.headers
        self._transaction = sentry_sdk.continue_trace(
            dict(headers),
            op="queue.process",
            name=self._job.name,
            source="task",
            origin=DjangoJobsIntegration.origin,
        )
        facts = {"name": self._job.name, "queue": self._job.queue, "attempt": self._job.retries + 1}
        self._stack.enter_context(
            sentry_sdk.start_transaction(
                self._transaction, custom_sampling_context={"django_job": facts}
            )
        )
        for name, value in self._attributes().items():
            self._transaction.set_data(name, value)
        check_in(self._job, "in_progress")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Without the exception: most that end an attempt are no errors of this transaction.
        with self._stack, capture_internal_exceptions():
            outcome = self._context.outcome
            status = outcome.status if outcome is not None else Status.FAILURE
            self._transaction.set_status(_STATUSES.get(Status(status), "aborted"))
            if status == Status.SUCCESS or isinstance(error, Replaced):
                check_in(self._job, "ok", time.monotonic() - self._began)
            elif status == Status.REVOKED:
                check_in(self._job, "error", time.monotonic() - self._began)

    def _attributes(self) -> dict[str, Any]:
        job = self._job
        return {
            "messaging.system": "django_jobs",
            "messaging.message.id": str(job.id),
            "messaging.destination.name": job.queue,
            "messaging.message.body.size": body_size(job),
            "messaging.message.retry.count": job.retries,
            "messaging.message.receive.latency": round((self._began - job.ready) * 1000, 3),
        }


def body_size(job: Claimed | NewJob) -> int:
    """Return the bytes of the arguments of a job, as JSON."""
    return len(job.args.encode()) + len(job.kwargs.encode())


@contextlib.contextmanager
def in_scope_of(
    job: Claimed, integration: DjangoJobsIntegration, context: JobContext | None = None
) -> Iterator[None]:
    """Enter an isolation scope of the job's own, unless its attempt has entered it."""
    if _in_scope.get() is job and context is None:
        yield
        return
    with sentry_sdk.isolation_scope() as scope:
        token = _in_scope.set(job)
        scope.clear_breadcrumbs()
        scope.add_event_processor(functools.partial(without_secrets, _Hidden(job)))
        with capture_internal_exceptions():
            _describe(scope, job, integration, context)
        try:
            yield
        finally:
            _in_scope.reset(token)


def _describe(
    scope: sentry_sdk.Scope,
    job: Claimed,
    integration: DjangoJobsIntegration,
    context: JobContext | None,
) -> None:
    for tag, value in (("job", job.name), ("queue", job.queue), ("attempt", job.retries + 1)):
        scope.set_tag(tag, str(value))
    facts: dict[str, Any] = {
        name: str(value)
        for name, value in (
            ("id", job.id),
            ("root_id", job.root_id),
            ("parent_id", job.parent_id),
            ("group_id", job.group_id),
            ("worker", context.request.worker if context is not None else None),
        )
        if value
    }
    facts |= {"priority": job.priority, "crashes": job.crashes}
    if integration.sends_arguments():
        facts |= _arguments(job)
    scope.set_context("job", facts)
    if context is None:
        scope.generate_propagation_context(headers_of(job))


def _arguments(job: Claimed) -> dict[str, Any]:
    rules = rules_of_row(job, has_taken=not job.problem)
    try:
        args, kwargs = json.loads(job.args), json.loads(job.kwargs)
    except ValueError:  # a person has made them unreadable
        return {}
    shown = shown_arguments(rules, args, kwargs)
    return {"args": shown.args, "kwargs": shown.kwargs}


class _Hidden:
    """The secrets of a job, read when an event needs them first."""

    def __init__(self, job: Claimed) -> None:
        self._job = job

    @functools.cached_property
    def secrets(self) -> Any:
        return secrets_of(self._job, has_taken=not self._job.problem)
