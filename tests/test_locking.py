"""The engine locks rows in one order; see :mod:`django_jobs.locking`."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobs import chain, chord, control, group, job
from django_jobs.admin import job_actions, job_targets
from django_jobs.beat.fire import fire_due
from django_jobs.db import clock
from django_jobs.limits.admission import Admission
from django_jobs.limits.overrides import set_limits
from django_jobs.maintenance import promote, prune, prune_limits, rescue, unblock
from django_jobs.models import Job, LimitLock, Schedule, UniqueKey, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.reassert import reassert
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.schedules.planning import plan
from django_jobs.steps.rows import RowStore
from django_jobs.values import Claimed
from tests.workflows.jobs import patient

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("registered_here")]

Ordered = Callable[[Callable[[], Any]], set[str]]

TABLES = {
    "schedules": Schedule, "limits": LimitLock, "keys": UniqueKey, "workers": Worker, "jobs": Job,
}  # fmt: skip
#: SQL of the part of a job, and whether it has ended, before the transaction.
PART = (
    "CASE WHEN status = 'STARTED' THEN 0 WHEN waiting_for IS NULL THEN 1 ELSE 2 END, "
    "status IN ('SUCCESS', 'FAILURE', 'REVOKED')"
)
_ORDERED = re.compile(r"ORDER BY (\S*\b(id|key)\b|1 )|unnest|STRAIGHT_JOIN")


@dataclasses.dataclass(frozen=True, order=True)
class Lock:
    """A lock's position in the order: its table's number, the part of the jobs, the row."""

    table: int
    part: int
    row: str
    ended: bool = dataclasses.field(default=False, compare=False)


class Recorder:
    """Sees, after each statement of a transaction, which rows it has locked.

    Locked is what another connection skips.
    """

    def __init__(self, other: BaseDatabaseWrapper) -> None:
        self.other = other
        self.problems: list[str] = []
        #: All locks that were seen.
        self.seen: set[Lock] = set()

    def __call__(self, run: Callable[..., Any], sql: str, params: Any, *rest: Any) -> Any:
        locks = connection.in_atomic_block and re.search("UPDATE|DELETE|INSERT|SHARE", sql)
        held = self._locks() if locks else set()
        result = run(sql, params, *rest)
        if locks:
            now = self._locks()
            self._check(held, sorted(now - held), sql)
            self.seen |= now
        return result

    def _check(self, held: set[Lock], new: list[Lock], sql: str) -> None:
        # A claim shares its worker's row last, which the clean-up holds while it waits for no job
        # that is ready.
        if not new or "SKIP LOCKED" in sql or "SHARE MODE" in sql:
            return
        # MariaDB also locks jobs that it only looks at: those that ended before they were recorded.
        looked_at = connection.vendor == "mysql" and "FOR UPDATE" in sql
        before = max((lock for lock in held if not (lock.ended and looked_at)), default=None)
        if before is not None and before > new[0]:
            self.problems.append(f"{new[0]} after {before}: {sql}")
        # One statement locks several rows in their order.
        if len(new) > 1 and not _ORDERED.search(sql):
            self.problems.append(f"{len(new)} rows in no order: {sql}")

    def _locks(self) -> set[Lock]:
        found = set()
        with self.other.cursor() as cursor:
            for number, model in enumerate(TABLES.values()):
                table, key = model._meta.db_table, self.other.ops.quote_name(model._meta.pk.column)
                cursor.execute("BEGIN")
                cursor.execute(f"SELECT {key}, {PART if model is Job else '0, 0'} FROM {table}")
                rows = {row: rest for row, *rest in cursor.fetchall()}
                cursor.execute(f"SELECT {key} FROM {table} FOR UPDATE SKIP LOCKED")
                free = {row for (row,) in cursor.fetchall()}
                cursor.execute("ROLLBACK")
                found |= {
                    Lock(number, rows[row][0], str(row), bool(rows[row][1]))
                    for row in rows.keys() - free
                }
        return found


@pytest.fixture
def ordered(vendor: str) -> Iterator[Ordered]:
    """Do something, and fail when it locks rows in another order; return the numbers of the tables
    whose rows it locked."""
    if vendor == "sqlite":
        pytest.skip("SQLite has no locks of rows")
    other = connection.copy("other")

    def ordered(action: Callable[[], Any]) -> set[str]:
        recorder = Recorder(other)
        with connection.execute_wrapper(recorder):
            action()
        assert not recorder.problems, "\n".join(recorder.problems)
        return {list(TABLES)[lock.table] for lock in recorder.seen}

    yield ordered
    other.close()


# --- what the engine does -----------------------------------------------------------------------


@job(concurrency=2, queue="narrow", name="tests.locking.limited")
def limited(number: int = 0) -> int:
    return number


@job(rate_limit="1/m", concurrency=5, queue="rated", name="tests.locking.rated")
def rated(number: int = 0) -> int:
    return number


@job(unique=True, name="tests.locking.unique")
def unique(text: str, *args: Any) -> str:
    return text


@job(unique="replace", queue="later", name="tests.locking.replaced", unique_key=["text"])
def replaced(text: str, number: int = 0) -> int:
    return number


@job(max_retries=0, concurrency=3, queue="narrow", name="tests.locking.fail")
def fail(*args: Any) -> None:
    raise ValueError


@job(bind=True, max_retries=5, concurrency=3, queue="narrow", name="tests.locking.again")
def again(self: Any) -> None:
    raise self.retry(countdown=60)


@job(bind=True, concurrency=3, queue="narrow", name="tests.locking.becomes")
def becomes(self: Any) -> None:
    self.replace(chain(same.si(1), group(unique.si("b"), unique.si("a"))))


@job(bind=True, name="tests.locking.adds")
def adds(self: Any) -> int:
    self.add_to_chord(chain(unique.si("d"), unique.si("c")))
    return 1


@job(name="tests.locking.same")
def same(*args: Any) -> Any:
    return args


FUNCTIONS = (limited, rated, unique, replaced, fail, again, becomes, adds, same)
QUEUES = ("default", "narrow", "rated", "later")


@pytest.fixture
def registered_here(registered: dict[str, Any]) -> None:
    registered.update({function.name: function for function in FUNCTIONS})


def number(value: int) -> uuid.UUID:
    """An id that comes before all others: what depends on a job may be older than the job."""
    return uuid.UUID(int=value)


class Stage:
    """A worker, and jobs in all states."""

    def __init__(self, new_worker: Callable[..., Worker]) -> None:
        self.worker = new_worker()
        self.admission = Admission("default")

    def claim(self) -> list[Claimed]:
        return claim(self.worker.pk, QUEUES, 100, "default")[0]

    def admit(self) -> list[Claimed]:
        return self.admission.admit(self.worker.pk, self.claim())[0]

    def record(self, jobs: list[Claimed]) -> None:
        steps = RowStore(lambda: self.worker.pk, "default", reassert)
        environment = Environment(steps=steps)
        record(self.worker.pk, [execute(one, environment) for one in jobs], "default")

    def busy(self) -> list[Claimed]:
        """Jobs of all kinds run; others wait for them, and for permits under limits."""
        errback = unique.si("errback")
        chord(
            [fail.s().on_error(errback), adds.si(), same.si(1), same.si(2)],
            same.s().set(task_id=number(1)) | unique.si("z"),
        ).apply_async()
        chain(
            fail.si(),
            group(unique.si("y").set(task_id=number(3)), unique.si("x").set(task_id=number(2))),
        ).apply_async()
        chain(same.si(), same.si().set(task_id=number(4))).apply_async()
        chain(becomes.si(), same.si().set(task_id=number(5))).apply_async()
        again.delay()
        limited.delay_many([(n,) for n in range(5)])
        limited.apply_async(task_id=number(6), priority=-1)
        limited.apply_async(task_id=number(7))
        rated.delay_many([(n,) for n in range(3)])
        replaced.apply_async(("m",), countdown=60, task_id=number(9))
        replaced.apply_async(("n",), countdown=60, task_id=number(8))
        return self.admit()


@pytest.fixture
def stage(new_worker: Callable[..., Worker]) -> Stage:
    return Stage(new_worker)


def every_id() -> list[Any]:
    return list(Job.objects.order_by("-id").values_list("id", flat=True))


def test_enqueue(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    texts = ["m", "n", "o", "p", "q"]
    locked = ordered(lambda: replaced.delay_many([(text, 1) for text in texts]))
    assert locked == {"keys", "jobs"}
    ordered(lambda: unique.delay_many([(text,) for text in texts]))
    ordered(lambda: unique.delay_many([(text,) for text in texts]))
    ordered(lambda: group(unique.si(text) for text in "rstuv").apply_async())


def test_claim_and_admit(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    Job.objects.filter(status__in=["SCHEDULED", "WAITING"], pending_parents=0).update(
        status="PENDING"
    )
    assert ordered(stage.admit) >= {"limits", "jobs"}


def test_record(ordered: Ordered, stage: Stage) -> None:
    jobs = stage.busy()
    assert {one.name for one in jobs} >= {function.name for function in (limited, rated, fail)}
    assert ordered(lambda: stage.record(jobs)) == {"limits", "jobs"}
    assert Job.objects.filter(args=["errback"]).exists()
    assert Job.objects.filter(args=["b"]).exists()
    assert Job.objects.filter(args=["d"]).exists()


def test_record_of_what_is_not_all_ours(ordered: Ordered, stage: Stage) -> None:
    jobs = stage.busy()
    control.revoke([jobs[0].id], terminate=True)
    ordered(lambda: stage.record(jobs))


def test_release(ordered: Ordered, stage: Stage) -> None:
    jobs = stage.busy()
    assert ordered(lambda: release(stage.worker.pk, jobs, "default")) == {"limits", "jobs"}


def test_release_of_strays(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    locked = ordered(lambda: release_strays(stage.worker.pk, [], "default"))
    assert locked == {"limits", "jobs"}
    assert not Job.objects.filter(status="STARTED").exists()


@pytest.mark.parametrize("finish", [rescue.run_once, lambda using: bury_all(using)])
def test_rescue(ordered: Ordered, stage: Stage, finish: Callable[[str], Any]) -> None:
    jobs = stage.busy()
    Job.objects.filter(name=fail.name).update(crashes=2)  # the third one ends them
    Worker.objects.update(lease_until=clock("default", -1))
    assert "limits" in ordered(lambda: finish("default"))
    assert not Job.objects.filter(id__in=[one.id for one in jobs], status="STARTED").exists()


def bury_all(using: str) -> None:
    worker = Worker.objects.get()
    running = Job.objects.filter(status="STARTED").values_list("id", "claims")
    rescue.clean_up_after(worker.pk, dict.fromkeys(running), using)


def test_promote(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    Job.objects.filter(status="SCHEDULED").update(run_at=clock("default", -1))
    ordered(lambda: promote.run_once("default"))
    assert not Job.objects.filter(status="SCHEDULED").exists()


def test_revoke(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    locked = ordered(lambda: control.revoke(every_id(), terminate=True))
    assert locked == {"limits", "jobs"}
    assert not Job.objects.live().exclude(args=["errback"]).exists()


def test_retry(ordered: Ordered, stage: Stage) -> None:
    stage.record(stage.busy())
    ordered(lambda: control.retry(every_id()))
    assert Job.objects.get(id=number(2)).status == "WAITING"
    assert UniqueKey.objects.filter(job_id__in=[number(2), number(3)]).count() == 2


def test_run_now(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    ordered(lambda: control.run_now(every_id()))
    assert not Job.objects.filter(status="SCHEDULED").exists()


def test_new_limit(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    locked = ordered(lambda: set_limits(rated.name, rate_limit="5/s"))
    assert locked == {"limits", "jobs"}


def test_upkeep(ordered: Ordered, stage: Stage) -> None:
    stage.record(stage.busy())
    limited.delay_many([(n,) for n in range(9)])
    stage.admit()
    Job.objects.filter(status="STARTED").update(status="FAILURE")
    Job.objects.filter(status="FAILURE").update(prune_at=clock("default", -1))
    for upkeep in (
        unblock.run_once,
        prune_limits.run_once,
        lambda using: prune.run_once(using, stage.worker.pk),
    ):
        ordered(lambda upkeep=upkeep: upkeep("default"))


def test_queues(ordered: Ordered, stage: Stage) -> None:
    stage.busy()
    Job.objects.filter(status="SCHEDULED").update(status="PENDING")
    ordered(lambda: control.clear_queue("rated"))
    ordered(lambda: control.pause_queue("rated"))


@pytest.mark.parametrize(
    "operation",
    [
        {"move": job_targets.moving("elsewhere", 3), "retry_from": job_targets.retrying_from(""),
         "send_event": job_targets.sending("paid", 20)}.get(each.name, each)
        for each in job_actions.OPERATIONS
    ],
    ids=lambda each: each.name,
)  # fmt: skip
def test_buttons_of_the_admin(
    ordered: Ordered, stage: Stage, operation: job_actions.Operation
) -> None:
    jobs = stage.busy()
    stage.record([one for one in jobs if one.name in (fail.name, same.name)])
    patient.delay("paid")
    stage.record(stage.admit())
    boss = User.objects.create_superuser("boss")
    done: list[int] = []
    ordered(lambda: done.append(job_actions.perform(operation, every_id(), boss.pk, "default")[0]))
    assert done[0] > 0


def test_schedules(ordered: Ordered, stage: Stage) -> None:
    for name, function in (("s1", unique), ("s2", replaced), ("s3", same), ("s4", unique)):
        Schedule.objects.create(
            name=name, job_name=function.name, args=[name], kind="interval", interval_seconds=60
        )
    plan("default")
    replaced.apply_async(("s2",), countdown=60)
    Schedule.objects.update(next_run_at=clock("default", -1))
    assert ordered(lambda: fire_due("default")) == {"schedules", "keys", "jobs"}
    assert Job.objects.count() == 4
