"""run_jobs(at=...) plays time forward, without a wait."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from django_jobs import Snooze, job
from django_jobs.models import Job, Schedule
from django_jobs.testing import run_jobs
from django_jobs.testing.clock import now
from tests import jobs

pytestmark = [pytest.mark.once, pytest.mark.django_db, pytest.mark.usefixtures("registered")]

HOUR = datetime.timedelta(hours=1)
SECOND = datetime.timedelta(seconds=1)


def ago(moment: datetime.datetime | None, start: datetime.datetime) -> int:
    """Return the whole seconds between *start* and *moment*, rounded."""
    assert moment is not None
    return round((moment - start).total_seconds())


def wait_of(row: Job) -> int:
    return ago(row.started_at, row.enqueued_at)


def test_jobs_run_when_they_are_due() -> None:
    last = jobs.add.apply_async((3,), countdown=7_200)
    jobs.add.apply_async((1,), countdown=60)
    jobs.add.apply_async((2,), eta=timezone.now() + HOUR)
    jobs.add.delay(0)
    assert run_jobs(at=30 * SECOND, until=lambda: True) == []
    assert [each.args for each in run_jobs(at=30 * SECOND)] == [[0]]
    assert [each.args for each in run_jobs(at=HOUR + SECOND)] == [[1], [2]]
    assert last.status == "SCHEDULED"
    assert [each.args for each in run_jobs(at=timezone.now() + 2 * HOUR + SECOND)] == [[3]]
    at_once, *later = Job.objects.order_by("ended_at")
    assert wait_of(at_once) < 30
    assert [wait_of(row) for row in later] == [60, 3600, 7200]
    assert [ago(row.ended_at, row.started_at) for row in later] == [0, 0, 0]


def test_clock_runs_on_afterwards() -> None:
    before = now("default")
    jobs.add.apply_async((1,), countdown=3_600)
    run_jobs(at=2 * HOUR)
    assert now("default") - before < HOUR
    jobs.add.apply_async((1,), countdown=3_600)
    assert run_jobs() == []
    Job.objects.update(run_at=timezone.now() - SECOND)
    assert len(run_jobs()) == 1


def test_past_moment_is_now() -> None:
    jobs.add.delay(1)
    jobs.add.apply_async((2,), countdown=60)
    assert [each.args for each in run_jobs(at=timezone.now() - HOUR)] == [[1]]
    assert run_jobs(at=-HOUR) == []


@pytest.mark.parametrize("at", [60, "tomorrow", datetime.date(2030, 1, 1)])
def test_other_types_are_refused(at: Any) -> None:
    with pytest.raises(TypeError, match=r"at=\.\.\.\) takes a datetime or a timedelta, got a"):
        run_jobs(at=at)


def test_retries_come_after_their_countdowns() -> None:
    seen: list[Any] = []

    @job(autoretry_for=[OSError], max_retries=3, retry_backoff=60, retry_jitter=False)
    def flaky() -> str:
        seen.append(Job.objects.get().started_at)
        if len(seen) < 4:
            raise OSError
        return "done"

    result = flaky.delay()
    run_jobs(at=150 * SECOND)
    assert (len(seen), result.status) == (2, "RETRY")
    # The first attempt began by the running clock, which the others' did not.
    assert 60 <= ago(seen[1], seen[0]) < 90
    assert [each.attempt for each in run_jobs(at=HOUR)] == [3, 4]
    # The second run began anew at the clock's present time, at which the third try was not due.
    assert [ago(seen[2], seen[1]), ago(seen[3], seen[2])] == [120, 240]
    assert result.get(timeout=0) == "done"


def test_job_that_is_due_at_once_again_comes_to_its_end() -> None:
    tries: list[int] = []

    @job
    def asking() -> None:
        tries.append(1)
        if len(tries) < 5:
            raise Snooze(0)

    asking.delay()
    assert [each.status for each in run_jobs(at=SECOND)] == ["SCHEDULED"] * 4 + ["SUCCESS"]


def test_jobs_over_a_rate_limit_run_in_the_next_windows() -> None:
    @job(rate_limit="2/m")
    def rare(number: int) -> str:
        started_at = Job.objects.get(status="STARTED").started_at
        assert started_at is not None
        return started_at.isoformat()

    rare.delay_many([(number,) for number in range(5)])
    times = [datetime.datetime.fromisoformat(each.result) for each in run_jobs(at=HOUR)]
    began = [ago(each, times[0]) for each in times]
    assert began[1] < 30
    assert 60 <= began[2] == began[3] <= 64
    assert 120 <= began[4] <= 128


def test_job_that_expires_before_it_is_due_is_revoked() -> None:
    jobs.add.apply_async((1,), countdown=120, expires=60)
    jobs.add.apply_async((2,), countdown=60, expires=120)
    assert [(each.args, each.status) for each in run_jobs(at=HOUR)] == [
        ([2], "SUCCESS"),
        ([1], "REVOKED"),
    ]


def test_job_that_a_job_enqueues_for_later_runs_too() -> None:
    @job
    def outer() -> None:
        jobs.add.apply_async((1,), countdown=60)

    outer.apply_async(countdown=60)
    run_jobs(at=HOUR)
    first, second = Job.objects.order_by("enqueued_at")
    assert [wait_of(first), wait_of(second)] == [60, 60]
    assert second.enqueued_at == first.started_at


def test_jobs_of_other_queues_become_ready_and_do_not_run() -> None:
    jobs.send.apply_async((1,), countdown=60)
    jobs.add.apply_async((1,), countdown=60)
    assert [each.name for each in run_jobs("mail", at=HOUR)] == ["tests.jobs.send"]
    assert Job.objects.get(name="tests.jobs.add").status == "PENDING"


def test_endless_time_is_bounded() -> None:
    @job(name="tests.ticking")
    def ticking() -> None:
        ticking.apply_async(countdown=1)

    ticking.delay()
    with pytest.raises(AssertionError, match=r"ran 20 attempts.*tests\.ticking \(20×\)"):
        run_jobs(at=HOUR, limit=20)


def test_job_that_is_due_and_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if another transaction held its row for ever.
    monkeypatch.setattr("django_jobs.maintenance.promote.run_all", lambda using: False)
    jobs.add.apply_async((1,), countdown=60)
    with pytest.raises(AssertionError, match=r"was due at .* and did not start"):
        run_jobs(at=HOUR)


# --- schedules ----------------------------------------------------------------------------------


@pytest.fixture
def hourly(settings: Any) -> None:
    settings.DJANGO_JOBS = {
        "SCHEDULES": {
            "hourly": {"job": "tests.jobs.add", "schedule": 3_600, "args": [1]},
            "daily": {"job": "tests.jobs.echo", "schedule": "0 3 * * *"},
        }
    }


@pytest.mark.usefixtures("hourly")
def test_schedules_fire_at_their_ticks() -> None:
    before = now("default")
    assert run_jobs() == []
    ran = run_jobs(at=25 * HOUR)
    after = now("default")
    assert [each.name for each in ran].count("tests.jobs.echo") in (1, 2)
    assert [each.name for each in ran].count("tests.jobs.add") == 25
    times = Job.objects.filter(name="tests.jobs.add").order_by("started_at")
    first, second, third = (row.started_at for row in times[:3])
    assert first is not None
    assert before + HOUR <= first <= after + HOUR
    assert [ago(second, first), ago(third, first)] == [3600, 7200]
    daily = Job.objects.filter(name="tests.jobs.echo").earliest("started_at").started_at
    assert daily is not None
    assert (daily.hour, daily.minute, daily.second, daily.microsecond) == (3, 0, 0, 0)
    assert Schedule.objects.get(name="hourly").run_count == 25


@pytest.mark.usefixtures("hourly")
def test_schedules_can_be_left_out() -> None:
    jobs.send.apply_async((1,), countdown=7_200)
    assert [each.name for each in run_jobs(at=25 * HOUR, schedules=False)] == ["tests.jobs.send"]


# --- Python's clock -----------------------------------------------------------------------------


def travelling() -> list[Any]:
    freezegun = pytest.importorskip("freezegun")
    time_machine = pytest.importorskip("time_machine")
    return [freezegun.freeze_time, time_machine.travel]


@pytest.fixture(params=[0, 1], ids=["freezegun", "time_machine"])
def travel(request: pytest.FixtureRequest) -> Callable[..., Any]:
    chosen: Callable[..., Any] = travelling()[request.param]
    return chosen


@job
def tell_time() -> str:
    return timezone.now().isoformat()


def test_python_s_clock_stays() -> None:
    tell_time.apply_async(countdown=3_600)
    before = timezone.now()
    (ran,) = run_jobs(at=2 * HOUR)
    assert before <= datetime.datetime.fromisoformat(ran.result) <= timezone.now()


def test_travel_sets_python_s_clock_for_the_jobs(travel: Callable[..., Any]) -> None:
    start = now("default")
    tell_time.apply_async(countdown=3_600)

    @job
    def outer() -> None:
        tell_time.apply_async(countdown=60)

    outer.apply_async(countdown=7_200)
    ran = run_jobs(at=3 * HOUR, travel=travel)
    told = [datetime.datetime.fromisoformat(each.result) for each in ran if each.result]
    by_name = {row.name: row for row in Job.objects.order_by("-id")}
    first, second = Job.objects.filter(name=tell_time.name).order_by("enqueued_at")
    assert [ago(told[0], first.enqueued_at), ago(told[1], second.enqueued_at)] == [3600, 60]
    assert ago(second.ended_at, second.enqueued_at) == 60
    assert ago(second.enqueued_at, by_name[outer.name].enqueued_at) == 7200
    assert timezone.now() - start < HOUR


def test_test_that_has_travelled_runs_its_jobs(travel: Callable[..., Any]) -> None:
    with travel(datetime.datetime(2031, 5, 6, tzinfo=datetime.UTC)):
        result = tell_time.delay()
        run_jobs()
        assert result.get(timeout=0)[:10] == "2031-05-06"


def test_without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    start = timezone.now()
    jobs.add.apply_async((1,), countdown=3_600)
    jobs.add.apply_async((2,), eta=start + 2 * HOUR)
    assert [each.args for each in run_jobs(at=HOUR + SECOND)] == [[1]]
    assert [each.args for each in run_jobs(at=start + 3 * HOUR)] == [[2]]
    (row, last) = Job.objects.order_by("ended_at")
    assert (ago(row.ended_at, row.enqueued_at), ago(last.ended_at, start)) == (3600, 7200)
