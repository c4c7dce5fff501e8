"""The log lines of attempts on a job's page, and in ``jobs show``."""

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
from django.utils import timezone

from django_jobs import Snooze, current_job, job
from django_jobs.models import AttemptLog, Job
from django_jobs.values import Outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

_log = logging.getLogger("shop.orders")


def page(row: Job) -> str:
    return reverse("admin:django_jobs_job_change", args=[row.pk])


def show(row: Job, *options: str) -> str:
    out = io.StringIO()
    call_command("jobs", "show", str(row.pk), *options, stdout=out, no_color=True)
    return out.getvalue()


def blocks(html: str) -> list[str]:
    """The text of each log on the page, the newest first."""
    found = re.findall(r'<pre class="jobs-text jobs-log">(.*?)</pre>', html, re.DOTALL)
    return [re.sub(r"<[^>]+>", "", each) for each in found]


@pytest.fixture
def row(work: Callable[..., list[Outcome]]) -> Job:
    """A job that has snoozed, failed, and then succeeded."""

    @job(keep_log=2, autoretry_for=[ValueError], name="tests.logged", sensitive=["code"])
    def logged(code: str) -> None:
        claims = current_job.claims
        _log.error("left out")
        _log.error("claim %d <b>", claims)
        _log.warning("code %s\nforged", code)
        if claims == 1:
            raise Snooze(1)
        if claims == 2:
            raise ValueError("no")

    result = logged.delay("hunter2-top")
    for _ in range(3):
        work()
        Job.objects.exclude(status="SUCCESS").update(status="PENDING", run_at=None)
    assert result.status == "SUCCESS"
    return result.job


def test_page_shows_the_log_of_each_attempt(boss: Client, row: Job) -> None:
    html = boss.get(page(row)).content.decode()
    shown = blocks(html)
    assert [re.findall(r"claim \d &lt;b&gt;", each) for each in shown] == [
        ["claim 3 &lt;b&gt;"], ["claim 2 &lt;b&gt;"], ["claim 1 &lt;b&gt;"],
    ]  # fmt: skip
    assert html.count("Log, 2 lines") == 3
    assert html.count("1 earlier line was not kept.") == 3
    # A further line is indented, so that no job can forge one.
    assert re.search(r"\d{3} WARNING shop.orders code \*{8}\n  forged", shown[0])
    assert '<span class="jobs-error">' in html
    assert '<span class="jobs-warning">' in html
    assert "hunter2" not in html
    badges = re.findall(r'<th scope="row">\d</th>\s*<td>.*?</svg>(\w+)', html, re.DOTALL)
    assert badges == ["success", "retry", "scheduled"]


def test_secret_of_later_rules_is_hidden_in_older_lines(boss: Client, row: Job) -> None:
    moment = timezone.now().timestamp()
    AttemptLog.objects.update(log_lines=[[moment, "INFO", "a", "raw hunter2-top"]])
    html = boss.get(page(row)).content.decode()
    assert "raw ********" in html
    assert "hunter2" not in html + show(row, "--log") + show(row, "--json")


def test_log_needs_the_permission_of_the_job(client_of: Callable[..., Client], row: Job) -> None:
    assert client_of("view_attempt", "view_queue").get(page(row)).status_code == 403


def test_show_prints_the_logs_only_when_asked(row: Job) -> None:
    text = show(row)
    assert "log       6 lines, shown by --log" in text
    assert "claim" not in text
    text = show(row, "--log")
    heads = re.findall(r"Attempt (\d), ended .*, then (\w+)\n", text)
    assert heads == [("2", "SUCCESS"), ("1", "RETRY"), ("1", "SCHEDULED")]
    assert re.findall(r"claim \d", text) == ["claim 3", "claim 2", "claim 1"]
    assert text.count("1 earlier line was not kept.\n") == 3
    assert text.count("WARNING shop.orders: code ********\n  forged\n") == 3
    assert "ValueError: no" in text


def test_json_has_the_logs(row: Job) -> None:
    logs = json.loads(show(row, "--json"))["logs"]
    assert [(each["attempt"], each["status"], each["left_out"]) for each in logs] == [
        (2, "SUCCESS", 1), (1, "RETRY", 1), (1, "SCHEDULED", 1),
    ]  # fmt: skip
    (first, second) = logs[0]["lines"]
    assert {**first, "time": ""} == {
        "time": "", "level": "ERROR", "logger": "shop.orders", "text": "claim 3 <b>",
    }  # fmt: skip
    assert second["text"] == "code ********\nforged"
    assert first["time"] >= logs[0]["started_at"][:10]


def test_log_of_a_killed_attempt_is_shown(boss: Client, row: Job) -> None:
    AttemptLog.objects.exclude(status="RETRY").delete()
    AttemptLog.objects.update(status="STARTED", ended_at=None, claims=9)
    html = boss.get(page(row)).content.decode()
    assert re.search(r'<th scope="row">1</th>\s*<td>–</td>', html)
    assert len(blocks(html)) == 1
    assert "Attempt 1, whose end is not recorded\n1 earlier line" in show(row, "--log")
    (log,) = json.loads(show(row, "--json"))["logs"]
    assert (log["status"], log["ended_at"]) == ("STARTED", None)


def test_job_without_a_log_shows_none(boss: Client, work: Any) -> None:
    @job(name="tests.unlogged")
    def unlogged() -> None:
        _log.error("nothing is kept")

    result = unlogged.delay()
    work()
    assert "jobs-log" not in boss.get(page(result.job)).content.decode()
    assert "--log" not in show(result.job, "--log")
    assert json.loads(show(result.job, "--json"))["logs"] == []
