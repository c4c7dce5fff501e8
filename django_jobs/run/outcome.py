"""What the end of an attempt means for the job: a return, an exception or a dead process."""

from __future__ import annotations

import dataclasses
import datetime
import time
from typing import TYPE_CHECKING, Any

from .. import serialization
from ..backoff import deferral, exponential
from ..conf import get_settings
from ..define import registry
from ..define.context import JobContext
from ..define.retention import keep_seconds
from ..define.sensitive import secrets_of
from ..exceptions import (
    ArgumentError,
    Ignore,
    Reject,
    Replaced,
    Retry,
    Snooze,
    TransactionLost,
    UnknownJob,
    WorkerLost,
    WorkerStopping,
)
from ..failure import describe
from ..moments import aware, expiry, seconds
from ..redaction import NO_SECRETS, Secrets
from ..status import Status
from ..values import Claimed, Failure, Graph, Outcome

if TYPE_CHECKING:
    from ..api.job import JobFunction

# A worker that cannot run a job gives it back so often, 1, 2, 4 … 60 s apart (5 minutes in all: a
# rolling deploy), before the job ends.
MAX_DEFERRALS = 10
# How long a job that rejected its message with requeue=True waits.
REQUEUE_SECONDS = 1.0


@dataclasses.dataclass(slots=True)
class Execution:
    """A job whose function and arguments were found; ``began`` is of :func:`time.monotonic`."""

    job: Claimed
    context: JobContext
    began: float

    @property
    def function(self) -> JobFunction[..., Any, Any]:
        return self.context.function


def returned(execution: Execution, value: Any) -> Outcome:
    """Return the outcome of a body that returned *value*."""
    text = None
    # A dependent may take it, whatever the caller wanted.
    stored = execution.job.has_dependents or not execution.context.request.ignore_result
    if value is not None and stored:
        try:
            text = _result_text(value)
        except ArgumentError as error:
            return _failed(execution, error)
    outcome = _outcome(execution, Status.SUCCESS, value, text)
    outcome.added = execution.context.added
    return outcome


def raised(execution: Execution, error: BaseException) -> Outcome:
    """Return the outcome of a body that raised *error*, or that was stopped with it."""
    if isinstance(error, TransactionLost) and execution.function.options.acks_late:
        return _run_out(execution, error)
    if isinstance(error, WorkerStopping):
        if execution.function.options.acks_late:
            return _outcome(execution, Status.PENDING)
        reason = str(error) or "Its worker was stopped while it ran."
        return _failed(execution, WorkerLost(reason))
    if isinstance(error, Retry) and not error.is_counted and _is_last(execution):
        return _failed(execution, error.exc or error)
    if isinstance(error, (Retry, Snooze)):
        return _asked_later(execution, error)
    if isinstance(error, Replaced):
        return _replaced(execution, error.graph)
    if isinstance(error, Reject) and error.requeue:
        return _later(execution, REQUEUE_SECONDS)
    if isinstance(error, Ignore):
        return _ignored(execution)
    if _is_autoretried(execution, error):
        return _retried(execution, error, _backoff(execution))
    return _failed(execution, error)


def _run_out(execution: Execution, error: TransactionLost) -> Outcome:
    """Return the outcome of a job that runs again, and of one that did so too often."""
    crashes = execution.job.crashes + 1
    if crashes < get_settings().max_crashes:
        outcome = _failed(execution, error, Status.PENDING)
    else:
        outcome = _failed(execution, error)
    outcome.crashes = crashes
    return outcome


def unrunnable(job: Claimed, error: BaseException) -> Outcome:
    """Return the outcome of a job whose arguments or options make no call."""
    outcome = _plain(job, Status.FAILURE, registry.find(job.name))
    outcome.failure, outcome.value = describe(error, hidden(job)), error
    return outcome


def escaped(job: Claimed, error: BaseException) -> Outcome:
    """Return the outcome of an attempt that broke around its body, as in its ``base``'s code."""
    function = registry.find(job.name)
    if isinstance(error, WorkerStopping) and (function is None or function.options.acks_late):
        return _plain(job, Status.PENDING, function)
    return unrunnable(job, error)


def expired(job: Claimed) -> Outcome:
    """Return the outcome of a job that was not begun before it expired."""
    outcome = _plain(job, Status.REVOKED, registry.find(job.name))
    outcome.failure = Failure("", f"expired at {job.expires_at}")
    return outcome


def not_here(job: Claimed, error: Exception) -> Outcome:
    """Return the outcome of a job that this worker cannot run, because of *error*.

    It is left for a worker that can, for some minutes, and shows the error meanwhile. Then it
    fails with it.
    """
    if job.deferrals < MAX_DEFERRALS:
        outcome = postponed(job)
    else:
        outcome = _plain(job, Status.FAILURE, registry.find(job.name))
        outcome.deferrals = job.deferrals
    # Of a function that is not known every argument is a secret, and its name would be blanked.
    secrets = NO_SECRETS if isinstance(error, UnknownJob) else hidden(job)
    outcome.failure, outcome.value = describe(error, secrets), error
    return outcome


def postponed(job: Claimed) -> Outcome:
    """Return the outcome of a job that is left for another worker, later each time."""
    outcome = _plain(job, Status.SCHEDULED, None)
    outcome.deferrals = job.deferrals + 1
    outcome.delay = deferral(job.deferrals)
    return outcome


def unrecordable(outcome: Outcome, error: BaseException) -> Outcome:
    """Return the outcome of a job whose own outcome the database refuses to store."""
    failed = _plain(outcome.job, Status.FAILURE, registry.find(outcome.job.name))
    failed.failure, failed.value = describe(error, hidden(outcome.job)), error
    return failed


def crashed(job: Claimed) -> Outcome:
    """Return the outcome of a job whose process died while it ran.

    Crashes count apart from retries: the job is pending again until it has been in
    ``MAX_CRASHES`` of them, unless it is ``acks_late=False``.
    """
    function = registry.find(job.name)
    settings = get_settings()
    outcome = _plain(job, Status.FAILURE, function)
    outcome.crashes += 1
    again = outcome.crashes < settings.max_crashes
    if again and (function is None or function.options.acks_late):
        outcome.status, outcome.keep_seconds = Status.PENDING.value, None
    error = WorkerLost(
        f"Its worker process died while it ran, {outcome.crashes} of {settings.max_crashes} times."
    )
    outcome.failure, outcome.value = describe(error, NO_SECRETS), error
    return outcome


def hidden(job: Claimed, result: Any = None) -> Secrets:
    """Return what no text about the job, or about its *result*, may tell; only failures ask."""
    # The texts that were claimed: the body may have changed what it was given.
    return secrets_of(job, has_taken=not job.problem, result=result)


def _outcome(
    execution: Execution, status: Status, value: Any = None, result: str | None = None
) -> Outcome:
    outcome = _plain(execution.job, status, execution.function)
    outcome.began, outcome.value, outcome.result = execution.began, value, result
    return outcome


def _plain(job: Claimed, status: Status, function: JobFunction[..., Any, Any] | None) -> Outcome:
    now = time.monotonic()
    return Outcome(
        job,
        status.value,
        now,
        now,
        retries=job.retries,
        crashes=job.crashes,
        keep_seconds=keep_seconds(function, status),
    )


def _failed(execution: Execution, error: BaseException, status: Status = Status.FAILURE) -> Outcome:
    outcome = _outcome(execution, status, error)
    outcome.failure = describe(error, hidden(execution.job))
    return outcome


def _retried(
    execution: Execution,
    error: BaseException,
    delay: float | None,
    eta: datetime.datetime | None = None,
) -> Outcome:
    outcome = _failed(execution, error, Status.RETRY)
    outcome.retries += 1
    outcome.delay, outcome.run_at = delay, eta
    return outcome


def _asked_later(execution: Execution, asked: Retry | Snooze) -> Outcome:
    """Return the outcome of a body that wants to run later; a failure when it told no time."""
    try:
        if isinstance(asked, Snooze):
            return _later(execution, seconds(asked.seconds, "Snooze()"))
        delay, eta = asked.countdown, asked.eta
        if delay is None and eta is None:
            delay = execution.function.options.default_retry_delay
        outcome = _retried(
            execution,
            asked.exc or asked,
            None if delay is None else seconds(delay, "countdown"),
            None if eta is None else aware(eta, "eta"),
        )
        if asked.expires is not None:
            outcome.expires = expiry(asked.expires)
        return outcome
    except ValueError as error:
        # The traceback then tells where the body asked for it.
        error.__cause__ = asked
        return _failed(execution, error)


def _later(execution: Execution, delay: float) -> Outcome:
    outcome = _outcome(execution, Status.SCHEDULED)
    outcome.delay = delay
    return outcome


def _replaced(execution: Execution, graph: Graph) -> Outcome:
    row = graph.output_row()
    outcome = _outcome(execution, Status(row.status))
    outcome.replacement, outcome.added = graph, execution.context.added
    outcome.delay, outcome.run_at = row.countdown, row.eta
    return outcome


def _ignored(execution: Execution) -> Outcome:
    state, meta = execution.context.ended_state or (Status.SUCCESS, None)
    try:
        text = None if meta is None else _result_text(meta)
    except ArgumentError as error:
        return _failed(execution, error)
    return _outcome(execution, Status(state), meta, text)


def _result_text(value: Any) -> str:
    limit = get_settings().max_result_bytes
    return serialization.dumps(value, where="the result", max_bytes=limit)


def _is_autoretried(execution: Execution, error: BaseException) -> bool:
    options = execution.function.options
    return (
        isinstance(error, tuple(options.autoretry_for))
        and not isinstance(error, (*options.dont_autoretry_for, Reject))
        and not _is_last(execution)
    )


def _is_last(execution: Execution) -> bool:
    limit = execution.function.options.max_retries
    return limit is not None and execution.job.retries >= limit


def _backoff(execution: Execution) -> float:
    options = execution.function.options
    if options.retry_backoff is False:
        return options.default_retry_delay
    return exponential(
        execution.job.retries,
        factor=2.0 if options.retry_backoff is True else float(options.retry_backoff),
        maximum=options.retry_backoff_max,
        jitter=options.retry_jitter,
    )
