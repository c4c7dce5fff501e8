"""Whatever recording raises ends that one job; the worker, the rescue and the timers go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from django_jobs import chain
from django_jobs.db import clock
from django_jobs.maintenance import rescue
from django_jobs.models import Job, Worker
from django_jobs.process.timers import Timer, Timers
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record_apart import record_apart
from django_jobs.values import Claimed, Outcome
from django_jobs.worker.loop import WorkerLoop
from django_jobs.workflows.completion import wake_dependents
from tests import jobs
from tests.workflows.jobs import add

pytestmark = pytest.mark.django_db

Take = Callable[..., list[Claimed]]

BROKEN = [
    {"keep_seconds": 1e30},
    {"keep_seconds": "for ever"},
    {"result": object()},
    {"status": "A STATUS THAT IS TOO LONG", "result": {1: 2}},
]


def statuses() -> list[str]:
    return list(Job.objects.order_by("id").values_list("status", flat=True))


def outcomes_of(claimed: list[Claimed], **broken: Any) -> list[Outcome]:
    outcomes = [execute(each, Environment()) for each in claimed]
    for name, value in broken.items():
        setattr(outcomes[1], name, value)
    return outcomes


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("inside", [False, True])
def test_outcome_that_cannot_be_recorded_is_a_failure_of_its_job_alone(
    worker: Worker, take: Take, caplog: Any, broken: dict[str, Any], inside: bool
) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    outcomes = outcomes_of(take(), **broken)
    if inside:
        with transaction.atomic():
            counted = record_apart(worker.pk, outcomes, "default")
    else:
        counted = record_apart(worker.pk, outcomes, "default")
    assert statuses() == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert [str(outcome.status) for outcome in counted] == statuses()
    guilty = Job.objects.order_by("id")[1]
    assert guilty.error_class
    assert guilty.attempts.count() == 1
    assert "outcome refused" in caplog.text
    assert "Traceback" in caplog.text


def refuse_dependents_of(
    job_id: Any, monkeypatch: pytest.MonkeyPatch, error: type[Exception] = RuntimeError
) -> None:
    def settle_or_fail(ended: Any, using: str) -> Any:
        if any(each.id == job_id for each in ended):
            raise error("its dependents are odd")
        return wake_dependents(ended, using)

    monkeypatch.setattr("django_jobs.run.record.wake_dependents", settle_or_fail)


def test_job_whose_dependents_make_the_error_ends_and_lets_the_others_go_on(
    worker: Worker, take: Take, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    for _ in range(3):
        chain(add.s(1), add.s(2)).apply_async()
    claimed = take()
    refuse_dependents_of(claimed[1].id, monkeypatch)
    assert len(record_apart(worker.pk, outcomes_of(claimed), "default")) == 3
    rows = Job.objects.filter(pk__in=[each.id for each in claimed]).order_by("id")
    assert [row.status for row in rows] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert rows[1].error_message == "its dependents are odd"
    assert rows[1].ended_at is not None
    assert Job.objects.filter(status="PENDING").count() == 2
    assert Job.objects.filter(status="WAITING").count() == 1
    assert caplog.text.count("outcome refused") == 2


@pytest.fixture
def loop(new_loop: Callable[..., WorkerLoop]) -> WorkerLoop:
    return new_loop(pool="threads", slots=8)


@pytest.mark.parametrize("broken", BROKEN)
def test_loop_that_cannot_record_an_outcome_goes_on(
    loop: WorkerLoop, broken: dict[str, Any]
) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    loop.step()
    taken = [loop.buffer.take(slot, wait=False) for slot in range(3)]
    for slot, outcome in enumerate(outcomes_of([each for each in taken if each], **broken)):
        outcome.ended = outcome.ended if slot == 1 else outcome.ended - 1
        loop.buffer.end(slot, outcome)
    loop.step()
    assert sorted(statuses()) == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert loop.buffer.counts() == (0, 0, 0)


def test_loop_survives_an_error_of_its_own_with_a_traceback(
    loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    jobs.add.delay(1)
    with monkeypatch.context() as patched:
        patched.setattr("django_jobs.run.claim.add_results", lambda jobs, using: 1 / 0)
        patched.setattr(loop.wakeup.waker, "wait", lambda seconds: None)
        # The test's own transaction must outlive it.
        patched.setattr("django_jobs.process.reconnect.drop_connection", lambda using: None)
        assert loop.turn()
    assert "ZeroDivisionError" in caplog.text
    assert "Traceback" in caplog.text
    loop.step()
    assert loop.buffer.counts()[0] == 1
    assert statuses() == ["STARTED"]


def test_one_job_that_cannot_be_rescued_stops_no_rescue(
    worker: Worker, take: Take, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.DJANGO_JOBS = {"MAX_CRASHES": 1}
    chain(add.s(1), add.s(2)).apply_async()
    jobs.add.delay(1)
    chain(add.s(1), add.s(2)).apply_async()
    claimed = take()
    refuse_dependents_of(claimed[0].id, monkeypatch)
    Worker.objects.update(lease_until=clock("default", -1))
    assert rescue.run_once("default") == 3
    assert statuses() == ["FAILURE", "WAITING", "FAILURE", "FAILURE", "FAILURE"]
    assert rescue.run_once("default") == 0


def test_timer_that_fails_is_run_again_later_and_the_others_go_on(caplog: Any) -> None:
    ran: list[str] = []

    def fail() -> None:
        ran.append("first")
        raise KeyError("a row")

    timers = Timers(
        [Timer("first", 0.0, fail), Timer("second", 60.0, lambda: ran.append("second"))], "default"
    )
    assert timers.run_due() > 0
    assert ran == ["first", "second"]
    assert "error while=first" in caplog.text
    assert "KeyError: 'a row'" in caplog.text
    timers.run_due()
    assert ran == ["first", "second"]
    timers.ask("first")
    timers.run_due()
    assert ran == ["first", "second", "first"]
