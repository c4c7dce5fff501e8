"""A job that this worker cannot run: it waits for one that can, and everybody sees why."""

from __future__ import annotations

import html
import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from django_jobs import job
from django_jobs.api.result import AsyncResult
from django_jobs.define import registry
from django_jobs.exceptions import JobFailed, UnknownJob
from django_jobs.metrics import cache, snapshot
from django_jobs.models import Attempt, Job
from django_jobs.values import Outcome
from tests import jobs

pytestmark = pytest.mark.django_db

Work = Callable[..., list[Outcome]]
REASON = (
    "No job function is named 'tests.background.send'. Define it with @job in the jobs.py or "
    "tasks.py of an installed app, or name its module in DJANGO_JOBS['IMPORTS'], and deploy that "
    "code to the workers. Did you mean 'tests.jobs.send'?"
)


def stray(name: str = "tests.background.send", user_id: int = 1) -> AsyncResult[str]:
    """Enqueue a job whose function the worker does not know."""
    result = jobs.send.apply_async((user_id,), queue="default")
    Job.objects.filter(pk=result.uuid).update(name=name)
    return AsyncResult(result.id)


def again() -> None:
    Job.objects.filter(status="SCHEDULED").update(status="PENDING", ready_at=timezone.now())


# --- the text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tests.background.send", "tests.jobs.send"),
        ("send", "tests.jobs.send"),
        ("tests.jobs.ehco", "tests.jobs.echo"),
    ],
)
def test_missing_name_tells_which_one_may_be_meant(name: str, meant: str) -> None:
    with pytest.raises(UnknownJob) as caught:
        registry.get(name)
    assert f"No job function is named {name!r}. Define it with @job in the jobs.py" in str(
        caught.value
    )
    assert f"Did you mean {meant!r}" in str(caught.value)


def test_name_like_no_other_suggests_nothing() -> None:
    assert registry.missing("qqqqqqqq").endswith("and deploy that code to the workers.")


def test_suggestions_know_functions_that_were_defined_since(registered: dict[str, Any]) -> None:
    assert "billing" not in registry.missing("shop.zzz_invoice")

    @job(name="billing.jobs.zzz_invoice")
    def zzz_invoice() -> None: ...

    assert "Did you mean 'billing.jobs.zzz_invoice'?" in registry.missing("shop.zzz_invoice")


# --- the row, the log, the pages ----------------------------------------------------------------


def test_row_has_the_reason_while_it_waits(work: Work) -> None:
    result = stray()
    for wait in (work, again, work):
        wait()
    row = result.job
    assert (row.status, row.error_class, row.error_message) == (
        "SCHEDULED", "django_jobs.exceptions.UnknownJob", REASON,
    )  # fmt: skip
    assert (row.deferrals, row.retries) == (2, 0)
    # It made no attempt.
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("status", ["SCHEDULED", "PENDING"])
def test_handle_tells_the_reason_while_the_job_waits(work: Work, status: str) -> None:
    result = stray()
    assert result.info is None
    work()
    Job.objects.update(status=status)
    assert isinstance(result.info, UnknownJob)
    assert str(result.info) == REASON
    assert result.result is None
    Job.objects.update(error_class="nowhere.Error")
    assert isinstance(result.info, JobFailed)


def test_reason_is_gone_when_the_job_has_run(work: Work) -> None:
    result = stray()
    work()
    Job.objects.update(name="tests.jobs.send")
    again()
    work()
    assert (result.job.status, result.job.error_class, result.job.error_message) == (
        "SUCCESS", "", "",
    )  # fmt: skip
    assert result.info == "sent to 1"


def test_log_warns_once_for_each_name(work: Work, job_lines: Callable[[int], list[str]]) -> None:
    stray()
    stray()
    work()
    again()
    work()
    stray("tests.background.mail")
    work()
    warnings = job_lines(logging.WARNING)
    assert [line.split()[1] for line in warnings] == [
        "name=tests.background.send", "name=tests.background.mail",
    ]  # fmt: skip
    assert REASON in warnings[0]
    assert "delay=1.0s" in warnings[0]
    assert len(job_lines(logging.INFO)) == 3


def test_names_that_are_warned_of_are_bounded(
    work: Work, job_lines: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobs.log._MOST_DEFERRED", 2)
    for number in range(4):
        stray(f"tests.no_{number}")
    work()
    assert (len(job_lines(logging.WARNING)), len(job_lines(logging.INFO))) == (2, 2)


def test_command_and_job_page_show_the_reason(work: Work, boss: Client) -> None:
    result = stray()
    work()
    out = io.StringIO()
    call_command("jobs", "show", str(result.id), stdout=out)
    assert f"django_jobs.exceptions.UnknownJob: {REASON}" in out.getvalue()
    page = boss.get(f"/admin/django_jobs/job/{result.id}/change/").content.decode()
    assert "Did you mean 'tests.jobs.send'?" in html.unescape(page)


# --- the dashboard ------------------------------------------------------------------------------


def alerts_of(client: Client) -> list[dict[str, str]]:
    cache.clear()
    alerts: list[dict[str, str]] = client.get("/admin/django_jobs/dashboard/").context["alerts"]
    return alerts


def test_dashboard_warns_of_jobs_that_no_worker_can_run(work: Work, boss: Client) -> None:
    stray()
    work()
    (alert,) = alerts_of(boss)
    assert alert["text"] == (
        f"1 job of “tests.background.send” waits for a worker that can run it: {REASON}"
    )
    stray()
    jobs.send.apply_async((1,), countdown=30, queue="default")
    work()
    (alert,) = alerts_of(boss)
    assert alert["text"].startswith("2 jobs of “tests.background.send” wait for a worker that")
    rows = boss.get(alert["url"]).context["cl"].result_list
    assert {row.name for row in rows} == {"tests.background.send"}
    Job.objects.update(status="PENDING")
    assert alerts_of(boss) == []


def test_dashboard_links_the_jobs_for_those_who_may_see_them(
    work: Work, client_of: Callable[..., Client]
) -> None:
    stray()
    work()
    (alert,) = alerts_of(client_of("view_dashboard"))
    assert alert["url"] == ""


def test_dashboard_names_the_most_frequent_functions(
    work: Work, boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "DEFERRALS_READ", 2)
    for name, number in (("a.one", 1), ("a.three", 3), ("a.two", 2)):
        for _ in range(number):
            stray(name)
    work()
    assert [alert["text"].split()[3] for alert in alerts_of(boss)] == ["“a.three”", "“a.two”"]
