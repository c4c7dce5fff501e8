"""What operators do with jobs that have steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_jobs import job
from django_jobs.control import retry
from django_jobs.define.context import JobContext
from django_jobs.maintenance import prune
from django_jobs.models import Job, Step
from django_jobs.values import Outcome

pytestmark = pytest.mark.django_db

Work = Callable[..., list[Outcome]]


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def order(registered: Any, calls: list[str]) -> Any:
    @job(bind=True)
    def order(self: JobContext) -> None:
        for name in ("a", "b", "c"):
            self.step(name, calls.append, name)
        if len(calls) == 3:
            raise ValueError

    return order


def test_failed_job_goes_on_and_one_that_succeeded_begins_anew(
    order: Any, work: Work, calls: list[str]
) -> None:
    result = order.delay()
    work()
    assert retry([result.id]) == (1, {})
    assert (work()[0].status, calls) == ("FAILURE", ["a", "b", "c"])
    calls.append("x")
    assert retry([result.id]) == (1, {})
    assert (work()[0].status, calls) == ("SUCCESS", ["a", "b", "c", "x"])
    assert retry([result.id]) == (1, {})
    assert (work()[0].status, calls) == ("SUCCESS", ["a", "b", "c", "x", "a", "b", "c"])


def test_retry_from_a_step_forgets_it_and_later_ones(
    order: Any, work: Work, calls: list[str]
) -> None:
    result = order.delay()
    work()
    assert retry([result.id], from_step="d") == (0, {"has no such step": 1})
    assert (result.status, Step.objects.count()) == ("FAILURE", 3)
    assert retry([result.id], from_step="b") == (1, {})
    assert list(Step.objects.values_list("key", flat=True)) == ["a"]
    assert (work()[0].status, calls) == ("SUCCESS", ["a", "b", "c", "b", "c"])
    positions = Step.objects.order_by("position").values_list("key", "position")
    assert list(positions) == [("a", 1), ("b", 2), ("c", 3)]


def test_retry_from_the_start_forgets_all(order: Any, work: Work, calls: list[str]) -> None:
    result = order.delay()
    work()
    assert retry([result.id], from_start=True) == (1, {})
    assert Step.objects.count() == 0
    assert (work()[0].status, len(calls)) == ("SUCCESS", 6)


def test_steps_of_other_jobs_stay(order: Any, work: Work) -> None:
    first, second = order.delay(), order.delay()
    work()
    retry([first.id], from_start=True)
    assert set(Step.objects.values_list("job_id", flat=True)) == {second.uuid}


def test_replaced_job_has_no_steps(registered: Any, order: Any, work: Work) -> None:
    @job
    def other() -> None: ...

    @job(bind=True)
    def begin(self: JobContext) -> None:
        self.step("a", list)
        self.replace(other.s())

    begin.delay()
    work()
    assert Step.objects.count() == 0


def test_call_that_takes_over_a_sleeping_job_has_no_steps(registered: Any, work: Work) -> None:
    @job(bind=True, unique="replace", unique_key=lambda number: "one")
    def nap(self: JobContext, number: int) -> int:
        self.step("a", list)
        self.sleep(days=1)
        return number

    nap.delay(1)
    work()
    assert Step.objects.count() == 2
    nap.delay(2)
    assert (Job.objects.count(), Step.objects.count()) == (1, 0)


def test_pruned_job_takes_its_steps_along(order: Any, work: Work) -> None:
    order.delay_many([()] * 3)
    work()
    Job.objects.update(prune_at="2020-01-01T00:00:00Z")
    Job.objects.filter(pk=Job.objects.latest("id").pk).update(prune_at=None)
    kept = Step.objects.filter(job_id=Job.objects.latest("id").pk).count()
    from uuid import uuid4

    with CaptureQueriesContext(connection) as queries:
        assert prune.run_once("default", uuid4()) == 2
    assert (Job.objects.count(), Step.objects.count()) == (1, kept)
    assert any("django_jobs_step" in each["sql"] for each in queries)
