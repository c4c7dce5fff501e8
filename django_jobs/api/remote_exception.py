"""Rebuilds the exception of a failed job, if this process knows its class."""

from __future__ import annotations

import sys
from typing import Any

from ..exceptions import (
    Ignore,
    JobFailed,
    JobRevoked,
    Reject,
    RemoteSoftTimeLimitExceeded,
    RemoteTimeLimitExceeded,
    Replaced,
    Retry,
    Snooze,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    UpstreamFailed,
)
from ..models import Attempt, Job
from ..status import Status
from ..workflows.upstream import UPSTREAM_FAILED, origin_of

# get() raises an Exception for a job that a time limit ended.
_REMOTE: dict[Any, type[Exception]] = {
    SoftTimeLimitExceeded: RemoteSoftTimeLimitExceeded,
    TimeLimitExceeded: RemoteTimeLimitExceeded,
}

# get() never raises these. Retry and its like decide the outcome of the job that raises them: a row
# must not end the job that waits. StopIteration would end a loop of the caller, and an asyncio
# future does not take it, so that an await would never end.
_NOT_RAISED = (Ignore, Reject, Replaced, Retry, Snooze, StopIteration, StopAsyncIteration)


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
    known = _loaded_class(row.error_class)
    error: BaseException | None = None
    if known is not None and last is not None:
        error = _built(known, last.error_args)
    if error is None:
        error = JobFailed(row.error_class, row.error_message, traceback)
    if traceback:
        error.add_note(f"The traceback in the worker:\n{traceback}")
    return error


def deferral_of(row: Job) -> BaseException:
    """Return the exception because of which a worker could not run the job."""
    known = _loaded_class(row.error_class)
    error = _built(known, [row.error_message]) if known is not None else None
    return error or JobFailed(row.error_class, row.error_message)


def failed_upstream(row: Job) -> Job | None:
    """Return the job because of which *row* failed, or None if there is no such row."""
    origin = origin_of(row.error_message) if row.error_class == UPSTREAM_FAILED else None
    return Job.objects.using(row._state.db).filter(pk=origin).first() if origin else None


def _loaded_class(path: str) -> type[BaseException] | None:
    """Return the exception class with that dotted name if this process has loaded it.

    A row may name anything, so this imports nothing and returns only subclasses of ``Exception``
    (https://nvd.nist.gov/vuln/detail/CVE-2021-23727).
    """
    found: Any = None
    names = path.split(".")
    for length in range(len(names) - 1, 0, -1):
        module = sys.modules.get(".".join(names[:length]))
        if module is not None:
            # A class may contain the exception, as with Model.DoesNotExist.
            found = vars(module).get(names[length])
            for name in names[length + 1 :]:
                found = vars(found).get(name) if isinstance(found, type) else None
            break
    if not isinstance(found, type):
        return None
    if found in _REMOTE:
        return _REMOTE[found]
    if not issubclass(found, Exception) or issubclass(found, _NOT_RAISED):
        return None
    return found


def _built(known: type[BaseException], stored: Any) -> BaseException | None:
    """Return an exception of the class *known* from what :mod:`django_jobs.failure` stored.

    Only Python's own constructor is called, because others may format the arguments again or have
    effects. Returns None if that is not possible.
    """
    args, attributes = stored, {}
    if isinstance(stored, dict):
        args, attributes = stored.get("args"), stored.get("attributes", {})
    if not isinstance(args, list) or not isinstance(attributes, dict):
        return None
    builtin: Any = next(base for base in known.__mro__ if base.__module__ == "builtins")
    try:
        error: BaseException = builtin.__new__(known, *args)
        builtin.__init__(error, *args)
        vars(error).update(attributes)
        str(error)  # its __str__ may need attributes that were not stored
    except Exception:
        return None
    return error
