"""Exceptions that are made again from what a row keeps of them."""

from __future__ import annotations

import sys
from typing import Any

from ..exceptions import (
    Ignore,
    Reject,
    RemoteSoftTimeLimitExceeded,
    RemoteTimeLimitExceeded,
    Replaced,
    Retry,
    Snooze,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
)

# get() raises an Exception for a job that a time limit ended.
_REMOTE: dict[Any, type[Exception]] = {
    SoftTimeLimitExceeded: RemoteSoftTimeLimitExceeded,
    TimeLimitExceeded: RemoteTimeLimitExceeded,
}

# get() never raises these. Retry and its like decide the outcome of the job that raises them: a row
# must not end the job that waits. StopIteration would end a loop of the caller, and an asyncio
# future does not take it, so that an await would never end.
_NOT_RAISED = (Ignore, Reject, Replaced, Retry, Snooze, StopIteration, StopAsyncIteration)


def loaded_class(path: str) -> type[BaseException] | None:
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


def built(known: type[BaseException], stored: Any) -> BaseException | None:
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
