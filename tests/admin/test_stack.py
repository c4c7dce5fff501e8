"""The page with the stack of a running job."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, connections
from django.test import Client
from django.urls import reverse

from django_jobs.admin import JobAdmin, stack
from django_jobs.models import Command, Job, Worker
from tests import jobs
from tests.waiting import LONG

FRAMES = [["/shop/jobs.py", 7, "pack"], ["/shop/boxes.py", 9, "<lambda>"]]


def url(job: Job) -> str:
    return reverse("admin:django_jobs_job_stack", args=[job.pk])


def running(worker: Worker) -> Job:
    jobs.add.delay(1)
    Job.objects.update(status="STARTED", worker_id=worker.pk, claims=1)
    return Job.objects.get()


@pytest.mark.django_db(transaction=True)
def test_page_asks_the_worker_and_shows_its_answer(
    boss: Client, new_worker: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "_SECONDS", LONG)
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


@pytest.mark.django_db(transaction=True)
def test_page_leaves_the_transaction_of_the_request(
    boss: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setattr(stack, "_SECONDS", 0)
    assert "has not answered" in boss.post(url(running(worker))).content.decode()


@pytest.mark.django_db
def test_page_needs_its_permission_and_a_running_job(client_of: Any, worker: Worker) -> None:
    job = running(worker)
    client = client_of("view_job", "edit_job")
    assert client.post(url(job)).status_code == 403
    page = client.get(reverse("admin:django_jobs_job_change", args=[job.pk])).content.decode()
    assert "/stack/" not in page


@pytest.mark.django_db
def test_page_needs_the_permission_to_see_the_job(client_of: Any, worker: Worker) -> None:
    assert client_of("view_stack").post(url(running(worker))).status_code == 403
    assert not Command.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_job_that_has_ended_has_no_stack(boss: Client, worker: Worker) -> None:
    job = running(worker)
    Job.objects.update(status="SUCCESS")
    page = boss.get(reverse("admin:django_jobs_job_change", args=[job.pk])).content.decode()
    assert "/stack/" not in page
    assert boss.get(url(job)).status_code == 405
    assert "does not run any more" in boss.post(url(job), follow=True).content.decode()
    assert not Command.objects.exists()


@pytest.mark.django_db
def test_page_is_closed_where_the_admin_hides_the_row(
    boss: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_view(self: Any, request: Any, obj: Any = None) -> bool:
        return obj is None

    monkeypatch.setattr(JobAdmin, "has_view_permission", may_view)
    assert boss.post(url(running(worker))).status_code == 403
    assert not Command.objects.exists()


@pytest.mark.django_db
def test_page_of_a_worker_shows_stacks_to_those_who_may_see_them(
    client_of: Any, worker: Worker
) -> None:
    Command.objects.create(
        worker_id=worker.pk, name="stack", created_at=worker.started_at, answer={"frames": FRAMES}
    )
    address = reverse("admin:django_jobs_worker_change", args=[worker.pk])
    client = client_of("view_worker")
    for is_shown in (False, True):
        for query in ("", "?format=json"):
            text = client.get(address + query).content.decode()
            assert ("boxes.py" in text) == is_shown
            assert "stack" in text
        may = Permission.objects.get(codename="view_stack")
        User.objects.get().user_permissions.add(may)
