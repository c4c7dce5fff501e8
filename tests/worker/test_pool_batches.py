"""What the supervisor sees of a batch, and what a revoke of one of its calls does."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from django_jobs.define.batch import BatchContext
from django_jobs.define.current import Request
from django_jobs.ids import uuid7
from django_jobs.status import Status
from django_jobs.values import Batch, Outcome
from django_jobs.worker.pools.mainthread import MainThreadPool
from django_jobs.worker.shared_slots import SharedSlots
from tests.worker.parts import a_buffer

pytestmark = pytest.mark.once


@pytest.fixture
def pool() -> Any:
    options = SimpleNamespace(pool="prefork", slots=1, max_memory=None)
    shared_slots = SharedSlots(1)
    setup: Any = SimpleNamespace(
        name="w", options=options, buffer=a_buffer(), shared_slots=shared_slots
    )
    yield MainThreadPool(setup)
    shared_slots.close()


def a_batch(*, acks_late: bool = True, time_limit: float | None = None) -> Any:
    jobs: Any = [SimpleNamespace(id=uuid7(), claims=n, begin_by=None) for n in (1, 2, 3)]
    members = [SimpleNamespace(job=job, context=SimpleNamespace(revoked=False)) for job in jobs]
    function: Any = SimpleNamespace(options=SimpleNamespace(acks_late=acks_late))
    context = BatchContext(function, Request, jobs)
    return SimpleNamespace(
        members=members, context=context, function=function, time_limit=time_limit
    )


def seen(pool: Any) -> list[tuple[Any, int, int]]:
    return [(each.job_id, each.claims, each.slot) for each in pool.setup.shared_slots.running()]


def keys(batch: Any) -> list[tuple[Any, int, int]]:
    return [(member.job.id, member.job.claims, 0) for member in batch.members]


def outcomes(batch: Any) -> list[Outcome]:
    now = time.monotonic()
    return [Outcome(each.job, Status.SUCCESS, began=now, ended=now) for each in batch.members]


def test_supervisor_sees_every_call_and_one_limit(pool: Any) -> None:
    batch = a_batch(time_limit=60)
    pool.batches.begins(0, batch)
    assert seen(pool) == keys(batch)
    assert len({each.deadline for each in pool.setup.shared_slots.running()}) == 1
    assert pool.setup.shared_slots.running()[0].deadline > time.monotonic()


def test_revoke_of_a_call_asks_for_no_kill(pool: Any) -> None:
    batch = a_batch()
    pool.batches.begins(0, batch)
    assert pool.terminate(batch.members[1].job.id, 2)
    assert [each.context.revoked for each in batch.members] == [False, True, False]
    assert pool.setup.shared_slots.asked_kill() is None
    assert not pool.terminate(batch.members[1].job.id, 9)


@pytest.mark.parametrize("acks_late", [True, False])
def test_calls_that_run_at_most_once_are_seen_until_they_are_recorded(
    pool: Any, acks_late: bool
) -> None:
    batch = a_batch(acks_late=acks_late, time_limit=60)
    pool.buffer.put([Batch(batch.context.jobs)])
    pool.buffer.take(0, wait=False)
    pool.batches.begins(0, batch)
    ends = outcomes(batch)
    asked = pool.batches.ask(0, ends)
    assert seen(pool) == ([] if acks_late else keys(batch))
    # The limit of the body is over.
    assert {each.deadline for each in pool.setup.shared_slots.running()} <= {0.0}
    assert pool.buffer.ended() == ends
    for outcome in ends:
        pool.buffer.confirmations.answer(outcome, outcome)
    assert [each.result() for each in asked] == ends
    pool.batches.ended(0, ends)
    assert seen(pool) == []
    assert pool.buffer.ended() == ends  # and not twice
