"""A job run here and now, through the same steps as in a worker, without a row."""

from __future__ import annotations

import datetime
from typing import Any, TypeVar

from django.utils import timezone

from .conf import get_settings
from .execute import Environment, execute
from .models import Job
from .result import AsyncResult
from .serialization import loads
from .status import ENDED, Status
from .values import Claimed, NewJob, Outcome

T = TypeVar("T")


class EagerResult(AsyncResult[T]):
    """The result of a job that ran here and now; it has a row only in memory."""

    def __init__(self, row: Job, error: BaseException | None, traceback: str) -> None:
        super().__init__(row.pk, name=row.name)
        self._ended: Job | None = row
        self._error = error
        self._traceback = traceback

    def wait(self, timeout: float | None = None, *, allow_join: bool = False) -> AsyncResult[T]:
        """Return at once: all that this job will do is done."""
        return self

    async def await_(
        self, timeout: float | None = None, *, allow_join: bool = False
    ) -> AsyncResult[T]:
        """Asynchronous twin of :meth:`wait`."""
        return self

    def _value(self, propagate: bool) -> Any:
        if self._error is not None:
            if propagate:
                raise self._error
            return self._error
        return super()._value(propagate)

    @property
    def result(self) -> Any:
        return self._value(propagate=False)

    @property
    def info(self) -> Any:
        return self.result

    @property
    def traceback(self) -> str | None:
        return self._traceback or None

    def forget(self) -> None:
        """Do nothing: there is no row to delete."""

    def revoke(self, *, terminate: bool = False) -> bool:
        """Return False: the job has ended."""
        return False


def run(row: NewJob) -> EagerResult[Any]:
    """Run *row*'s job to its end: its retries follow at once, without their waits.

    What it takes and returns passes through JSON as on the way to a worker. A job that snoozes is
    not run again: its result stays SCHEDULED.
    """
    environment = Environment(worker_name="eager", using=get_settings().database, is_eager=True)
    enqueued = timezone.now()
    job = _claimed(row, enqueued)
    while True:
        began = timezone.now()
        outcome = execute(job, environment)
        if outcome.status != Status.RETRY:
            return _result(row, outcome, enqueued, began)
        job.retries = outcome.retries
        job.attempt += 1


def _claimed(row: NewJob, now: datetime.datetime) -> Claimed:
    starts = row.eta or now + datetime.timedelta(seconds=row.countdown or 0)
    expires = row.expires_at
    if row.expires_in is not None:
        expires = now + datetime.timedelta(seconds=row.expires_in)
    return Claimed(
        row.id, row.name, row.args, row.kwargs, 1, 0, 0, 0, row.queue, row.rank, row.headers,
        row.options, row.root_id, row.parent_id, row.group_id, row.has_dependents,
        row.eta, expires, expires is not None and expires <= starts, 0.0,
    )  # fmt: skip


def _result(
    row: NewJob, outcome: Outcome, enqueued: datetime.datetime, began: datetime.datetime
) -> EagerResult[Any]:
    failure = outcome.failure
    job = Job(
        id=row.id,
        name=row.name,
        queue=row.queue,
        rank=row.rank,
        status=outcome.status,
        args=loads(row.args),
        kwargs=loads(row.kwargs),
        enqueued_at=enqueued,
        started_at=began,
        ended_at=timezone.now() if outcome.status in ENDED else None,
        attempt=outcome.job.attempt,
        retries=outcome.retries,
        result=None if outcome.result is None else loads(outcome.result),
        error_class=failure.error_class if failure else "",
        error_message=failure.message if failure else "",
        root_id=row.root_id,
        parent_id=row.parent_id,
        group_id=row.group_id,
    )
    error = outcome.value if outcome.status == Status.FAILURE else None
    return EagerResult(job, error, failure.traceback if failure else "")
