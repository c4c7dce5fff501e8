"""The fixture ``jobs`` of the plugin; ``live_worker`` has a page of its own."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync

from django_jobs.models import Job
from django_jobs.testing.pytest_plugin import Jobs
from tests.jobs import add


@pytest.fixture
def eager(settings: Any) -> None:
    settings.DJANGO_JOBS = {"EAGER": True, "DEFAULT_QUEUE": "mine"}


@pytest.mark.django_db
@pytest.mark.usefixtures("eager")
def test_nothing_runs_before_it_is_told_to(jobs: Jobs) -> None:
    result = add.delay(1, 2)
    jobs.assert_enqueued(add, args=[1, 2], queue="mine", count=1)
    jobs.assert_not_enqueued(add, args=[2])
    assert result.status == "PENDING"
    (ran,) = jobs.run()
    assert (ran.result, result.get(timeout=0)) == (3, 3)


@pytest.mark.django_db
def test_captures_and_coroutines(jobs: Jobs) -> None:
    with jobs.captured() as captured:
        add.delay(1)
    assert [each.args for each in captured] == [[1]]
    with jobs.captured(write=False):
        add.delay(2)
    assert [each.args for each in async_to_sync(jobs.arun)()] == [[1]]
    assert Job.objects.count() == 1
