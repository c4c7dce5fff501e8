"""The handle on a job: its state, its result, its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from ..control import jobs
from ..db import dialect_for
from ..define.routing import databases
from ..define.twins import twin
from ..exceptions import JobRevoked, ResultTimeout
from ..models import Job
from ..models.fields import decoded
from ..status import ENDED, Status
from ..workflows.graph import children_of, is_needed, parents_of
from ..workflows.remote_exception import exception_of
from . import signed_urls, waiting
from .stored_job import StoredJob
from .waiting_text import why_open
from .workflow_progress import progress_of

if TYPE_CHECKING:
    from .result_set import ResultSet

T = TypeVar("T")

# No job ends sooner after its enqueue: it takes three commits. An earlier look would delay it.
_SOONEST_END = 0.002


class AsyncResult(StoredJob, Generic[T]):
    """The handle on a job, in any process: ``AsyncResult(id)``.

    Each property reads the job's row, until the job has ended. It keeps the end that it has read,
    and looks again after ``control.retry()`` in the same process. If no job has the id, everything
    but ``id``, ``uuid`` and ``repr`` raises :class:`JobDoesNotExist`. Raises ``ArgumentError`` for
    an *id* that is not a UUID. *name* (the job function's) and *using* (the database's alias) spare
    queries; they are found out when omitted.
    """

    # Of the class: a handle of delay_many() is made in a microsecond.
    _parent: AsyncResult[Any] | ResultSet | None = None
    _commit: waiting.Commit | None = None

    # --- its workflow ---------------------------------------------------------------------------

    @property
    def parent(self) -> AsyncResult[Any] | ResultSet | None:
        """The handle on the job or jobs before it, on the job that enqueued it, or None."""
        if self._parent is None:
            from .result_set import ResultSet  # it is made of these handles

            job = self.job
            using = job._state.db or ""
            handles = [AsyncResult[Any](each, using=using) for each in parents_of(job)]
            self._parent = ResultSet(handles) if len(handles) > 1 else next(iter(handles), None)
        return self._parent

    @parent.setter
    def parent(self, parent: AsyncResult[Any] | ResultSet | None) -> None:
        self._parent = parent

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The handles on the jobs that depend on it or that it enqueued."""
        job = self.job
        using = job._state.db or ""
        return [AsyncResult(child, name=name, using=using) for child, name in children_of(job)]

    def workflow_progress(self) -> dict[str, int]:
        """Return ``done``, ``total`` and ``failed`` of this job and all that it depends on.

        ``done`` counts every end, ``failed`` the ends without success.
        """
        return progress_of([self])

    # --- its end --------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Return whether the job has ended, with any outcome."""
        return self.status in ENDED

    def successful(self) -> bool:
        """Return whether the job ended with SUCCESS."""
        return self.status == Status.SUCCESS

    def failed(self) -> bool:
        """Return whether the job ended with FAILURE."""
        return self.status == Status.FAILURE

    def get(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> T:
        """Wait for the end and return what the job returned.

        *timeout* is in seconds; without one the wait has no limit. Raises:

        - the job's own exception when it failed (:class:`JobFailed` if this process does not know
          its class); with ``propagate=False`` the exception is returned instead;
        - :class:`JobRevoked` when it was revoked or expired;
        - :class:`ResultTimeout`, a ``TimeoutError``, after *timeout* seconds;
        - :class:`JobNotCommitted` inside the transaction that enqueued the job.

        Inside a job it warns with ``WouldDeadlock``, unless *allow_join*: if every slot runs a job
        that waits for another one, none of them ever ends.
        """
        self._await_end(timeout, allow_join)
        value: T = self._value(propagate)
        return value

    wait = get  # as Celery names it

    async def aget(
        self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False
    ) -> T:
        """Asynchronous twin of :meth:`get`."""
        await self._aawait_end(timeout, allow_join)
        value: T = await sync_to_async(self._value)(propagate)
        return value

    def __await__(self) -> Generator[Any, None, T]:
        return self.aget().__await__()

    def _await_end(self, timeout: float | None, allow_join: bool) -> None:
        time.sleep(self._too_soon(timeout))
        if not waiting.wait(self._has_ended, self._refuse_uncommitted, timeout, allow_join):
            raise self._timed_out(timeout)

    async def _aawait_end(self, timeout: float | None, allow_join: bool) -> None:
        await asyncio.sleep(self._too_soon(timeout))
        if not await waiting.await_(self._has_ended, self._refuse_uncommitted, timeout, allow_join):
            raise await sync_to_async(self._timed_out)(timeout)

    def _timed_out(self, seconds: float | None) -> ResultTimeout:
        return ResultTimeout(
            f"Job {self.id} had not ended after {seconds or 0:g} s. {self._why_open()}"
        )

    def _why_open(self) -> str:
        if not self._using:
            self._using = str(self.job._state.db)
        return why_open(self.uuid, self._using)

    def _refuse_uncommitted(self) -> None:
        """Raise when only this transaction can see the job: the wait would never end."""
        if self._commit is not None:
            self._commit.refuse_open(self.id)

    def _too_soon(self, timeout: float | None) -> float:
        """Return for how many seconds a job that was just enqueued cannot have ended."""
        if self._ended is not None or not self._using:  # AsyncResult(id): enqueued at any time
            return 0.0
        left = self._made + _SOONEST_END - time.monotonic()
        return max(0.0, left if timeout is None else min(left, timeout))

    def _has_ended(self) -> bool:
        # Called often: the ORM takes longer to build this query than the database to answer it.
        if self._ended is None and self._using:
            end = dialect_for(connections[self._using]).end_of(self.uuid)
            if end is not None and end[0] == Status.SUCCESS:
                values = [self.uuid, end[0], decoded(end[1])]
                self._ended = Job.from_db(self._using, ["id", "status", "result"], values)
            if end is not None:
                return end[0] in ENDED
        return self.status in ENDED

    def _value(self, propagate: bool) -> Any:
        row = self._end
        if row.status == Status.REVOKED and propagate:
            raise JobRevoked(f"{row.name} {row.pk}: {row.error_message or 'revoked'}")
        if row.status == Status.FAILURE:
            error = exception_of(row)
            if propagate:
                raise error
            return error
        return self._returned(row)

    # --- verbs ----------------------------------------------------------------------------------

    def revoke(self, *, terminate: bool = False, workflow: bool = False) -> bool:
        """Revoke the job if it is queued, with *terminate* also if it runs; return whether it was.

        With *workflow* also the jobs that it depends on. See
        :func:`django_jobs.control.revoke`.
        """
        end = jobs.revoke_workflow if workflow else jobs.revoke
        where = [self._using] if self._using else databases()
        return any(end([self.uuid], terminate=terminate, using=using) for using in where)

    def forget(self) -> None:
        """Delete the row of an ended job.

        Raises ``ValueError`` when it has not ended, or when another job still needs its result.
        """
        if not self.ready():
            raise ValueError(f"Job {self.id} is {self.status}. Revoke it before you forget it.")
        if Job.objects.using(self._using).filter(is_needed(), pk=self.uuid).exists():
            raise ValueError(
                f"Job {self.id} has a dependent that has not ended. Forget it after that job's end."
            )
        Job.objects.using(self._using).filter(pk=self.uuid).delete()
        self._ended = None

    def status_url(self, *, result: bool = False, max_age: float = 86_400.0) -> str:
        """Return the path of a page that shows the job's progress as JSON; its token is the key.

        The token expires after *max_age* seconds. The page shows the job's result only with
        *result*. Raises ``ImproperlyConfigured`` when the project's ``urls.py`` does not include
        ``django_jobs.urls``, ``ValueError`` when *max_age* is not above 0.
        """
        return signed_urls.status_url(self.uuid, shows_result=result, max_age=max_age)

    # --- asynchronous twins ---------------------------------------------------------------------

    async def ajob(self) -> Job:
        """Asynchronous twin of :attr:`job`. After the job's end, the properties use its row."""
        return await sync_to_async(lambda: self.job)()

    async def astatus(self) -> str:
        """Asynchronous twin of :attr:`status`."""
        return (await self.ajob()).status

    aready = twin(ready)
    asuccessful = twin(successful)
    afailed = twin(failed)
    aworkflow_progress = twin(workflow_progress)
    arevoke = twin(revoke)
    aforget = twin(forget)
