"""Each message of the engine to the database is lost once, before its effect and after it.

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

from django_jobs import chain, job
from django_jobs.beat.fire import fire_due
from django_jobs.control import jobs as control
from django_jobs.control import retrying
from django_jobs.db import clock
from django_jobs.limits.admission import Admission
from django_jobs.maintenance import promote, prune, rescue, unblock
from django_jobs.metrics.capped_count import ready_queues
from django_jobs.models import Attempt, Edge, Job, LimitLock, Permit, Schedule, Worker
from django_jobs.process.renewal import Sign, renew
from django_jobs.run.claim import claim
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.schedules.planning import plan
from django_jobs.values import Outcome
from django_jobs.worker.inline import run_ready
from tests.proxy import Proxy, through
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


@job(unique=True, unique_key=[])
def unique() -> None: ...


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
        return [execute(each, Environment()) for each in self.claim()]


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
    Enqueue, EnqueueMany, Claim, Admit, Record, RecordMore, Release, Heartbeat, Rescue, CleanUp,
    Promote, Tick, Operate, Prune,
]  # fmt: skip


@pytest.fixture
def proxy(vendor: str) -> Iterator[Proxy]:
    if vendor == "sqlite":
        pytest.skip("no network is between a worker and SQLite")
    proxy = Proxy()
    prepare()
    yield proxy
    remove()
    proxy.close()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", PATHS)
def test_lost_message(
    kind: type[Path], when: str, proxy: Proxy, new_worker: Callable[..., Worker]
) -> None:
    for messages in range(0, MOST, EVERY):
        path = kind(new_worker().pk)
        path.set_up()
        with through(proxy):
            ready_queues("default")  # the connection is there
            proxy.lose_after(messages, when)
            try:
                path.act()
            except Error:
                assert proxy.lost.is_set()
                connections["default"].close()  # as everybody does after an error
                path.repeat()
            was_lost = proxy.lost.is_set()
            proxy.relent()
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
    while True:
        Job.objects.timed().update(run_at=clock("default", -1))
        promote.run_all("default")
        unblock.run_all("default")
        if not ready_queues("default"):
            return
        run_ready(worker, ["default"], using="default", limit=9, environment=Environment())


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
    if isinstance(path, Tick):
        assert Job.objects.count() == 1


def forget() -> None:
    for model in (Permit, LimitLock, Attempt, Edge, Schedule, Worker, Job):
        model.objects.all()._raw_delete("default")
