"""Help for projects that come from Celery: tasks under ``@job``, and names of options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

#: Options of Celery's ``@task`` and ``apply_async``, and what to use instead.
OPTIONS = {
    "retry_kwargs": "use max_retries=, and for its countdown default_retry_delay= with "
    "retry_backoff=False",
    "routing_key": "use queue=",
    "exchange": "use queue=",
    "serializer": "arguments are JSON; leave it out",
    "compression": "arguments are JSON; leave it out",
    "retry": "the job is a row of your database, and its INSERT needs no retry; leave it out",
    "retry_policy": "the job is a row of your database, and its INSERT needs no retry; leave it "
    "out",
    "pydantic": "build the model in the body: Model.model_validate(argument)",
    "pydantic_strict": "build the model in the body: Model.model_validate(argument, strict=True)",
    "pydantic_context": "build the model in the body: Model.model_validate(argument, context=...)",
    "pydantic_dump_kwargs": "return model.model_dump(mode='json') from the body",
    "stamped_headers": "all headers are kept; use headers={...}",
    "reject_on_worker_lost": "it is the default; for at-most-once use on_worker_lost='fail'",
    "track_started": "STARTED is always recorded; leave it out",
    "shadow": "use name= of @job",
    "task_name": "use name= of @job",
    "connection": "there is no broker; leave it out",
    "producer": "there is no broker; leave it out",
    "publisher": "there is no broker; leave it out",
    "delivery_mode": "a job is a committed row; leave it out",
    "mandatory": "a job is a committed row; leave it out",
    "immediate": "a job is a committed row; leave it out",
    "argsrepr": "name what must not be shown in sensitive= of @job",
    "kwargsrepr": "name what must not be shown in sensitive= of @job",
    "add_to_parent": "it is always in the parent's children; leave it out",
    "root_id": "it is set by itself; leave it out",
    "parent_id": "it is set by itself; leave it out",
    "group_id": "it is set by itself; leave it out",
    "reply_to": "use link=, or AsyncResult",
    "acks_on_failure_or_timeout": "a failure is final unless the job is retried; leave it out",
    "store_errors_even_if_ignored": "failures are always kept; leave it out",
    "send_events": "the row shows everything; leave it out",
    "trail": "children are always known; leave it out",
}

# Attributes of Celery's tasks, and what to use instead.
_INSTEAD = {
    "delay_on_commit": "delay() is part of the transaction already. Use it",
    "apply_async_on_commit": "apply_async() is part of the transaction already. Use it",
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
    instead = f" {_INSTEAD[name]}." if name in _INSTEAD else ""
    return f"A job function has no attribute {name!r}.{instead}"
