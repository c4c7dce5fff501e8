"""The admin moves jobs to another queue or priority."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from django_jobs.models import Job
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

LIST = "/admin/django_jobs/job/"


def send(client: Client, *results: Any, **more: str) -> Any:
    data = {"action": "move", "_selected_action": [result.id for result in results], "index": "0"}
    return client.post(LIST, data | more, follow=True)


def place(result: Any) -> tuple[str, int]:
    row = Job.objects.get(pk=result.uuid)
    return row.queue, row.priority


def test_move_asks_where_to(boss: Client) -> None:
    waiting, running = jobs.add.delay(1), jobs.add.delay(2)
    Job.objects.filter(pk=running.uuid).update(status="STARTED")
    html = send(boss, waiting, running).content.decode()
    assert 'name="move-queue"' in html
    assert 'name="move-priority"' in html
    assert "1 of them has a status that allows it" in html
    assert place(waiting) == ("default", 0)


def test_move_changes_reports_and_logs(boss: Client) -> None:
    waiting, running = jobs.add.delay(1), jobs.add.delay(2)
    Job.objects.filter(pk=running.uuid).update(status="STARTED")
    more = {"confirmed": "1", "move-queue": "mail", "move-priority": "-3"}
    response = send(boss, waiting, running, **more)
    assert [str(message) for message in response.context["messages"]] == [
        "Move: 1 job was changed. 1 was skipped: 1 is started."
    ]
    assert place(waiting) == ("mail", -3)
    assert place(running) == ("default", 0)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (
        waiting.id,
        "Moved to queue mail, priority -3.",
    )


def test_empty_fields_of_a_move_change_nothing(boss: Client) -> None:
    result = jobs.add.apply_async((1,), priority=4)
    send(boss, result, confirmed="1", **{"move-queue": "mail", "move-priority": ""})
    assert place(result) == ("mail", 4)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"move-queue": ""}, "Enter a queue, a priority or both."),
        ({"move-queue": "a,b"}, "must not have a comma"),
        ({"move-priority": "99999"}, "less than or equal to 32767"),
        ({"move-queue": "far"}, "This queue is in another database."),
    ],
)
def test_invalid_target_is_an_error_of_the_form(
    boss: Client, settings: Any, given: dict[str, str], told: str
) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"far": {"DATABASE": "other"}}}
    result = jobs.add.delay(1)
    assert told in send(boss, result, confirmed="1", **given).content.decode()
    assert place(result) == ("default", 0)
    assert not LogEntry.objects.exists()


def test_full_queue_is_reported(boss: Client, settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"mail": {"MAX_PENDING": 1}}}
    jobs.add.apply_async((0,), queue="mail")
    result = jobs.add.delay(1)
    response = send(boss, result, confirmed="1", **{"move-queue": "mail"})
    assert "1 the queue is full" in str(next(iter(response.context["messages"])))
    assert place(result) == ("default", 0)


@pytest.mark.parametrize(("own", "may"), [("move_job", True), ("revoke_job", False)])
def test_move_needs_its_permission(client_of: Callable[..., Client], own: str, may: bool) -> None:
    result = jobs.add.delay(1)
    client = client_of("view_job", own)
    page = reverse("admin:django_jobs_job_change", args=[result.id])
    assert ('value="move"' in client.get(page).content.decode()) == may
    send(client, result, confirmed="1", **{"move-queue": "mail"})
    assert place(result) == ("mail" if may else "default", 0)
