"""Steps as rows, which only the worker that has the job may write."""

from __future__ import annotations

import datetime
import json
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import zip_longest
from typing import Any, TypeVar
from uuid import UUID

from django.db import Error, IntegrityError, connections, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q

from ..db import clock, is_away
from ..db.chunks import chunks
from ..db.steps import holds_job, insert_step, steps_of
from ..db.tables import LOADED_STEP
from ..define.envelopes import opened
from ..exceptions import JobFailed, JobLost, JobRevoked
from ..models import Job, Step
from ..models.fields import decoded
from ..status import Status
from ..values import Claimed, Failure
from ..workflows.remote_exception import exception_of
from .columns import ages, saved
from .journal import Child
from .recorded import Recorded, State

# Steps are read and recorded even if the database is away for so many seconds: a job that goes on
# after a sleep has not failed, and the function of a step has run.
_PATIENCE = 60.0
_LONGEST_REST = 2.0
_JSON = ("result", "data")

T = TypeVar("T")
Regain = Callable[[UUID, Collection[tuple[UUID, int]], str], int]


class RowStore:
    """The steps of a worker's jobs; *worker_id* returns the id that the worker has now."""

    def __init__(self, worker_id: Callable[[], UUID], using: str, regain: Regain) -> None:
        """*regain* claims jobs again whose claims a crash of the database lost."""
        self._worker_id = worker_id
        self._regain = regain
        self.using = using

    def load(self, job: Claimed) -> list[Recorded]:
        if job.claims <= 1:
            return []  # no run came before this one
        return self._patiently(lambda: self._load(job))

    def _load(self, job: Claimed) -> list[Recorded]:
        found = steps_of(job.id, self.using)
        if found is not None:
            return [_recorded(*_read(row)) for row in found]
        is_due = ExpressionWrapper(Q(wake_at__lte=clock(self.using)), BooleanField())
        rows = Step.objects.using(self.using).filter(job_id=job.id).annotate(is_due=is_due)
        ordered = rows.order_by("position", "id")
        return [_recorded(*row) for row in ordered.values_list(*LOADED_STEP, "is_due")]

    def record(self, job: Claimed, step: Recorded) -> None:
        self._patiently(lambda: self._write(job, step))

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do *action*; repeat it while the database is away, unless a transaction is open."""
        inside = connections[self.using].in_atomic_block
        give_up_at = time.monotonic() + _PATIENCE
        rest = 0.05
        while True:
            try:
                return action()
            except Error as error:
                late = time.monotonic() > give_up_at
                if inside or late or not is_away(error):
                    raise
            connections[self.using].close()
            time.sleep(random.uniform(0, rest))
            rest = min(2 * rest, _LONGEST_REST)

    def children(self, ids: Sequence[UUID]) -> dict[UUID, Child]:
        return self._patiently(lambda: self._children(ids))

    def _children(self, ids: Sequence[UUID]) -> dict[UUID, Child]:
        rows = Job.objects.using(self.using)
        return {row.pk: _child(row) for some in chunks(ids) for row in rows.filter(id__in=some)}

    def _write(self, job: Claimed, step: Recorded) -> None:
        write = self._update if step.has_row else self._insert
        if write(job, step):
            return
        held = [(job.id, job.claims)]
        if not self._regain(self._worker_id(), held, self.using) or not write(job, step):
            raise JobLost(
                f"The step {step.key!r} is not recorded: the job was revoked, or another worker "
                "has it."
            )

    def _insert(self, job: Claimed, step: Recorded) -> bool:
        worker_id, values = self._worker_id(), _values(job, step)
        try:
            step.has_row = insert_step(job.id, worker_id, values, ages(step), self.using)
        except IntegrityError:
            if connections[self.using].in_atomic_block:
                raise
            # An earlier try was committed, and its answer was lost.
            row = Step.objects.using(self.using).filter(job_id=job.id, key=step.key)
            step.has_row = row.filter(claims=job.claims).exists()
        return step.has_row

    def _update(self, job: Claimed, step: Recorded) -> bool:
        using, worker_id = self.using, self._worker_id()
        locks = not connections[using].in_atomic_block
        with transaction.atomic(using):
            if not holds_job(job.id, worker_id, job.claims, using, locks=locks):
                return False
            saved(job, step, using)
        return True


def _child(row: Job) -> Child:
    def error() -> Exception:
        if row.status == Status.REVOKED:
            return JobRevoked(f"{row.name} {row.pk}: {row.error_message or 'revoked'}")
        found = exception_of(row)
        return found if isinstance(found, Exception) else JobFailed(row.error_class, str(found))

    return Child(row.status, lambda: opened(row.result), error)


def _values(job: Claimed, step: Recorded) -> tuple[Any, ...]:
    """Return the values of :data:`~django_jobs.db.tables.STEP_COLUMNS`."""
    failure = step.failure
    error = (failure.error_class, failure.message, failure.traceback) if failure else ("", "", "")
    data = None if step.data is None else json.dumps(step.data)
    return (
        job.claims, step.key, step.position, step.kind, step.function, step.state, step.text, data,
        step.tries, *error,
    )  # fmt: skip


def _read(row: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the values as the ORM reads them."""
    return (
        decoded(value) if name in _JSON else value for name, value in zip_longest(LOADED_STEP, row)
    )


def _recorded(
    key: str, position: int, kind: str, function: str, state: str, result: Any, data: Any,
    tries: int, wake_at: datetime.datetime | None, error_class: str, message: str, traceback: str,
    is_due: Any,
) -> Recorded:  # fmt: skip
    return Recorded(
        key=key,
        position=position,
        kind=kind,
        function=function,
        state=state,
        text=None if result is None else json.dumps(result),
        data=data if isinstance(data, dict) else None,
        tries=tries if state == State.RETRY else 0,
        has_row=True,
        began=None,
        failure=Failure(error_class, message, traceback) if error_class else None,
        wake_at=wake_at,
        is_due=bool(is_due),
    )
