"""The attributes by which every log record names its job and its worker."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from ..failure import one_line
from ..values import Claimed

#: The names of the package's loggers.
LOGGERS = tuple(
    f"django_jobs.{name}"
    for name in ("job", "worker", "beat", "signals", "output", "opentelemetry")
)

#: The attributes, with their values in records that are about no job, or by no worker. A format
#: string such as ``%(attempt)d`` works with them, too.
NEUTRAL: dict[str, str | int] = {
    "job_id": "-",
    "job_name": "-",
    "queue": "-",
    "attempt": 0,
    "worker": "-",
}

#: The job that this thread or coroutine runs, prepares or tidies up after.
subject: ContextVar[Claimed | None] = ContextVar("django_jobs_subject", default=None)
#: The name of the worker or beat for which this thread or coroutine works; "" if for none.
worker_name: ContextVar[str] = ContextVar("django_jobs_worker", default="")


class JobFilter(logging.Filter):
    """Gives every record of a handler ``job_id``, ``job_name``, ``queue``, ``attempt``, ``worker``.

    A record that the code of a running job makes gets those of the job. ``attempt`` is a number
    from 1; the others are texts. Outside of a job they are ``-``, and ``attempt`` is 0. A record
    keeps an ``extra`` of its own with such a name.

    Add it to the handler that takes the record in its thread, as a ``QueueHandler`` does. Context
    variables tell which job runs: they reach ``await``, ``sync_to_async()`` and
    ``asyncio.to_thread()``, but no thread that the job starts otherwise.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        complete(record)
        return True


def complete(record: logging.LogRecord) -> None:
    """Give *record* the attributes that it lacks.

    A record that names no other job gets those of the job in :data:`subject`.
    """
    known, job = vars(record), subject.get()
    found: dict[str, Any] = {"worker": worker_name.get() or NEUTRAL["worker"]}
    if job is not None and known.get("job_id") in (None, str(job.id)):
        found |= of(job)
    for name, neutral in NEUTRAL.items():
        known.setdefault(name, found.get(name, neutral))


def of(job: Claimed) -> dict[str, Any]:
    """Return the attributes of records about *job*, as ``extra``."""
    return about(job.id, job.name, queue=one_line(job.queue), attempt=job.retries + 1)


def about(job_id: UUID | str, name: str, **others: Any) -> dict[str, Any]:
    """Return the attributes of records about a job, as ``extra``; *others* are those known."""
    return {"job_id": str(job_id), "job_name": one_line(name), **others}


def _prepare(logger: logging.Logger) -> None:
    """Give the logger's records their attributes, for handlers without a filter, too.

    An exception in a project's handler does not end the code that logs.
    """
    handle = logger.handle

    def tolerate(record: logging.LogRecord) -> None:
        try:
            complete(record)
            handle(record)
        except Exception:
            logging.Handler().handleError(record)

    logger.handle = tolerate  # type: ignore[method-assign]


for _name in LOGGERS:
    _prepare(logging.getLogger(_name))


class working_as:
    """Let the records of this thread or coroutine name the worker *name* meanwhile, and *job*."""

    # A generator would cost a short job three times as much.
    __slots__ = ("_job", "_name", "_tokens")

    def __init__(self, name: str, job: Claimed | None = None) -> None:
        self._name, self._job = name, job

    def __enter__(self) -> None:
        self._tokens = worker_name.set(self._name), subject.set(self._job)

    def __exit__(self, *_: object) -> None:
        name, job = self._tokens
        worker_name.reset(name)
        subject.reset(job)
