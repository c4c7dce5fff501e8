"""The handles on several jobs at once."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from ..control.jobs import revoke_workflow
from ..control.retrying import retry_round
from ..define.twins import twin
from ..exceptions import JobDoesNotExist, ResultTimeout
from ..models import Job
from ..status import ENDED, Status
from .result import AsyncResult
from .waiting import await_, pauses, wait
from .workflow_progress import ids_by_database, progress_of


class ResultSet:
    """Several results, in order; each is an :class:`AsyncResult` or another set.

    Its methods read all jobs with one query for every 5,000 of them.
    """

    def __init__(self, results: Sequence[AsyncResult[Any] | ResultSet]) -> None:
        self.results = list(results)
        self._ended: dict[UUID, str] = {}
        # The round of retries of this process in which these ends were read.
        self._round = retry_round()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.results)}>"

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[AsyncResult[Any] | ResultSet]:
        return iter(self.results)

    def __getitem__(self, position: int) -> AsyncResult[Any] | ResultSet:
        return self.results[position]

    def add(self, result: AsyncResult[Any] | ResultSet) -> None:
        """Append another result."""
        self.results.append(result)

    @property
    def jobs(self) -> list[AsyncResult[Any]]:
        """The handles on all jobs, in order, also those of nested sets."""
        found: list[AsyncResult[Any]] = []
        for result in self.results:
            if isinstance(result, ResultSet):
                found += result.jobs
            else:
                found.append(result)
        return found

    # --- their states ---------------------------------------------------------------------------

    def ready(self) -> bool:
        """Return whether all have ended, with any outcome."""
        self._look()
        return self._all_ended()

    def successful(self) -> bool:
        """Return whether all ended with SUCCESS."""
        return self.ready() and all(s == Status.SUCCESS for s in self._ended.values())

    def failed(self) -> bool:
        """Return whether at least one ended with FAILURE."""
        self._look()
        return any(status == Status.FAILURE for status in self._ended.values())

    def waiting(self) -> bool:
        """Return whether at least one has not ended."""
        return not self.ready()

    def completed_count(self) -> int:
        """Return how many ended with SUCCESS."""
        self._look()
        return sum(status == Status.SUCCESS for status in self._ended.values())

    def progress(self) -> dict[str, int]:
        """Return ``done``, ``total`` and ``failed`` of these jobs and all that they depend on.

        ``done`` counts every end, ``failed`` the ends without success.
        """
        return progress_of(self.jobs)

    # --- their results --------------------------------------------------------------------------

    def get(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> list[Any]:
        """Wait for all jobs and return their results, in order; nested sets give nested lists.

        *timeout* is in seconds; without one the wait has no limit. As soon as one job has failed,
        its exception is raised; with ``propagate=False`` the list has the exception instead. The
        other errors are those of :meth:`AsyncResult.get`.
        """
        self._await_end(timeout, propagate, allow_join)
        return self._values(propagate)

    join = get  # as Celery names it

    async def aget(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> list[Any]:
        """Asynchronous twin of :meth:`get`."""
        await self._aawait_end(timeout, propagate, allow_join)
        return await sync_to_async(self._values)(propagate)

    ajoin = aget

    def iterate(self, timeout: float | None = None, *, propagate: bool = True) -> Iterator[Any]:
        """Yield each job's result when it ends, in the order of the ends.

        Raises :class:`ResultTimeout` when not all have ended within *timeout* seconds, and the
        exceptions of :meth:`get`.
        """
        seen: set[UUID] = set()
        for pause in pauses(timeout):
            self._look()
            new = [job for job in self.jobs if job.uuid in self._ended and job.uuid not in seen]
            _load(new)
            for job in new:
                seen.add(job.uuid)
                yield job._value(propagate)
            if len(seen) == len({job.uuid for job in self.jobs}):
                return
            time.sleep(pause)
        raise self._timed_out(timeout)

    async def aiterate(
        self, timeout: float | None = None, *, propagate: bool = True
    ) -> AsyncIterator[Any]:
        """Asynchronous twin of :meth:`iterate`."""
        values = self.iterate(timeout, propagate=propagate)
        over = object()
        while (value := await sync_to_async(lambda: next(values, over))()) is not over:
            yield value

    def _await_end(self, timeout: float | None, propagate: bool, allow_join: bool) -> None:
        over = functools.partial(self._is_over, propagate)
        if not wait(over, self._refuse_uncommitted, timeout, allow_join):
            raise self._timed_out(timeout)

    async def _aawait_end(self, timeout: float | None, propagate: bool, allow_join: bool) -> None:
        over = functools.partial(self._is_over, propagate)
        if not await await_(over, self._refuse_uncommitted, timeout, allow_join):
            raise await sync_to_async(self._timed_out)(timeout)

    def _timed_out(self, seconds: float | None) -> ResultTimeout:
        return ResultTimeout(_why_open(self.jobs, self._ended, seconds or 0))

    def _refuse_uncommitted(self) -> None:
        for job in self.jobs:
            if job.uuid not in self._ended:
                job._refuse_uncommitted()

    def _is_over(self, propagate: bool) -> bool:
        new = self._look()
        if propagate:
            for job in new:
                if self._ended[job.uuid] != Status.SUCCESS:
                    job._value(propagate=True)
        return self._all_ended()

    def _all_ended(self) -> bool:
        return len(self._ended) == len({job.uuid for job in self.jobs})

    def _look(self) -> list[AsyncResult[Any]]:
        """Read which jobs have ended since the last look; return these, in order."""
        if self._round != retry_round():
            self._round, self._ended = retry_round(), {}
        left = [job for job in self.jobs if job.uuid not in self._ended]
        found = {job.uuid: job._ended.status for job in left if job._ended is not None}
        asked = [job for job in left if job.uuid not in found]
        known = _statuses(asked)
        found |= {job_id: status for job_id, status in known.items() if status in ENDED}
        self._ended |= found
        return [job for job in left if job.uuid in found]

    def _values(self, propagate: bool) -> list[Any]:
        _load(self.jobs)
        return [result._value(propagate) if isinstance(result, AsyncResult)
                else result._values(propagate) for result in self.results]  # fmt: skip

    # --- verbs ----------------------------------------------------------------------------------

    def revoke(self, *, terminate: bool = False) -> int:
        """Revoke these jobs and all jobs that they depend on; return how many were revoked.

        Ended jobs stay as they are, and without *terminate* running jobs do. See
        :func:`django_jobs.control.revoke_workflow`.
        """
        return sum(
            revoke_workflow(ids, terminate=terminate, using=using)
            for using, ids in ids_by_database(self.jobs)
        )

    def forget(self) -> None:
        """Delete the rows; raise ``ValueError`` for the first that has not ended or is needed."""
        for job in self.jobs:
            job.forget()

    # --- asynchronous twins ---------------------------------------------------------------------

    aready = twin(ready)
    asuccessful = twin(successful)
    afailed = twin(failed)
    awaiting = twin(waiting)
    acompleted_count = twin(completed_count)
    aprogress = twin(progress)
    arevoke = twin(revoke)
    aforget = twin(forget)


def _statuses(jobs: Sequence[AsyncResult[Any]]) -> dict[UUID, str]:
    """Return the statuses of *jobs* by id; raise ``JobDoesNotExist`` when one has no row."""
    known: dict[UUID, str] = {}
    for using, ids in ids_by_database(jobs):
        rows = Job.objects.using(using).filter(id__in=ids)
        known.update(rows.values_list("id", "status"))
    missing = next((job for job in jobs if job.uuid not in known), None)
    if missing is not None:
        raise JobDoesNotExist(f"No job has the id {missing.id}: it was forgotten or pruned.")
    return known


def _why_open(jobs: Sequence[AsyncResult[Any]], ended: Collection[UUID], seconds: float) -> str:
    by_id = {job.uuid: job for job in jobs}
    left = [job for job in by_id.values() if job.uuid not in ended]
    text = f"{len(left)} of {len(by_id)} jobs had not ended after {seconds:g} s."
    return text + (f" The first of them is {left[0].id}. {left[0]._why_open()}" if left else "")


def _load(jobs: Sequence[AsyncResult[Any]]) -> None:
    """Read the rows of those *jobs* that have ended, with one query for each database."""
    by_id = {job.uuid: job for job in jobs if job._ended is None}
    for using, ids in ids_by_database(list(by_id.values())):
        rows = Job.objects.using(using).filter(id__in=ids, status__in=ENDED)
        for row in rows.defer("args", "kwargs", "headers", "progress"):
            by_id[row.pk]._ended = row
            by_id[row.pk]._using = using
