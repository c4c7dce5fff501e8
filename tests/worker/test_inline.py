"""Ready jobs run once, in the caller's thread, in a worker's order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from django_jobs import chain, job
from django_jobs.define.context import JobContext
from django_jobs.models import Job, Limit, Worker
from django_jobs.run.environment import Environment
from django_jobs.status import Status
from django_jobs.values import Outcome
from django_jobs.worker.inline import run_ready
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Run = Callable[..., list[Outcome]]


@pytest.fixture
def run_once(worker: Worker) -> Run:
    """Run ready jobs of the queue "default" once; return the outcomes."""

    def run_once(limit: int = 100, environment: Environment | None = None) -> list[Outcome]:
        environment = environment or Environment()
        return run_ready(
            worker.pk, ["default"], using="default", limit=limit, environment=environment
        )

    return run_once


def args(outcomes: list[Outcome]) -> list[str]:
    return [outcome.job.args for outcome in outcomes]


def statuses() -> list[str]:
    return list(Job.objects.order_by("id").values_list("status", flat=True))


def test_jobs_run_by_priority_then_age_and_in_this_thread(run_once: Run) -> None:
    seen: list[tuple[int, Any]] = []

    @job
    def see(number: int) -> None:
        seen.append((number, threading.current_thread()))

    for number, priority in enumerate([0, 5, 0, 9]):
        see.apply_async((number,), priority=priority)
    outcomes = run_once()
    here = threading.current_thread()
    assert seen == [(3, here), (1, here), (0, here), (2, here)]
    assert args(outcomes) == ["[3]", "[1]", "[0]", "[2]"]


def test_no_more_jobs_run_than_asked_for_and_none_of_other_queues(run_once: Run) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    jobs.send.delay(4)
    assert args(run_once(limit=2)) == ["[1]", "[2]"]
    assert args(run_once(limit=2)) == ["[3]"]
    assert run_once() == []
    assert statuses() == ["SUCCESS"] * 3 + ["PENDING"]


def test_job_over_its_concurrency_limit_waits_for_the_next_run(run_once: Run) -> None:
    Limit.objects.create(key="job:tests.jobs.add", concurrency=1)
    jobs.add.delay_many([(1,), (2,)])
    assert args(run_once()) == ["[1]"]
    assert statuses() == ["SUCCESS", "PENDING"]
    assert args(run_once()) == ["[2]"]


def test_job_whose_limit_cannot_be_told_fails_before_the_others_run(run_once: Run) -> None:
    seen: list[list[str]] = []

    @job(concurrency=1, concurrency_key=lambda name: {}[name])
    def keyed(name: str) -> None: ...

    @job(priority=9)
    def look() -> None:
        seen.append(statuses())

    keyed.delay("a")
    look.delay()
    outcomes = run_once()
    assert [outcome.status for outcome in outcomes] == ["FAILURE", "SUCCESS"]
    assert seen == [["FAILURE", "STARTED"]]


def test_next_job_of_a_workflow_runs_with_the_next_call(run_once: Run) -> None:
    result = chain(jobs.add.s(1, 2), jobs.add.s(3)).apply_async()
    assert [outcome.value for outcome in run_once()] == [3]
    assert result.status == "PENDING"
    assert [outcome.value for outcome in run_once()] == [6]
    assert result.get(timeout=0) == 6


def test_retry_is_recorded_and_is_not_promoted(run_once: Run) -> None:
    @job(autoretry_for=[ValueError], max_retries=1)
    def broken() -> None:
        raise ValueError("broken")

    result = broken.delay()
    (outcome,) = run_once()
    assert (outcome.status, result.status) == ("RETRY", "RETRY")
    assert run_once() == []
    Job.objects.update(status=Status.PENDING)
    (outcome,) = run_once()
    assert (outcome.status, result.status, result.job.retries) == ("FAILURE", "FAILURE", 1)


def test_success_of_an_atomic_job_is_recorded_in_its_transaction(run_once: Run) -> None:
    @job(atomic=True)
    def atomic() -> bool:
        return connection.in_atomic_block

    result = chain(atomic.s(), jobs.echo.s()).apply_async()
    (outcome,) = run_once(environment=Environment(commit=lambda outcome: False))
    assert outcome.recorded
    assert result.parent.get(timeout=0) is True
    assert len(run_once()) == 1


def test_outcome_that_does_not_count_is_left_out(run_once: Run) -> None:
    @job
    def give_away(number: int) -> None:
        if number == 1:
            Job.objects.filter(args=[1]).update(worker_id=None, status=Status.REVOKED)

    give_away.delay_many([(1,), (2,)])
    assert args(run_once()) == ["[2]"]
    assert statuses() == ["REVOKED", "SUCCESS"]


def test_job_that_breaks_around_its_body_fails_alone(run_once: Run) -> None:
    class Refusing(JobContext):
        def __init__(self, *_: Any, **__: Any) -> None:
            raise KeyError("no context")

    @job(base=Refusing, max_retries=0)
    def refused() -> None: ...

    refused.delay()
    jobs.add.delay(1)
    assert [outcome.status for outcome in run_once()] == ["FAILURE", "SUCCESS"]
    assert statuses() == ["FAILURE", "SUCCESS"]


def test_job_whose_outcome_cannot_be_recorded_fails_alone(
    run_once: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle_or_fail(ended: Any, using: str) -> set[str]:
        if any(each.id == odd_id for each in ended):
            raise RuntimeError("its dependents are odd")
        return set()

    odd = chain(jobs.add.s(1), jobs.add.s(3)).apply_async().parent
    odd_id = odd.job.pk
    jobs.add.delay(2)
    monkeypatch.setattr("django_jobs.run.record.wake_dependents", settle_or_fail)
    outcomes = run_once()
    assert [outcome.status for outcome in outcomes] == ["FAILURE", "SUCCESS"]
    assert odd.status == "FAILURE"


def test_worker_whose_lease_is_over_runs_none(new_worker: Callable[..., Worker]) -> None:
    jobs.add.delay(1)
    late = new_worker(-1)
    environment = Environment()
    assert run_ready(late.pk, ["default"], using="default", limit=9, environment=environment) == []
    assert statuses() == ["PENDING"]
