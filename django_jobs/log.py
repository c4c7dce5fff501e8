"""The package's log lines, in one place: an event and key=value pairs."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error

from .define.current import running
from .failure import message_of, printable
from .status import Status
from .values import Claimed, Failure, Outcome

_jobs = logging.getLogger("django_jobs.job")
_worker = logging.getLogger("django_jobs.worker")
_beat = logging.getLogger("django_jobs.beat")


def _let_handlers_fail(logger: logging.Logger) -> None:
    """Let a handler of the project's that raises lose its line, and end nothing that logs."""
    handle = logger.handle

    def tolerate(record: logging.LogRecord) -> None:
        try:
            handle(record)
        except Exception:
            logging.Handler().handleError(record)

    logger.handle = tolerate  # type: ignore[method-assign]


for _name in ("job", "worker", "beat", "signals", "output"):
    _let_handlers_fail(logging.getLogger(f"django_jobs.{_name}"))

# While a database stays away for the same reason, a process says so again after this time.
_REMINDER_SECONDS = 60.0


class Outage:
    """What a process has logged of a database that is away: each cause once, then seldom.

    Several threads of a process meet the same outage. They share this without a lock, as a process
    may be forked while a thread holds one. At worst two threads log the same line.
    """

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}
        self._failing: set[str] = set()

    def is_news(self, error: str, now: float) -> bool:
        """Tell whether to log *error*. Numbers in it, such as process ids, make no difference."""
        cause = re.sub(r"\d+", "0", error)
        if now < self._logged.get(cause, -_REMINDER_SECONDS) + _REMINDER_SECONDS:
            return False
        self._logged[cause] = now
        return True

    def begins(self, what: str) -> None:
        self._failing.add(what)

    def ends(self, what: str) -> bool:
        """Tell whether all that failed works again."""
        self._failing.discard(what)
        if self._failing:
            return False
        self._logged.clear()
        return True


outage = Outage()
# Of so many job functions a process says that it cannot run them.
_MOST_DEFERRED = 1_000
# Their names, with the class of the error. Threads share it without a lock, as above.
deferred: set[tuple[str, str]] = set()


class JobFilter(logging.Filter):
    """Gives every record ``job_id`` and ``job_name`` of the job whose code logs, or ``-``.

    A record of the package that is about a job has that job's.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        context = running.get()
        if not hasattr(record, "job_id"):
            record.job_id = context.request.id if context else "-"
            record.job_name = context.name if context else "-"
        return True


class ConsoleFormatter(logging.Formatter):
    """Lets no job steer the terminal or forge a line: a record begins at the left, its rest not.

    The job stands before what its own code logs. The package's lines name it themselves.
    """

    def format(self, record: logging.LogRecord) -> str:
        known = vars(record)
        names_it = known.get("job_id", "-") == "-" or "queue" in known
        record.job = "" if names_it else f"[{known['job_name']} {known['job_id']}] "
        text = printable(super().format(record))
        return "\n  ".join(text.rstrip("\n").split("\n"))


def job_started(job: Claimed) -> None:
    """Log at DEBUG that an attempt begins: a job that hangs leaves this line."""
    if _jobs.isEnabledFor(logging.DEBUG):
        _jobs.debug(
            "started name=%s id=%s attempt=%d queue=%s",
            _line(job.name),
            job.id,
            job.retries + 1,
            _line(job.queue),
            extra=_extra(job),
        )


def job_ended(outcome: Outcome, expected: bool = False) -> None:
    """Log one line for the end of an attempt; *expected* is for exceptions in ``throws``."""
    failed = outcome.status == Status.FAILURE and not expected
    level = logging.ERROR if failed else logging.INFO
    if outcome.status == Status.RETRY or _is_first_deferral(outcome):
        level = logging.WARNING
    if not _jobs.isEnabledFor(level):
        return
    job, failure = outcome.job, outcome.failure
    error = f" error={failure.error_class}: {failure.message[:500]!r}" if failure else ""
    # One record for one failure: handlers mail and count records.
    traceback = f"\n{failure.traceback}" if failed and failure and failure.traceback else ""
    _jobs.log(
        level,
        "%s name=%s id=%s attempt=%d runtime=%.3fs%s%s%s",
        outcome.status.lower(),
        _line(job.name),
        job.id,
        job.retries + 1,
        outcome.ended - outcome.began,
        f" delay={outcome.delay:.1f}s" if outcome.delay is not None else "",
        error,
        traceback,
        extra=_extra(job),
    )


def _extra(job: Claimed) -> dict[str, Any]:
    """Return the attributes of a record about *job*, as a JSON formatter shows them."""
    return {
        "job_id": str(job.id),
        "job_name": _line(job.name),
        "queue": job.queue,
        "attempt": job.retries + 1,
    }


def _is_first_deferral(outcome: Outcome) -> bool:
    """Tell whether to warn that this process cannot run a job: once for each job function."""
    if not outcome.is_deferred or outcome.failure is None or len(deferred) >= _MOST_DEFERRED:
        return False
    key = outcome.job.name, outcome.failure.error_class
    is_first = key not in deferred
    deferred.add(key)
    return is_first


def _line(name: str) -> str:
    """Return the name in a row, which anybody may have written, within one line."""
    return name if name.isprintable() else printable(name).replace("\n", "\\n")


def outcome_dropped(outcome: Outcome, worker_id: UUID) -> None:
    _jobs.warning(
        "outcome dropped name=%s id=%s attempt=%d status=%s worker=%s: the job is no longer ours",
        _line(outcome.job.name),
        outcome.job.id,
        outcome.job.retries + 1,
        outcome.status,
        worker_id,
    )


def outcome_unrecordable(outcome: Outcome, failure: Failure | None) -> None:
    _jobs.error(
        "outcome refused name=%s id=%s attempt=%d status=%s: the job ends as FAILURE\n%s",
        _line(outcome.job.name),
        outcome.job.id,
        outcome.job.retries + 1,
        outcome.status,
        failure.traceback if failure else "",
    )


def failed(what: str, error: Exception, seconds: float, *, away: bool) -> None:
    """Log what failed in a worker's own work; it is tried again after *seconds*."""
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


def receiver_failed(name: str, failure: Failure) -> None:
    _jobs.error("signal receiver failed name=%s\n%s", name, failure.traceback)


def errback_failed(errback: Any, job_id: UUID, failure: Failure) -> None:
    # Its name only: its arguments may be secret.
    name = errback.get("task", "a workflow") if isinstance(errback, Mapping) else "unreadable"
    _jobs.error("errback not enqueued job=%s errback=%s\n%s", job_id, name, failure.traceback)


def database_away(what: str, error: Exception, seconds: float) -> None:
    text = message_of(error).strip()
    outage.begins(what)
    if outage.is_news(text, time.monotonic()):
        _worker.error("database away while=%s next_try=%.1fs error=%s", what, seconds, text)


def connection_refused(error: BaseException, seconds: float) -> None:
    text = (
        f"a job could not connect to the database and is given back; next_claim={seconds:.1f}s "
        f"error={str(error).strip()}"
    )
    if outage.is_news(text, time.monotonic()):
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


def set_up_console(level: str | None) -> None:
    """Show log lines of *level* (INFO by default) and above on stderr.

    Where the project has ``LOGGING``, the root logger stays as it is. The package's own lines get a
    handler when nothing else shows them, and a level when *level* is given or ``LOGGING`` names
    neither the root logger nor the package's.
    """
    package, root = logging.getLogger("django_jobs"), logging.getLogger()
    if settings.LOGGING:
        if not package.hasHandlers():
            package.addHandler(_console())
        loggers: Any = settings.LOGGING.get("loggers", {})
        if level or not ("root" in settings.LOGGING or "" in loggers or "django_jobs" in loggers):
            package.setLevel(level or "INFO")
        return
    if not root.handlers:
        root.addHandler(_console())
    root.setLevel(level or "INFO")
    package.setLevel(level or "INFO")


def _console() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.addFilter(JobFilter())
    handler.setFormatter(
        ConsoleFormatter("%(asctime)s %(levelname)s %(process)d %(name)s %(job)s%(message)s")
    )
    return handler
