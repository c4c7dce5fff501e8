"""Runs the jobs that are ready, in the test's thread, connection and transaction."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from asgiref.sync import sync_to_async

from ..api.result import AsyncResult
from ..api.result_set import ResultSet
from ..define import registry
from ..define.conversion import brought_back
from ..define.current import running
from ..define.envelopes import opened
from ..define.routing import database_of, databases
from ..exceptions import JobFailed
from ..models import Job
from ..moments import aware
from ..schedules.ticks import utc
from ..serialization import loads, type_of
from ..status import Status
from ..values import Outcome
from .autocommit import committing
from .clock import now, standing_at
from .databases import usable
from .worker import InlineWorker

#: A handle on a job or on several, or a function.
Until = AsyncResult[Any] | ResultSet | Callable[[], object]
When = datetime.datetime | datetime.timedelta
Travel = Callable[[datetime.datetime], AbstractContextManager[Any]]

_INSTANT = datetime.timedelta(milliseconds=1)
# A job whose slot under a rate limit is a part of a microsecond later is due again at once.
_MOST_LOOKS = 100


@dataclasses.dataclass(frozen=True, slots=True)
class RanJob:
    """One attempt at a job, as :func:`run_jobs` returns it."""

    #: The handle on the job.
    job: AsyncResult[Any]
    name: str
    #: As the body got them, of the types that its annotations say.
    args: list[Any] = dataclasses.field(repr=False)
    kwargs: dict[str, Any] = dataclasses.field(repr=False)
    queue: str
    #: 1 for the first attempt.
    attempt: int
    #: The job's status after the attempt: ``RETRY`` or ``SCHEDULED`` if it is to run again.
    status: str
    #: The value that the job's ``get()`` returns; None if nothing is stored.
    result: Any = dataclasses.field(repr=False)
    #: The exception of a failed attempt, with its traceback; or None.
    error: BaseException | None = dataclasses.field(repr=False)

    @classmethod
    def of(cls, outcome: Outcome, using: str) -> RanJob:
        job = outcome.job
        error = outcome.value if isinstance(outcome.value, BaseException) else None
        if error is None and outcome.status == Status.FAILURE:
            # It raised Ignore after update_state(state="FAILURE").
            error = JobFailed("django_jobs.exceptions.Ignore", "The body ended its job as FAILURE.")
        args, kwargs = loads(job.args), loads(job.kwargs)
        result = None if outcome.result is None else opened(loads(outcome.result))
        if (function := registry.find(job.name)) is not None:
            if function.argument_types is not None:
                args, kwargs = function.argument_types.seen(args, kwargs)
            if result is not None and function.result_type is not None:
                result = brought_back(function.result_type, result)
        return cls(
            job=AsyncResult(job.id, name=job.name, using=using),
            name=job.name,
            args=args,
            kwargs=kwargs,
            queue=job.queue,
            attempt=job.retries + 1,
            status=str(outcome.status),
            result=result,
            error=error,
        )


def run_jobs(
    queue: str | Sequence[str] | None = None,
    until: Until | None = None,
    at: When | None = None,
    raise_errors: bool = True,
    *,
    schedules: bool = True,
    travel: Travel | None = None,
    limit: int = 1_000,
) -> list[RanJob]:
    """Run the jobs that are ready, and those that they enqueue; return the attempts, in order.

    The jobs run one after the other in the caller's thread, by priority and age. Inside a
    transaction, as in a ``TestCase``, a job's commits are savepoints: what it writes stays or is
    undone as in a worker, its ``on_commit`` hooks run, and the test goes on with its transaction.

    - *queue*: run jobs of this queue, or of these queues, only.
    - *until*: stop when this handle is ready, or this function returns something true. Raises
      ``AssertionError`` when all jobs ran and it is not.
    - *at*: play time forward up to a datetime, or for a timedelta: jobs, retries and schedules run
      when they are due, without a wait. The database's clock stands at each of these moments and
      runs on after the call. Python's clock does not change.
    - *travel*: with *at*, a function that takes the moment and returns a context manager in which
      Python's clock shows it, such as ``freezegun.freeze_time``.
    - *schedules*: False lets no schedule fire. Without *at* none does.
    - *raise_errors*: raise the exception of the first job that ends as FAILURE; the jobs behind it
      stay ready. An attempt that is retried raises nothing.
    - *limit*: raise ``AssertionError`` before more attempts than this.
    """
    if travel is not None and at is None:
        raise TypeError("run_jobs(travel=...) needs at=, the moment to travel to. Pass it, too.")
    if running.get() is not None:
        raise RuntimeError(
            "run_jobs() was called inside a job. Call it in the test: it also runs the jobs that "
            "jobs enqueue."
        )
    run = _Run(queue, until, raise_errors, limit)
    with run.working():
        if at is None:
            run.drain()
        else:
            run.play(at, schedules=schedules, travel=travel)
    run.check_until()
    return run.ran


arun_jobs = sync_to_async(run_jobs)


def _end(at: object, start: datetime.datetime) -> datetime.datetime:
    if isinstance(at, datetime.timedelta):
        return start + at
    if not isinstance(at, datetime.datetime):
        raise TypeError(f"run_jobs(at=...) takes a datetime or a timedelta, got {type_of(at)}.")
    moment = utc(aware(at, "at"))
    assert moment is not None
    return moment


class _Done(Exception):
    """The condition of ``until`` holds."""


class _Run:
    """One call of :func:`run_jobs`."""

    def __init__(
        self, queue: str | Sequence[str] | None, until: Until | None, raise_errors: bool, limit: int
    ) -> None:
        if queue is not None and not isinstance(queue, (str, list, tuple, set, frozenset)):
            raise TypeError(
                "run_jobs(queue=...) takes the name of a queue or a list of names, got "
                f"{type_of(queue)}."
            )
        if not (until is None or callable(until) or hasattr(until, "ready")):
            raise TypeError(
                "run_jobs(until=...) takes a handle, as delay() returns it, or a function, got "
                f"{type_of(until)}."
            )
        names = [queue] if isinstance(queue, str) else queue
        self.queues = None if names is None else set(names)
        self.databases = _databases_of(self.queues)
        self.until, self.raise_errors, self.limit = until, raise_errors, limit
        self.workers: list[InlineWorker] = []
        self.ran: list[RanJob] = []

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Have a worker on each database, and commit inside the test's transaction."""
        with committing(), contextlib.ExitStack() as stack:
            for using in self.databases:
                self.workers.append(stack.enter_context(InlineWorker(using).registered()))
            yield

    def drain(self) -> None:
        """Run all jobs that are ready by the running clock."""
        with contextlib.suppress(_Done):
            self._check_done()
            while any(self._step(worker) for worker in self.workers):
                continue

    def _step(self, worker: InlineWorker) -> bool:
        worker.come_to(fires=False)
        return self._run_ready(worker)

    def play(self, at: When, *, schedules: bool, travel: Travel | None) -> None:
        """Run all jobs up to the moment *at*; the clock stands at each moment with work."""
        moment = now(self.databases[0])
        end = _end(at, moment)
        with contextlib.suppress(_Done):
            self._check_done()
            with standing_at(moment, self.databases):
                for worker in self.workers if schedules else ():
                    worker.read_schedules()
            ran = stuck = 0
            while True:
                travelled = travel(moment) if travel else contextlib.nullcontext()
                with travelled, standing_at(moment, self.databases):
                    for worker in self.workers:
                        worker.moment = moment
                        worker.come_to(fires=schedules)
                    while any(self._run_ready(worker) for worker in self.workers):
                        continue
                    due = [worker.next_due(schedules=schedules) for worker in self.workers]
                coming = [each for each in due if each is not None and each <= end]
                if not coming:
                    return
                stuck = stuck + 1 if min(coming) <= moment and len(self.ran) == ran else 0
                ran = len(self.ran)
                if stuck > _MOST_LOOKS:
                    raise AssertionError(
                        f"A job or a schedule was due at {min(coming)} and did not start: does "
                        "another transaction hold its row?"
                    )
                # The clock goes on, so that a job which is due at once again comes to its end.
                moment = max(min(coming), moment + _INSTANT)

    def _run_ready(self, worker: InlineWorker) -> bool:
        """Run one job after the other while some are ready; return whether there were any."""
        found = False
        while True:
            outcomes = worker.run_one(self.queues, self._refuse_endless)
            if outcomes is None:
                return found
            found = True
            for outcome in outcomes:
                self._note(outcome, worker.using)

    def _note(self, outcome: Outcome, using: str) -> None:
        ran = RanJob.of(outcome, using)
        self.ran.append(ran)
        if isinstance(ran.error, KeyboardInterrupt):
            raise ran.error
        failed = ran.status == Status.FAILURE or outcome.is_deferred
        if failed and self.raise_errors and ran.error is not None:
            ran.error.add_note(
                f"Job {ran.name} {ran.job.id} ended as {ran.status}. With raise_errors=False "
                "run_jobs() returns the exception."
            )
            raise ran.error
        self._check_done()

    def _refuse_endless(self) -> None:
        if len(self.ran) < self.limit:
            return
        names = Counter(ran.name for ran in self.ran[-100:])
        often = ", ".join(f"{name} ({number}×)" for name, number in names.most_common(3))
        raise AssertionError(
            f"run_jobs() ran {self.limit} attempts, and more jobs are ready: do jobs enqueue "
            f"themselves for ever? The last ones were {often}. Pass until= to stop earlier, or a "
            "greater limit=."
        )

    def _check_done(self) -> None:
        if self.until is not None and self._holds():
            raise _Done

    def _holds(self) -> bool:
        ready: Any = getattr(self.until, "ready", self.until)
        return bool(ready())

    def check_until(self) -> None:
        """Raise ``AssertionError`` if all jobs ran and the condition does not hold."""
        if self.until is None or self._holds():
            return
        left = [
            f"{job.name} {job.pk} is {job.status}"
            for using in self.databases
            for job in Job.objects.using(using).live().order_by("id")[:5]
        ]
        what = "these jobs did not run: " + "; ".join(left) if left else "no job is left"
        raise AssertionError(
            f"run_jobs() ran {len(self.ran)} attempts, and what until= waits for did not come: "
            f"{what}. A job that is due later runs with at=."
        )


def _databases_of(queues: set[str] | None) -> list[str]:
    if queues is None:
        return usable(databases())
    return sorted({database_of(queue) for queue in queues})
