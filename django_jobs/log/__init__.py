"""The package's log lines, in one place: an event and key=value pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import Error

from ..failure import body_traceback, message_of, printable
from ..status import Status
from ..values import Claimed, Failure, Outcome
from .console import ConsoleFormatter, JobFilter, set_up_console
from .outages import Outage, outage
from .safe_error import error_of

__all__ = ["ConsoleFormatter", "JobFilter", "Outage", "outage", "set_up_console"]

_jobs = logging.getLogger("django_jobs.job")
_worker = logging.getLogger("django_jobs.worker")
_beat = logging.getLogger("django_jobs.beat")


def _let_handlers_fail(logger: logging.Logger) -> None:
    """Keep an exception in a project's handler from ending the code that logs."""
    handle = logger.handle

    def tolerate(record: logging.LogRecord) -> None:
        try:
            handle(record)
        except Exception:
            logging.Handler().handleError(record)

    logger.handle = tolerate  # type: ignore[method-assign]


for _name in ("job", "worker", "beat", "signals", "output"):
    _let_handlers_fail(logging.getLogger(f"django_jobs.{_name}"))


# A process warns of at most this many job functions that it cannot run.
_MOST_DEFERRED = 1_000
# Their names, with the class of the error. Threads share it without a lock.
deferred: set[tuple[str, str]] = set()


def job_started(job: Claimed) -> None:
    """Log at DEBUG that an attempt begins, so that a job that hangs leaves a line."""
    if _jobs.isEnabledFor(logging.DEBUG):
        _jobs.debug(
            "started name=%s id=%s attempt=%d queue=%s",
            *_identity(job),
            _line(job.queue),
            extra=_extra(job),
        )


def logs_successes() -> bool:
    """Return whether the log takes the lines of jobs that succeed."""
    return _jobs.isEnabledFor(logging.INFO)


def job_ended(outcome: Outcome, expected: bool = False) -> None:
    """Log one line for the end of an attempt; *expected*: its exception is in ``throws``."""
    failed = outcome.status == Status.FAILURE and not expected
    level = logging.ERROR if failed else logging.INFO
    if outcome.status == Status.RETRY or _is_first_deferral(outcome):
        level = logging.WARNING
    if not _jobs.isEnabledFor(level):
        return
    job, failure = outcome.job, outcome.failure
    error = f" error={failure.error_class}: {failure.message[:500]!r}" if failure else ""
    _log_once(
        level,
        "%s name=%s id=%s attempt=%d runtime=%.3fs%s%s",
        (
            outcome.status.lower(),
            *_identity(job),
            outcome.ended - outcome.began,
            f" delay={outcome.delay:.1f}s" if outcome.delay is not None else "",
            error,
        ),
        outcome,
        error_of(outcome) if failed else None,
    )


def _log_once(
    level: int, text: str, args: tuple[Any, ...], outcome: Outcome, error: BaseException | None
) -> None:
    """Log the end of an attempt as one record, with *error*: handlers mail and count records."""
    file, line, function, _stack = _jobs.findCaller()
    how = (type(error), error, body_traceback(error)) if error is not None else None
    extra = _extra(outcome.job) | {"status": str(outcome.status)}
    record = _jobs.makeRecord(_jobs.name, level, file, line, text, args, how, function, extra)
    if error is not None and outcome.failure is not None:
        # Formatters print this text in place of the exception, which has no bound.
        record.exc_text = outcome.failure.traceback.rstrip("\n") or outcome.failure.error_class
    _jobs.handle(record)


def _extra(job: Claimed) -> dict[str, Any]:
    """Return the attributes of a record about *job*, for JSON formatters."""
    return {
        "job_id": str(job.id),
        "job_name": _line(job.name),
        "queue": job.queue,
        "attempt": job.retries + 1,
    }


def _is_first_deferral(outcome: Outcome) -> bool:
    """Return whether this is the first job of its function that this process cannot run."""
    if not outcome.is_deferred or outcome.failure is None or len(deferred) >= _MOST_DEFERRED:
        return False
    key = outcome.job.name, outcome.failure.error_class
    is_first = key not in deferred
    deferred.add(key)
    return is_first


def _identity(job: Claimed) -> tuple[str, UUID, int]:
    """Return the values of ``name=%s id=%s attempt=%d``."""
    return _line(job.name), job.id, job.retries + 1


def _line(name: str) -> str:
    """Return a row's name, which may hold any character, as one line."""
    return name if name.isprintable() else printable(name).replace("\n", "\\n")


def retry_after_ignored(job: Claimed, problem: Failure) -> None:
    _jobs.warning(
        "retry_after ignored name=%s id=%s attempt=%d error=%s: %s",
        *_identity(job),
        problem.error_class,
        problem.message[:500],
    )


def backoff_failed(job: Claimed, problem: Failure) -> None:
    _jobs.error(
        "retry_backoff failed name=%s id=%s attempt=%d: the wait is that of retry_backoff=True\n%s",
        *_identity(job),
        problem.traceback,
    )


def outcome_dropped(outcome: Outcome, worker_id: UUID) -> None:
    _jobs.warning(
        "outcome dropped name=%s id=%s attempt=%d status=%s worker=%s: the job is no longer ours",
        *_identity(outcome.job),
        outcome.status,
        worker_id,
    )


def outcome_unrecordable(outcome: Outcome, failure: Failure | None) -> None:
    _jobs.error(
        "outcome refused name=%s id=%s attempt=%d status=%s: the job ends as FAILURE\n%s",
        *_identity(outcome.job),
        outcome.status,
        failure.traceback if failure else "",
    )


def failed(what: str, error: Exception, seconds: float, *, away: bool) -> None:
    """Log that the worker's own work *what* failed; it tries again after *seconds*."""
    if away:
        database_away(what, error, seconds)
    elif isinstance(error, Error):
        _worker.error(
            "statement refused while=%s next_try=%.1fs error=%s: %s",
            what,
            seconds,
            type(error).__name__,
            str(error).strip(),
        )
    else:
        _worker.error("error while=%s next_try=%.1fs", what, seconds, exc_info=error)


def unprepared(job: Claimed, failure: Failure) -> None:
    _jobs.error(
        "base= failed name=%s id=%s: a crash is counted without it\n%s",
        _line(job.name),
        job.id,
        failure.traceback,
    )


def hook_failed(hook: str, name: str, failure: Failure) -> None:
    # The exception itself may quote the job's arguments, so no handler gets it.
    _jobs.error("hook failed name=%s hook=%s\n%s", name, hook, failure.traceback)


def untold(job: Claimed, error: Exception) -> None:
    # Its class only: what hides the job's secrets may have failed.
    kind = type(error).__name__
    _jobs.error("end not told name=%s id=%s error=%s", _line(job.name), job.id, kind)


def middleware_failed(path: str, name: str, failure: Failure) -> None:
    _jobs.error("middleware failed name=%s middleware=%s\n%s", name, path, failure.traceback)


def instrumentation_failed(path: str, failure: Failure) -> None:
    _jobs.error("instrumentation failed path=%s\n%s", path, failure.traceback)


def receiver_failed(name: str, failure: Failure) -> None:
    _jobs.error("signal receiver failed name=%s\n%s", name, failure.traceback)


def errback_failed(errback: Any, job_id: UUID, failure: Failure) -> None:
    # Its name only: its arguments may be secret.
    name = errback.get("task", "a workflow") if isinstance(errback, Mapping) else "unreadable"
    _jobs.error(
        "errback not enqueued job=%s errback=%s\n%s", job_id, _line(str(name)), failure.traceback
    )


def database_away(what: str, error: Exception, seconds: float) -> None:
    text = message_of(error).strip()
    outage.begins(what)
    if outage.is_news(text):
        _worker.error("database away while=%s next_try=%.1fs error=%s", what, seconds, text)


def connection_refused(error: BaseException, seconds: float) -> None:
    text = (
        f"a job could not connect to the database and is given back; next_claim={seconds:.1f}s "
        f"error={str(error).strip()}"
    )
    if outage.is_news(text):
        _worker.error("%s", text)


def jobs_left(worker_id: UUID, began: Sequence[UUID]) -> None:
    _worker.error(
        "jobs left worker=%s: the database is away, so its jobs stay STARTED until another worker "
        "rescues them; began=%s",
        worker_id,
        ",".join(map(str, began)) or "none",
    )


def database_back(what: str) -> None:
    """Log that *what* works again, unless other work of this process still fails."""
    if outage.ends(what):
        _worker.info("database back while=%s", what)


def ticks_fired(schedule: str, job: str, job_ids: Sequence[UUID], late: float) -> None:
    for job_id in job_ids:
        _beat.info("fired schedule=%r name=%s id=%s late=%.3fs", schedule, job, job_id, late)


def ticks_skipped(schedule: str, number: int, reason: str) -> None:
    _beat.info("skipped schedule=%r ticks=%d reason=%s", schedule, number, reason)


def limit_unreadable(key: str, error: ValueError) -> None:
    _worker.error("limit left out key=%r error=%s", key, error)


def schedule_failed(schedule: str, error: str) -> None:
    _beat.error("cannot fire schedule=%r error=%s", schedule, error)


def schedule_left_out(problem: str) -> None:
    _beat.error("schedule in code left out: %s", problem)
