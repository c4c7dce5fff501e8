"""The handle on a job: its state, its result, its end."""

from __future__ import annotations

import asyncio
import datetime
import time
import warnings
from collections.abc import Generator, Iterator
from typing import Any, Generic, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async

from . import links
from .context import running
from .exceptions import (
    ArgumentError,
    JobDoesNotExist,
    JobRevoked,
    ResultTimeout,
    WouldDeadlock,
)
from .models import Job
from .rebuild import exception_of, last_attempt
from .routing import databases
from .status import ENDED, Status

T = TypeVar("T")

# Seconds between two looks of get(): from the first, growing, to the last.
_FIRST_LOOK, _LAST_LOOK, _GROWTH = 0.002, 0.25, 1.2


class AsyncResult(Generic[T]):
    """A job, known by its id, in any process. What it tells is read from the job's row each time,
    until the job has ended.

    An id that no job has raises :class:`JobDoesNotExist` from everything but ``id`` and ``repr``.
    """

    def __init__(self, id: UUID | str, *, name: str = "", using: str = "") -> None:
        try:
            self.id = id if isinstance(id, UUID) else UUID(str(id))
        except ValueError:
            raise ArgumentError(f"a job's id is a UUID, got {id!r}") from None
        self._name = name
        self._using = using
        self._ended: Job | None = None

    def __repr__(self) -> str:
        return f"<AsyncResult {self.id}{' of ' + self._name if self._name else ''}>"

    def __str__(self) -> str:
        return str(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def task_id(self) -> UUID:
        """The same as ``id``, as Celery names it."""
        return self.id

    @property
    def job(self) -> Job:
        """The row itself."""
        if self._ended is not None:
            return self._ended
        for using in [self._using] if self._using else databases():
            row = Job.objects.using(using).filter(pk=self.id).first()
            if row is not None:
                self._using = using
                if row.has_ended:
                    self._ended = row
                return row
        raise JobDoesNotExist(
            f"no job has the id {self.id}: it never existed, its transaction was rolled back, "
            "or it was forgotten or pruned"
        )

    @property
    def name(self) -> str:
        """Name of the job function."""
        return self._name or self.job.name

    @property
    def status(self) -> str:
        """One of :class:`~django_jobs.status.Status`."""
        return self.job.status

    @property
    def state(self) -> str:
        """The status, or the word a running job gave itself with ``update_state``."""
        row = self.job
        custom = (row.progress or {}).get("state") if row.status == Status.STARTED else None
        return custom or row.status

    @property
    def progress(self) -> dict[str, Any] | None:
        """What the job told of itself: ``done``, ``total``, ``message``, or ``state``, ``meta``."""
        progress: dict[str, Any] | None = self.job.progress
        return progress

    @property
    def info(self) -> Any:
        """The result, the exception of a failed job, or what a running one showed as ``meta``."""
        row = self.job
        if row.status in (Status.FAILURE, Status.RETRY):
            return exception_of(row)
        return (row.progress or {}).get("meta") if not row.has_ended else row.result

    @property
    def result(self) -> Any:
        """The value the job returned; of a failed job its exception; None before the end."""
        row = self.job
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

    def ready(self) -> bool:
        """Tell whether the job has ended, one way or another."""
        return self.status in ENDED

    def successful(self) -> bool:
        """Tell whether the job ended with SUCCESS."""
        return self.status == Status.SUCCESS

    def failed(self) -> bool:
        """Tell whether the job ended with FAILURE."""
        return self.status == Status.FAILURE

    def wait(self, timeout: float | None = None, *, allow_join: bool = False) -> AsyncResult[T]:
        """Wait until the job has ended, at most *timeout* seconds; raise only ResultTimeout."""
        _warn_inside_job(allow_join)
        for pause in _pauses(timeout, self.id):
            if self._has_ended():
                return self
            time.sleep(pause)
        return self

    def _has_ended(self) -> bool:
        # Asked often: one column takes a third of the time of the whole row.
        if self._ended is None and self._using:
            row = Job.objects.using(self._using).filter(pk=self.id).values_list("status")
            for (status,) in row[:1]:
                return status in ENDED
        return self.ready()

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
        :class:`ResultTimeout`, a ``TimeoutError``, after *timeout* seconds. A job that waits for
        another one may wait for ever when all slots do; it is warned unless *allow_join*.
        """
        self.wait(timeout, allow_join=allow_join)
        value: T = self._value(propagate)
        return value

    def _value(self, propagate: bool) -> Any:
        row = self.job
        if row.status == Status.REVOKED and propagate:
            raise JobRevoked(f"{row.name} {row.pk}: {row.error_message or 'revoked'}")
        if row.status == Status.FAILURE:
            error = exception_of(row)
            if propagate:
                raise error
            return error
        return row.result

    def revoke(self, *, terminate: bool = False) -> bool:
        """End the job: a queued one now, with *terminate* a running one too; tell whether it was.

        See :func:`django_jobs.operate.revoke`.
        """
        from .operate import revoke  # it enqueues, and enqueuing returns handles

        where = [self._using] if self._using else databases()
        return any(revoke([self.id], terminate=terminate, using=using) for using in where)

    def forget(self) -> None:
        """Delete the row of an ended job; raise ``ValueError`` when it has not ended."""
        if not self.ready():
            raise ValueError(f"job {self.id} is {self.status}; revoke it before you forget it")
        Job.objects.using(self._using).filter(pk=self.id).delete()
        self._ended = None

    def status_url(self, *, result: bool = False, max_age: float = 86_400.0) -> str:
        """Return the path of an address that tells whoever has it how far the job is, as JSON.

        It is good for *max_age* seconds, and tells what the job returned only with *result*. The
        project's ``urls.py`` must include ``django_jobs.urls``, else ``ImproperlyConfigured``.
        """
        return links.status_url(self.id, shows_result=result, max_age=max_age)

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

    async def await_(
        self, timeout: float | None = None, *, allow_join: bool = False
    ) -> AsyncResult[T]:
        """Asynchronous twin of :meth:`wait`."""
        _warn_inside_job(allow_join)
        for pause in _pauses(timeout, self.id):
            if await sync_to_async(self._has_ended)():
                return self
            await asyncio.sleep(pause)
        return self

    async def aget(
        self,
        timeout: float | None = None,
        *,
        propagate: bool = True,
        allow_join: bool = False,
    ) -> T:
        """Asynchronous twin of :meth:`get`."""
        await self.await_(timeout, allow_join=allow_join)
        value: T = await sync_to_async(self._value)(propagate)
        return value

    def __await__(self) -> Generator[Any, None, T]:
        return self.aget().__await__()

    async def arevoke(self, *, terminate: bool = False) -> bool:
        """Asynchronous twin of :meth:`revoke`."""
        return await sync_to_async(self.revoke)(terminate=terminate)

    async def aforget(self) -> None:
        """Asynchronous twin of :meth:`forget`."""
        await sync_to_async(self.forget)()


def _pauses(timeout: float | None, job_id: UUID) -> Iterator[float]:
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_LOOK
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        yield min(pause, max(left, 0))
        if deadline is not None and left <= 0:
            raise ResultTimeout(f"job {job_id} had not ended after {timeout} s")
        pause = min(_LAST_LOOK, pause * _GROWTH)


def _warn_inside_job(allow_join: bool) -> None:
    context = running.get()
    if context is not None and not allow_join and not context.request.is_eager:
        warnings.warn(
            f"{context.name} waits for another job inside a job: when every slot does, all wait "
            "for ever; use a workflow, or pass allow_join=True",
            WouldDeadlock,
            stacklevel=3,
        )
