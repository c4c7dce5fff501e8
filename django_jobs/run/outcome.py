"""Turns the end of a body, a return or an exception, into the outcome of its job."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import log, serialization
from ..backoff import exponential
from ..conf import get_settings
from ..define.context import JobContext
from ..define.conversion import encoded_result
from ..define.encrypted_calls import encrypts_results
from ..define.envelopes import stored_text
from ..define.retry_after import retry_after
from ..exceptions import (
    ArgumentError,
    EncryptionError,
    Ignore,
    Reject,
    Replaced,
    Retry,
    Snooze,
    Suspended,
    TransactionLost,
    WorkerLost,
    WorkerStopping,
)
from ..failure import describe
from ..moments import aware, expiry, seconds
from ..redaction import Secrets
from ..status import Status
from ..values import Claimed, Graph, Outcome
from . import redirect_output
from .outside_body import hidden, plain

if TYPE_CHECKING:
    from ..api.job import JobFunction
    from ..steps.suspension import Suspension

# Reject(requeue=True) lets the job wait this long.
REQUEUE_SECONDS = 1.0


@dataclasses.dataclass(slots=True)
class Execution:
    """A job whose function and arguments were found.

    The limits are in seconds, ``began`` is of :func:`time.monotonic`.
    """

    job: Claimed
    function: JobFunction[..., Any, Any]
    args: list[Any]
    kwargs: dict[str, Any]
    time_limit: float | None
    soft_time_limit: float | None
    context: JobContext = dataclasses.field(init=False)
    began: float = dataclasses.field(init=False)

    @property
    def ignores_result(self) -> bool:
        own = self.job.row_options.call.ignore_result
        return self.function.options.ignore_result if own is None else own

    def secrets(self) -> Secrets:
        """Return the secrets that no text about the attempt may show."""
        journal = self.context.journal
        return hidden(self.job, calls=journal.secret_calls if journal is not None else ())

    # A batch overrides these:

    def ends(self, call: Callable[[], Any]) -> list[Outcome]:
        """Call the body; return the outcomes of its jobs."""
        return [returned(self, call())]

    def may_commit(self, outcomes: Sequence[Outcome]) -> bool:
        """Return whether the writes of an atomic body may commit with *outcomes*."""
        return outcomes[0].status == Status.SUCCESS

    def lost(self) -> BaseException:
        """Return the error of an atomic body some of whose jobs are no longer this worker's."""
        return WorkerLost("The job is no longer this worker's; what it wrote was rolled back.")


def returned(execution: Execution, value: Any) -> Outcome:
    """Return the outcome of a body that returned *value*."""
    journal, text = execution.context.journal, None
    if journal is not None and (problem := journal.swallowed()):
        return failed(execution, problem)
    # A dependent may need the result, even if the caller ignores it.
    if value is not None and (execution.job.has_dependents or not execution.ignores_result):
        try:
            types = execution.function.result_type
            text = _result_text(execution, value if types is None else encoded_result(types, value))
        except (ArgumentError, EncryptionError) as error:
            return failed(execution, error)
    outcome = _outcome(execution, Status.SUCCESS, value, text)
    outcome.added = execution.context.added
    return outcome


def raised(execution: Execution, error: BaseException) -> Outcome:
    """Return the outcome of a body that raised *error* or was stopped by it."""
    journal = execution.context.journal
    if journal is not None and journal.error is not None:
        return failed(execution, journal.error)
    if journal is not None and not isinstance(error, Suspended):
        if journal.left_batch is not None and not execution.function.options.atomic:
            from ..steps.iteration import repeat_batch  # most jobs have no steps

            error = repeat_batch(journal, error) or error
        journal.end_by(error)
    if isinstance(error, Suspended):
        return _suspended(execution, error)
    if isinstance(error, TransactionLost) and execution.function.options.acks_late:
        return _run_out(execution, error)
    if isinstance(error, WorkerStopping):
        if execution.function.options.acks_late:
            return _outcome(execution, Status.PENDING)
        reason = str(error) or "Its worker was stopped while it ran."
        return failed(execution, WorkerLost(reason))
    if isinstance(error, Retry) and not error.is_counted and _is_last(execution):
        return failed(execution, error.exc or error)
    if isinstance(error, (Retry, Snooze)):
        return _asked_later(execution, error)
    if isinstance(error, Replaced):
        return _replaced(execution, error.graph)
    if isinstance(error, Reject) and error.requeue:
        return _later(execution, REQUEUE_SECONDS)
    if isinstance(error, Ignore):
        return _ignored(execution)
    if _is_autoretried(execution, error):
        return _retried(execution, error, *_next_try(execution, error))
    return failed(execution, error)


def _suspended(execution: Execution, error: Suspended) -> Outcome:
    suspension: Suspension = error.suspension
    outcome = _outcome(execution, suspension.status, error)
    outcome.delay, outcome.run_at = suspension.delay, suspension.run_at
    # The steps so far are no part of the next crash.
    outcome.crashes = 0
    return outcome


def _run_out(execution: Execution, error: TransactionLost) -> Outcome:
    """Return the outcome after a lost transaction: another run, or a failure after too many."""
    crashes = execution.job.crashes + 1
    if crashes < get_settings().max_crashes:
        outcome = failed(execution, error, Status.PENDING)
    else:
        outcome = failed(execution, error)
    outcome.crashes = crashes
    return outcome


def _outcome(
    execution: Execution, status: Status, value: Any = None, result: str | None = None
) -> Outcome:
    context = execution.context
    outcome = plain(execution.job, status, execution.function)
    outcome.began, outcome.value, outcome.result = execution.began, value, result
    context.has_ended = True
    if context.journal is not None:
        outcome.steps = list(context.journal.to_write.values())
        outcome.step_counts = context.journal.counts
    if context.kept_log is not None:
        redirect_output.finish(context)
        outcome.log = context.kept_log.lines()
    return outcome


def failed(execution: Execution, error: BaseException, status: Status = Status.FAILURE) -> Outcome:
    outcome = _outcome(execution, status, error)
    outcome.failure = describe(error, execution.secrets())
    return outcome


def _retried(
    execution: Execution,
    error: BaseException,
    delay: float | None,
    eta: datetime.datetime | None = None,
) -> Outcome:
    outcome = failed(execution, error, Status.RETRY)
    outcome.retries += 1
    outcome.delay, outcome.run_at = delay, eta
    return outcome


def _asked_later(execution: Execution, asked: Retry | Snooze) -> Outcome:
    """Return the outcome of a body that asked to run later; a failure if the time is impossible."""
    try:
        if isinstance(asked, Snooze):
            return _later(execution, seconds(asked.seconds, "Snooze()"))
        delay, eta = asked.countdown, asked.eta
        if delay is None and eta is None:
            delay, eta = _asked_by(execution, asked.exc)
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
        # So the traceback shows the line of the body that asked.
        error.__cause__ = asked
        return failed(execution, error)


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
        text = None if meta is None else _result_text(execution, meta)
    except (ArgumentError, EncryptionError) as error:
        return failed(execution, error)
    return _outcome(execution, Status(state), meta, text)


def _result_text(execution: Execution, value: Any) -> str:
    limit = get_settings().max_result_bytes
    text = serialization.dumps(value, where="the result", max_bytes=limit)
    return stored_text(text, encrypt=encrypts_results(execution.context))


def _is_autoretried(execution: Execution, error: BaseException) -> bool:
    options = execution.function.options
    return (
        isinstance(error, tuple(options.autoretry_for))
        and not isinstance(error, (*options.dont_autoretry_for, Reject))
        and not _is_last(execution)
    )


def _is_last(execution: Execution) -> bool:
    limit = execution.context.max_retries
    return limit is not None and execution.job.retries >= limit


def _next_try(
    execution: Execution, error: BaseException
) -> tuple[float | None, datetime.datetime | None]:
    """Return the seconds to an automatic retry after *error*, or its moment."""
    delay, eta = _asked_by(execution, error)
    if delay is None and eta is None:
        delay = _backoff(execution, error)
    return delay, eta


def _asked_by(
    execution: Execution, error: BaseException | None
) -> tuple[float | None, datetime.datetime | None]:
    """Return the wait that *error* asks for as :func:`retry_after` does; log what is no time."""
    try:
        return retry_after(error) if error is not None else (None, None)
    except Exception as problem:
        log.retry_after_ignored(execution.job, describe(problem, execution.secrets()))
        return None, None


def _backoff(execution: Execution, error: BaseException) -> float:
    options, own = execution.function.options, execution.job.row_options.call.retry_backoff
    backoff = options.retry_backoff if own is None else own
    if callable(backoff):
        try:
            return seconds(backoff(execution.job.retries, error), "retry_backoff", least=0.0)
        except Exception as problem:
            log.backoff_failed(execution.job, describe(problem, execution.secrets()))
            backoff = True
    if backoff is False:
        return options.default_retry_delay
    return exponential(
        execution.job.retries,
        factor=2.0 if backoff is True else float(backoff),
        maximum=options.retry_backoff_max,
        jitter=options.retry_jitter,
    )
