"""The page of one job: its heading, its error, its facts, its arguments and its bar of phases."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_jobs import job
from django_jobs.admin.phases import Phase, bar, phases, sums
from django_jobs.control import retrying
from django_jobs.models import Attempt, Job, Schedule
from django_jobs.status import Status
from tests.admin.test_jobs import make, page

pytestmark = pytest.mark.django_db
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def at(seconds: float) -> datetime.datetime:
    return START + datetime.timedelta(seconds=seconds)


def plain_text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def failed(**fields: Any) -> Job:
    row = make(
        Status.FAILURE, retries=2, claims=3, error_class="smtplib.SMTPError", error_message="lost",
        **fields,
    )  # fmt: skip
    Attempt.objects.create(
        job=row, attempt=3, claims=3, status="FAILURE", started_at=row.started_at,
        ended_at=row.ended_at, error_class="smtplib.SMTPError", error_message="lost",
        traceback="Traceback of 3", worker_id=row.worker_id,
    )  # fmt: skip
    return row


def test_heading_has_the_short_name_and_no_empty_fact(boss: Client) -> None:
    response = boss.get(page(make(Status.PENDING)))
    assert "<h1>add</h1>" in response.content.decode()
    labels = [label for label, _value in response.context["facts"]]
    assert labels == ["Job function", "Queue", "Id"]


def test_error_comes_before_the_facts(boss: Client) -> None:
    text = plain_text(boss.get(page(failed())).content.decode())
    order = ["2 of 3 retries", "SMTPError", "lost", "Traceback of 3", "Arguments", "Timeline"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.count("lost") == 2  # the second one stands in the folded table


def test_error_of_a_retried_job_keeps_its_class(boss: Client) -> None:
    row = failed()
    retrying.retry([row.pk])
    response = boss.get(page(row))
    error = response.context["error"]
    assert Job.objects.get().error_class == ""
    assert (error.kind, error.error_class, error.message) == ("retry", "SMTPError", "lost")
    assert "Error of attempt 3" in plain_text(response.content.decode())


def test_arguments_have_the_names_of_their_parameters(
    boss: Client, registered: dict[str, Any]
) -> None:
    @job(name="shop.charge", sensitive=("card",))
    def charge(user_id: int, amount: float, card: str = "", *rest: int, **more: int) -> None: ...

    row = make(name="shop.charge", args=[11, 29.08, "4711-4711", 5], kwargs={"tip": 2})
    text = plain_text(boss.get(page(row)).content.decode())
    assert "user_id= 11 amount= 29.08 card= &quot;********&quot; 5 tip= 2" in text
    listed = plain_text(boss.get("/admin/django_jobs/job/").content.decode())
    assert "user_id=11, amount=29.08, card=&quot;********&quot;, 5, tip=2" in listed


def test_everything_named_is_a_link(
    boss: Client, client_of: Callable[..., Client], new_worker: Any
) -> None:
    worker = new_worker()
    schedule = Schedule.objects.create(
        name="nightly", job_name="tests.jobs.add", kind="interval", interval_seconds=60
    )
    row = failed(worker_id=worker.pk, schedule_id=schedule.pk)
    links = {
        "/admin/django_jobs/function/tests.jobs.add/": "tests.jobs.add",
        "/admin/django_jobs/job/?queue=default": "default",
        f"/admin/django_jobs/worker/{worker.pk}/change/": worker.name,
        f"/admin/django_jobs/schedule/{schedule.pk}/change/": "nightly",
    }
    html = boss.get(page(row)).content.decode()
    for url, label in links.items():
        assert re.search(f'href="{re.escape(url)}"[^>]*>{label}</a>', html), url
    User.objects.all().delete()
    html = client_of("view_job").get(page(row)).content.decode()
    assert [url for url in links if url in html] == ["/admin/django_jobs/job/?queue=default"]


# --- the bar --------------------------------------------------------------------------------------


def row_of(**fields: Any) -> Job:
    return Job(name="x", enqueued_at=at(0), ready_at=at(0), **fields)


def attempt_of(number: int, start: float, end: float, status: str = "RETRY") -> Attempt:
    return Attempt(
        pk=number, attempt=number, claims=number, status=status, started_at=at(start),
        ended_at=at(end),
    )  # fmt: skip


def spans(row: Job, *kept: Attempt) -> list[tuple[str, float, float | None]]:
    def seconds(moment: datetime.datetime | None) -> float | None:
        return None if moment is None else (moment - START).total_seconds()

    return [(one.kind, seconds(one.start) or 0.0, seconds(one.end)) for one in phases(row, kept)]


def test_phases_of_a_job_that_failed_twice() -> None:
    row = row_of(status=Status.FAILURE, claims=2, started_at=at(40), ended_at=at(50))
    assert spans(row, attempt_of(2, 40, 50, "FAILURE"), attempt_of(1, 1, 11)) == [
        ("wait", 0, 1), ("retry", 1, 11), ("backoff", 11, 40), ("failure", 40, 50),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": Status.PENDING}, [("wait", 0, None)]),
        ({"status": Status.SCHEDULED, "run_at": at(60)}, [("wait", 0, 60)]),
        (
            {"status": Status.STARTED, "started_at": at(3), "claims": 1},
            [("wait", 0, 3), ("started", 3, None)],
        ),
        (
            {"status": Status.SUCCESS, "started_at": at(3), "ended_at": at(9), "claims": 1},
            [("wait", 0, 3), ("success", 3, 9)],
        ),
        ({"status": Status.REVOKED, "ended_at": at(9)}, [("wait", 0, 9)]),
    ],
)
def test_phases_by_status(fields: dict[str, Any], expected: list[Any]) -> None:
    assert spans(row_of(**fields)) == expected


def test_phases_until_the_next_attempt() -> None:
    row = row_of(status=Status.RETRY, claims=1, started_at=at(1), run_at=at(100))
    assert spans(row, attempt_of(1, 1, 11))[-1] == ("backoff", 11, 100)


@pytest.mark.once
def test_bar_fills_its_width_and_does_not_change_with_time() -> None:
    shown = [
        Phase("wait", "wait", at(0), at(0.001)), Phase("retry", "attempt 1", at(1), at(5_000)),
        Phase("started", "attempt 2", timezone.now()),
    ]  # fmt: skip
    svg = str(bar(shown))
    widths = [float(width) for width in re.findall(r'<rect x="[^"]*" y="1" width="([\d.]+)%"', svg)]
    assert sum(widths) == pytest.approx(100, abs=0.05)
    assert min(widths) > 0.3
    assert svg == str(bar(shown))
    assert "style=" not in svg


@pytest.mark.once
def test_sums_add_up_what_is_alike() -> None:
    shown = [
        Phase("wait", "", at(0), at(1)), Phase("retry", "", at(1), at(11)),
        Phase("backoff", "", at(11), at(40)), Phase("failure", "", at(40), at(50)),
    ]  # fmt: skip
    assert sums(shown) == [
        ("wait", "waited", "1.0 s"), ("run", "ran", "20.0 s"), ("backoff", "backed off", "29.0 s"),
    ]  # fmt: skip
