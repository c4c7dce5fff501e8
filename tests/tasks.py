"""Tasks of ``django.tasks`` that the tests enqueue; workers find them as they find jobs."""

from __future__ import annotations

import datetime
from typing import Any

from django_jobs import current_job
from django_jobs.contrib.django_tasks.names import AnyContext
from tests.task_names import task


@task
def plus(a: int, b: int = 0) -> int:
    return a + b


@task
async def plus_async(a: int, b: int = 0) -> int:
    return a + b


@task(queue_name="mail", priority=5)
def receipt(user_id: int) -> str:
    return f"sent to {user_id}"


@task(backend="reports", queue_name="reports")
def report() -> str:
    return "reported"


@task(takes_context=True)
def tell(context: AnyContext, *words: str) -> dict[str, Any]:
    result = context.task_result
    return {
        "attempt": context.attempt,
        "id": result.id,
        "args": result.args,
        "status": str(result.status),
        "enqueued": result.enqueued_at is not None,
        "errors": [error.exception_class_path for error in result.errors],
        "workers": result.worker_ids,
        "job": str(current_job.request.id),
    }


@task(takes_context=True)
async def tell_async(context: AnyContext) -> dict[str, Any]:
    result = context.task_result
    return {"attempt": context.attempt, "workers": result.worker_ids, "id": result.id}


def third_attempt(context: AnyContext) -> list[Any]:
    if context.attempt < 3:
        raise OSError(f"attempt {context.attempt}")
    result = context.task_result
    paths = [error.exception_class_path for error in result.errors]
    return [context.attempt, paths, result.attempts]


# JOB_OPTIONS of the tests' settings retries these two.
@task(takes_context=True)
def tell_again(context: AnyContext) -> list[Any]:
    return third_attempt(context)


@task(takes_context=True)
async def tell_again_async(context: AnyContext) -> list[Any]:
    return third_attempt(context)


@task(takes_context=True)
def attempt_only(context: AnyContext) -> int:
    return context.attempt


@task
def weekday(day: datetime.date) -> int:
    return day.weekday()


@task
def collapse(message: str = "broken") -> None:
    raise ValueError(message)


@task
def annotate(password: str) -> None:
    error = ValueError(f"wrong: {password}")
    error.add_note("note: of the exception")
    raise error


@task(backend="dummy")
def elsewhere(a: int) -> int:
    return a * 2
