"""The job list and a job's page say for what a job waits, and lead to what ends the wait."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_jobs.control import pause_queue
from django_jobs.models import EventWait, Job, Worker
from tests import jobs

pytestmark = pytest.mark.django_db

LIST = "admin:django_jobs_job_changelist"


def page(client: Client, job: Job | None = None) -> str:
    url = reverse("admin:django_jobs_job_change", args=[job.pk]) if job else reverse(LIST)
    return client.get(url).content.decode()


def test_page_of_a_job_whose_queue_no_worker_serves(boss: Client) -> None:
    jobs.add.apply_async((1,), queue="gpu")
    text = page(boss, Job.objects.get())
    assert "no live worker serves queue “<a href=" in text
    assert '<code data-copy="Copy">manage.py runworker -Q gpu</code>' in text


def test_paused_queue_is_resumed_from_the_page_of_its_job(
    boss: Client, client_of: Any, worker: Worker
) -> None:
    jobs.add.delay(1)
    pause_queue("default", by="<root>")
    job = Job.objects.get()
    text = page(boss, job)
    assert "is paused by &lt;root&gt; since" in text
    assert 'name="resume" value="default"' in text
    url = reverse("admin:django_jobs_queue_changelist")
    assert f'formaction="{url}"' in text
    boss.post(url, {"resume": "default", "next": "/"})
    assert "a worker claims it next" in page(boss, job)


def test_button_needs_its_permission(client_of: Any) -> None:
    jobs.add.delay(1)
    pause_queue("default")
    text = page(client_of("view_job"), Job.objects.get())
    assert "is paused since" in text
    assert 'name="resume"' not in text


@pytest.mark.usefixtures("overview_kept")
def test_list_says_it_with_as_many_statements_for_more_rows(boss: Client) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            text = page(boss)
        assert text.count("no live worker serves queue “default”") == Job.objects.count()
        return len(captured)

    jobs.add.delay(1)
    page(boss)
    before = statements()
    jobs.add.delay_many([(number,) for number in range(20)])
    assert statements() == before


def test_names_of_events_hide_the_secrets_of_their_jobs(boss: Client) -> None:
    jobs.echo.delay(password="hunter2-the-secret")
    job = Job.objects.get()
    Job.objects.update(status="WAITING")
    EventWait.objects.create(job=job, key="wait", name="of hunter2-the-secret")
    for text in (page(boss), page(boss, job)):
        assert "waits for the event “of" in text
        assert "hunter2-the-secret" not in text
