"""The running job: the request it serves, and ``current_job``."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..ids import JobId, job_id

if TYPE_CHECKING:
    from .context import JobContext


@dataclasses.dataclass(slots=True)
class Request:
    """One attempt at a job. ``retries`` counts from 0; ``attempt`` is ``retries + 1``.

    The repr leaves out arguments and headers, because error trackers send the reprs of local
    variables. ``time_limit`` and ``soft_time_limit`` are in seconds.
    """

    uuid: UUID | None = None
    name: str = ""
    args: list[Any] = dataclasses.field(default_factory=list, repr=False)
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    retries: int = 0
    queue: str = ""
    priority: int = 0
    eta: datetime.datetime | None = None
    expires: datetime.datetime | None = None
    headers: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    root_uuid: UUID | None = None
    parent_uuid: UUID | None = None
    group_uuid: UUID | None = None
    #: Name of the worker that runs it.
    worker: str = ""
    #: The function was called as a function: no job runs.
    called_directly: bool = True
    #: The job runs in the caller's process, without a row.
    is_eager: bool = False
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool = False
    #: The handles on the jobs that it has enqueued so far.
    children: list[Any] = dataclasses.field(default_factory=list)

    @property
    def attempt(self) -> int:
        return self.retries + 1

    @property
    def id(self) -> JobId | None:
        return job_id(self.uuid)

    @property
    def root_id(self) -> JobId | None:
        return job_id(self.root_uuid)

    @property
    def parent_id(self) -> JobId | None:
        return job_id(self.parent_uuid)

    @property
    def group_id(self) -> JobId | None:
        return job_id(self.group_uuid)


running: contextvars.ContextVar[JobContext | None] = contextvars.ContextVar(
    "django_jobs_running", default=None
)


class CurrentJob:
    """The job that runs in this thread or coroutine, a ``JobContext``; false when none runs.

    Without a running job, every attribute raises ``RuntimeError``.
    """

    def __bool__(self) -> bool:
        return running.get() is not None

    def __getattr__(self, name: str) -> Any:
        context = running.get()
        if context is None:
            raise RuntimeError(
                f"current_job.{name} needs a running job, and none runs here. Ask `if "
                "current_job:` first."
            )
        return getattr(context, name)

    def __repr__(self) -> str:
        context = running.get()
        return f"<current_job: {context.name if context else None}>"


current_job = CurrentJob()


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Show the running job's progress, as :meth:`JobContext.progress` does.

    Outside of a job it does nothing.
    """
    context = running.get()
    if context is not None:
        context.progress(done, total, message)
