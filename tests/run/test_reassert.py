"""A crash of the database takes a claim back: the worker that has the job claims it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from django_jobs import job
from django_jobs.control import revoke
from django_jobs.maintenance import rescue
from django_jobs.models import Attempt, Job, Worker
from django_jobs.run.execute import Environment, execute
from django_jobs.run.reassert import reassert
from django_jobs.run.record import record
from django_jobs.run.release import release
from django_jobs.status import Status
from django_jobs.values import Claimed
from django_jobs.worker.loop import WorkerLoop
from tests import jobs

pytestmark = pytest.mark.django_db

Take = Callable[..., list[Claimed]]


def lose(*claimed: Claimed) -> None:
    """Make the rows what they were before they were claimed, as recovery after a crash does."""
    for each in claimed:
        Job.objects.filter(pk=each.id).update(
            status=Status.PENDING, claims=each.claims - 1, worker_id=None, started_at=None
        )


def key(claimed: Claimed) -> tuple[Any, int]:
    return claimed.id, claimed.claims


def fence() -> tuple[str, int, Any]:
    row = Job.objects.get()
    return row.status, row.claims, row.worker_id


@pytest.fixture
def claimed(take: Take) -> Claimed:
    jobs.add.delay(1, 2)
    (claimed,) = take()
    return claimed


def test_lost_claim_is_claimed_again_with_its_number(worker: Worker, claimed: Claimed) -> None:
    lose(claimed)
    assert reassert(worker.pk, [key(claimed)], "default") == 1
    assert fence() == ("STARTED", 1, worker.pk)
    assert Job.objects.get().started_at is not None
    assert record(worker.pk, [execute(claimed, Environment())], "default")
    assert fence() == ("SUCCESS", 1, worker.pk)


def test_jobs_of_several_numbers_are_claimed_again(worker: Worker, take: Take) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    release(worker.pk, take(2), "default")
    every = take()
    assert sorted(each.claims for each in every) == [1, 2, 2]
    lose(*every)
    assert reassert(worker.pk, [key(each) for each in every], "default") == 3
    assert reassert(worker.pk, [key(each) for each in every], "default") == 0


def test_claim_that_was_not_lost_stays(worker: Worker, claimed: Claimed) -> None:
    before = Job.objects.values().get()
    assert reassert(worker.pk, [key(claimed)], "default") == 0
    assert Job.objects.values().get() == before


def test_job_that_was_given_back_is_not_claimed_again(worker: Worker, claimed: Claimed) -> None:
    release(worker.pk, [claimed], "default")
    assert reassert(worker.pk, [key(claimed)], "default") == 0
    assert fence()[:2] == ("PENDING", 1)


def test_job_that_another_worker_claimed_since_stays_there(
    worker: Worker, new_worker: Callable[..., Worker], take: Take, claimed: Claimed
) -> None:
    lose(claimed)
    other = new_worker()
    assert take(by=other)
    assert reassert(worker.pk, [key(claimed)], "default") == 0
    assert fence() == ("STARTED", 1, other.pk)
    assert record(worker.pk, [execute(claimed, Environment())], "default") == []


def test_worker_without_a_lease_gets_no_job_back_and_its_number_is_used_up(
    worker: Worker, new_worker: Callable[..., Worker], take: Take, claimed: Claimed
) -> None:
    lose(claimed)
    Worker.objects.filter(pk=worker.pk).update(lease_until=worker.started_at)
    assert reassert(worker.pk, [key(claimed)], "default") == 0
    assert fence() == ("PENDING", 1, None)
    # The process registers with a new id while it still has the job.
    (again,) = take(by=new_worker())
    assert again.claims == 2


def test_job_revoked_after_the_crash_gives_its_number_to_no_later_claim(
    worker: Worker, take: Take, claimed: Claimed
) -> None:
    lose(claimed)
    assert revoke([claimed.id]) == 1
    assert reassert(worker.pk, [key(claimed)], "default") == 0
    Job.objects.update(status=Status.PENDING)  # an operator retries it
    (again,) = take()
    assert again.claims == 2
    assert record(worker.pk, [execute(claimed, Environment())], "default") == []


def test_job_that_has_not_begun_leaves_a_worker_that_does_not_own_it(
    new_loop: Callable[..., WorkerLoop], new_worker: Callable[..., Worker], take: Take
) -> None:
    loop = new_loop(pool="threads", slots=4)
    jobs.add.delay_many([(1,), (2,), (3,)])
    loop.step()
    begun = loop.buffer.take(0, wait=False)
    assert begun is not None
    waiting = [each for each in loop.buffer.held() if each != key(begun)]
    Job.objects.filter(pk__in=[begun.id, waiting[0][0]]).update(status="PENDING", claims=0)
    assert len(take(by=new_worker())) == 2
    loop.strays.suspect()
    loop.step()
    assert loop.buffer.held() == {key(begun), waiting[1]}


# --- who repeats it -----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [jobs.add, jobs.fail])
def test_outcome_of_a_lost_claim_counts_once(
    worker: Worker, take: Take, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    function.delay(1)
    jobs.add.delay(2)
    every = take()
    outcomes = [execute(each, Environment()) for each in every]
    lose(every[0])
    assert record(worker.pk, outcomes, "default") == outcomes
    assert record(worker.pk, outcomes, "default") == outcomes
    assert Attempt.objects.count() == (function is jobs.fail)
    assert "outcome dropped" not in caplog.text


def test_release_of_a_lost_claim_uses_its_number_up(worker: Worker, claimed: Claimed) -> None:
    lose(claimed)
    release(worker.pk, [claimed], "default")
    assert fence()[:2] == ("PENDING", 1)


def test_atomic_job_commits_though_its_claim_was_lost(
    worker: Worker, take: Take, registered: dict[str, Any]
) -> None:
    @job(atomic=True)
    def body() -> None: ...

    result = body.delay()
    (claimed,) = take()
    lose(claimed)
    environment = Environment(
        commit=lambda outcomes: len(record(worker.pk, outcomes, "default")) == 1
    )
    assert execute(claimed, environment).recorded
    assert result.status == "SUCCESS"


def test_loop_claims_its_jobs_again_before_any_other_claim(
    new_loop: Callable[..., WorkerLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = new_loop(pool="threads", slots=4)
    jobs.add.delay_many([(1,), (2,), (3,)])
    loop.step()
    running = loop.buffer.take(0, wait=False)
    held = loop.buffer.held()
    assert len(held) == 3
    lose(*loop.buffer._running.values(), *loop.buffer._waiting)

    def away() -> None:
        raise OperationalError("gone")

    # The test's own transaction must outlive it.
    monkeypatch.setattr("django_jobs.process.reconnect.drop_connection", lambda using: None)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "step", away)
        loop.wakeup.waker.wake()  # it need not sleep
        loop.turn()
    loop.timer.look()
    loop.queues.read_again()
    loop.step()
    assert loop.buffer.held() == held
    assert running in loop.buffer._running.values()
    assert set(Job.objects.values_list("pk", "claims")) == held
    assert set(Job.objects.values_list("status", flat=True)) == {"STARTED"}


def test_loop_claims_nothing_while_it_cannot_claim_its_jobs_again(
    new_loop: Callable[..., WorkerLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = new_loop(pool="threads", slots=4)
    loop.strays.suspect()
    jobs.add.delay(1)

    def refused(*_: Any) -> int:
        raise OperationalError("refused")

    monkeypatch.setattr("django_jobs.worker.releaser.reassert", refused)
    for _ in range(2):
        with pytest.raises(OperationalError):
            loop.step()
    assert Job.objects.get().status == "PENDING"


def test_process_that_died_with_a_lost_claim_counts_a_crash(
    worker: Worker, claimed: Claimed
) -> None:
    lose(claimed)
    rescue.clean_up_after(worker.pk, {key(claimed): None}, "default", failed=True)
    row = Job.objects.get()
    assert (row.crashes, row.claims) == (1, 1)
