"""A job's life against a small model: any order of calls, ends, crashes, and operators' actions.

After each action the rows must be what the model says, and at the end of each example everything
that is left must run to its end. ``LIFE_EXAMPLES`` is how many examples are tried; ``make torture
ARGS=life`` tries 10,000.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction
from django.db.models import F
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_jobs import chain, current_job, group, job, send_event
from django_jobs.beat.fire import fire_due
from django_jobs.control import jobs as control
from django_jobs.control import retrying
from django_jobs.db import clock
from django_jobs.limits.admission import Admission
from django_jobs.maintenance import promote, prune, rescue
from django_jobs.models import Attempt, EventWait, Job, Permit, Reservation, Schedule, Step, Worker
from django_jobs.run.claim import claim
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute
from django_jobs.run.reassert import reassert
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.steps.rows import RowStore
from django_jobs.values import Claimed, Outcome
from tests.databases import say

pytestmark = pytest.mark.django_db

LOST = ("FAILURE", "REVOKED")
ENDED = ("SUCCESS", *LOST)
MAX_CRASHES, MAX_RETRIES, STARTS_AN_HOUR = 3, 1, 2
#: Kinds of jobs that a limit may keep from starting: the rows of a QUEUED one have these statuses.
LIMITED = {"limited": {"PENDING", "WAITING"}, "rated": {"PENDING", "SCHEDULED"}}
#: SQLite has the most: a database with a server needs longer for each.
EXAMPLES = 500 if connection.vendor == "sqlite" else 25

#: What the body of a job does next, by the job's id; it returns if there is nothing.
acts: dict[str, str] = {}
#: How often the function of a job's step was called, by the job's id.
stepped: Counter[str] = Counter()


class Again(Exception):
    """The job is retried."""


def act() -> None:
    match acts.pop(str(current_job.request.id), "return"):
        case "retry":
            raise Again
        case "fail":
            raise ValueError("no")


_RETRIED: dict[str, Any] = {"autoretry_for": (Again,), "max_retries": MAX_RETRIES}


@job(**_RETRIED)
def plain(*given: Any) -> None:
    act()


@job(acks_late=False, **_RETRIED)
def once() -> None:
    act()


@job(concurrency=1, concurrency_key=["key"], **_RETRIED)
def limited(key: int) -> None:
    act()


@job(rate_limit=f"{STARTS_AN_HOUR}/h", **_RETRIED)
def rated() -> None:
    act()


@job(unique=True, unique_key=["key"], **_RETRIED)
def unique(key: int) -> None:
    act()


@job(**_RETRIED)
def stepping() -> None:
    job_id = str(current_job.request.id)

    def count() -> int:
        stepped[job_id] += 1
        return stepped[job_id]

    assert current_job.step("count", count) == 1
    act()


@job(**_RETRIED)
def sleeping() -> None:
    current_job.sleep(3600)
    act()


@job(**_RETRIED)
def listening() -> None:
    assert current_job.wait_for_event(event_of(current_job.request.id)) == 7
    act()


def event_of(job_id: object) -> str:
    return f"for {job_id}"


FUNCTIONS = {each.__name__: each for each in (plain, once, rated, stepping, sleeping, listening)}


@dataclasses.dataclass
class Life:
    """What the model knows of a job."""

    kind: str
    status: str = "PENDING"
    retries: int = 0
    crashes: int = 0
    attempts: int = 0
    key: int | None = None
    parents: tuple[uuid.UUID, ...] = ()
    worker: uuid.UUID | None = None
    #: Whether it failed because of a parent.
    is_below: bool = False
    #: Whether its sleep, or its wait for an event, is over.
    is_awake: bool = False
    #: The events for it that no wait has taken.
    kept: int = 0
    #: The hour of the start that a rate limit counts.
    started_in: int | None = None


class Lives(RuleBasedStateMachine):
    claimed = Bundle("claimed")
    #: How many lives this process has played.
    played: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        Lives.played += 1
        acts.clear()
        stepped.clear()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.lives: dict[uuid.UUID, Life] = {}
        self.workers = [self.new_worker() for _ in range(2)]
        self.admission = Admission("default")
        #: How many rated jobs have begun in which hour.
        self.starts: Counter[int] = Counter()
        self.hour = 0
        #: The claims of each job, and the time at which it ended, after the last action.
        self.claims: dict[uuid.UUID, int] = {}
        self.ends: dict[uuid.UUID, Any] = {}

    def new_worker(self) -> uuid.UUID:
        row = Worker.objects.create(
            name="w", hostname="host", pid=1, pool="solo", started_at=clock("default"),
            heartbeat_at=clock("default"), lease_until=clock("default", 600),
        )  # fmt: skip
        return row.pk

    # --- enqueue --------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(list(FUNCTIONS)))
    def call(self, kind: str) -> None:
        life = self.lives[FUNCTIONS[kind].delay().uuid] = Life(kind)
        life.status = "QUEUED" if kind in LIMITED else "PENDING"

    @rule()
    def call_later(self) -> None:
        self.lives[plain.apply_async(countdown=3600).uuid] = Life("plain", "SCHEDULED")

    @rule(key=st.integers(0, 1))
    def call_limited(self, key: int) -> None:
        self.lives[limited.delay(key).uuid] = Life("limited", "QUEUED", key=key)

    @rule(key=st.integers(0, 1))
    def call_unique(self, key: int) -> None:
        live = [
            job_id
            for job_id, life in self.lives.items()
            if life.kind == "unique" and life.key == key and life.status not in ENDED
        ]
        found = unique.delay(key).uuid
        if live:
            assert found == live[0]
        else:
            self.lives[found] = Life("unique", key=key)

    @rule(parts=st.lists(st.integers(1, 2), min_size=2, max_size=3), is_limited=st.booleans())
    def call_workflow(self, parts: list[int], is_limited: bool) -> None:
        """A chain of jobs and of groups; each part begins when all of the one before succeeded."""
        one, kind = (limited.si(0), "limited") if is_limited else (plain.s(), "plain")
        new = self.new_ids(
            lambda: chain([one if n == 1 else group([one] * n) for n in parts]).apply_async()
        )
        parents: tuple[uuid.UUID, ...] = ()
        for number in parts:
            part, new = tuple(new[:number]), new[number:]
            for job_id in part:
                life = self.lives[job_id] = Life(kind, "WAITING", parents=parents, key=0)
                if not parents:
                    life.status = "QUEUED" if is_limited else "PENDING"
            parents = part
        assert not new

    @rule(kind=st.sampled_from(["plain", "unique", "limited", "chain", "event"]))
    def call_and_roll_back(self, kind: str) -> None:
        with pytest.raises(Again), transaction.atomic():
            if kind == "plain":
                plain.delay()
            elif kind == "chain":
                (plain.s() | plain.s()).apply_async()
            elif kind == "event":
                for job_id in self.of("listening"):
                    send_event(event_of(job_id))
            else:
                {"unique": unique, "limited": limited}[kind].delay(0)
            raise Again

    @rule()
    def tick(self) -> None:
        every: dict[str, Any] = {"kind": "interval", "interval_seconds": 3600}
        Schedule.objects.get_or_create(name="tick", defaults={"job_name": plain.name, **every})
        Schedule.objects.update(next_run_at=clock("default", -1))
        (job_id,) = self.new_ids(lambda: fire_due("default"))
        self.lives[job_id] = Life("plain")
        assert fire_due("default") == 0

    def new_ids(self, action: Callable[[], object]) -> list[uuid.UUID]:
        """Return the ids of the jobs that *action* enqueues, in their order."""
        action()
        new = Job.objects.exclude(pk__in=self.lives).order_by("pk")
        return list(new.values_list("pk", flat=True))

    # --- a worker -------------------------------------------------------------------------------

    @rule(target=claimed, number=st.integers(0, 1), most=st.integers(1, 3))
    def claim(self, number: int, most: int) -> tuple[uuid.UUID, list[Claimed]]:
        worker = self.workers[number]
        found, _contended = claim(worker, ["default"], most, "default")
        ready = [i for i, life in self.lives.items() if life.status == "PENDING"]
        assert len(found) <= most
        assert found or not ready
        assert all(self.lives[each.id].status in ("PENDING", "QUEUED") for each in found)
        admitted, failed = self.admission.admit(worker, found)
        assert not failed
        for job_id in {each.id for each in found} - {each.id for each in admitted}:
            assert self.lives[job_id].kind in LIMITED
        for each in admitted:
            life = self.lives[each.id]
            life.status, life.worker = "STARTED", worker
            if life.kind == "rated":
                life.started_in = self.hour
                self.starts[self.hour] += 1
        assert self.starts[self.hour] <= STARTS_AN_HOUR
        return worker, admitted

    @rule(batch=claimed, does=st.lists(st.sampled_from(["return", "return", "fail", "retry"])))
    def end(self, batch: tuple[uuid.UUID, list[Claimed]], does: list[str]) -> None:
        """Run bodies and record them, perhaps after the worker has lost its jobs."""
        worker, _jobs = batch
        outcomes = self.run_bodies(*batch, does)
        # The answer was lost, and the statement comes again.
        record(worker, outcomes, "default")

    def run_bodies(
        self, worker: uuid.UUID, jobs: list[Claimed], does: Sequence[str] = ()
    ) -> list[Outcome]:
        ours = self.held_of(worker, jobs)
        for each, deed in zip(jobs, does, strict=False):
            acts[str(each.id)] = deed
        expected = {each.id: self.outcome_of(each.id) for each in ours}
        outcomes = [self.execute(worker, each) for each in ours]
        recorded = stepped.copy()
        late = [self.execute(worker, each) for each in jobs if each not in ours]
        # A worker that has lost its job calls a step whose record is refused.
        stepped.clear()
        stepped.update(recorded)
        counted = record(worker, [*outcomes, *late], "default")
        assert {outcome.job.id for outcome in counted} >= expected.keys()
        for outcome in outcomes:
            assert outcome.status == expected[outcome.job.id]
            self.ended(outcome.job.id, str(outcome.status))
        acts.clear()
        return outcomes

    def execute(self, worker: uuid.UUID, each: Claimed) -> Outcome:
        store = RowStore(lambda: worker, "default", reassert)
        return execute(each, Environment(worker_name="w", steps=store))

    def outcome_of(self, job_id: uuid.UUID) -> str:
        life = self.lives[job_id]
        if life.kind == "sleeping" and not life.is_awake:
            return "SCHEDULED"
        if life.kind == "listening" and not life.is_awake:
            return "WAITING"
        may_retry = life.retries < MAX_RETRIES
        last = {"fail": "FAILURE", "retry": "RETRY" if may_retry else "FAILURE"}
        return last.get(acts.get(str(job_id), ""), "SUCCESS")

    @rule(batch=claimed)
    def give_back(self, batch: tuple[uuid.UUID, list[Claimed]]) -> None:
        worker, jobs = batch
        ours = self.held_of(worker, jobs)
        release(worker, jobs, "default")
        for each in ours:
            self.back(each.id)

    @rule(number=st.integers(0, 1))
    def lose_the_answer_of_a_claim(self, number: int) -> None:
        """The worker knows none of its jobs."""
        worker = self.workers[number]
        release_strays(worker, [], "default")
        for job_id in self.held_by(worker):
            self.back(job_id)

    @rule(number=st.integers(0, 1))
    def lose_the_lease(self, number: int) -> None:
        worker = self.workers[number]
        Worker.objects.filter(pk=worker).update(lease_until=clock("default", -1))
        assert claim(worker, ["default"], 3, "default")[0] == []
        rescue.run_once("default")
        for job_id in self.held_by(worker):
            self.crash(job_id)
        self.workers[number] = self.new_worker()

    @rule(number=st.integers(0, 1), began=st.integers(0, 3))
    def die(self, number: int, began: int) -> None:
        """The supervisor knows which bodies had begun."""
        worker = self.workers[number]
        held = self.held_by(worker)
        rows = Job.objects.filter(pk__in=held[:began]).values_list("pk", "claims")
        rescue.clean_up_after(worker, dict.fromkeys(rows), "default", failed=True)
        for place, job_id in enumerate(held):
            (self.crash if place < began else self.back)(job_id)
        self.workers[number] = self.new_worker()

    # --- time and operators ---------------------------------------------------------------------

    @rule(hours=st.integers(0, 1))
    def wait(self, hours: int) -> None:
        """Let what waits for its time begin, and let the windows of rate limits pass."""
        if hours:
            self.hour += 1
            Reservation.objects.update(at=F("at") - 4000)
        timed = [i for i, life in self.lives.items() if life.status in ("SCHEDULED", "RETRY")]
        queued = [i for i in self.of("rated") if self.lives[i].status == "QUEUED"]
        Job.objects.timed().filter(pk__in=timed + queued).update(run_at=clock("default", -1))
        asleep = Step.objects.filter(job_id__in=timed, wake_at__isnull=False)
        asleep.update(wake_at=clock("default", -1))
        promote.run_all("default")
        for job_id in timed:
            self.wake(job_id)

    @precondition(lambda self: self.of("listening"))
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.of("listening")))
        self.deliver(job_id)

    def deliver(self, job_id: uuid.UUID) -> None:
        life = self.lives[job_id]
        send_event(event_of(job_id), 7)
        if life.status == "LISTENING":
            self.wake(job_id)
        else:
            life.kept += 1

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), terminate=st.booleans())
    def revoke(self, data: st.DataObject, terminate: bool) -> None:
        job_id = data.draw(st.sampled_from(list(self.lives)))
        life = self.lives[job_id]
        stops = life.status not in ENDED and (terminate or life.status != "STARTED")
        assert control.revoke([job_id], terminate=terminate) == int(stops)
        if stops:
            self.over(job_id, "REVOKED")

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """Jobs that succeeded are left out if what follows them has begun."""
        ended = [
            job_id
            for job_id, life in self.lives.items()
            if life.status in LOST
            or (life.status == "SUCCESS" and all(map(self.has_not_begun, self.children(job_id))))
        ]
        if not ended:
            return
        job_id = data.draw(st.sampled_from(ended))
        life = self.lives[job_id]
        parents = {self.lives[parent].status for parent in life.parents}
        taken = life.kind == "unique" and any(
            other.key == life.key and other.status not in ENDED
            for other in self.lives.values()
            if other.kind == "unique"
        )
        refused = taken or not parents.isdisjoint(LOST)
        done, skipped = retrying.retry([job_id])
        assert (done, bool(skipped)) == (int(not refused), refused)
        if done:
            if life.status == "SUCCESS":
                self.forget(job_id)
            else:
                self.reopen(job_id)
            life.retries = life.crashes = 0
            life.is_below = False
            self.back(job_id)
            if parents - {"SUCCESS"}:
                life.status = "WAITING"

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def run_now(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(list(self.lives)))
        life = self.lives[job_id]
        timed = Job.objects.timed().filter(pk=job_id).exists()
        assert control.run_now([job_id]) == int(timed)
        if timed and life.status != "QUEUED":
            self.wake(job_id)

    @rule()
    def prune(self) -> None:
        old = [
            job_id
            for job_id, life in self.lives.items()
            if life.status in ENDED and not self.children(job_id) and not life.parents
        ]
        Job.objects.filter(pk__in=old).update(prune_at=clock("default", -1))
        prune.run_once("default", uuid.UUID(int=1))
        for job_id in old:
            del self.lives[job_id]

    # --- the model ------------------------------------------------------------------------------

    def of(self, kind: str) -> list[uuid.UUID]:
        return [job_id for job_id, life in self.lives.items() if life.kind == kind]

    def children(self, job_id: uuid.UUID) -> list[uuid.UUID]:
        return [child for child, life in self.lives.items() if job_id in life.parents]

    def held_by(self, worker: uuid.UUID) -> list[uuid.UUID]:
        lives = self.lives.items()
        return [i for i, life in lives if life.status == "STARTED" and life.worker == worker]

    def held_of(self, worker: uuid.UUID, jobs: list[Claimed]) -> list[Claimed]:
        """Return those of *jobs* whose claims the worker has not lost."""
        rows = Job.objects.filter(pk__in=self.held_by(worker)).values_list("pk", "claims")
        held = set(rows)
        return [each for each in jobs if (each.id, each.claims) in held]

    def back(self, job_id: uuid.UUID) -> None:
        """It is ready, and has not begun."""
        life = self.lives[job_id]
        if life.status == "STARTED" and life.started_in is not None:
            self.starts[life.started_in] -= 1
        life.started_in = None
        life.status = "QUEUED" if life.kind in LIMITED else "PENDING"

    def wake(self, job_id: uuid.UUID) -> None:
        life = self.lives[job_id]
        if life.status in ("SCHEDULED", "LISTENING"):
            life.is_awake = True
        self.back(job_id)

    def ended(self, job_id: uuid.UUID, status: str) -> None:
        life = self.lives[job_id]
        if status in ("WAITING", "SCHEDULED"):
            life.crashes = 0
        if status == "WAITING":
            life.status = "LISTENING"
            if life.kept:
                life.kept -= 1
                self.wake(job_id)
        elif status == "SCHEDULED":
            life.status = status
        else:
            life.attempts += status != "SUCCESS"
            if status == "RETRY":
                life.retries += 1
                life.status = status
            else:
                self.over(job_id, status)

    def crash(self, job_id: uuid.UUID) -> None:
        life = self.lives[job_id]
        life.crashes += 1
        life.attempts += 1
        life.started_in = None
        if life.kind == "once" or life.crashes >= MAX_CRASHES:
            self.over(job_id, "FAILURE")
        else:
            self.back(job_id)

    def over(self, job_id: uuid.UUID, status: str) -> None:
        self.lives[job_id].status = status
        for child in self.children(job_id):
            life = self.lives[child]
            if life.status != "WAITING":
                continue
            if status != "SUCCESS":
                life.is_below = True
                self.over(child, "FAILURE")
            elif not self.left(life):
                self.back(child)

    def left(self, life: Life) -> int:
        """Return for how many parents a job waits."""
        return sum(self.lives[parent].status != "SUCCESS" for parent in life.parents)

    def has_not_begun(self, job_id: uuid.UUID) -> bool:
        return self.lives[job_id].status in ("WAITING", "PENDING", "QUEUED")

    def forget(self, job_id: uuid.UUID) -> None:
        """It begins from the start, and what follows it waits for it again."""
        stepped.pop(str(job_id), None)
        self.lives[job_id].is_awake = False
        for child in self.children(job_id):
            self.lives[child].status = "WAITING"

    def reopen(self, job_id: uuid.UUID) -> None:
        """What failed because of the job alone waits for it again."""
        again = {job_id}
        for child, life in self.lives.items():  # parents come first
            if life.is_below and not again.isdisjoint(life.parents):
                lost = {i for i in life.parents if self.lives[i].status in LOST}
                if lost <= again:
                    again.add(child)
                    life.status, life.is_below = "WAITING", False

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        if not hasattr(self, "lives"):
            return
        self.do_what_follows_a_commit()
        columns = ("status", "retries", "crashes", "ended_at", "worker_id", "pending_parents")
        self.nothing_is_taken_back()
        rows = {pk: row for pk, *row in Job.objects.values_list("pk", *columns)}
        assert rows.keys() == self.lives.keys()
        for job_id, life in self.lives.items():
            status, retries, crashes, ended_at, worker, parents = rows[job_id]
            if life.status == "QUEUED":
                assert status in LIMITED[life.kind], (life, status)
            else:
                assert status == ("WAITING" if life.status == "LISTENING" else life.status), life
            assert (retries, crashes) == (life.retries, life.crashes), life
            assert (ended_at is not None) == (life.status in ENDED)
            if life.status == "STARTED":
                assert worker == life.worker
            if life.status not in ENDED:
                assert parents == self.left(life), life
                assert (life.status == "WAITING") == bool(parents)
        attempts = Counter(Attempt.objects.values_list("job_id", flat=True))
        assert attempts == Counter({i: life.attempts for i, life in self.lives.items()})
        running = [i for i in self.of("limited") if self.lives[i].status == "STARTED"]
        assert sorted(Permit.objects.values_list("job_id", flat=True)) == sorted(running)
        assert len({self.lives[i].key for i in running}) == len(running)
        assert set(stepped.values()) <= {1}

    def nothing_is_taken_back(self) -> None:
        """Claims only grow, a job ends once, and what is of a job goes with its row."""
        rows = Job.objects.values_list("pk", "claims", "ended_at")
        claims = {pk: number for pk, number, _ended_at in rows}
        assert all(claims[i] >= number for i, number in self.claims.items() if i in claims)
        ends = {pk: ended_at for pk, _number, ended_at in rows if ended_at is not None}
        assert all(ends[i] == ended_at for i, ended_at in self.ends.items() if i in ends)
        self.claims, self.ends = claims, ends
        for model in (Step, EventWait):
            assert claims.keys() >= set(model.objects.values_list("job_id", flat=True))

    def do_what_follows_a_commit(self) -> None:
        """Call the hooks of what this transaction of the whole example would have committed."""
        hooks, connection.run_on_commit = connection.run_on_commit, []
        for _savepoints, hook, _robust in hooks:
            hook()

    def teardown(self) -> None:
        if not hasattr(self, "transaction"):
            return
        try:
            self.run_all_that_is_left()
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    def run_all_that_is_left(self) -> None:
        for number in range(2):
            if self.held_by(self.workers[number]):
                self.die(number, 0)
        for _ in range(100):
            worker, jobs = self.claim(0, 99)
            self.run_bodies(worker, jobs)
            if not jobs:
                left = [i for i, life in self.lives.items() if life.status not in ENDED]
                if not left:
                    break
                self.wait(1)
                for job_id in left:
                    if self.lives[job_id].status == "LISTENING":
                        self.deliver(job_id)
            self.do_what_follows_a_commit()
        self.rows_are_what_the_model_says()
        assert {life.status for life in self.lives.values()} <= set(ENDED)
        assert not Permit.objects.exists()
        steps = Step.objects.values_list("job_id", "key")
        assert len(set(steps)) == len(steps)


def test_any_order_of_actions() -> None:
    examples = os.environ.get("LIFE_EXAMPLES")
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=int(examples or EXAMPLES),
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
            # The suite tries the same ones each time, a torture others.
            derandomize=examples is None,
            # To find a shorter example takes minutes.
            phases=[Phase.generate] if "LIFE_UNSHRUNK" in os.environ else list(Phase),
        ),
    )
    # For the torture, which shows it.
    say(f"{Lives.played:,} lives played")
