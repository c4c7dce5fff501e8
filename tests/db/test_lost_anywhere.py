"""Each message of the engine to the database is lost once, before its effect and after it.

With SQLite, to which no messages go, each statement and each COMMIT fails once.
Whatever is lost, the caller repeats its call as a worker does, others take over, and at the end no
job is lost, is stuck, or has ended twice. ``tests/run/test_lost_answers.py`` says what each write
leaves behind.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error, connection, connections
from django.db.models import F

from django_jobs import chain, chord, current_job, job, send_event
from django_jobs.beat.fire import fire_due
from django_jobs.control import jobs as control
from django_jobs.control import retrying
from django_jobs.db import clock
from django_jobs.limits.admission import Admission
from django_jobs.maintenance import events, promote, prune, rescue, unblock
from django_jobs.metrics.capped_count import ready_queues
from django_jobs.models import (
    Attempt,
    Edge,
    Event,
    EventWait,
    Job,
    LimitLock,
    Permit,
    Reservation,
    Schedule,
    Step,
    Worker,
)
from django_jobs.process.renewal import Sign, renew
from django_jobs.run.claim import claim
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute
from django_jobs.run.reassert import reassert
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.schedules.planning import plan
from django_jobs.steps.rows import RowStore
from django_jobs.values import Outcome
from django_jobs.worker.inline import run_ready
from tests.proxy import Proxy, through
from tests.statement_faults import StatementFaults
from tests.torture.checker import prepare, remove

pytestmark = pytest.mark.django_db(transaction=True)

#: More messages than any path sends.
MOST = 90
#: The suite loses one message in seven; ``make torture ARGS=lost`` each of them.
EVERY = int(os.environ.get("LOST_EVERY", "7"))


@job(autoretry_for=(ValueError,), max_retries=1)
def work(fails: bool = False, *given: Any) -> None:
    if fails:
        raise ValueError("no")


@job(concurrency=1, concurrency_key=[])
def limited() -> None: ...


@job(rate_limit="1/h")
def rated() -> None: ...


@job(unique=True, unique_key=[])
def unique() -> None: ...


#: What the steps of jobs did.
effects: list[str] = []


@job
def stepping() -> str:
    current_job.step("first", lambda: effects.append("first"))
    current_job.sleep(3600)
    current_job.step("second", lambda: effects.append("second"))
    return str(current_job.wait_for_event("go"))


@job
def calling() -> None:
    current_job.run(work.si())


class Path:
    """What is done over the connection that breaks; :meth:`repeat` is what its caller does then."""

    def __init__(self, worker: uuid.UUID) -> None:
        self.worker = worker
        self.acknowledged: list[uuid.UUID] = []

    def set_up(self) -> None: ...

    def act(self) -> None:
        raise NotImplementedError

    def repeat(self) -> None:
        self.act()

    def claim(self) -> list[Any]:
        return claim(self.worker, ["default"], 9, "default")[0]

    def outcomes(self) -> list[Outcome]:
        steps = RowStore(lambda: self.worker, "default", reassert)
        return [execute(each, Environment(steps=steps)) for each in self.claim()]

    def check(self) -> None: ...


class Enqueue(Path):
    def act(self) -> None:
        self.acknowledged.append(work.delay().uuid)

    def repeat(self) -> None: ...  # a view answers with an error


class EnqueueMany(Enqueue):
    def act(self) -> None:
        found = [each.uuid for each in work.delay_many([(), ()])]
        self.acknowledged += [*found, unique.delay().uuid]
        self.acknowledged.append(chain(work.s(), work.si()).apply_async().uuid)


class Claim(Path):
    def set_up(self) -> None:
        self.acknowledged += [work.delay().uuid for _ in range(3)]

    def act(self) -> None:
        self.claim()

    def repeat(self) -> None:
        # The worker knows of no job: what it lost are strays.
        release_strays(self.worker, [], "default")
        self.claim()


class Admit(Claim):
    def set_up(self) -> None:
        self.acknowledged += [limited.delay().uuid for _ in range(3)]
        self.acknowledged += [rated.delay().uuid for _ in range(2)]

    def act(self) -> None:
        Admission("default").admit(self.worker, self.claim())


class Record(Claim):
    def set_up(self) -> None:
        super().set_up()
        self.ends = self.outcomes()

    def act(self) -> None:
        record(self.worker, self.ends, "default")

    def repeat(self) -> None:
        counted = record(self.worker, self.ends, "default")
        assert len(counted) == len(self.ends)


class RecordMore(Record):
    """Failures with a retry, dependents, and permits."""

    def set_up(self) -> None:
        self.acknowledged += [work.delay(True).uuid, limited.delay().uuid, limited.delay().uuid]
        self.acknowledged.append(chain(work.s(), work.si()).apply_async().uuid)
        jobs, _failed = Admission("default").admit(self.worker, self.claim())
        self.ends = [execute(each, Environment()) for each in jobs]


class RecordHeader(Record):
    """The last jobs of a chord's header, which hold permits; the body begins."""

    def set_up(self) -> None:
        self.acknowledged.append(chord([limited.si(), work.si()], work.si()).apply_async().uuid)
        jobs, _failed = Admission("default").admit(self.worker, self.claim())
        self.ends = [execute(each, Environment()) for each in jobs]


class RunSteps(Path):
    """A job with a step, a sleep, and one with a job of its own."""

    def set_up(self) -> None:
        effects.clear()
        self.acknowledged += [stepping.delay().uuid, calling.delay().uuid]
        self.ends: list[Outcome] = []
        send_event("go", 7)

    def act(self) -> None:
        self.ends = self.outcomes()
        record(self.worker, self.ends, "default")

    def repeat(self) -> None:
        # Without outcomes the worker has lost its jobs.
        record(self.worker, self.ends, "default")

    def check(self) -> None:
        keys = list(Step.objects.values_list("job_id", "key"))
        assert len(set(keys)) == len(keys)
        # A step whose record may be lost is called again.
        assert set(effects) == {"first", "second"}
        assert len(effects) <= 3


class GoOn(RunSteps):
    """The job goes on after its sleep, and takes its event."""

    def set_up(self) -> None:
        super().set_up()
        record(self.worker, self.outcomes(), "default")
        wake_sleepers()
        promote.run_all("default")


class Collect(RunSteps):
    """A job goes on, because the job that it has called ended, and takes the result."""

    def set_up(self) -> None:
        self.acknowledged.append(calling.delay().uuid)
        for _ in range(2):
            record(self.worker, self.outcomes(), "default")
        self.ends = []

    def check(self) -> None:
        assert set(Job.objects.values_list("status", flat=True)) == {"SUCCESS"}


class Send(GoOn):
    """The event comes while the job waits for it."""

    def set_up(self) -> None:
        super().set_up()
        Event.objects.all()._raw_delete("default")
        record(self.worker, self.outcomes(), "default")

    def act(self) -> None:
        send_event("go", 7)

    def repeat(self) -> None:
        self.act()


class Unblock(Path):
    """A job waits for a permit that nobody holds any more."""

    def set_up(self) -> None:
        self.acknowledged += [limited.delay().uuid for _ in range(2)]
        Admission("default").admit(self.worker, self.claim())
        Permit.objects.all()._raw_delete("default")
        Job.objects.filter(status="STARTED").update(status="PENDING", worker_id=None)

    def act(self) -> None:
        unblock.run_once("default")


class Release(Claim):
    def set_up(self) -> None:
        super().set_up()
        self.claimed = self.claim()

    def act(self) -> None:
        release(self.worker, self.claimed, "default")

    def repeat(self) -> None:
        release_strays(self.worker, [], "default")


class Heartbeat(Claim):
    def act(self) -> None:
        renewed, over = renew([Sign(self.worker)], "default")
        assert (renewed, over) == ({self.worker}, set())

    def repeat(self) -> None:
        self.act()


class Rescue(Claim):
    def set_up(self) -> None:
        super().set_up()
        self.claim()
        Worker.objects.update(lease_until=clock("default", -1))

    def act(self) -> None:
        rescue.run_once("default")

    def repeat(self) -> None:
        self.act()


class CleanUp(Claim):
    def set_up(self) -> None:
        super().set_up()
        first, *_others = self.claim()
        self.running = {(first.id, first.claims): None}

    def act(self) -> None:
        rescue.clean_up_after(self.worker, self.running, "default", failed=True)

    def repeat(self) -> None:
        self.act()


class Promote(Path):
    def set_up(self) -> None:
        self.acknowledged.append(work.apply_async(countdown=60).uuid)
        Job.objects.update(run_at=clock("default", -1))

    def act(self) -> None:
        promote.run_once("default")


class Tick(Path):
    def set_up(self) -> None:
        Schedule.objects.create(
            name="tick", job_name=work.name, kind="interval", interval_seconds=3600
        )
        plan("default")
        Schedule.objects.update(next_run_at=clock("default", -1))

    def act(self) -> None:
        fire_due("default")


class Operate(Path):
    def set_up(self) -> None:
        self.acknowledged += [work.delay().uuid, work.apply_async(countdown=60).uuid]
        ended = chain(work.s(), work.si()).apply_async().uuid
        control.revoke([Job.objects.get(status="WAITING").pk])
        self.acknowledged.append(ended)

    def act(self) -> None:
        revoked = Job.objects.get(status="REVOKED").pk
        retrying.retry([revoked])
        control.run_now(self.acknowledged)
        control.revoke(self.acknowledged[:1])

    def repeat(self) -> None:
        with contextlib.suppress(Job.DoesNotExist):
            self.act()


class Prune(Path):
    def set_up(self) -> None:
        self.acknowledged.append(work.delay().uuid)
        gone = work.delay().uuid
        control.revoke([gone])
        Job.objects.filter(pk=gone).update(prune_at=clock("default", -1))

    def act(self) -> None:
        prune.run_once("default", uuid.UUID(int=1))


PATHS = [
    Enqueue, EnqueueMany, Claim, Admit, Record, RecordMore, RecordHeader, RunSteps, GoOn, Collect,
    Send, Unblock, Release, Heartbeat, Rescue, CleanUp, Promote, Tick, Operate, Prune,
]  # fmt: skip


@pytest.fixture
def line(vendor: str) -> Iterator[Proxy | StatementFaults]:
    """What is between the engine and its database."""
    line = StatementFaults() if vendor == "sqlite" else Proxy()
    prepare()
    yield line
    remove()
    if isinstance(line, Proxy):
        line.close()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", PATHS)
def test_lost_message(
    kind: type[Path],
    when: str,
    line: Proxy | StatementFaults,
    new_worker: Callable[..., Worker],
) -> None:
    # A run that goes on reads its steps with few messages.
    for messages in range(0, MOST, 1 if kind in (GoOn, Collect) else EVERY):
        path = kind(new_worker().pk)
        path.set_up()
        with through(line) if isinstance(line, Proxy) else line.through():
            ready_queues("default")  # the connection is there
            line.lose_after(messages, when)
            try:
                path.act()
            except Error:
                assert line.lost.is_set()
                connections["default"].close()  # as everybody does after an error
                path.repeat()
            was_lost = line.lost.is_set()
            line.relent()
        run_all_that_is_left(new_worker().pk)
        check(path)
        if not was_lost:
            assert messages, "nothing was sent"
            return
        forget()
    raise AssertionError(f"more than {MOST} messages")


def run_all_that_is_left(worker: uuid.UUID) -> None:
    """What happens in time: leases run out, other workers rescue, promote and run jobs."""
    Worker.objects.exclude(pk=worker).update(lease_until=clock("default", -1))
    rescue.run_once("default")
    environment = Environment(steps=RowStore(lambda: worker, "default", reassert))
    while True:
        wake_sleepers()
        promote.run_all("default")
        events.run_all("default")
        unblock.run_all("default")
        if not ready_queues("default"):
            return
        run_ready(worker, ["default"], using="default", limit=9, environment=environment)


def wake_sleepers() -> None:
    Job.objects.timed().update(run_at=clock("default", -1))
    Step.objects.filter(wake_at__isnull=False).update(wake_at=clock("default", -1))
    Reservation.objects.update(at=F("at") - 4000)


def check(path: Path) -> None:
    rows = set(Job.objects.values_list("pk", flat=True))
    assert set(path.acknowledged) <= rows, "lost"
    assert list(Job.objects.live().values_list("status", "name")) == [], "stuck"
    assert not Permit.objects.exists()
    attempts = list(Attempt.objects.values_list("job_id", "claims"))
    assert len(attempts) == len(set(attempts))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT job_id FROM torture_trail WHERE new IN ('SUCCESS', 'FAILURE') "
            "GROUP BY job_id HAVING count(*) > 1"
        )
        assert not cursor.fetchall(), "ended twice"
    path.check()
    if isinstance(path, Tick):
        assert Job.objects.count() == 1


def forget() -> None:
    for model in (Permit, LimitLock, Reservation, Attempt, Edge, Step, EventWait, Event, Schedule):
        model.objects.all()._raw_delete("default")
    for model in (Worker, Job):
        model.objects.all()._raw_delete("default")
