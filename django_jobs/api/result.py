"""The handle on a job: its state, its result, its end."""

from __future__ import annotations

import asyncio
import datetime
import time
import warnings
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from ..control.operations import revoke, revoke_workflow
from ..db import dialect_for
from ..define.context import running
from ..define.routing import databases
from ..exceptions import (
    ArgumentError,
    JobDoesNotExist,
    JobNotCommitted,
    JobRevoked,
    ResultTimeout,
    WouldDeadlock,
)
from ..ids import JobId, job_id
from ..models import Job
from ..models.fields import decoded
from ..status import ENDED, Status
from ..workflows.family import children_of, is_needed, parents_of
from . import signed_urls
from .remote_exception import deferral_of, exception_of, last_attempt
from .waiting_reason import why_open

if TYPE_CHECKING:
    from .group_result import ResultSet

T = TypeVar("T")

# No job ends sooner after its enqueue: three commits lie between. A look would only hold it up.
_SOONEST_END = 0.002
# Seconds between two looks of get(): from the first, growing, to the last.
_FIRST_PAUSE, _LAST_PAUSE, _GROWTH = 0.0005, 0.25, 1.15


class Commit:
    """Tells whether the transaction that enqueued a job has committed."""

    __slots__ = ("done",)

    def __init__(self, using: str) -> None:
        self.done = False
        transaction.on_commit(self._set, using=using)

    def _set(self) -> None:
        self.done = True


def awaited_commit(using: str) -> Commit | None:
    """Return the commit of the transaction that is open on *using*, or None without one."""
    return Commit(using) if connections[using].in_atomic_block else None


class AsyncResult(Generic[T]):
    """A job, known by its id, in any process. What it tells is read from the job's row each time,
    until the job has ended.

    An id that no job has raises :class:`JobDoesNotExist` from everything but ``id`` and ``repr``.
    """

    def __init__(self, id: UUID | str, *, name: str = "", using: str = "") -> None:
        try:
            self._uuid = id if isinstance(id, UUID) else UUID(str(id))
        except ValueError:
            raise ArgumentError(f"A job's id is a UUID, got {id!r}.") from None
        self._name = name
        self._using = using
        self._made = time.monotonic()
        self._ended: Job | None = None
        self._parent: AsyncResult[Any] | ResultSet | None = None
        self._commit: Commit | None = None

    def __repr__(self) -> str:
        return f"<AsyncResult {self.id}{' of ' + self._name if self._name else ''}>"

    def __str__(self) -> str:
        return str(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.uuid == self.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    @property
    def id(self) -> JobId:
        """The job's id: a ``str`` that also equals the UUID. It fits into JSON and sessions."""
        return JobId(self._uuid)

    @property
    def task_id(self) -> JobId:
        """The same as ``id``, as Celery names it."""
        return self.id

    @property
    def uuid(self) -> UUID:
        """The job's id as a :class:`uuid.UUID`, as its row has it."""
        return self._uuid

    @property
    def job(self) -> Job:
        """The row itself."""
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
        """The row, which need not have more than status and result once the job has succeeded."""
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
        custom = (row.progress or {}).get("state") if row.status == Status.STARTED else None
        return custom or row.status

    @property
    def progress(self) -> dict[str, Any] | None:
        """What the job told of itself: ``done``, ``total``, ``message``, or ``state``, ``meta``."""
        progress: dict[str, Any] | None = self.job.progress
        return progress

    @property
    def info(self) -> Any:
        """The result, the exception of a failed job, or what a running one showed as ``meta``.

        Of a job that waits for a worker that can run it: why the last one could not.
        """
        row = self._end
        if row.status in (Status.FAILURE, Status.RETRY):
            return exception_of(row)
        if row.is_deferred:
            return deferral_of(row)
        return (row.progress or {}).get("meta") if not row.has_ended else row.result

    @property
    def result(self) -> Any:
        """The value the job returned; of a failed job its exception; None before the end."""
        row = self._end
        return exception_of(row) if row.status == Status.FAILURE else row.result

    @property
    def traceback(self) -> str | None:
        """Text of the last failed attempt's traceback, or None."""
        last = last_attempt(self.job)
        return last.traceback or None if last else None

    @property
    def date_done(self) -> datetime.datetime | None:
        """When the job ended."""
        return self.job.ended_at

    # --- its workflow ---------------------------------------------------------------------------

    @property
    def root_id(self) -> JobId:
        """Id of the job at the root of its workflow, or its own."""
        return JobId(self.job.root_id or self.uuid)

    @property
    def parent_id(self) -> JobId | None:
        """Id of the job before it, or of the one that enqueued it."""
        return job_id(self.job.parent_id)

    @property
    def group_id(self) -> JobId | None:
        """Id of the group whose member it is."""
        return job_id(self.job.group_id)

    @property
    def parent(self) -> AsyncResult[Any] | ResultSet | None:
        """The handle on what it runs after, or on the job that enqueued it."""
        if self._parent is None:
            from .group_result import ResultSet  # it is made of these handles

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

        ``done`` counts every end, ``failed`` those that were no success.
        """
        from .group_result import progress_of

        return progress_of([self])

    # --- its end --------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Tell whether the job has ended, one way or another."""
        return self.status in ENDED

    def successful(self) -> bool:
        """Tell whether the job ended with SUCCESS."""
        return self.status == Status.SUCCESS

    def failed(self) -> bool:
        """Tell whether the job ended with FAILURE."""
        return self.status == Status.FAILURE

    def _await_end(self, timeout: float | None, allow_join: bool) -> None:
        """Wait until the job has ended, at most *timeout* seconds."""
        warn_inside_job(allow_join)
        time.sleep(self._too_soon(timeout))
        for pause in pauses(timeout):
            if self._has_ended():
                return
            if pause:
                self._refuse_uncommitted()
            time.sleep(pause)
        raise self._timed_out(timeout)

    async def _aawait_end(self, timeout: float | None, allow_join: bool) -> None:
        warn_inside_job(allow_join)
        await asyncio.sleep(self._too_soon(timeout))
        for pause in pauses(timeout):
            if await sync_to_async(self._has_ended)():
                return
            if pause:
                self._refuse_uncommitted()
            await asyncio.sleep(pause)
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
        """Raise when nobody but this transaction can see the job: the wait would have no end."""
        if self._commit is not None and not self._commit.done:
            raise JobNotCommitted(
                f"Job {self.id} is not committed yet, so no worker can see it. Leave atomic() "
                "before you wait for it; ATOMIC_REQUESTS opens one around each view, and TestCase "
                "around each test."
            )

    def _too_soon(self, timeout: float | None) -> float:
        """Return for how long a job that was just enqueued cannot have ended."""
        if self._ended is not None or not self._using:  # a handle made by hand is on any job
            return 0.0
        left = self._made + _SOONEST_END - time.monotonic()
        return max(0.0, left if timeout is None else min(left, timeout))

    def _has_ended(self) -> bool:
        # Asked often: building a query by the ORM takes longer than answering this one.
        if self._ended is None and self._using:
            end = dialect_for(connections[self._using]).end_of(self.uuid)
            if end is not None and end[0] == Status.SUCCESS:
                values = [self.uuid, end[0], decoded(end[1])]
                self._ended = Job.from_db(self._using, ["id", "status", "result"], values)
            if end is not None:
                return end[0] in ENDED
        return self.status in ENDED

    def get(
        self,
        timeout: float | None = None,
        *,
        propagate: bool = True,
        allow_join: bool = False,
    ) -> T:
        """Wait for the end and return what the job returned.

        Raises the job's own exception when it failed (:class:`JobFailed` where this process does
        not know its class; with ``propagate=False`` it is returned), :class:`JobRevoked`, and
        :class:`ResultTimeout`, a ``TimeoutError``, after *timeout* seconds. Raises
        :class:`JobNotCommitted` at once inside the transaction that enqueued the job. A job that
        waits for another one may wait for ever when all slots do; it is warned unless *allow_join*.
        """
        self._await_end(timeout, allow_join)
        value: T = self._value(propagate)
        return value

    def wait(
        self,
        timeout: float | None = None,
        *,
        propagate: bool = True,
        allow_join: bool = False,
    ) -> T:
        """The same as :meth:`get`, as Celery names it."""
        return self.get(timeout, propagate=propagate, allow_join=allow_join)

    def _value(self, propagate: bool) -> Any:
        row = self._end
        if row.status == Status.REVOKED and propagate:
            raise JobRevoked(f"{row.name} {row.pk}: {row.error_message or 'revoked'}")
        if row.status == Status.FAILURE:
            error = exception_of(row)
            if propagate:
                raise error
            return error
        return row.result

    def revoke(self, *, terminate: bool = False, workflow: bool = False) -> bool:
        """End the job: a queued one now, with *terminate* a running one too; tell whether it was.

        With *workflow* also the jobs that it depends on. See
        :func:`django_jobs.control.operations.revoke`.
        """
        end = revoke_workflow if workflow else revoke
        where = [self._using] if self._using else databases()
        return any(end([self.uuid], terminate=terminate, using=using) for using in where)

    def forget(self) -> None:
        """Delete the row of an ended job.

        Raises ``ValueError`` when it has not ended, or when another job still needs its result.
        """
        if not self.ready():
            raise ValueError(f"Job {self.id} is {self.status}. Revoke it before you forget it.")
        if Job.objects.using(self._using).filter(is_needed(self._using), pk=self.uuid).exists():
            raise ValueError(
                f"Job {self.id} is needed by one that depends on it and has not ended. Forget "
                "it when that one has."
            )
        Job.objects.using(self._using).filter(pk=self.uuid).delete()
        self._ended = None

    def status_url(self, *, result: bool = False, max_age: float = 86_400.0) -> str:
        """Return the path of an address that tells whoever has it how far the job is, as JSON.

        It is good for *max_age* seconds, and tells what the job returned only with *result*. The
        project's ``urls.py`` must include ``django_jobs.urls``, else ``ImproperlyConfigured``.
        """
        return signed_urls.status_url(self.uuid, shows_result=result, max_age=max_age)

    # --- asynchronous twins ---------------------------------------------------------------------

    async def ajob(self) -> Job:
        """Asynchronous twin of :attr:`job`; what it read answers the properties once it ended."""
        return await sync_to_async(lambda: self.job)()

    async def astatus(self) -> str:
        """Asynchronous twin of :attr:`status`."""
        return (await self.ajob()).status

    async def aready(self) -> bool:
        """Asynchronous twin of :meth:`ready`."""
        return await self.astatus() in ENDED

    async def asuccessful(self) -> bool:
        """Asynchronous twin of :meth:`successful`."""
        return await self.astatus() == Status.SUCCESS

    async def afailed(self) -> bool:
        """Asynchronous twin of :meth:`failed`."""
        return await self.astatus() == Status.FAILURE

    async def aget(
        self,
        timeout: float | None = None,
        *,
        propagate: bool = True,
        allow_join: bool = False,
    ) -> T:
        """Asynchronous twin of :meth:`get`."""
        await self._aawait_end(timeout, allow_join)
        value: T = await sync_to_async(self._value)(propagate)
        return value

    def __await__(self) -> Generator[Any, None, T]:
        return self.aget().__await__()

    async def aworkflow_progress(self) -> dict[str, int]:
        """Asynchronous twin of :meth:`workflow_progress`."""
        return await sync_to_async(self.workflow_progress)()

    async def arevoke(self, *, terminate: bool = False, workflow: bool = False) -> bool:
        """Asynchronous twin of :meth:`revoke`."""
        return await sync_to_async(self.revoke)(terminate=terminate, workflow=workflow)

    async def aforget(self) -> None:
        """Asynchronous twin of :meth:`forget`."""
        await sync_to_async(self.forget)()


def pauses(timeout: float | None) -> Iterator[float]:
    """Return the seconds to sleep before each look, until *timeout* seconds are over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        yield min(pause, max(left, 0))
        if deadline is not None and left <= 0:
            return
        pause = min(_LAST_PAUSE, pause * _GROWTH)


def warn_inside_job(allow_join: bool) -> None:
    """Warn when a job that runs here waits for another one."""
    context = running.get()
    if context is not None and not allow_join and not context.request.is_eager:
        warnings.warn(
            f"{context.name} waits for another job inside a job: when every slot does, all wait "
            "for ever. Use a workflow, or pass allow_join=True.",
            WouldDeadlock,
            stacklevel=3,
        )
