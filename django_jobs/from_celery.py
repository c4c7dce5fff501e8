"""What a project has that comes from Celery: tasks under ``@job``, and names of a task."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

# Attributes of Celery's tasks, and what takes their place.
_INSTEAD = {
    "delay_on_commit": "delay() is part of the transaction already; use it",
    "apply_async_on_commit": "apply_async() is part of the transaction already; use it",
    "subtask": "use signature()",
    "subtask_from_request": "use signature(self.request.args, self.request.kwargs)",
    "AsyncResult": "use django_jobs.AsyncResult(id)",
    "request": "it belongs to a running job; use current_job.request, or self with bind=True",
    "retry": "it belongs to a running job; use current_job.retry(), or self with bind=True",
    "update_state": "it belongs to a running job; use current_job.update_state(), or self with "
    "bind=True",
    "run": "call the job function itself",
    "app": "there is no app; the job functions are those of the project",
    "backend": "the job's row has its result",
}


def body_of(function: Any) -> Any:
    """Return the function that a Celery task was made of; any other *function* as it is.

    While a project moves, ``@job`` stands over ``@shared_task``. Both then run the same body, each
    with its own ``self`` and its own retries.
    """
    kind = getattr(sys.modules.get("celery"), "Task", None)
    if kind is None or not isinstance(function, kind):
        return function
    body: Callable[..., Any] | None = getattr(function, "__wrapped__", None)
    if body is None:
        raise TypeError(
            f"@job decorates a function, got the Celery task {function.name}, which is made of the "
            f"class {type(function).__qualname__}; move its run() into a function of the module"
        )
    # With Celery's bind=True it is a method of the task.
    return getattr(body, "__func__", body)


def no_attribute(name: str) -> str:
    """Return the message for an attribute that a job function does not have."""
    instead = f": {_INSTEAD[name]}" if name in _INSTEAD else ""
    return f"a job function has no attribute {name!r}{instead}"
