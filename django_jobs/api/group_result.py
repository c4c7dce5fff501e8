"""The handles on several jobs at once: what a group results in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections

from ..control.operations import revoke_workflow
from ..db import dialect_for
from ..define.routing import databases
from ..exceptions import ArgumentError, JobDoesNotExist, ResultTimeout
from ..ids import JobId
from ..models import Job
from ..status import ENDED, Status
from .result import AsyncResult, pauses, warn_inside_job

if TYPE_CHECKING:
    from typing import Self

# Most ids in one query.
_CHUNK = 5_000


class ResultSet:
    """Several results, in order; each is an :class:`AsyncResult` or such a set again.

    Every look at them is one query for all (for every 5,000).
    """

    def __init__(self, results: Sequence[AsyncResult[Any] | ResultSet]) -> None:
        self.results = list(results)
        self._ended: dict[UUID, str] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.results)}>"

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[AsyncResult[Any] | ResultSet]:
        return iter(self.results)

    def __getitem__(self, position: int) -> AsyncResult[Any] | ResultSet:
        return self.results[position]

    def add(self, result: AsyncResult[Any] | ResultSet) -> None:
        """Put another result at the end."""
        self.results.append(result)

    @property
    def jobs(self) -> list[AsyncResult[Any]]:
        """All jobs, in order, also those of sets in the set."""
        found: list[AsyncResult[Any]] = []
        for result in self.results:
            if isinstance(result, ResultSet):
                found += result.jobs
            else:
                found.append(result)
        return found

    # --- how they stand -------------------------------------------------------------------------

    def ready(self) -> bool:
        """Tell whether all have ended, one way or another."""
        self._look()
        return len(self._ended) == len({job.uuid for job in self.jobs})

    def successful(self) -> bool:
        """Tell whether all ended with SUCCESS."""
        return self.ready() and all(s == Status.SUCCESS for s in self._ended.values())

    def failed(self) -> bool:
        """Tell whether one ended with FAILURE."""
        self._look()
        return any(status == Status.FAILURE for status in self._ended.values())

    def waiting(self) -> bool:
        """Tell whether one has not ended."""
        return not self.ready()

    def completed_count(self) -> int:
        """Return how many ended with SUCCESS."""
        self._look()
        return sum(status == Status.SUCCESS for status in self._ended.values())

    def progress(self) -> dict[str, int]:
        """Return ``done``, ``total`` and ``failed`` of these jobs and all that they depend on.

        ``done`` counts every end, ``failed`` those that were no success.
        """
        return progress_of(self.jobs)

    # --- what they returned ---------------------------------------------------------------------

    def get(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> list[Any]:
        """Wait for all and return what they returned, in order.

        Raises the error of the first that is seen to have failed, at once (with
        ``propagate=False`` it stands in the list instead), :class:`JobRevoked`, and
        :class:`ResultTimeout` after *timeout* seconds.
        """
        warn_inside_job(allow_join)
        for pause in pauses(timeout):
            if self._is_over(propagate):
                return self._values(propagate)
            if pause:
                self._refuse_uncommitted()
            time.sleep(pause)
        raise self._timed_out(timeout)

    def join(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> list[Any]:
        """The same as :meth:`get`, as Celery names it."""
        return self.get(timeout, propagate=propagate, allow_join=allow_join)

    def iterate(self, timeout: float | None = None, *, propagate: bool = True) -> Iterator[Any]:
        """Return what the jobs returned as they end, within *timeout* seconds."""
        seen: set[UUID] = set()
        for pause in pauses(timeout):
            self._look()
            new = [job for job in self.jobs if job.uuid in self._ended and job.uuid not in seen]
            self._load(new)
            for job in new:
                seen.add(job.uuid)
                yield job._value(propagate)
            if len(seen) == len({job.uuid for job in self.jobs}):
                return
            time.sleep(pause)
        raise self._timed_out(timeout)

    def _timed_out(self, seconds: float | None) -> ResultTimeout:
        jobs = {job.uuid: job for job in self.jobs}
        left = [job for job in jobs.values() if job.uuid not in self._ended]
        text = f"{len(left)} of {len(jobs)} jobs had not ended after {seconds or 0:g} s."
        if left:
            text += f" The first of them is {left[0].id}. {left[0]._why_open()}"
        return ResultTimeout(text)

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
        return len(self._ended) == len({job.uuid for job in self.jobs})

    def _look(self) -> list[AsyncResult[Any]]:
        """Read who has ended since the last look; return these, in order."""
        left = [job for job in self.jobs if job.uuid not in self._ended]
        found = {job.uuid: job._ended.status for job in left if job._ended is not None}
        asked = [job for job in left if job.uuid not in found]
        known = dict[UUID, str]()
        for using, ids in _by_database(asked):
            rows = Job.objects.using(using).filter(id__in=ids)
            known.update(rows.values_list("id", "status"))
        missing = [job.uuid for job in asked if job.uuid not in known]
        if missing:
            raise JobDoesNotExist(f"No job has the id {missing[0]}: it was forgotten or pruned.")
        found |= {job_id: status for job_id, status in known.items() if status in ENDED}
        self._ended |= found
        return [job for job in left if job.uuid in found]

    def _load(self, jobs: Sequence[AsyncResult[Any]]) -> None:
        """Read the rows of ended jobs, all with one query."""
        by_id = {job.uuid: job for job in jobs if job._ended is None}
        for using, ids in _by_database(list(by_id.values())):
            rows = Job.objects.using(using).filter(id__in=ids, status__in=ENDED)
            for row in rows.defer("args", "kwargs", "headers", "progress"):
                by_id[row.pk]._ended = row
                by_id[row.pk]._using = using

    def _values(self, propagate: bool) -> list[Any]:
        self._load(self.jobs)
        return [result._value(propagate) if isinstance(result, AsyncResult)
                else result._values(propagate) for result in self.results]  # fmt: skip

    # --- steering -------------------------------------------------------------------------------

    def revoke(self, *, terminate: bool = False) -> int:
        """End what has not ended of these jobs and of all that they depend on; return how many.

        With *terminate* also what runs.
        """
        return sum(
            revoke_workflow(ids, terminate=terminate, using=using)
            for using, ids in _by_database(self.jobs)
        )

    def forget(self) -> None:
        """Delete the rows; raise ``ValueError`` when one has not ended or is still needed."""
        for job in self.jobs:
            job.forget()

    # --- asynchronous twins ---------------------------------------------------------------------

    async def aready(self) -> bool:
        """Asynchronous twin of :meth:`ready`."""
        return await sync_to_async(self.ready)()

    async def asuccessful(self) -> bool:
        """Asynchronous twin of :meth:`successful`."""
        return await sync_to_async(self.successful)()

    async def afailed(self) -> bool:
        """Asynchronous twin of :meth:`failed`."""
        return await sync_to_async(self.failed)()

    async def awaiting(self) -> bool:
        """Asynchronous twin of :meth:`waiting`."""
        return await sync_to_async(self.waiting)()

    async def acompleted_count(self) -> int:
        """Asynchronous twin of :meth:`completed_count`."""
        return await sync_to_async(self.completed_count)()

    async def aprogress(self) -> dict[str, int]:
        """Asynchronous twin of :meth:`progress`."""
        return await sync_to_async(self.progress)()

    async def aget(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> list[Any]:
        """Asynchronous twin of :meth:`get`."""
        warn_inside_job(allow_join)
        for pause in pauses(timeout):
            if await sync_to_async(self._is_over)(propagate):
                return await sync_to_async(self._values)(propagate)
            if pause:
                self._refuse_uncommitted()
            await asyncio.sleep(pause)
        raise await sync_to_async(self._timed_out)(timeout)

    async def ajoin(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> list[Any]:
        """Asynchronous twin of :meth:`join`."""
        return await self.aget(timeout, propagate=propagate, allow_join=allow_join)

    async def aiterate(
        self, timeout: float | None = None, *, propagate: bool = True
    ) -> AsyncIterator[Any]:
        """Asynchronous twin of :meth:`iterate`."""
        values = self.iterate(timeout, propagate=propagate)
        over = object()
        while (value := await sync_to_async(lambda: next(values, over))()) is not over:
            yield value

    async def arevoke(self, *, terminate: bool = False) -> int:
        """Asynchronous twin of :meth:`revoke`."""
        return await sync_to_async(self.revoke)(terminate=terminate)

    async def aforget(self) -> None:
        """Asynchronous twin of :meth:`forget`."""
        await sync_to_async(self.forget)()


class GroupResult(ResultSet):
    """What a group results in, by the group's id, which its jobs' rows carry.

    ``parent`` is the handle on what ran before it in its workflow, or None.
    """

    def __init__(
        self,
        id: UUID | str,
        results: Sequence[AsyncResult[Any] | ResultSet],
        *,
        parent: AsyncResult[Any] | ResultSet | None = None,
    ) -> None:
        super().__init__(results)
        try:
            self._uuid = id if isinstance(id, UUID) else UUID(str(id))
        except ValueError:
            raise ArgumentError(f"A group's id is a UUID, got {id!r}.") from None
        self.parent = parent

    def __repr__(self) -> str:
        return f"<GroupResult {self.uuid} of {len(self.results)}>"

    def __str__(self) -> str:
        return str(self.uuid)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and (other.uuid, other.results) == (
            self.uuid, self.results,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash(self.uuid)

    @property
    def id(self) -> JobId:
        """The group's id: a ``str`` that also equals the UUID."""
        return JobId(self._uuid)

    @property
    def uuid(self) -> UUID:
        """The group's id as a :class:`uuid.UUID`."""
        return self._uuid

    @property
    def children(self) -> list[AsyncResult[Any] | ResultSet]:
        """The results, as Celery names them."""
        return self.results

    def save(self) -> Self:
        """Return this very result: the rows tell all of it, so there is nothing to save."""
        return self

    @classmethod
    def restore(cls, id: UUID | str) -> GroupResult:
        """Return the result of the group with that id, in any process.

        Raises ``JobDoesNotExist`` when no job is of that group (any more).
        """
        group = cls(id, [])
        for using in databases():
            rows = Job.objects.using(using).filter(group_id=group.uuid)
            found = sorted(rows.values_list("id", "name", "options"), key=_in_order)
            if found:
                jobs = iter([AsyncResult[Any](row[0], name=row[1], using=using) for row in found])
                shape = (found[0][2] or {}).get("shape")
                if shape is None:
                    shape = ["value"] * len(found)
                elif _is_empty(shape):  # the one row stands for the group
                    jobs = iter(())
                group.results = [_shaped(each, jobs, group.uuid) for each in shape] + list(jobs)
                return group
        raise JobDoesNotExist(f"No job belongs to a group with the id {group.id}.")

    @classmethod
    async def arestore(cls, id: UUID | str) -> GroupResult:
        """Asynchronous twin of :meth:`restore`."""
        return await sync_to_async(cls.restore)(id)


def progress_of(jobs: Sequence[AsyncResult[Any]]) -> dict[str, int]:
    """Return how many of *jobs*, and of what they depend on, are ``done`` (ended), how many there
    are in ``total``, and how many ``failed``: ended without success."""
    counts: dict[str, int] = {}
    for job in jobs:
        if job._ended is not None and job._ended._state.adding:  # it ran here, without a row
            counts[job._ended.status] = counts.get(job._ended.status, 0) + 1
    stored = [job for job in jobs if job._ended is None or not job._ended._state.adding]
    for using, ids in _by_database(stored, chunk=len(stored)):
        connection = connections[using]
        with connection.cursor() as cursor:
            for status, number in dialect_for(connection).counts_above(cursor, ids):
                counts[status] = counts.get(status, 0) + number
    done = sum(number for status, number in counts.items() if status in ENDED)
    return {
        "done": done,
        "total": sum(counts.values()),
        "failed": done - counts.get(Status.SUCCESS, 0),
    }


def _by_database(
    jobs: Sequence[AsyncResult[Any]], chunk: int = _CHUNK
) -> Iterator[tuple[str, list[UUID]]]:
    """Return the ids of *jobs* by database; those of a job that may be in any, for each."""
    for using in databases():
        ids = [job.uuid for job in jobs if job._using in (using, "")]
        for start in range(0, len(ids), max(chunk, 1)):
            yield using, ids[start : start + chunk]


def _in_order(row: tuple[UUID, str, Any]) -> str:
    """Return what sorts members as they were defined: their ids, unless the caller chose these."""
    job_id, place = str(row[0]), (row[2] or {}).get("for", "")
    return job_id if job_id in place else place[: len(job_id)] or job_id


def _is_empty(shape: Any) -> bool:
    return shape != "value" and all(map(_is_empty, shape))


def _shaped(shape: Any, jobs: Iterator[AsyncResult[Any]], id: UUID) -> AsyncResult[Any] | ResultSet:
    if shape == "value":
        return next(jobs)
    return GroupResult(id, [_shaped(each, jobs, id) for each in shape])
