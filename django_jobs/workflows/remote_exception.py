"""Rebuilds the exception of a failed job, if this process knows its class."""

from __future__ import annotations

from ..define.rebuilt_errors import built, loaded_class
from ..exceptions import JobFailed, JobRevoked, UpstreamFailed
from ..models import Attempt, Job
from ..status import Status
from .upstream import UPSTREAM_FAILED, origin_of


def last_attempt(row: Job) -> Attempt | None:
    """Return the newest failed attempt of a job, or None."""
    return Attempt.objects.using(row._state.db).filter(job_id=row.pk).order_by("-id").first()


def exception_of(row: Job) -> BaseException:
    """Return a failed job's exception, or ``JobFailed`` if this process cannot rebuild it.

    If the job failed because of another one, it is that job's exception.
    """
    if row.error_class == UPSTREAM_FAILED:
        origin = failed_upstream(row)
        if origin is not None and origin.status == Status.REVOKED:
            why = origin.error_message or "revoked"
            return JobRevoked(f"{origin.name} {origin.pk}: {why}")
        # The message names the first that failed: no other row leads on.
        is_first = origin is not None and origin.error_class != UPSTREAM_FAILED
        if origin is not None and origin.status == Status.FAILURE and is_first:
            return exception_of(origin)
        return UpstreamFailed(row.error_message)
    last = last_attempt(row)
    traceback = last.traceback if last else ""
    known = loaded_class(row.error_class)
    error: BaseException | None = None
    if known is not None and last is not None:
        error = built(known, last.error_args)
    if error is None:
        error = JobFailed(row.error_class, row.error_message, traceback)
    if traceback:
        error.add_note(f"The traceback in the worker:\n{traceback}")
    return error


def deferral_of(row: Job) -> BaseException:
    """Return the exception because of which a worker could not run the job."""
    known = loaded_class(row.error_class)
    error = built(known, [row.error_message]) if known is not None else None
    return error or JobFailed(row.error_class, row.error_message)


def failed_upstream(row: Job) -> Job | None:
    """Return the job because of which *row* failed, or None if there is no such row."""
    origin = origin_of(row.error_message) if row.error_class == UPSTREAM_FAILED else None
    return Job.objects.using(row._state.db).filter(pk=origin).first() if origin else None
