"""The form of a schedule in the admin: its preview, its errors, and the job of "Run now"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from django_jobs.models import Job, Schedule
from tests.admin.test_jobs import messages_of

pytestmark = pytest.mark.django_db

LIST = "/admin/django_jobs/schedule/"
GIVEN = {
    "name": "nightly", "job_name": "tests.jobs.add", "args": "[1]", "kwargs": "{}",
    "kind": "crontab", "timezone": "Europe/Berlin", "crontab": "0 8 * * mon-fri", "enabled": "on",
    "missed": "latest",
    "overlap": "allow", "jitter_seconds": "0", "missed_limit": "1",
}  # fmt: skip


def told(client: Client, **more: str) -> dict[str, Any]:
    response = client.post(f"{LIST}preview/", GIVEN | more)
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def test_preview_has_words_and_the_next_five_times(boss: Client) -> None:
    found = told(boss, name="", args="[")
    assert found["words"] == "At 08:00, Monday through Friday (Europe/Berlin)"
    assert len(found["times"]) == 5
    assert all("08:00:00 CE" in text for text in found["times"])
    assert not found["errors"]
    assert not Schedule.objects.exists()
    found = told(boss, kind="interval", every="90", period="minutes")
    assert (found["words"], len(found["times"])) == ("Every 90 minutes", 5)


def test_preview_says_what_is_wrong_with_the_times(boss: Client) -> None:
    assert "crontab" in " ".join(told(boss, crontab="every day")["errors"])
    assert told(boss, kind="interval", every="x", period="minutes")["errors"] == ["Enter a number."]


def test_preview_needs_a_permission(client_of: Callable[..., Client]) -> None:
    client = client_of("view_schedule")
    assert client.post(f"{LIST}preview/", GIVEN).status_code == 403


@pytest.mark.parametrize("permission", ["add_schedule", "change_schedule"])
def test_preview_is_for_those_who_may_save(
    client_of: Callable[..., Client], permission: str
) -> None:
    assert len(told(client_of(permission))["times"]) == 5


def test_all_errors_are_told_at_once(boss: Client) -> None:
    given = GIVEN | {"name": "", "args": '["a", "b", 3]', "crontab": "often", "queue": "#" * 99}
    errors = boss.post(f"{LIST}add/", given).context["adminform"].form.errors
    assert {"name", "args", "crontab"} <= set(errors)
    errors = boss.post(f"{LIST}add/", given | {"args": "["}).context["adminform"].form.errors
    assert len(errors["args"]) == 1
    assert "kwargs" not in errors


def test_run_now_links_its_job(boss: Client) -> None:
    schedule = Schedule.objects.create(
        name="n", job_name="tests.jobs.add", args=[1], kind="interval", interval_seconds=60
    )
    data = {"action": "run_now", "_selected_action": [str(schedule.pk)], "index": "0"}
    response = boss.post(LIST, data, follow=True)
    page = f"/admin/django_jobs/job/{Job.objects.get().pk}/change/"
    assert f'<a href="{page}">tests.jobs.add</a>' in messages_of(response)


def test_function_fills_the_form(boss: Client) -> None:
    html = boss.get(f"{LIST}add/?job_name=tests.jobs.add").content.decode()
    assert '<option value="tests.jobs.add" selected>' in html
