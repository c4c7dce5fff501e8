"""The results of tasks: what Django shows of a job's row and of its attempts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone

from ...api.eager_result import EagerResult
from ...api.result import AsyncResult
from ...define.current import Request
from ...define.envelopes import opened, opened_call
from ...define.twins import twin
from ...exceptions import ArgumentError, JobDoesNotExist, JobRevoked
from ...models import Attempt, Job
from ...status import ENDED, Status
from .known import named
from .names import (
    TASK_REFRESH_ATTRS,
    AnyResult,
    AnyTask,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
)

STATUSES: Mapping[str, TaskResultStatus] = {
    Status.WAITING: TaskResultStatus.READY,
    Status.SCHEDULED: TaskResultStatus.READY,
    Status.PENDING: TaskResultStatus.READY,
    Status.RETRY: TaskResultStatus.READY,
    Status.STARTED: TaskResultStatus.RUNNING,
    Status.SUCCESS: TaskResultStatus.SUCCESSFUL,
    Status.FAILURE: TaskResultStatus.FAILED,
    Status.REVOKED: TaskResultStatus.FAILED,
}
_READ = frozenset({*TASK_REFRESH_ATTRS, "args", "kwargs"})
_COMPARED = [name for name in TaskResult.__dataclass_fields__ if name != "enqueued_at"]
_REVOKED = f"{JobRevoked.__module__}.{JobRevoked.__qualname__}"
# The worker's id of a job that ran in the caller's process.
_EAGER = "eager"


class JobTaskResult(AnyResult):
    """The result of a task. It reads values that it was not made with from the row, on demand."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name not in _READ:
            raise AttributeError(name)
        load(self)
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        # The caller's clock and the database's differ: the same task has the same enqueued_at.
        if not isinstance(other, JobTaskResult):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _COMPARED)

    __hash__ = None  # type: ignore[assignment]  # as Django's, it can change

    def cancel(self, *, terminate: bool = False) -> bool:
        """Cancel the task if it has not begun, with *terminate* also if it runs.

        Returns whether it was. Its status is then FAILED.
        """
        return AsyncResult[Any](self.id).revoke(terminate=terminate)

    acancel = twin(cancel)


def row_of(result_id: str) -> Job:
    """Return the row of a job; raise ``TaskResultDoesNotExist`` when there is none."""
    try:
        return AsyncResult[Any](result_id).job
    except (ArgumentError, JobDoesNotExist) as error:
        raise TaskResultDoesNotExist(str(error)) from None


def made(task: AnyTask, id: str, status: TaskResultStatus, **values: Any) -> JobTaskResult:
    """Return a result with these *values*; the others are read from the row when asked for."""
    result: JobTaskResult = object.__new__(JobTaskResult)
    values |= {"task": task, "id": id, "status": status, "backend": task.backend}
    for name, value in values.items():
        object.__setattr__(result, name, value)
    return result


def enqueued(task: AnyTask, id: str, args: list[Any], kwargs: dict[str, Any]) -> JobTaskResult:
    """Return the result of a call that was just enqueued."""
    # Each enqueue makes one, and Django's constructor takes twice as long.
    result: JobTaskResult = object.__new__(JobTaskResult)
    put = object.__setattr__
    put(result, "task", task)
    put(result, "id", id)
    put(result, "status", TaskResultStatus.READY)
    put(result, "backend", task.backend)
    put(result, "args", args)
    put(result, "kwargs", kwargs)
    put(result, "enqueued_at", timezone.now())
    put(result, "started_at", None)
    put(result, "last_attempted_at", None)
    put(result, "finished_at", None)
    put(result, "errors", [])
    put(result, "worker_ids", [])
    put(result, "_return_value", None)
    return result


def of_running(name: str, request: Request) -> JobTaskResult:
    """Return the result of the running job *name* with that *request*."""
    task: Any = named(name)
    args, kwargs, running = request.args, request.kwargs, TaskResultStatus.RUNNING
    if not request.is_eager:
        return made(task, str(request.id), running, args=args, kwargs=kwargs)
    result = enqueued(task, str(request.id), args, kwargs)
    changed = {"status": running, "started_at": timezone.now(), "last_attempted_at": timezone.now(),
               "worker_ids": [_EAGER] * request.attempt}  # fmt: skip
    for attribute, value in changed.items():
        object.__setattr__(result, attribute, value)
    return result


def load(result: AnyResult) -> None:
    """Read what *result* was not made with from the row of its job."""
    missing = [name for name in _READ if not _has(result, name)]
    if missing:
        whole = of_row(row_of(result.id), result.task, result.backend)
        for name in missing:
            object.__setattr__(result, name, getattr(whole, name))


def _has(result: AnyResult, name: str) -> bool:
    try:
        object.__getattribute__(result, name)
    except AttributeError:
        return False
    return True


def of_row(row: Job, task: AnyTask, alias: str) -> JobTaskResult:
    """Return the result of *task* that a job's row and its attempts have, for a backend's alias."""
    return _of_history(row, task, alias, _attempts(row))


def of_eager(handle: EagerResult[Any], task: AnyTask) -> JobTaskResult:
    """Return the result of a call that ran in this process."""
    row = handle.job
    attempts = []
    if row.status == Status.FAILURE:
        trace = handle.traceback or ""
        attempts = [Attempt(claims=row.claims, error_class=row.error_class, traceback=trace)]
    result = _of_history(row, task, task.backend, attempts)
    object.__setattr__(result, "worker_ids", [_EAGER] * row.attempt)
    return result


def _of_history(row: Job, task: AnyTask, alias: str, attempts: Sequence[Attempt]) -> JobTaskResult:
    # The row has the start of its last claim itself.
    moments = [each.started_at for each in attempts if each.claims != row.claims]
    starts = [moment for moment in [*moments, row.started_at] if moment is not None]
    args, kwargs = opened_call(row.args, row.kwargs)
    return made(
        _as_stored(task, row, alias),
        str(row.pk),
        STATUSES[row.status],
        args=args,
        kwargs=kwargs,
        enqueued_at=row.enqueued_at,
        started_at=min(starts, default=None),
        last_attempted_at=max(starts, default=None),
        finished_at=row.ended_at,
        errors=_errors(row, attempts),
        worker_ids=_worker_ids(row, attempts),
        _return_value=opened(row.result) if row.status == Status.SUCCESS else None,
    )


def _attempts(row: Job) -> Sequence[Attempt]:
    # The first claim of a job that runs or has succeeded has left no row.
    if row.claims == 0 or (row.claims == 1 and row.status in (Status.STARTED, Status.SUCCESS)):
        return []
    return list(Attempt.objects.using(row._state.db).filter(job_id=row.pk).order_by("id"))


def _errors(row: Job, attempts: Sequence[Attempt]) -> list[TaskError]:
    errors = [
        TaskError(exception_class_path=each.error_class, traceback=each.traceback)
        for each in attempts
    ]
    # A job that was revoked, or that failed before it ran, has no attempt for its end.
    if row.status in (Status.FAILURE, Status.REVOKED) and not _is_told(row, attempts):
        path = row.error_class if row.status == Status.FAILURE else _REVOKED
        text = f"{path}: {row.error_message}\n"
        errors.append(TaskError(exception_class_path=path, traceback=text))
    return errors


def _worker_ids(row: Job, attempts: Sequence[Attempt]) -> list[str]:
    """Return the id of the worker of each attempt; an attempt after a crash has the same number."""
    workers = {each.attempt: str(each.worker_id) for each in attempts}
    runs_or_ended = row.status == Status.STARTED or row.status in ENDED
    if runs_or_ended and row.started_at is not None and not _is_told(row, attempts):
        workers[row.retries + 1] = str(row.worker_id)
    return [workers[number] for number in sorted(workers)]


def _is_told(row: Job, attempts: Sequence[Attempt]) -> bool:
    """Return whether the row's last claim is among the *attempts*."""
    return row.claims > 0 and any(each.claims == row.claims for each in attempts)


def _as_stored(task: AnyTask, row: Job, alias: str) -> AnyTask:
    """Return *task* with the queue, the priority and the time of the row, which are not validated.

    An operator may have moved the job to a queue that the backend does not have.
    """
    run_after: datetime.datetime | None = row.run_at
    stored: AnyTask = object.__new__(type(task))
    given = {"queue_name": row.queue, "priority": row.priority, "run_after": run_after,
             "backend": alias}  # fmt: skip
    for name in type(task).__dataclass_fields__:
        object.__setattr__(stored, name, given.get(name, getattr(task, name)))
    return stored
