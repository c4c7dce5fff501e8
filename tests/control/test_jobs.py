from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from django_jobs import job, signals
from django_jobs.control import retry, revoke, run_now
from django_jobs.models import Command, Job, Worker
from django_jobs.values import Claimed, Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

OPEN = ("WAITING", "SCHEDULED", "PENDING", "RETRY")
ENDED = ("SUCCESS", "FAILURE", "REVOKED")


@pytest.fixture
def revoked() -> Iterator[list[Any]]:
    seen: list[Any] = []

    def receive(sender: str, **named: Any) -> None:
        seen.append((sender, named["job_id"], named["terminated"], named["reason"]))

    signals.job_revoked.connect(receive)
    yield seen
    signals.job_revoked.disconnect(receive)


# --- revoke -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", OPEN)
def test_revoke_ends_a_job_that_has_not_begun(
    status: str,
    take: Callable[..., list[Claimed]],
    revoked: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status=status)
    with django_capture_on_commit_callbacks(execute=True):
        assert revoke([result.id], reason="by joe") == 1
    row = Job.objects.get()
    assert (row.status, row.error_message) == ("REVOKED", "by joe")
    assert row.ended_at is not None
    assert row.prune_at is not None
    assert revoked == [("tests.jobs.add", result.id, False, "by joe")]
    assert take() == []


@pytest.mark.django_db(transaction=True)
def test_failing_statement_of_a_receiver_does_not_undo_the_revoke(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(sender: str, **named: Any) -> None:
        Group.objects.create(name=None)

    result = jobs.add.delay(1)
    signals.job_revoked.connect(broken)
    try:
        with transaction.atomic():
            assert revoke([result.id]) == 1
    finally:
        signals.job_revoked.disconnect(broken)
    assert "IntegrityError" in caplog.text
    assert result.status == "REVOKED"


@pytest.mark.parametrize("terminate", [False, True])
@pytest.mark.parametrize("status", ENDED)
def test_revoke_leaves_an_ended_job(status: str, terminate: bool, revoked: list[Any]) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status=status)
    before = Job.objects.values().get()
    assert revoke([result.id, uuid.uuid4()], terminate=terminate) == 0
    assert Job.objects.values().get() == before
    assert revoked == []


def test_revoke_leaves_a_running_job_alone(take: Callable[..., list[Claimed]]) -> None:
    result = jobs.add.delay(1)
    take()
    assert result.revoke() is False
    assert result.status == "STARTED"
    assert not Command.objects.exists()


def test_revoke_with_terminate_sends_a_command_to_the_worker(
    worker: Worker,
    take: Callable[..., list[Claimed]],
    revoked: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    running, queued = jobs.add.delay(1), jobs.add.delay(2)
    take(1)
    with django_capture_on_commit_callbacks(execute=True):
        assert revoke([running.id, queued.id], terminate=True) == 2
    assert (running.status, queued.status) == ("REVOKED", "REVOKED")
    command = Command.objects.get()
    assert (command.worker_id, command.name) == (worker.pk, "terminate")
    assert command.arguments == {"id": str(running.id), "claims": 1}
    assert {(job_id, terminated) for _, job_id, terminated, _ in revoked} == {
        (running.id, True),
        (queued.id, False),
    }


def test_revoke_with_terminate_sends_a_command_for_each_job(
    take: Callable[..., list[Claimed]],
) -> None:
    results = jobs.add.delay_many([(1,), (2,), (3,)])
    take(3)
    assert revoke([result.id for result in results], terminate=True) == 3
    told = {command.arguments["id"] for command in Command.objects.all()}
    assert told == {str(result.id) for result in results}


# --- retry --------------------------------------------------------------------------------------


def test_retry_makes_a_failed_job_as_new(
    work: Callable[..., list[Outcome]], registered: Any
) -> None:
    failing = [True]

    @job(max_retries=0)
    def body() -> str:
        if failing:
            raise ValueError("broken")
        return "mended"

    result = body.delay()
    work()
    failing.clear()
    assert retry([result.id]) == (1, {})
    row = Job.objects.get()
    assert (row.status, row.retries, row.crashes, row.error_class) == ("PENDING", 0, 0, "")
    assert (row.ended_at, row.prune_at, row.result, row.worker_id) == (None, None, None, None)
    assert row.ready_at is not None
    assert row.ready_at > row.enqueued_at
    (outcome,) = work()
    assert (outcome.status, outcome.job.claims) == ("SUCCESS", 2)
    assert [attempt.error_message for attempt in Job.objects.get().attempts.all()] == ["broken"]


@pytest.mark.parametrize("status", ENDED)
def test_retry_takes_every_ended_status(status: str) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status=status)
    assert retry([result.id]) == (1, {})
    assert result.status == "PENDING"


def test_retry_of_an_expired_job_runs(work: Callable[..., list[Outcome]]) -> None:
    result = jobs.add.apply_async((1,), expires=-1)
    work()
    assert result.status == "REVOKED"
    retry([result.id])
    assert work()[0].status == "SUCCESS"


def test_retry_says_what_it_skipped_and_why() -> None:
    ended, pending, started = jobs.add.delay_many([(1,), (2,), (3,)])
    Job.objects.filter(pk=ended.id).update(status="FAILURE")
    Job.objects.filter(pk=started.id).update(status="STARTED")
    done, skipped = retry([ended.id, pending.id, started.id, uuid.uuid4()])
    assert done == 1
    assert skipped == {"is pending": 1, "is started": 1, "gone": 1}


# --- run now ------------------------------------------------------------------------------------


def test_run_now_makes_waiting_jobs_ready(take: Callable[..., list[Claimed]]) -> None:
    scheduled = jobs.add.apply_async((1,), countdown=600)
    retried = jobs.add.delay(2)
    Job.objects.filter(pk=retried.id).update(status="RETRY", retries=1)
    pending = jobs.add.delay(3)
    assert run_now([scheduled.id, retried.id, pending.id, uuid.uuid4()]) == 2
    assert sorted(claimed.id for claimed in take()) == sorted(
        [scheduled.id, retried.id, pending.id]
    )
    assert Job.objects.get(pk=retried.id).retries == 1


@pytest.mark.parametrize("status", [*ENDED, "STARTED", "WAITING"])
def test_run_now_leaves_every_other_job(status: str) -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status=status)
    assert run_now([result.id]) == 0
    assert result.status == status
