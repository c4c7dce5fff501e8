"""A job, read from its row."""

from __future__ import annotations

import datetime
import time
from typing import Any
from uuid import UUID

from ..control.retrying import retry_round
from ..define import registry
from ..define.conversion import brought_back
from ..define.envelopes import opened, opened_progress
from ..define.routing import databases
from ..exceptions import ArgumentError, JobDoesNotExist
from ..ids import JobId, job_id
from ..models import AttemptLog, Job
from ..models.attempt_log import LogLine
from ..status import Status
from ..workflows.remote_exception import deferral_of, exception_of, last_attempt


def uuid_of(id: UUID | str, noun: str) -> UUID:
    """Return *id* as a UUID; raise ``ArgumentError`` for any other text. *noun*: whose id it is."""
    try:
        return id if isinstance(id, UUID) else UUID(str(id))
    except ValueError:
        raise ArgumentError(f"A {noun}'s id is a UUID, got {id!r}.") from None


class Identified:
    """Has an id, by which it is compared and hashed."""

    _uuid: UUID

    def __str__(self) -> str:
        return str(self._uuid)

    def __hash__(self) -> int:
        return hash(self._uuid)

    @property
    def id(self) -> JobId:
        """The id: a ``str`` that also equals the UUID. It fits into JSON and sessions."""
        return JobId(self._uuid)

    @property
    def uuid(self) -> UUID:
        """The id as a :class:`uuid.UUID`; of a job, the primary key of its row."""
        return self._uuid


class StoredJob(Identified):
    """A job, known by its id. Each property reads the job's row, until the job has ended.

    If no job has the id, everything but ``id``, ``uuid`` and ``repr`` raises
    :class:`JobDoesNotExist`.
    """

    # The row of the end that was read, and the round of retries of this process at that time.
    _kept: tuple[int, Job] | None = None

    def __init__(self, id: UUID | str, *, name: str = "", using: str = "") -> None:
        self._uuid = id if type(id) is UUID else uuid_of(id, "job")
        self._name = name
        self._using = using
        self._made = time.monotonic()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{' of ' + self._name if self._name else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredJob) and other.uuid == self.uuid

    # A class with __eq__ inherits none.
    __hash__ = Identified.__hash__

    @property
    def _ended(self) -> Job | None:
        """The row, if the job has ended; a retry by this process makes it unknown."""
        kept = self._kept
        return None if kept is None or kept[0] != self._round() else kept[1]

    @_ended.setter
    def _ended(self, row: Job | None) -> None:
        self._kept = None if row is None else (self._round(), row)

    def _round(self) -> int:
        return retry_round()

    @property
    def task_id(self) -> JobId:
        """The same as ``id``, as Celery names it."""
        return self.id

    @property
    def job(self) -> Job:
        """The row itself, a :class:`~django_jobs.models.Job`."""
        if self._ended is not None and not self._ended.get_deferred_fields():
            return self._ended
        for using in [self._using] if self._using else databases():
            row = Job.objects.using(using).filter(pk=self.uuid).first()
            if row is not None:
                self._using = using
                if row.has_ended:
                    self._ended = row
                return row
        raise JobDoesNotExist(
            f"No job has the id {self.id}: it never existed, its transaction was rolled back, "
            "or it was forgotten or pruned."
        )

    @property
    def _end(self) -> Job:
        """The row. After a success it may have no columns but id, status and result."""
        return self.job if self._ended is None else self._ended

    @property
    def name(self) -> str:
        """Name of the job function."""
        return self._name or self.job.name

    @property
    def status(self) -> str:
        """One of :class:`~django_jobs.status.Status`."""
        return self._end.status

    @property
    def state(self) -> str:
        """The status, or the word a running job gave itself with ``update_state``."""
        row = self._end
        custom = _progress_part(row, "state") if row.status == Status.STARTED else None
        return custom or row.status

    @property
    def progress(self) -> dict[str, Any] | None:
        """The progress that the job last reported, or None.

        ``progress()`` sets ``done``, ``total`` and ``message``; ``update_state()`` sets ``state``
        and ``meta``.
        """
        progress: dict[str, Any] | None = opened_progress(self.job.progress)
        return progress

    @property
    def info(self) -> Any:
        """The result, the exception of a failed job, or the ``meta`` of a running one.

        When a worker gave the job back because it could not run it: that worker's exception.
        """
        row = self._end
        if row.status in (Status.FAILURE, Status.RETRY):
            return exception_of(row)
        if row.is_deferred:
            return deferral_of(row)
        return self._returned(row) if row.has_ended else _progress_part(row, "meta")

    @property
    def result(self) -> Any:
        """The value the job returned, or a failed job's exception. Before the end it is None."""
        row = self._end
        return exception_of(row) if row.status == Status.FAILURE else self._returned(row)

    def _returned(self, row: Job) -> Any:
        """Return the result, converted by the annotation of a job function that is known here."""
        if row.result is None:
            return None
        result = opened(row.result)
        function = registry.find(self._name or row.name)
        types = None if function is None else function.result_type
        return result if types is None else brought_back(types, result)

    @property
    def traceback(self) -> str | None:
        """Text of the last failed attempt's traceback, or None."""
        last = last_attempt(self.job)
        return last.traceback or None if last else None

    @property
    def log(self) -> list[LogLine]:
        """The lines that ``keep_log`` kept of the newest attempt that has some, without secrets.

        Each has ``time``, ``level``, ``logger`` and ``text``.
        """
        row = self.job
        kept = AttemptLog.objects.using(row._state.db).filter(job_id=row.pk).order_by("-id").first()
        return kept.read() if kept else []

    @property
    def date_done(self) -> datetime.datetime | None:
        """When the job ended, or None."""
        return self.job.ended_at

    @property
    def root_id(self) -> JobId:
        """Id of the job at the root of its workflow, or its own."""
        return JobId(self.job.root_id or self.uuid)

    @property
    def parent_id(self) -> JobId | None:
        """Id of the job before it, or of the job that enqueued it."""
        return job_id(self.job.parent_id)

    @property
    def group_id(self) -> JobId | None:
        """Id of the group that it is a member of."""
        return job_id(self.job.group_id)


def _progress_part(row: Job, what: str) -> Any:
    """Return what ``update_state`` wrote, or None for a column that was edited by hand."""
    return opened(row.progress.get(what)) if isinstance(row.progress, dict) else None
