"""A remote exception becomes one of this process again, as far as its class is known here."""

from __future__ import annotations

import re
import sys

from .exceptions import (
    JobFailed,
    JobRevoked,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    UpstreamFailed,
)
from .models import Attempt, Job
from .status import Status

UPSTREAM_FAILED = f"{UpstreamFailed.__module__}.{UpstreamFailed.__qualname__}"
# How the message begins that dependents.message_of() writes.
_FAILED = re.compile(r"job ([0-9a-f-]{36}) \(")


def last_attempt(row: Job) -> Attempt | None:
    """Return the newest attempt of a job that did not succeed, if there is one."""
    return Attempt.objects.using(row._state.db).filter(job_id=row.pk).order_by("-id").first()


def exception_of(row: Job) -> BaseException:
    """Return a failed job's exception, or ``JobFailed`` where this process cannot make it.

    Of one that could not run it is the exception of the job that it is due to.
    """
    if row.error_class == UPSTREAM_FAILED:
        origin = failed_upstream(row)
        if origin is not None and origin.status == Status.REVOKED:
            why = origin.error_message or "revoked"
            return JobRevoked(f"{origin.name} {origin.pk}: {why}")
        if origin is not None and origin.status == Status.FAILURE:
            return exception_of(origin)
        return UpstreamFailed(row.error_message)
    last = last_attempt(row)
    traceback = last.traceback if last else ""
    known = _loaded_class(row.error_class)
    if known is not None and last is not None and isinstance(last.error_args, list):
        try:
            error = known(*last.error_args)
        except Exception:  # a constructor that wants something else than its args
            error = JobFailed(row.error_class, row.error_message, traceback)
    else:
        error = JobFailed(row.error_class, row.error_message, traceback)
    if traceback:
        error.add_note(f"The traceback in the worker:\n{traceback}")
    return error


def failed_upstream(row: Job) -> Job | None:
    """Return the job to whose failure another one's is due, if that is so and it is there."""
    if row.error_class != UPSTREAM_FAILED:
        return None
    named = _FAILED.match(row.error_message)
    if named is None:
        return None
    return Job.objects.using(row._state.db).filter(pk=named[1]).first()


def _loaded_class(path: str) -> type[BaseException] | None:
    """Return the exception class of that dotted name if this process has loaded it.

    A row may name anything: nothing is imported for it, and what is no exception is not touched
    (https://nvd.nist.gov/vuln/detail/CVE-2021-23727).
    """
    module, _, name = path.rpartition(".")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return next((c for c in (SoftTimeLimitExceeded, TimeLimitExceeded) if c is found), None)
