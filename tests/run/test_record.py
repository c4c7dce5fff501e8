from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_jobs import job
from django_jobs.control import revoke
from django_jobs.models import Attempt, Job, Worker
from django_jobs.run.attempt_rows import KEPT_ATTEMPTS
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record, save_progress
from django_jobs.run.release import release, release_strays
from django_jobs.values import Claimed, Outcome
from tests import jobs

pytestmark = pytest.mark.django_db

Take = Callable[..., list[Claimed]]


def outcome_of(claimed: Claimed) -> Outcome:
    return execute(claimed, Environment())


def test_outcome_of_the_owner_counts(worker: Worker, take: Take) -> None:
    jobs.add.delay(1, b=2)
    outcomes = [outcome_of(claimed) for claimed in take()]
    assert record(worker.pk, outcomes, "default") == outcomes
    row = Job.objects.get()
    assert (row.status, row.result, row.worker_id) == ("SUCCESS", 3, worker.pk)


# --- fencing ------------------------------------------------------------------------------------


def assert_dropped(worker_id: uuid.UUID, outcome: Outcome, log: pytest.LogCaptureFixture) -> None:
    before = Job.objects.values().get()
    assert record(worker_id, [outcome], "default") == []
    assert Job.objects.values().get() == before
    assert not Attempt.objects.exists()
    assert "outcome dropped" in log.text
    assert str(outcome.job.id) in log.text


@pytest.mark.parametrize("function", [jobs.add, jobs.fail])
def test_outcome_of_another_worker_is_dropped(
    new_worker: Callable[..., Worker], take: Take, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    function.delay(1)
    (claimed,) = take()
    assert_dropped(new_worker().pk, outcome_of(claimed), caplog)


@pytest.mark.parametrize("function", [jobs.add, jobs.fail])
def test_outcome_of_an_earlier_attempt_is_dropped(
    worker: Worker, take: Take, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    function.delay(1)
    (first,) = take()
    late = outcome_of(first)
    release_strays(worker.pk, (), "default")
    (second,) = take()
    assert (first.claims, second.claims) == (1, 2)
    assert_dropped(worker.pk, late, caplog)


@pytest.mark.parametrize("function", [jobs.add, jobs.fail])
def test_outcome_of_a_job_revoked_meanwhile_is_dropped(
    worker: Worker, take: Take, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    result = function.delay(1)
    (claimed,) = take()
    assert revoke([result.id], terminate=True) == 1
    assert_dropped(worker.pk, outcome_of(claimed), caplog)
    assert result.status == "REVOKED"


def test_outcome_of_a_deleted_job_is_dropped(
    worker: Worker, take: Take, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.fail.delay()
    (claimed,) = take()
    Job.objects.all().delete()
    assert record(worker.pk, [outcome_of(claimed)], "default") == []
    assert not Attempt.objects.exists()
    assert "outcome dropped" in caplog.text


def test_one_lost_job_in_a_batch_drops_only_itself(
    worker: Worker, take: Take, caplog: pytest.LogCaptureFixture
) -> None:
    results = [*jobs.add.delay_many([(1,), (2,)]), *jobs.fail.delay_many([("a",), ("b",)])]
    outcomes = [outcome_of(claimed) for claimed in take()]
    revoke([results[0].id, results[2].id], terminate=True)
    counted = record(worker.pk, outcomes, "default")
    assert [outcome.job.id for outcome in counted] == [results[1].id, results[3].id]
    assert [result.status for result in results] == ["REVOKED", "SUCCESS", "REVOKED", "FAILURE"]
    assert Attempt.objects.get().job_id == results[3].id
    assert caplog.text.count("outcome dropped") == 2


def test_job_that_another_attempt_ended_alike_is_dropped(
    worker: Worker, new_worker: Callable[..., Worker], take: Take
) -> None:
    jobs.add.delay(1)
    (first,) = take()
    late = outcome_of(first)
    release_strays(worker.pk, (), "default")
    other = new_worker()
    (second,) = take(by=other)
    assert record(other.pk, [outcome_of(second)], "default")
    assert record(worker.pk, [late], "default") == []


# --- repeated after a lost answer ---------------------------------------------------------------


def test_success_recorded_again_after_a_lost_answer_counts(worker: Worker, take: Take) -> None:
    jobs.add.delay(1)
    outcomes = [outcome_of(claimed) for claimed in take()]
    record(worker.pk, outcomes, "default")
    before = Job.objects.values().get()
    assert record(worker.pk, outcomes, "default") == outcomes
    assert Job.objects.values().get() == before


def test_failure_recorded_again_keeps_one_attempt(
    worker: Worker, take: Take, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.fail.delay()
    outcomes = [outcome_of(claimed) for claimed in take()]
    record(worker.pk, outcomes, "default")
    assert record(worker.pk, outcomes, "default") == outcomes
    assert Attempt.objects.count() == 1
    assert "outcome dropped" not in caplog.text


def test_retry_recorded_again_keeps_its_time(worker: Worker, take: Take, registered: Any) -> None:
    @job(autoretry_for=(ValueError,))
    def body() -> None:
        raise ValueError

    body.delay()
    outcomes = [outcome_of(claimed) for claimed in take()]
    record(worker.pk, outcomes, "default")
    before = Job.objects.values().get()
    assert record(worker.pk, outcomes, "default") == outcomes
    assert Job.objects.values().get() == before
    assert Attempt.objects.count() == 1


# --- the attempts -------------------------------------------------------------------------------


def test_failed_attempt_has_a_row(worker: Worker, take: Take) -> None:
    jobs.fail.delay("broken")
    (claimed,) = take()
    record(worker.pk, [outcome_of(claimed)], "default")
    row = Job.objects.get()
    attempt = Attempt.objects.get()
    assert (attempt.job_id, attempt.attempt, attempt.claims) == (claimed.id, 1, 1)
    assert attempt.status == "FAILURE"
    assert attempt.worker_id == worker.pk
    assert (attempt.error_class, attempt.error_message) == ("builtins.ValueError", "broken")
    assert attempt.error_args == ["broken"]
    assert attempt.traceback.startswith("Traceback (most recent call last):")
    assert "tests/jobs.py" in attempt.traceback
    assert "django_jobs/run/" not in attempt.traceback
    assert (row.error_class, row.error_message) == ("builtins.ValueError", "broken")
    assert attempt.started_at is not None
    assert row.enqueued_at <= attempt.started_at <= attempt.ended_at


def test_job_keeps_its_newest_attempts(
    worker: Worker,
    take: Take,
    registered: Any,
) -> None:
    @job(autoretry_for=(ValueError,), max_retries=None)
    def body() -> None:
        raise ValueError

    body.delay()
    other = jobs.fail.delay()

    def fail_next(attempt: int) -> int:
        """Let the job fail at that attempt; return the number of statements."""
        Job.objects.filter(name=body.name).update(
            status="PENDING", claims=attempt - 1, retries=attempt - 1
        )
        outcomes = [outcome_of(claimed) for claimed in take()]
        with CaptureQueriesContext(connection) as statements:
            assert record(worker.pk, outcomes, "default") == outcomes
        return len(statements)

    fail_next(1)
    few = fail_next(2)
    first = Attempt.objects.filter(attempt=1).exclude(job_id=other.id).get()
    older = Attempt.objects.bulk_create(
        Attempt(
            job_id=first.job_id,
            attempt=number,
            claims=number,
            status="RETRY",
            ended_at=first.ended_at,
        )
        for number in range(3, 101)
    )
    assert len(older) == KEPT_ATTEMPTS - 2
    assert fail_next(101) == few + 2
    kept = Job.objects.get(name=body.name).attempts.order_by("id")
    assert list(kept.values_list("attempt", flat=True)) == list(range(2, 102))
    assert Attempt.objects.get(job_id=other.id).attempt == 1


def test_success_has_no_attempt_row(worker: Worker, take: Take) -> None:
    jobs.add.delay(1)
    record(worker.pk, [outcome_of(claimed) for claimed in take()], "default")
    assert not Attempt.objects.exists()


def test_success_after_a_failure_wipes_the_error_of_the_row(
    worker: Worker, take: Take, registered: Any
) -> None:
    failing = [True]

    @job(autoretry_for=(ValueError,))
    def body() -> str:
        if failing:
            raise ValueError("once")
        return "done"

    body.delay()
    record(worker.pk, [outcome_of(claimed) for claimed in take()], "default")
    failing.clear()
    Job.objects.update(status="PENDING")
    record(worker.pk, [outcome_of(claimed) for claimed in take()], "default")
    row = Job.objects.get()
    assert (row.status, row.error_class, row.error_message) == ("SUCCESS", "", "")
    assert [attempt.error_message for attempt in row.attempts.all()] == ["once"]


def test_retry_with_an_eta_that_quotes_is_harmless(
    worker: Worker, take: Take, registered: Any
) -> None:
    from datetime import UTC, datetime

    @job(bind=True)
    def body(self: Any) -> None:
        self.retry(eta=datetime(2040, 1, 1, microsecond=1, tzinfo=UTC), exc=ValueError("it's %s"))

    body.delay()
    record(worker.pk, [outcome_of(claimed) for claimed in take()], "default")
    row = Job.objects.get()
    assert (row.run_at, row.error_message) == (
        datetime(2040, 1, 1, microsecond=1, tzinfo=UTC), "it's %s",
    )  # fmt: skip


# --- release ------------------------------------------------------------------------------------


def test_released_jobs_are_pending_and_count_no_retry(worker: Worker, take: Take) -> None:
    jobs.add.delay_many([(1,), (2,)])
    first = take()
    release(worker.pk, first, "default")
    rows = list(Job.objects.order_by("id"))
    assert [(row.status, row.retries, row.started_at) for row in rows] == [("PENDING", 0, None)] * 2
    assert [claimed.claims for claimed in take()] == [2, 2]


def test_release_of_what_is_no_longer_ours_changes_nothing(
    worker: Worker, new_worker: Callable[..., Worker], take: Take
) -> None:
    jobs.add.delay(1)
    (claimed,) = take()
    Job.objects.update(worker_id=new_worker().pk)
    before = Job.objects.values().get()
    release(worker.pk, [claimed], "default")
    assert Job.objects.values().get() == before


def test_release_of_nothing_asks_nothing(worker: Worker, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        release(worker.pk, [], "default")


def test_strays_of_a_lost_claim_are_given_back(worker: Worker, take: Take) -> None:
    jobs.add.delay_many([(number,) for number in range(4)])
    held = take()[:1]
    Job.objects.filter(args=[3]).update(worker_id=uuid.uuid4())
    assert release_strays(worker.pk, {(held[0].id, held[0].claims)}, "default") == 2
    statuses = [row.status for row in Job.objects.order_by("id")]
    assert statuses == ["STARTED", "PENDING", "PENDING", "STARTED"]


# --- progress -----------------------------------------------------------------------------------


def test_progress_is_fenced_as_an_outcome_is(worker: Worker, take: Take) -> None:
    result = jobs.add.delay(1)
    (claimed,) = take()
    save_progress(worker.pk, {(claimed.id, 1): {"done": 1}}, "default")
    assert result.progress == {"done": 1}
    save_progress(worker.pk, {(claimed.id, 2): {"done": 2}}, "default")
    save_progress(uuid.uuid4(), {(claimed.id, 1): {"done": 3}}, "default")
    assert result.progress == {"done": 1}
    record(worker.pk, [outcome_of(claimed)], "default")
    save_progress(worker.pk, {(claimed.id, 1): {"done": 4}}, "default")
    assert Job.objects.get().progress == {"done": 1}


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("registered")
def test_whole_numbers_and_fractions_are_written_by_one_statement(
    settings: Any, worker: Worker, take: Take
) -> None:
    settings.DJANGO_JOBS = {"FAILURE_EXPIRES": 3600, "RESULT_EXPIRES": 7}

    @job(autoretry_for=[OSError], retry_backoff=False, default_retry_delay=60)
    def whole() -> None:
        raise OSError

    @job(autoretry_for=[OSError], retry_backoff=False, default_retry_delay=0.5)
    def fraction() -> None:
        raise OSError

    @job(result_expires=0.5)
    def kept() -> None:
        raise ValueError

    for function in (whole, fraction, kept, jobs.fail):
        function.delay()
    outcomes = [outcome_of(claimed) for claimed in take()]
    assert len(record(worker.pk, outcomes, "default")) == 4
    assert sorted(Job.objects.values_list("status", flat=True)) == [
        "FAILURE", "FAILURE", "RETRY", "RETRY",
    ]  # fmt: skip
