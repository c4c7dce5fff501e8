"""An attempt is a run that began: its number is retries + 1, however often the job was claimed."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from django_jobs import current_job, job
from django_jobs.control import retry
from django_jobs.display.attempt_numbers import attempt_line
from django_jobs.maintenance import rescue
from django_jobs.models import Attempt, Job, Worker
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.run.release import release
from django_jobs.values import Claimed
from tests import jobs

pytestmark = pytest.mark.django_db

Take = Callable[..., list[Claimed]]
Back = Callable[[Worker, Claimed], None]


def given_back(worker: Worker, claimed: Claimed) -> None:
    release(worker.pk, [claimed], "default")


def rescued(worker: Worker, claimed: Claimed) -> None:
    """The worker was told to stop and died before the job began."""
    rescue.clean_up_after(worker.pk, {}, "default")
    Worker.objects.update(stopped_at=None, lost_at=None)


def show(job_id: Any, *options: str) -> str:
    out = io.StringIO()
    call_command("jobs", "show", str(job_id), *options, stdout=out, no_color=True)
    return out.getvalue()


def texts(client: Client, row: Job) -> str:
    html = client.get(reverse("admin:django_jobs_job_change", args=[row.pk])).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.parametrize("back", [given_back, rescued])
def test_job_that_was_claimed_twice_before_it_began_shows_its_first_attempt(
    worker: Worker, new_worker: Callable[..., Worker], take: Take, boss: Client, registered: Any,
    caplog: pytest.LogCaptureFixture, back: Back,
) -> None:  # fmt: skip
    seen = []

    @job(autoretry_for=(ValueError,), max_retries=3)
    def body() -> None:
        seen.append(current_job.request.attempt)
        raise ValueError("broken")

    result = body.delay()
    assert (result.job.attempt, attempt_line(result.job)) == (0, "0/4")
    first = new_worker()
    (claimed,) = take(by=first)
    back(first, claimed)
    waiting = Job.objects.get()
    assert (waiting.claims, waiting.attempt, attempt_line(waiting)) == (1, 0, "0/4")

    (claimed,) = take()
    assert (claimed.claims, claimed.retries) == (2, 0)
    running = Job.objects.get()
    assert (running.attempt, attempt_line(running)) == (1, "1/4")
    assert "attempt 1 started" in texts(boss, running)
    with caplog.at_level(logging.INFO, "django_jobs.job"):
        outcome = execute(claimed, Environment())
        assert record(worker.pk, [outcome], "default") == [outcome]
        # Somebody else's word on the job is dropped.
        assert record(first.pk, [outcome], "default") == []
    assert seen == [1]
    lines = [line for line in caplog.messages if str(claimed.id) in line]
    assert [re.findall(r"attempt=(\d+)", line) for line in lines] == [["1"], ["1"]]

    (attempt,) = Attempt.objects.all()
    assert (attempt.attempt, attempt.claims) == (1, 2)
    assert str(attempt) == f"{claimed.id} #1"
    retried = Job.objects.get()
    page = texts(boss, retried)
    assert "attempt 1 ended: retry" in page
    assert "attempt 2" not in page
    assert "Attempt 1, ended" in show(claimed.id)
    shown = json.loads(show(claimed.id, "--json"))
    assert (shown["attempt"], [each["attempt"] for each in shown["attempts"]]) == (2, [1])

    retried.attempts.all().delete()
    Job.objects.update(status="PENDING")
    (claimed,) = take()
    assert claimed.claims == 3
    assert attempt_line(Job.objects.get()) == "2/4"
    again = boss.get("/admin/django_jobs/job/?attempts=more").context["cl"].result_list
    assert [row.attempt for row in again] == [2]


def test_job_that_was_claimed_twice_has_no_more_than_one_attempt_in_the_filter(
    worker: Worker, take: Take, boss: Client, work: Any
) -> None:
    jobs.add.delay(1, b=2)
    (claimed,) = take()
    release(worker.pk, [claimed], "default")
    work()
    (row,) = Job.objects.all()
    assert (row.claims, row.attempt, row.status) == (2, 1, "SUCCESS")
    found = boss.get("/admin/django_jobs/job/?attempts=more").context["cl"].result_list
    assert list(found) == []


def test_operators_retry_begins_with_no_attempt(worker: Worker, work: Any, registered: Any) -> None:
    @job
    def body() -> None:
        raise ValueError("broken")

    result = body.delay()
    work()
    assert Job.objects.get().attempt == 1
    retry([result.uuid])
    row = Job.objects.get()
    assert (row.status, row.attempt) == ("PENDING", 0)
    work()
    row = Job.objects.get()
    assert (row.attempt, row.claims) == (1, 2)
    # They share the number, and the admin tells them apart by the claim.
    assert list(Attempt.objects.order_by("id").values_list("attempt", "claims")) == [(1, 1), (1, 2)]
