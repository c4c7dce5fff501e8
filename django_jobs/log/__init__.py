"""The package's log lines, in one place: an event and key=value pairs.

Each record about a job has the attributes of :mod:`.attributes`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import Error

from ..failure import body_traceback, message_of, one_line
from ..status import Status
from ..values import Claimed, Failure, NewJob, Outcome
from .attributes import JobFilter, about, of, subject, worker_name, working_as
from .console import FORMATS, ConsoleFormatter, set_up_console
from .json_lines import JsonFormatter
from .outages import Outage, outage
from .safe_error import error_of

__all__ = [
    "FORMATS",
    "ConsoleFormatter",
    "JobFilter",
    "JsonFormatter",
    "Outage",
    "about",
    "of",
    "outage",
    "set_up_console",
    "subject",
    "worker_name",
    "working_as",
]

_jobs = logging.getLogger("django_jobs.job")
_worker = logging.getLogger("django_jobs.worker")
_beat = logging.getLogger("django_jobs.beat")


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
            one_line(job.queue),
            extra=of(job),
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
    extra = of(outcome.job) | {"status": str(outcome.status)}
    record = _jobs.makeRecord(_jobs.name, level, file, line, text, args, how, function, extra)
    if error is not None and outcome.failure is not None:
        # Formatters print this text in place of the exception, which has no bound.
        record.exc_text = outcome.failure.traceback.rstrip("\n") or outcome.failure.error_class
    _jobs.handle(record)


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
    return one_line(job.name), job.id, job.retries + 1


def retry_after_ignored(job: Claimed, problem: Failure) -> None:
    _jobs.warning(
        "retry_after ignored name=%s id=%s attempt=%d error=%s: %s",
        *_identity(job),
        problem.error_class,
        problem.message[:500],
        extra=of(job),
    )


def backoff_failed(job: Claimed, problem: Failure) -> None:
    _jobs.error(
        "retry_backoff failed name=%s id=%s attempt=%d: the wait is that of retry_backoff=True\n%s",
        *_identity(job),
        problem.traceback,
        extra=of(job),
    )


def outcome_dropped(outcome: Outcome, worker_id: UUID) -> None:
    _jobs.warning(
        "outcome dropped name=%s id=%s attempt=%d status=%s worker=%s: the job is no longer ours",
        *_identity(outcome.job),
        outcome.status,
        worker_id,
        extra=of(outcome.job),
    )


def outcome_unrecordable(outcome: Outcome, failure: Failure | None) -> None:
    _jobs.error(
        "outcome refused name=%s id=%s attempt=%d status=%s: the job ends as FAILURE\n%s",
        *_identity(outcome.job),
        outcome.status,
        failure.traceback if failure else "",
        extra=of(outcome.job),
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
        "base class failed name=%s id=%s attempt=%d: a crash is counted without it\n%s",
        *_identity(job),
        failure.traceback,
        extra=of(job),
    )


def hook_failed(hook: str, job: Claimed, failure: Failure) -> None:
    # The exception itself may quote the job's arguments, so no handler gets it.
    _jobs.error(
        "hook failed name=%s id=%s attempt=%d hook=%s\n%s",
        *_identity(job),
        hook,
        failure.traceback,
        extra=of(job),
    )


def untold(job: Claimed, error: Exception) -> None:
    # Its class only: what hides the job's secrets may have failed.
    kind = type(error).__name__
    _jobs.error(
        "end not told name=%s id=%s attempt=%d error=%s", *_identity(job), kind, extra=of(job)
    )


def middleware_failed(path: str, job: Claimed, failure: Failure) -> None:
    _jobs.error(
        "middleware failed name=%s id=%s attempt=%d middleware=%s\n%s",
        *_identity(job),
        path,
        failure.traceback,
        extra=of(job),
    )


def instrumentation_failed(path: str, failure: Failure) -> None:
    _jobs.error("instrumentation failed path=%s\n%s", path, failure.traceback)


def receiver_failed(job_id: UUID | str, name: str, failure: Failure) -> None:
    job = about(job_id, name)
    _jobs.error(
        "signal receiver failed name=%s id=%s\n%s",
        job["job_name"],
        job["job_id"],
        failure.traceback,
        extra=job,
    )


def errback_failed(errback: Any, job: Mapping[str, Any], failure: Failure) -> None:
    """Log that *errback* of the failed job with the attributes *job* was not enqueued."""
    # Its name only: its arguments may be secret.
    name = errback.get("task", "a workflow") if isinstance(errback, Mapping) else "unreadable"
    _jobs.error(
        "errback not enqueued name=%s id=%s errback=%s\n%s",
        job["job_name"],
        job["job_id"],
        one_line(str(name)),
        failure.traceback,
        extra=job,
    )


def database_away(what: str, error: Exception, seconds: float) -> None:
    text = message_of(error).strip()
    outage.begins(what)
    if outage.is_news(text):
        _worker.error("database away while=%s next_try=%.1fs error=%s", what, seconds, text)


def connection_refused(error: BaseException, seconds: float) -> None:
    text = str(error).strip()
    if outage.is_news(f"a job: {text}"):
        _worker.error(
            "a job could not connect to the database and is given back; next_claim=%.1fs error=%s",
            seconds,
            text,
        )


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


def ticks_fired(schedule: str, jobs: Iterable[NewJob], late: float) -> None:
    for job in jobs:
        _beat.info(
            "fired schedule=%r name=%s id=%s late=%.3fs",
            schedule,
            job.name,
            job.id,
            late,
            extra=about(job.id, job.name, queue=job.queue),
        )


def ticks_skipped(schedule: str, number: int, reason: str) -> None:
    _beat.info("skipped schedule=%r ticks=%d reason=%s", schedule, number, reason)


def limit_unreadable(key: str, error: ValueError) -> None:
    _worker.error("limit left out key=%r error=%s", key, error)


def schedule_failed(schedule: str, error: str) -> None:
    _beat.error("cannot fire schedule=%r error=%s", schedule, error)


def schedule_left_out(problem: str) -> None:
    _beat.error("schedule in code left out: %s", problem)
