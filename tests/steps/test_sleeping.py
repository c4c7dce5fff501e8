from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from django_jobs import job
from django_jobs.control import retry, revoke, run_now
from django_jobs.db import clock
from django_jobs.define.context import JobContext
from django_jobs.maintenance import promote
from django_jobs.models import Attempt, Job, Step
from django_jobs.run.environment import Environment
from django_jobs.run.execute import execute
from django_jobs.run.reassert import reassert
from django_jobs.steps.rows import RowStore
from django_jobs.testing import run_jobs
from django_jobs.values import Outcome

pytestmark = pytest.mark.django_db

Work = Callable[..., list[Outcome]]
DAY = datetime.timedelta(days=1)


@pytest.fixture
def nap(registered: Any) -> Any:
    @job(bind=True, max_retries=0)
    def nap(self: JobContext, length: float = 86_400.0) -> list[str]:
        found = [self.step("before", lambda: "before")]
        self.sleep(length)
        return [*found, self.step("after", lambda: "after")]

    return nap


def test_sleeping_job_is_scheduled_and_goes_on(nap: Any, work: Work) -> None:
    nap.delay()
    (outcome,) = work()
    row = Job.objects.get()
    assert (outcome.status, row.status, row.retries, row.error_class) == (
        "SCHEDULED", "SCHEDULED", 0, "",
    )  # fmt: skip
    sleep = Step.objects.get(key="sleep")
    assert (sleep.kind, sleep.state, sleep.wake_at) == ("sleep", "WAITING", row.run_at)
    assert row.run_at is not None
    assert abs(row.run_at - timezone.now() - DAY) < datetime.timedelta(minutes=10)
    assert work() == []
    Job.objects.update(run_at=clock("default", -1))
    Step.objects.filter(key="sleep").update(wake_at=clock("default", -1))
    promote.run_all("default")
    assert work()[0].value == ["before", "after"]
    assert list(Step.objects.values_list("state", flat=True)) == ["DONE"] * 3
    assert Attempt.objects.count() == 0


def test_worker_that_lost_the_job_ends_no_sleep(
    nap: Any, work: Work, take: Any, worker: Any
) -> None:
    result = nap.delay()
    work()
    run_now([result.id])
    claimed = take()
    Job.objects.update(claims=9)  # another worker has it
    steps = RowStore(lambda: worker.pk, "default", reassert)
    execute(claimed[0], Environment(steps=steps))
    assert Step.objects.get(key="sleep").state == "WAITING"


def test_time_that_is_played_forward_ends_sleeps(registered: Any) -> None:
    @job(bind=True)
    def nap(self: JobContext) -> str:
        for _ in range(3):
            self.sleep(days=1, hours=1, minutes=1)
        self.sleep_until(timezone.now() - DAY)
        return "awake"

    result = nap.delay()
    ran = run_jobs(at=3 * DAY)
    assert [each.status for each in ran] == ["SCHEDULED"] * 3
    ran = run_jobs(at=4 * DAY)
    assert ran[-1].result == "awake"
    assert result.get() == "awake"
    assert list(Step.objects.values_list("key", flat=True)) == [
        "sleep", "sleep#2", "sleep#3", "sleep#4",
    ]  # fmt: skip


def test_sleep_until_keeps_its_first_moment(registered: Any, work: Work) -> None:
    moments = [timezone.now() + DAY, timezone.now() + 2 * DAY]
    asked = iter(moments)

    @job(bind=True)
    def nap(self: JobContext) -> None:
        self.sleep_until(next(asked), key="the morning")

    nap.delay()
    work()
    Job.objects.update(status="PENDING")
    assert work()[0].status == "SCHEDULED"
    row = Job.objects.get()
    assert row.run_at is not None
    assert abs(row.run_at - moments[0]) < datetime.timedelta(milliseconds=1)
    assert Step.objects.get().key == "the morning"


def test_operator_ends_a_sleep(nap: Any, work: Work) -> None:
    result = nap.delay()
    work()
    assert run_now([result.id]) == 1
    assert work()[0].value == ["before", "after"]


def test_job_that_was_revoked_asleep_sleeps_on_when_it_is_retried(nap: Any, work: Work) -> None:
    result = nap.delay()
    work()
    run_at = Job.objects.get().run_at
    assert revoke([result.id]) == 1
    assert retry([result.id]) == (1, {})
    assert work()[0].status == "SCHEDULED"
    assert Job.objects.get().run_at == run_at


def test_sleep_does_not_let_a_job_expire(nap: Any, work: Work) -> None:
    nap.apply_async(expires=3_600)
    work()
    assert Job.objects.get().expires_at is None


def test_sleep_forgets_crashes(nap: Any, work: Work) -> None:
    nap.delay()
    Job.objects.update(crashes=2)
    work()
    assert Job.objects.get().crashes == 0


def test_sleep_of_an_atomic_job_rolls_it_back_and_goes_on(registered: Any, work: Work) -> None:
    from django.contrib.auth.models import Group

    @job(bind=True, atomic=True)
    def nap(self: JobContext) -> int:
        Group.objects.create(name="a")
        self.sleep(0)
        return Group.objects.count()

    nap.delay()
    assert work()[0].status == "SCHEDULED"
    assert Group.objects.count() == 0
    promote.run_all("default")
    assert work()[0].value == 1
    assert Step.objects.get().state == "DONE"


@pytest.mark.once
def test_impossible_lengths_are_refused(registered: Any, run: Any) -> None:
    @job(bind=True)
    def nap(self: JobContext) -> None:
        for length in (-1, "soon", True, float("nan"), float("inf"), 1e12, None):
            with pytest.raises(ValueError, match="sleep\\(\\) must be"):
                self.sleep(length)
        with pytest.raises(ValueError, match="must be from 0"):
            self.sleep(days=1e9)
        with pytest.raises(ValueError, match="must be a datetime"):
            self.sleep_until(7)

    assert run(nap).status == "SUCCESS"
    assert not Step.objects.exists()


def test_coroutine_sleeps(registered: Any, work: Work) -> None:
    @job(bind=True)
    async def nap(self: JobContext) -> str:
        try:
            await self.asleep(60)
        except Exception:
            return "caught"
        return "awake"

    nap.delay()
    assert work()[0].status == "SCHEDULED"
    run_now([Job.objects.get().pk])
    assert work()[0].value == "awake"


def test_eager_job_does_not_wait(nap: Any) -> None:
    result = nap.apply(expires=3_600)
    assert (result.status, result.get()) == ("SUCCESS", ["before", "after"])
