"""Celery's tasks under ``@job``, and the attributes of tasks that a job function does not have."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

#: Attributes of Celery's tasks that a job function does not have, and what to use instead.
ATTRIBUTES = {
    "subtask": "Use signature()",
    "subtask_from_request": "Use signature(self.request.args, self.request.kwargs)",
    "AsyncResult": "Use django_jobs.AsyncResult(id)",
    "request": "It belongs to a running job. Use current_job.request, or self with bind=True",
    "retry": "It belongs to a running job. Use current_job.retry(), or self with bind=True",
    "update_state": "It belongs to a running job. Use current_job.update_state(), or self with "
    "bind=True",
    "run": "Call the job function itself",
    "app": "There is no app; the job functions are those of the project",
    "backend": "The job's row has its result",
}


def body_of(function: Any) -> Any:
    """Return the function of a Celery task; return any other *function* unchanged.

    While a project moves, a function can have both ``@job`` and ``@shared_task``. Both run the same
    body, each with its own ``self`` and its own retries.
    """
    kind = getattr(sys.modules.get("celery"), "Task", None)
    if kind is None or not isinstance(function, kind):
        return function
    body: Callable[..., Any] | None = getattr(function, "__wrapped__", None)
    if body is None:
        raise TypeError(
            f"@job decorates a function, got the Celery task {function.name}, which is made of the "
            f"class {type(function).__qualname__}. Move its run() into a function of the module."
        )
    # With Celery's bind=True the body is a method of the task.
    return getattr(body, "__func__", body)


def no_attribute(name: str) -> str:
    """Return the message for an attribute that a job function does not have."""
    instead = f" {ATTRIBUTES[name]}." if name in ATTRIBUTES else ""
    return f"A job function has no attribute {name!r}.{instead}"
