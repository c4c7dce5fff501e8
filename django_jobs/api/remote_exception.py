"""A remote exception becomes one of this process again, as far as its class is known here."""

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

# Where one waits for a job, its end by a time limit is an Exception.
_REMOTE: dict[Any, type[Exception]] = {
    SoftTimeLimitExceeded: RemoteSoftTimeLimitExceeded,
    TimeLimitExceeded: RemoteTimeLimitExceeded,
}


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
    error: BaseException | None = None
    if known is not None and last is not None:
        error = _built(known, last.error_args)
    if error is None:
        error = JobFailed(row.error_class, row.error_message, traceback)
    if traceback:
        error.add_note(f"The traceback in the worker:\n{traceback}")
    return error


def deferral_of(row: Job) -> BaseException:
    """Return the exception that says why a worker gave a job back that it could not run."""
    known = _loaded_class(row.error_class)
    error = _built(known, [row.error_message]) if known is not None else None
    return error or JobFailed(row.error_class, row.error_message)


def failed_upstream(row: Job) -> Job | None:
    """Return the job to whose failure another one's is due, if that is so and it is there."""
    origin = origin_of(row.error_message) if row.error_class == UPSTREAM_FAILED else None
    return Job.objects.using(row._state.db).filter(pk=origin).first() if origin else None


def _loaded_class(path: str) -> type[BaseException] | None:
    """Return the exception class of that dotted name if this process has loaded it.

    A row may name anything: nothing is imported for it, and what is no exception is not touched
    (https://nvd.nist.gov/vuln/detail/CVE-2021-23727).
    """
    found: Any = None
    names = path.split(".")
    for length in range(len(names) - 1, 0, -1):
        module = sys.modules.get(".".join(names[:length]))
        if module is not None:
            # An exception may stand in a class, as Model.DoesNotExist does.
            found = vars(module).get(names[length])
            for name in names[length + 1 :]:
                found = vars(found).get(name) if isinstance(found, type) else None
            break
    if found in _REMOTE:
        return _REMOTE[found]
    if not isinstance(found, type) or not issubclass(found, Exception):
        return None
    # These steer the job whose body raises them: a row must not end the job that waits for it.
    return None if issubclass(found, (Ignore, Reject, Replaced, Retry, Snooze)) else found


def _built(known: type[BaseException], stored: Any) -> BaseException | None:
    """Return an exception of the class *known* with what :mod:`django_jobs.failure` stored of it.

    No constructor but Python's own is called: another one may format its arguments once more, or
    have effects. None says that this is not possible.
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
        str(error)  # its own __str__ may want what was not stored
    except Exception:
        return None
    return error
