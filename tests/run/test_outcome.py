from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from django_jobs import (
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    Snooze,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    job,
)
from django_jobs.db import unix_time
from django_jobs.define.context import JobContext
from django_jobs.exceptions import WorkerStopping
from django_jobs.models import Job, Worker
from django_jobs.run.execute import Environment, execute, execute_crash
from django_jobs.run.outside_body import MAX_DEFERRALS, crashed
from django_jobs.run.record import record
from django_jobs.values import Claimed, Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Run = Callable[..., Outcome]


def again() -> None:
    """Make every job that waits for its time ready, as the promoter does."""
    Job.objects.filter(status__in=("RETRY", "SCHEDULED")).update(status="PENDING")


def waits(row: Job, delay: float) -> bool:
    """Tell whether the next attempt comes *delay* seconds after the end, by the database's clock.

    The end lies between the claim and now.
    """
    assert row.run_at is not None
    assert row.started_at is not None
    end = row.run_at.timestamp() - delay
    return row.started_at.timestamp() - 0.01 <= end <= unix_time("default") + 0.01


# --- returned -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "stored"),
    [(None, None), (0, 0), ("", ""), ([], []), (datetime.date(2026, 1, 2), "2026-01-02")],
)
def test_result_is_stored(run: Run, value: Any, stored: Any) -> None:
    @job
    def body() -> Any:
        return value

    outcome = run(body)
    row = Job.objects.get()
    assert (row.status, row.result) == ("SUCCESS", stored)
    assert outcome.value == value


@pytest.mark.parametrize("value", [object(), float("nan"), "a\0", {1: 2}, "x" * 2_000_000])
def test_result_that_cannot_be_stored_fails_the_job(run: Run, value: Any) -> None:
    @job(autoretry_for=(Exception,))
    def body() -> Any:
        return value

    run(body)
    row = Job.objects.get()
    assert (row.status, row.error_class) == ("FAILURE", "django_jobs.exceptions.ArgumentError")
    assert row.error_message.startswith("The result ")


def test_ignore_result_stores_none(run: Run, work: Callable[..., Any]) -> None:
    @job(ignore_result=True)
    def ignoring() -> Any:
        return object()

    run(ignoring)
    jobs.add.apply_async((1,), ignore_result=True)
    work()
    assert {(row.status, row.result) for row in Job.objects.all()} == {("SUCCESS", None)}


# --- autoretry ----------------------------------------------------------------------------------


def test_autoretry_backs_off_by_default(run: Run, work: Callable[..., list[Outcome]]) -> None:
    @job(autoretry_for=(OSError,), retry_jitter=False)
    def body() -> None:
        raise ConnectionError("away")

    outcomes = [run(body)]
    for _ in range(3):
        again()
        outcomes += work()
    assert [outcome.status for outcome in outcomes] == ["RETRY", "RETRY", "RETRY", "FAILURE"]
    assert [outcome.delay for outcome in outcomes] == [2, 4, 8, None]
    row = Job.objects.get()
    assert (row.status, row.retries, row.claims, row.run_at is None) == ("FAILURE", 3, 4, False)
    assert [attempt.status for attempt in row.attempts.order_by("id")] == [
        "RETRY", "RETRY", "RETRY", "FAILURE",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "delay"),
    [
        ({"retry_backoff": 0.5}, 0.5),
        ({"retry_backoff": False}, 180),
        ({"retry_backoff": False, "default_retry_delay": 7}, 7),
        ({"retry_backoff_max": 1.5}, 1.5),
    ],
)
def test_autoretry_waits_as_told(run: Run, options: Any, delay: float) -> None:
    @job(autoretry_for=(ValueError,), retry_jitter=False, **options)
    def body() -> None:
        raise ValueError

    outcome = run(body)
    assert outcome.delay == delay
    row = Job.objects.get()
    assert row.status == "RETRY"
    assert waits(row, delay)


def test_autoretry_jitter_keeps_half(run: Run) -> None:
    @job(autoretry_for=(ValueError,), retry_backoff=100.0)
    def body() -> None:
        raise ValueError

    outcome = run(body)
    assert outcome.delay is not None
    assert 50 <= outcome.delay <= 100


def test_max_retries_none_is_without_end(run: Run, work: Callable[..., list[Outcome]]) -> None:
    @job(autoretry_for=(ValueError,), max_retries=None)
    def body() -> None:
        raise ValueError

    run(body)
    Job.objects.update(retries=5_000)
    again()
    assert work()[0].status == "RETRY"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(), "RETRY"),
        (KeyError(), "FAILURE"),
        (UnicodeError(), "FAILURE"),
        (TypeError(), "FAILURE"),
    ],
)
def test_dont_autoretry_for_wins(run: Run, error: Exception, status: str) -> None:
    @job(autoretry_for=(ValueError, KeyError), dont_autoretry_for=(UnicodeError, KeyError))
    def body() -> None:
        raise error

    assert run(body).status == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Ignore(), "SUCCESS"),
        (Reject("bad"), "FAILURE"),
        (Reject("later", requeue=True), "SCHEDULED"),
        (Snooze(5), "SCHEDULED"),
        (SoftTimeLimitExceeded(), "FAILURE"),
        (TimeLimitExceeded(), "FAILURE"),
        (KeyboardInterrupt(), "FAILURE"),
        (SystemExit(3), "FAILURE"),
        (MaxRetriesExceededError(), "RETRY"),
    ],
)
def test_autoretry_of_every_exception_swallows_no_steering(
    run: Run, error: BaseException, status: str
) -> None:
    @job(autoretry_for=(Exception,))
    def body() -> None:
        raise error

    assert run(body).status == status


def test_time_limit_is_retried_when_it_is_named(run: Run) -> None:
    @job(autoretry_for=(SoftTimeLimitExceeded,))
    def body() -> None:
        raise SoftTimeLimitExceeded

    assert run(body).status == "RETRY"


# --- self.retry() -------------------------------------------------------------------------------


@job(bind=True, name="tests.retrying", max_retries=2, default_retry_delay=50)
def retrying(self: Any, **options: Any) -> None:
    error = options.pop("error", None)
    self.retry(exc=ValueError(error) if error else None, **options)


@pytest.fixture(autouse=True)
def registered_here(registered: dict[str, Any]) -> None:
    registered[retrying.name] = retrying


def test_retry_waits_the_default_delay(run: Run) -> None:
    outcome = run(retrying)
    assert (outcome.status, outcome.delay, outcome.retries) == ("RETRY", 50, 1)


def test_retry_with_countdown(run: Run) -> None:
    assert run(retrying, countdown=7).delay == 7
    assert waits(Job.objects.get(), 7)


@pytest.mark.parametrize("naive", [False, True])
def test_retry_with_eta(run: Run, naive: bool) -> None:
    moment = datetime.datetime(2040, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    given = moment.replace(tzinfo=None) if naive else moment

    @job(bind=True)
    def body(self: Any) -> None:
        self.retry(eta=given)

    run(body)
    row = Job.objects.get()
    assert (row.status, row.run_at) == ("RETRY", moment)


def test_naive_eta_of_a_retry_is_in_the_body_s_time_zone(run: Run) -> None:
    @job(bind=True)
    def body(self: Any) -> None:
        with timezone.override("America/New_York"):
            self.retry(eta=datetime.datetime(2040, 1, 2, 3))  # noqa: DTZ001

    run(body)
    assert Job.objects.get().run_at == datetime.datetime(2040, 1, 2, 8, tzinfo=datetime.UTC)


@pytest.fixture
def local_times(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"


@pytest.mark.parametrize("aware", [False, True])
def test_eta_of_a_retry_without_time_zone_support(local_times: None, run: Run, aware: bool) -> None:
    local = datetime.datetime(2040, 1, 2, 3)  # noqa: DTZ001
    given = local.replace(tzinfo=ZoneInfo("Asia/Tokyo")) if aware else local

    @job
    def body() -> None:
        raise Retry(eta=given)

    run(body)
    assert Job.objects.get().run_at == local


MINUTE = datetime.timedelta(minutes=1)
CENTURY = 100 * 365.25 * 86_400


@pytest.mark.parametrize(
    ("given", "delay"),
    [(MINUTE, 60), (Decimal("1.5"), 1.5), (0, 0), (-5, -5), (CENTURY, CENTURY)],
)
@pytest.mark.parametrize("how", ["retry", "Retry", "Snooze"])
def test_time_of_a_retry_or_a_snooze(run: Run, how: str, given: Any, delay: float) -> None:
    outcome = run(asking_later(how, given))
    assert (outcome.status, outcome.delay) == ("SCHEDULED" if how == "Snooze" else "RETRY", delay)
    row = Job.objects.get()
    assert row.status == outcome.status
    assert waits(row, delay)


@pytest.mark.parametrize(
    "given",
    ["5", "", True, [], 1e12, 1e300, -1e12, float("nan"), float("inf"), Decimal("nan"), 10**400,
     Decimal("sNaN"), datetime.timedelta.max, datetime.datetime.max, None],  # noqa: DTZ901
)  # fmt: skip
@pytest.mark.parametrize("how", ["retry", "Retry", "Snooze", "eta", "Retry eta"])
def test_what_is_no_time_fails_that_job_alone(
    run: Run, work: Callable[..., list[Outcome]], how: str, given: Any
) -> None:
    if given is None and how != "Snooze":
        pytest.skip("None is the default delay")
    asking_later(how, given).delay()
    jobs.add.delay(1)
    assert len(work()) == 2
    guilty, innocent = Job.objects.order_by("id")
    assert (guilty.status, innocent.status) == ("FAILURE", "SUCCESS")
    assert guilty.error_class == "builtins.ValueError"
    name = {"Snooze": "Snooze()"}.get(how, "eta" if "eta" in how else "countdown")
    assert guilty.error_message.startswith(f"{name} must ")
    assert "tests/run/test_outcome.py" in guilty.attempts.get().traceback


def asking_later(how: str, given: Any) -> Any:
    @job(bind=True, autoretry_for=())
    def body(self: Any) -> None:
        if how == "Snooze":
            raise Snooze(given)
        if how.startswith("Retry"):
            raise Retry(**{"eta" if "eta" in how else "countdown": given})
        self.retry(**{"eta" if "eta" in how else "countdown": given})

    return body


def test_retry_keeps_the_error_that_caused_it(run: Run) -> None:
    run(retrying, error="first")
    row = Job.objects.get()
    assert (row.error_class, row.error_message) == ("builtins.ValueError", "first")


def test_retry_used_up_raises_the_error_itself(
    run: Run, work: Callable[..., list[Outcome]]
) -> None:
    run(retrying, error="mine")
    for _ in range(2):
        again()
        work()
    row = Job.objects.get()
    assert (row.status, row.retries, row.error_message) == ("FAILURE", 2, "mine")


def test_retry_used_up_without_an_error(run: Run) -> None:
    run(retrying, max_retries=0)
    row = Job.objects.get()
    assert row.status == "FAILURE"
    assert row.error_class == "django_jobs.exceptions.MaxRetriesExceededError"
    assert "retried 0 times" in row.error_message


def test_retry_raised_without_a_time_waits_the_default_delay(run: Run) -> None:
    @job(default_retry_delay=30)
    def body() -> None:
        raise Retry("please")

    outcome = run(body)
    assert (outcome.status, outcome.delay) == ("RETRY", 30)


def test_retry_throw_false_is_refused(run: Run) -> None:
    outcome = run(retrying, throw=False)
    assert outcome.failure is not None
    assert outcome.failure.error_class == "builtins.TypeError"


@pytest.mark.parametrize(
    "expires",
    [
        60,
        60.0,
        datetime.timedelta(minutes=1),
        lambda: timezone.now() + datetime.timedelta(minutes=1),
        lambda: timezone.make_naive(timezone.now()) + datetime.timedelta(minutes=1),
    ],
    ids=["seconds", "float", "timedelta", "moment", "naive"],
)
def test_retry_with_expires(run: Run, work: Callable[..., list[Outcome]], expires: Any) -> None:
    @job(bind=True)
    def body(self: Any) -> None:
        self.retry(countdown=0, expires=expires() if callable(expires) else expires)

    run(body)
    row = Job.objects.get()
    left = (row.expires_at - timezone.now()).total_seconds()
    assert row.status == "RETRY"
    assert left == pytest.approx(60, abs=20)
    Job.objects.update(expires_at=timezone.now() - datetime.timedelta(hours=1))
    again()
    (outcome,) = work()
    assert outcome.status == "REVOKED"
    assert Job.objects.get().attempts.count() == 1


def test_retry_without_expires_keeps_that_of_the_job(work: Callable[..., list[Outcome]]) -> None:
    retrying.apply_async(expires=3600)
    before = Job.objects.get().expires_at
    work()
    row = Job.objects.get()
    assert (row.status, row.expires_at) == ("RETRY", before)


FAR = datetime.datetime.max.replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize("expires", ["60", float("nan"), 1e12, FAR])
def test_retry_with_impossible_expires_fails_the_job(run: Run, expires: Any) -> None:
    @job(bind=True)
    def body(self: Any) -> None:
        self.retry(expires=expires)

    @job
    def raising() -> None:
        raise Retry(expires=expires)

    for each in (body, raising):
        outcome = run(each)
        assert outcome.status == "FAILURE"
        assert "expires must" in outcome.failure.message


#: What Celery's retry() takes and passes on to apply_async(), besides what is taken here.
CELERYS = {
    "args": [], "kwargs": {}, "queue": "q", "priority": 1, "headers": {}, "link": None,
    "link_error": None, "routing_key": "x", "exchange": "x", "serializer": "json",
    "compression": "gzip", "time_limit": 1, "soft_time_limit": 1, "ignore_result": True,
    "shadow": "x", "task_id": "x", "add_to_parent": True, "producer": None, "connection": None,
}  # fmt: skip


@pytest.mark.parametrize("name", CELERYS)
def test_other_options_of_a_retry_are_refused_with_what_to_use(run: Run, name: str) -> None:
    outcome = run(retrying, **{name: CELERYS[name]})
    assert outcome.status == "FAILURE"
    assert outcome.failure is not None
    assert outcome.failure.error_class == "builtins.TypeError"
    assert outcome.failure.message.endswith(
        f"got {name}. To go on as another call, use self.replace(f.s(...).set(...))."
    )


# --- Ignore, Reject, Snooze ---------------------------------------------------------------------


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
def test_ignore_keeps_the_ended_state_the_job_gave_itself(run: Run, state: str) -> None:
    @job(bind=True)
    def body(self: JobContext) -> None:
        self.update_state(state=state, meta={"why": "so"})
        raise Ignore

    run(body)
    row = Job.objects.get()
    assert (row.status, row.result) == (state, {"why": "so"})
    assert row.ended_at is not None


def test_state_without_ignore_is_only_shown(run: Run) -> None:
    @job(bind=True)
    def body(self: JobContext) -> int:
        self.update_state(state="FAILURE", meta=1)
        return 2

    run(body)
    row = Job.objects.get()
    assert (row.status, row.result) == ("SUCCESS", 2)


def test_reject_tells_its_reason(run: Run) -> None:
    @job
    def body() -> None:
        raise Reject("no such user")

    run(body)
    row = Job.objects.get()
    assert (row.status, row.error_message) == ("FAILURE", "no such user")


@pytest.mark.parametrize(
    ("error", "delay"), [(Snooze(90), 90), (Snooze(0), 0), (Reject("busy", requeue=True), 1)]
)
def test_snooze_and_requeue_count_no_retry(run: Run, error: Exception, delay: float) -> None:
    @job(max_retries=0)
    def body() -> None:
        raise error

    outcome = run(body)
    row = Job.objects.get()
    assert (row.status, row.retries, outcome.delay) == ("SCHEDULED", 0, delay)
    assert waits(row, delay)
    assert not row.attempts.exists()


# --- jobs that do not run -----------------------------------------------------------------------


def test_expired_job_is_revoked_and_not_run(work: Callable[..., list[Outcome]]) -> None:
    ran: list[int] = []

    @job
    def body() -> None:
        ran.append(1)

    body.apply_async(expires=-1)
    (outcome,) = work()
    row = Job.objects.get()
    assert (outcome.status, row.status, ran) == ("REVOKED", "REVOKED", [])
    assert row.prune_at is not None


def test_job_that_expires_later_runs(work: Callable[..., list[Outcome]]) -> None:
    jobs.add.apply_async((1,), expires=60)
    assert work()[0].status == "SUCCESS"


def test_retry_of_a_job_expires_too(run: Run, work: Callable[..., list[Outcome]]) -> None:
    run(retrying)
    Job.objects.update(expires_at=timezone.now() - datetime.timedelta(hours=1))
    again()
    assert work()[0].status == "REVOKED"


def test_unknown_function_is_deferred_ever_longer_then_fails(
    registered: dict[str, Any], work: Callable[..., list[Outcome]]
) -> None:
    jobs.add.delay(1)
    registered.pop("tests.jobs.add")
    delays = []
    for _ in range(MAX_DEFERRALS):
        (outcome,) = work()
        delays.append(outcome.delay)
        again()
    row = Job.objects.get()
    assert (row.deferrals, row.retries) == (MAX_DEFERRALS, 0)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    work()
    row.refresh_from_db()
    assert (row.status, row.error_class) == ("FAILURE", "django_jobs.exceptions.UnknownJob")
    assert row.error_message.startswith("No job function is named 'tests.jobs.add'. Define it with")
    assert row.attempts.count() == 1


def test_deferred_job_runs_where_it_is_known(
    registered: dict[str, Any], work: Callable[..., list[Outcome]]
) -> None:
    jobs.add.delay(1)
    known = registered.pop("tests.jobs.add")
    assert work()[0].status == "SCHEDULED"
    registered["tests.jobs.add"] = known
    again()
    assert work()[0].status == "SUCCESS"


# --- crashes ------------------------------------------------------------------------------------


def crash(worker: Worker, claimed: Claimed, error: BaseException | None = None) -> Job:
    record(worker.pk, [execute_crash(claimed, error, Environment())], "default")
    return Job.objects.get()


def test_crashes_count_apart_from_retries_until_the_job_is_poison(
    worker: Worker, take: Callable[..., list[Claimed]]
) -> None:
    jobs.add.delay(1)
    rows = []
    for _ in range(3):
        (claimed,) = take()
        rows.append(crash(worker, claimed))
    assert [(row.status, row.crashes, row.retries) for row in rows] == [
        ("PENDING", 1, 0), ("PENDING", 2, 0), ("FAILURE", 3, 0),
    ]  # fmt: skip
    assert rows[-1].error_class == "django_jobs.exceptions.WorkerLost"
    assert "3 of 3 times" in rows[-1].error_message
    assert rows[-1].attempts.count() == 3
    assert take() == []


def test_max_crashes_is_a_setting(
    settings: Any, worker: Worker, take: Callable[..., list[Claimed]]
) -> None:
    settings.DJANGO_JOBS = {"MAX_CRASHES": 1}
    jobs.add.delay(1)
    assert crash(worker, take()[0]).status == "FAILURE"


@pytest.mark.parametrize("options", [{"acks_late": False}, {"on_worker_lost": "fail"}])
def test_job_that_must_run_at_most_once_fails_with_its_worker(
    worker: Worker, take: Callable[..., list[Claimed]], options: Any
) -> None:
    @job(**options)
    def body() -> None: ...

    body.delay()
    assert crash(worker, take()[0]).status == "FAILURE"


def test_job_killed_for_its_time_limit_fails_as_one_that_raised(
    worker: Worker, take: Callable[..., list[Claimed]]
) -> None:
    jobs.add.delay(1)
    row = crash(worker, take()[0], TimeLimitExceeded("ran longer than 5 s"))
    assert (row.status, row.crashes, row.error_message) == ("FAILURE", 0, "ran longer than 5 s")


def test_unknown_function_s_crash_is_counted(
    registered: dict[str, Any], take: Callable[..., list[Claimed]]
) -> None:
    jobs.add.delay(1)
    (claimed,) = take()
    registered.pop("tests.jobs.add")
    assert (crashed(claimed).status, crashed(claimed).crashes) == ("PENDING", 1)


def test_worker_that_stops_gives_the_job_back(run: Run, take: Callable[..., Any]) -> None:
    @job(autoretry_for=(BaseException,))
    def body() -> None:
        raise WorkerStopping

    run(body)
    row = Job.objects.get()
    assert (row.status, row.retries, row.claims) == ("PENDING", 0, 1)
    assert row.started_at is None
    (claimed,) = take()
    assert claimed.claims == 2


# --- retention ----------------------------------------------------------------------------------


def kept(row: Job) -> float | None:
    if row.prune_at is None:
        return None
    assert row.ended_at is not None
    return round((row.prune_at - row.ended_at).total_seconds())


def test_ended_jobs_are_kept_as_the_settings_say(run: Run, settings: Any) -> None:
    run(jobs.add, 1)
    assert kept(Job.objects.get()) == 86_400
    Job.objects.all().delete()
    run(jobs.fail)
    assert kept(Job.objects.get()) == 7 * 86_400
    Job.objects.all().delete()
    settings.DJANGO_JOBS = {"RESULT_EXPIRES": datetime.timedelta(minutes=1)}
    run(jobs.add, 1)
    assert kept(Job.objects.get()) == 60


@pytest.mark.parametrize("seconds", [5, None])
def test_result_expires_of_a_function_wins(run: Run, seconds: float | None) -> None:
    @job(result_expires=seconds)
    def body() -> None: ...

    run(body)
    assert kept(Job.objects.get()) == seconds


def test_job_that_runs_again_is_never_pruned(run: Run) -> None:
    run(retrying)
    assert Job.objects.get().prune_at is None


def test_times_of_an_attempt_are_in_order(
    take: Callable[..., list[Claimed]], worker: Worker
) -> None:
    jobs.add.delay(1)
    (claimed,) = take()
    record(worker.pk, [execute(claimed, Environment())], "default")
    row = Job.objects.get()
    assert row.ready_at is not None
    assert row.started_at is not None
    assert row.ended_at is not None
    assert row.enqueued_at <= row.ready_at <= row.started_at <= row.ended_at
