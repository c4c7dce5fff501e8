"""A job's life against a small model: any order of calls, ends, crashes, and operators' actions.

After each action the rows must be what the model says, and at the end of each example everything
that is left must run to its end. ``LIFE_EXAMPLES`` is how many examples
are tried; ``make torture ARGS=life`` tries 10,000.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from typing import Any

import pytest
from django.db import transaction
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

from django_jobs import chain, current_job, job
from django_jobs.control import jobs as control
from django_jobs.control import retrying
from django_jobs.db import clock
from django_jobs.limits.admission import Admission
from django_jobs.maintenance import promote, prune, rescue, unblock
from django_jobs.metrics.capped_count import ready_queues
from django_jobs.models import Attempt, Job, Permit, Step, Worker
from django_jobs.run.claim import claim
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute
from django_jobs.run.reassert import reassert
from django_jobs.run.record import record
from django_jobs.run.release import release, release_strays
from django_jobs.steps.rows import RowStore
from django_jobs.values import Claimed

pytestmark = pytest.mark.django_db

ENDED = ("SUCCESS", "FAILURE", "REVOKED")
MAX_CRASHES, MAX_RETRIES = 3, 1

#: What the body of a job does next, by the job's id; it returns if there is nothing.
acts: dict[str, str] = {}
#: How often the function of a job's step was called, by the job's id.
stepped: dict[str, int] = {}


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


@job(unique=True, unique_key=["key"], **_RETRIED)
def unique(key: int) -> None:
    act()


@job(**_RETRIED)
def stepping() -> None:
    job_id = str(current_job.request.id)

    def count() -> int:
        stepped[job_id] = stepped.get(job_id, 0) + 1
        return stepped[job_id]

    assert current_job.step("count", count) == 1
    act()


@dataclasses.dataclass
class Life:
    """What the model knows of a job."""

    kind: str
    status: str = "PENDING"
    retries: int = 0
    crashes: int = 0
    attempts: int = 0
    key: int | None = None
    parent: uuid.UUID | None = None
    worker: uuid.UUID | None = None


class Lives(RuleBasedStateMachine):
    claimed = Bundle("claimed")

    @initialize()
    def begin(self) -> None:
        acts.clear()
        stepped.clear()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.lives: dict[uuid.UUID, Life] = {}
        self.workers = [self.new_worker() for _ in range(2)]
        self.admission = Admission("default")

    def new_worker(self) -> uuid.UUID:
        row = Worker.objects.create(
            name="w", hostname="host", pid=1, pool="solo", started_at=clock("default"),
            heartbeat_at=clock("default"), lease_until=clock("default", 600),
        )  # fmt: skip
        return row.pk

    # --- enqueue --------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(["plain", "once", "stepping"]))
    def call(self, kind: str) -> None:
        function = {"plain": plain, "once": once, "stepping": stepping}[kind]
        self.lives[function.delay().uuid] = Life(kind)

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

    @rule(length=st.integers(2, 3))
    def call_chain(self, length: int) -> None:
        chain([plain.s() for _ in range(length)]).apply_async()
        new = Job.objects.exclude(pk__in=self.lives).order_by("pk").values_list("pk", flat=True)
        parent = None
        for job_id in new:
            status = "WAITING" if parent else "PENDING"
            self.lives[job_id] = Life("plain", status, parent=parent)
            parent = job_id

    @rule(kind=st.sampled_from(["plain", "unique", "limited", "chain"]))
    def call_and_roll_back(self, kind: str) -> None:
        with pytest.raises(Again), transaction.atomic():
            if kind == "plain":
                plain.delay()
            elif kind == "chain":
                (plain.s() | plain.s()).apply_async()
            else:
                {"unique": unique, "limited": limited}[kind].delay(0)
            raise Again

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
        assert {e.id for e in found} - {e.id for e in admitted} <= set(self.of("limited"))
        for each in admitted:
            life = self.lives[each.id]
            life.status, life.worker = "STARTED", worker
        return worker, admitted

    @rule(batch=claimed, does=st.lists(st.sampled_from(["return", "return", "fail", "retry"])))
    def end(self, batch: tuple[uuid.UUID, list[Claimed]], does: list[str]) -> None:
        """Run bodies and record them, perhaps after the worker has lost its jobs."""
        worker, jobs = batch
        ours = {each.id for each in jobs if self.holds(worker, each)}
        for each, deed in zip(jobs, does, strict=False):
            acts[str(each.id)] = deed
        outcomes = [self.execute(worker, each) for each in jobs if each.id in ours]
        late = [self.execute(worker, each) for each in jobs if each.id not in ours]
        counted = record(worker, [*outcomes, *late], "default")
        assert {outcome.job.id for outcome in counted} >= ours
        # The answer was lost, and the statement comes again.
        record(worker, outcomes, "default")
        for outcome in outcomes:
            self.ended(outcome.job.id, str(outcome.status))
        acts.clear()

    def execute(self, worker: uuid.UUID, each: Claimed) -> Any:
        store = RowStore(lambda: worker, "default", reassert)
        return execute(each, Environment(worker_name="w", steps=store))

    @rule(batch=claimed)
    def give_back(self, batch: tuple[uuid.UUID, list[Claimed]]) -> None:
        worker, jobs = batch
        ours = [each for each in jobs if self.holds(worker, each)]
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

    @rule()
    def wait(self) -> None:
        timed = [i for i, life in self.lives.items() if life.status in ("SCHEDULED", "RETRY")]
        Job.objects.filter(pk__in=timed).update(run_at=clock("default", -1))
        promote.run_all("default")
        for job_id in timed:
            self.back(job_id)

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
        """Jobs that succeeded are left out: what follows them may have begun."""
        failed = [i for i, life in self.lives.items() if life.status in ("FAILURE", "REVOKED")]
        if not failed:
            return
        job_id = data.draw(st.sampled_from(failed))
        life = self.lives[job_id]
        waits = life.parent is not None and self.lives[life.parent].status != "SUCCESS"
        taken = life.kind == "unique" and any(
            other.key == life.key and other.status not in ENDED
            for other in self.lives.values()
            if other.kind == "unique"
        )
        done, skipped = retrying.retry([job_id])
        assert (done, bool(skipped)) == (int(not waits and not taken), waits or taken)
        if done:
            life.retries = life.crashes = 0
            self.back(job_id)
            self.reopen(job_id)

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def run_now(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(list(self.lives)))
        timed = self.lives[job_id].status in ("SCHEDULED", "RETRY")
        assert control.run_now([job_id]) == int(timed)
        if timed:
            self.back(job_id)

    @rule()
    def prune(self) -> None:
        old = [
            job_id
            for job_id, life in self.lives.items()
            if life.status in ENDED and not self.children(job_id) and life.parent is None
        ]
        Job.objects.filter(pk__in=old).update(prune_at=clock("default", -1))
        prune.run_once("default", uuid.UUID(int=1))
        for job_id in old:
            del self.lives[job_id]

    # --- the model ------------------------------------------------------------------------------

    def of(self, kind: str) -> list[uuid.UUID]:
        return [job_id for job_id, life in self.lives.items() if life.kind == kind]

    def children(self, job_id: uuid.UUID) -> list[uuid.UUID]:
        return [child for child, life in self.lives.items() if life.parent == job_id]

    def held_by(self, worker: uuid.UUID) -> list[uuid.UUID]:
        lives = self.lives.items()
        return [i for i, life in lives if life.status == "STARTED" and life.worker == worker]

    def holds(self, worker: uuid.UUID, each: Claimed) -> bool:
        life = self.lives.get(each.id)
        if life is None or life.status != "STARTED" or life.worker != worker:
            return False
        return Job.objects.get(pk=each.id).claims == each.claims

    def back(self, job_id: uuid.UUID) -> None:
        life = self.lives[job_id]
        life.status = "QUEUED" if life.kind == "limited" else "PENDING"

    def ended(self, job_id: uuid.UUID, status: str) -> None:
        life = self.lives[job_id]
        if status != "SUCCESS":
            life.attempts += 1
        if status == "RETRY":
            assert life.retries < MAX_RETRIES
            life.retries += 1
            life.status = "RETRY"
        else:
            self.over(job_id, status)

    def crash(self, job_id: uuid.UUID) -> None:
        life = self.lives[job_id]
        life.crashes += 1
        life.attempts += 1
        if life.kind == "once" or life.crashes >= MAX_CRASHES:
            self.over(job_id, "FAILURE")
        else:
            self.back(job_id)

    def over(self, job_id: uuid.UUID, status: str) -> None:
        self.lives[job_id].status = status
        for child in self.children(job_id):
            if self.lives[child].status != "WAITING":
                continue
            if status == "SUCCESS":
                self.back(child)
            else:
                self.over(child, "FAILURE")

    def reopen(self, job_id: uuid.UUID) -> None:
        for child in self.children(job_id):
            if self.lives[child].status == "FAILURE":
                self.lives[child].status = "WAITING"
                self.reopen(child)

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        if not hasattr(self, "lives"):
            return
        rows = {row.pk: row for row in Job.objects.all()}
        assert set(rows) == set(self.lives)
        for job_id, life in self.lives.items():
            row = rows[job_id]
            allowed = {"PENDING", "WAITING"} if life.status == "QUEUED" else {life.status}
            assert row.status in allowed, (life, row.status)
            assert (row.retries, row.crashes) == (life.retries, life.crashes), life
            assert (row.ended_at is not None) == (life.status in ENDED)
            if life.status == "STARTED":
                assert row.worker_id == life.worker
            if life.status not in ENDED:
                assert row.pending_parents == int(life.status == "WAITING"), life
        counts = dict.fromkeys(self.lives, 0)
        for job_id in Attempt.objects.values_list("job_id", flat=True):
            counts[job_id] += 1
        assert counts == {job_id: life.attempts for job_id, life in self.lives.items()}
        running = [i for i in self.of("limited") if self.lives[i].status == "STARTED"]
        assert sorted(Permit.objects.values_list("job_id", flat=True)) == sorted(running)
        assert len({self.lives[i].key for i in running}) == len(running)
        assert set(stepped.values()) <= {1}

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
            self.die(number, 0)
        while True:
            self.wait()
            unblock.run_all("default")
            if not ready_queues("default"):
                break
            worker, jobs = self.claim(0, 3)
            self.end((worker, jobs), [])
        left = Job.objects.live().values_list("status", flat=True)
        assert list(left) == []
        assert not Permit.objects.exists()
        steps = Step.objects.values_list("job_id", flat=True)
        assert len(set(steps)) == len(steps)


def test_any_order_of_actions() -> None:
    examples = os.environ.get("LIFE_EXAMPLES")
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=int(examples or 25),
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
            # The suite tries the same ones each time, a torture others.
            derandomize=examples is None,
            # To find a shorter example takes minutes.
            phases=[Phase.generate] if "LIFE_UNSHRUNK" in os.environ else list(Phase),
        ),
    )
