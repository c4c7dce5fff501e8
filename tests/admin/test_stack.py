"""The page with the stack of a running job."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from django_jobs.models import Command, Job, Worker
from tests import jobs

FRAMES = [["/shop/jobs.py", 7, "pack"], ["/shop/boxes.py", 9, "<lambda>"]]


def url(job: Job) -> str:
    return reverse("admin:django_jobs_job_stack", args=[job.pk])


def running(worker: Worker) -> Job:
    jobs.add.delay(1)
    Job.objects.update(status="STARTED", worker_id=worker.pk, claims=1)
    return Job.objects.get()


@pytest.mark.django_db(transaction=True)
def test_page_asks_the_worker_and_shows_its_answer(
    boss: Client, new_worker: Any, until: Any
) -> None:
    job = running(new_worker())
    page = boss.get(reverse("admin:django_jobs_job_change", args=[job.pk])).content.decode()
    assert f'formaction="{url(job)}"' in page

    def answer() -> None:
        try:
            until(lambda: Command.objects.filter(name="stack", done_at=None).exists())
            command = Command.objects.get()
            assert command.arguments == {"id": str(job.pk), "claims": 1}
            Command.objects.update(answer={"frames": FRAMES}, done_at=command.created_at)
        finally:
            connections.close_all()

    thread = threading.Thread(target=answer)
    thread.start()
    html = boss.post(url(job)).content.decode()
    thread.join()
    assert "/shop/boxes.py:9" in html
    assert "&lt;lambda&gt;" in html


@pytest.mark.django_db
def test_page_needs_its_permission_and_a_running_job(client_of: Any, worker: Worker) -> None:
    job = running(worker)
    client = client_of("view_job", "edit_job")
    assert client.post(url(job)).status_code == 403
    page = client.get(reverse("admin:django_jobs_job_change", args=[job.pk])).content.decode()
    assert "/stack/" not in page


@pytest.mark.django_db(transaction=True)
def test_job_that_has_ended_has_no_stack(boss: Client, worker: Worker) -> None:
    job = running(worker)
    Job.objects.update(status="SUCCESS")
    assert boss.get(url(job)).status_code == 405
    assert "does not run any more" in boss.post(url(job), follow=True).content.decode()
    assert not Command.objects.exists()
