"""Ends of jobs that race, each in a thread with a connection of its own."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connections

from django_jobs import chain, chord, group
from django_jobs.control import retry, revoke
from django_jobs.db import dialect_for, own_connection
from django_jobs.models import Job, Worker
from django_jobs.run.claim import claim
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from tests.waiting import LONG
from tests.workflows.jobs import add, count, fail, same, total

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("switching")]

THREADS = 8


def race(actions: list[Callable[[], None]]) -> None:
    """Do all *actions* at the same time; raise what one raised."""
    start = threading.Barrier(len(actions))
    errors: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            own_connection("default")
            start.wait()
            action()
        except BaseException as error:
            errors.append(error)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def work_until(worker: Worker, over: Callable[[], bool], seed: int) -> None:
    """Claim, execute and record in batches of any size."""
    chance = random.Random(seed)
    while not over():
        jobs, _contended = claim(worker.pk, ["default"], chance.randint(1, 7), "default")
        outcomes = [execute(each, Environment()) for each in jobs]
        if outcomes:
            record(worker.pk, outcomes, "default")


def nothing_is_left() -> bool:
    return not Job.objects.live().exists()


def work_by_many(new_worker: Callable[..., Worker], *others: Callable[[], None]) -> None:
    workers = [new_worker() for _ in range(THREADS)]
    race(
        [
            *(lambda w=w, n=n: work_until(w, nothing_is_left, n) for n, w in enumerate(workers)),
            *others,
        ]
    )


def test_each_step_starts_once(new_worker: Callable[..., Worker]) -> None:
    results = [
        chain(
            same.s(0),
            group(add.s(number) for number in range(30)),
            group(total.s(), count.s(), same.s() | count.s()),
            total.s(),
        ).apply_async()
        for _ in range(3)
    ]
    work_by_many(new_worker)
    assert [result.get(timeout=0) for result in results] == [435 + 30 + 30] * 3
    assert set(Job.objects.values_list("claims", flat=True)) == {1}
    assert set(Job.objects.values_list("pending_parents", flat=True)) == {0}


def test_body_fails_once_when_many_members_fail(
    new_worker: Callable[..., Worker],
) -> None:
    whole = chord([fail.s() for _ in range(30)], total.s() | add.s(1)).on_error(same.s())
    results = [whole.apply_async() for _ in range(3)]
    work_by_many(new_worker)
    assert all(result.failed() for result in results)
    assert Job.objects.filter(name=same.name).count() == 3


def test_revoking_while_members_end(new_worker: Callable[..., Worker]) -> None:
    results = [
        chord([add.s(number) for number in range(40)], total.s() | add.s(1)).apply_async()
        for _ in range(4)
    ]
    ids = [result.parent.parent[number].id for result in results for number in range(0, 40, 7)]
    work_by_many(new_worker, *[lambda one=one: _revoke(one) for one in ids[::4]])
    for result in results:
        members = Counter(Job.objects.filter(
            group_id=result.parent.parent.id).values_list("status", flat=True))  # fmt: skip
        wanted = "FAILURE" if members["REVOKED"] else "SUCCESS"
        assert result.status == result.parent.status == wanted


def _revoke(job_id: Any) -> None:
    revoke([job_id])


def test_retries_while_members_fail(new_worker: Callable[..., Worker]) -> None:
    """Whatever comes first, nothing waits for a job that did not succeed."""
    result = chord([fail.s(number) for number in range(12)], total.s() | add.s(1)).apply_async()
    members = [each.id for each in result.parent.parent]

    def again() -> None:
        for _ in range(3):
            for job_id in members[:4]:
                retry([job_id])

    work_by_many(new_worker, again)
    assert result.failed()
    waiting = Job.objects.filter(status="WAITING")
    assert not waiting.exists()
    Job.objects.filter(name=fail.name).update(name=same.name)
    for job_id in members:
        retry([job_id])
    work_by_many(new_worker)
    assert type(result)(result.id).get(timeout=0) == sum(range(12)) + 1
    assert Job.objects.get(name=total.name).attempt == 1


def test_repeated_record_counts_once(new_worker: Callable[..., Worker]) -> None:
    """The answer to a commit was lost, and the same outcomes come again, with new ones."""
    worker = new_worker()
    result = chord([add.s(1), add.s(2), add.s(3)], total.s()).apply_async()
    jobs, _contended = claim(worker.pk, ["default"], 10, "default")
    outcomes = [execute(each, Environment()) for each in jobs]
    assert len(record(worker.pk, outcomes[:2], "default")) == 2
    assert len(record(worker.pk, outcomes[:2], "default")) == 2
    assert Job.objects.get(pk=result.id).pending_parents == 1
    assert len(record(worker.pk, outcomes, "default")) == 3
    row = Job.objects.get(pk=result.id)
    assert (row.pending_parents, row.status) == (0, "PENDING")
    assert len(record(worker.pk, outcomes, "default")) == 3
    assert Job.objects.get(pk=result.id).pending_parents == 0


def test_deadlock_is_repeated(new_worker: Callable[..., Worker]) -> None:
    worker = new_worker()
    result = (add.s(1) | add.s(2)).apply_async()
    jobs, _contended = claim(worker.pk, ["default"], 10, "default")
    outcomes = [execute(each, Environment()) for each in jobs]
    dialect = dialect_for(connections["default"])
    tries = []

    def victim(*args: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError(1213, "a deadlock")
        return type(dialect).count_down(dialect, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialect, "count_down", victim, raising=False)
        assert record(worker.pk, outcomes, "default") == outcomes
    assert len(tries) == 2
    assert Job.objects.get(pk=result.id).status == "PENDING"


def test_record_tells_which_queues_have_new_work(new_worker: Callable[..., Worker]) -> None:
    worker = new_worker()
    (add.s(1) | group(add.s(1).set(queue="a"), add.s(2).set(queue="b", countdown=60))).apply_async()
    (fail.s().on_error(same.s().set(queue="c"))).apply_async()
    jobs, _contended = claim(worker.pk, ["default"], 10, "default")
    outcomes = [execute(each, Environment()) for each in jobs]
    heard: list[str] = []
    record(worker.pk, outcomes, "default", on_ready=heard.append)
    assert {"a", "c"} <= set(heard)
