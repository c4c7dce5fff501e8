"""The admin's pages of schedules: the form, the permissions, the content, the statements."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import job
from django_jobs.admin.run_history import runs_svg
from django_jobs.admin.schedule_blanks import unblanked
from django_jobs.define.schedule_spec import SOLAR_EVENTS
from django_jobs.display.schedule_text import SOLAR_LABELS
from django_jobs.models import Job, Schedule
from django_jobs.redaction import REDACTED
from django_jobs.status import Status

pytestmark = pytest.mark.django_db

LIST = "/admin/django_jobs/schedule/"
SECRET = "hunter2-top"

FORM = {
    "name": "sum", "description": "", "job_name": "tests.jobs.add", "args": "[1]", "kwargs": "{}",
    "enabled": "on", "kind": "crontab", "timezone": "Europe/Berlin", "every": "",
    "period": "minutes",
    "crontab": "0 8 * * mon-fri", "clocked_at_0": "", "clocked_at_1": "", "solar_event": "",
    "latitude": "", "longitude": "", "starts_at_0": "", "starts_at_1": "", "ends_at_0": "",
    "ends_at_1": "", "missed": "latest", "missed_limit": "100", "deadline_seconds": "",
    "overlap": "allow", "jitter_seconds": "0", "queue": "", "priority": "", "expires_seconds": "",
    "headers": "",
}  # fmt: skip


@pytest.fixture
def client_of(db: None):
    def client_of(*permissions: str, superuser: bool = False) -> Client:
        user = User.objects.create_user(f"u{User.objects.count()}", is_staff=True)
        user.is_superuser = superuser
        user.save()
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return client_of


@pytest.fixture
def boss(client_of: Any) -> Client:
    return client_of(superuser=True)


def page(schedule: Schedule) -> str:
    return f"{LIST}{schedule.pk}/change/"


def post(client: Client, url: str = f"{LIST}add/", **fields: Any) -> list[str]:
    """Send the form; return its errors."""
    response = client.post(url, FORM | fields)
    if response.status_code == 302:
        return []
    form = response.context["adminform"].form
    return [f"{name}: {text}" for name, texts in form.errors.items() for text in texts]


def run_of(schedule: Schedule, status: str = Status.SUCCESS, **fields: Any) -> Job:
    now = timezone.now()
    return Job.objects.create(
        name=schedule.job_name, queue="default", status=status, schedule_id=schedule.pk,
        enqueued_at=now, run_at=now, ready_at=now + datetime.timedelta(milliseconds=12),
        **fields,
    )  # fmt: skip


def test_form_makes_a_schedule_that_is_planned(boss):
    before = timezone.now()
    assert post(boss) == []
    schedule = Schedule.objects.get()
    assert (schedule.crontab, schedule.args, schedule.kwargs) == ("0 8 * * mon-fri", [1], {})
    assert schedule.headers is None
    # The tick may have passed since it was planned, at 08:00.
    assert schedule.next_run_at > before
    shown = boss.get(page(schedule)).content.decode()
    assert "At 08:00, Monday through Friday (Europe/Berlin)" in shown
    times = re.findall(r"<li>(\w+), \d+ \w+ \d+ 08:00:00 CES?T</li>", shown)
    assert len(times) == 5
    assert not {"Sat", "Sun"} & set(times)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"crontab": "0 25 * * *"}, "crontab: crontab '0 25 * * *': hour '25'"),
        ({"crontab": ""}, "crontab: crontab must have five fields"),
        ({"args": "[1"}, "args: Enter a valid JSON"),
        ({"args": '{"a": 1}'}, "args: args must be a JSON array"),
        ({"args": "[]"}, "args: tests.jobs.add"),
        ({"args": "[NaN]"}, "args: "),
        ({"kwargs": '{"nope": 1}'}, "args: tests.jobs.add"),
        ({"kwargs": "[]"}, "kwargs: kwargs must be a JSON object"),
        ({"headers": "[1]"}, "headers: headers must be a JSON object"),
        ({"job_name": "os.system"}, "job_name: Select a valid choice"),
        ({"timezone": "Mars"}, "timezone: Select a valid choice"),
        ({"kind": "interval"}, "every: The interval must be from 0.1 seconds"),
        ({"kind": "interval", "every": "-1"}, "every: The interval must be from 0.1 seconds"),
        ({"kind": "clocked"}, "clocked_at: clocked_at must be the time"),
        ({"kind": "clocked", "clocked_at_0": "2020-01-01", "clocked_at_1": "00:00"},
         "clocked_at: This time is in the past"),
        ({"kind": "solar", "solar_event": "noon", "latitude": "100", "longitude": "0"},
         "latitude: latitude must be from -90"),
        ({"queue": "#"}, "queue: queue must not begin with"),
        ({"missed_limit": "0"}, "missed_limit: missed_limit must be from 1 to 1000"),
        ({"jitter_seconds": "-1"}, "jitter_seconds: jitter_seconds must be seconds"),
    ],
)  # fmt: skip
def test_form_refuses_schedules_that_cannot_run(boss, fields, error):
    errors = post(boss, **fields)
    assert any(text.startswith(error) for text in errors), errors
    assert not Schedule.objects.exists()


def test_every_solar_event_has_a_name():
    assert tuple(SOLAR_LABELS) == SOLAR_EVENTS


def test_interval_has_a_unit(boss):
    assert post(boss, kind="interval", every="2", period="weeks") == []
    schedule = Schedule.objects.get()
    assert (schedule.interval_seconds, schedule.crontab) == (14 * 86_400, "")
    shown = boss.get(page(schedule)).content.decode()
    assert "Every 2 weeks" in shown
    assert '<option value="weeks" selected>' in shown


def test_change_of_a_schedule_from_code_is_shown_as_such(boss, make):
    schedule = make(source="code", name="sum")
    assert post(boss, page(schedule), description="by hand") == []
    schedule.refresh_from_db()
    assert schedule.source == "changed"
    assert "changed by hand" in boss.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("action", "permission"),
    [
        ("enable_schedules", "change_schedule"),
        ("disable_schedules", "change_schedule"),
        ("skip_next", "change_schedule"),
        ("run_now", "run_schedule"),
    ],
)
def test_action_needs_its_permission_and_is_logged(client_of, make, action, permission):
    schedule = make(enabled=action != "enable_schedules")
    before = Schedule.objects.values().get()
    form = {"action": action, "_selected_action": [schedule.pk]}
    others = {"view_schedule", "change_schedule", "run_schedule"} - {permission}
    client_of(*others).post(LIST, form)
    assert Schedule.objects.values().get() == before
    assert not Job.objects.exists()
    client_of("view_schedule", permission).post(LIST, form)
    assert Schedule.objects.values().get() != before
    assert LogEntry.objects.get().object_id == str(schedule.pk)


@pytest.mark.parametrize(
    ("action", "enabled", "told"),
    [
        ("skip_next", False, "1 schedule was changed. 1 is disabled."),
        ("enable_schedules", True, "1 schedule was changed. 1 is enabled already."),
    ],
)
def test_skipped_schedules_are_told_with_the_reason(boss, make, action, enabled, told):
    rows = [make(enabled=enabled), make(enabled=not enabled)]
    form = {"action": action, "_selected_action": [row.pk for row in rows]}
    assert told in boss.post(LIST, form, follow=True).content.decode()


def test_button_comes_back_to_the_page(boss, make):
    schedule = make()
    form = {"action": "run_now", "_selected_action": schedule.pk, "from_schedule": schedule.pk}
    assert boss.post(LIST, form).headers["Location"] == page(schedule)
    assert Job.objects.get().schedule_id == schedule.pk


def test_run_now_says_why_not(boss, make):
    schedule = make(job_name="tests.jobs.gone")
    form = {"action": "run_now", "_selected_action": schedule.pk}
    assert "No job function is named" in boss.post(LIST, form, follow=True).content.decode()
    assert not LogEntry.objects.exists()


def test_only_what_was_changed_is_logged(boss, make):
    ran, gone = make(), make(job_name="tests.jobs.gone")
    boss.post(LIST, {"action": "run_now", "_selected_action": [ran.pk, gone.pk]})
    assert LogEntry.objects.get().object_id == str(ran.pk)


def test_queue_of_another_database_is_refused(boss, make, settings):
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    (error,) = post(boss, queue="reports")
    assert "lives on database 'reports'" in error
    schedule = make(queue="reports")
    form = {"action": "run_now", "_selected_action": schedule.pk}
    assert "lives on database" in boss.post(LIST, form, follow=True).content.decode()


@pytest.mark.parametrize("permissions", [(), ("view_job",)])
def test_schedules_are_hidden_without_permission(client_of, make, permissions):
    schedule = make()
    client = client_of(*permissions)
    assert {client.get(url).status_code for url in (LIST, page(schedule), f"{LIST}add/")} == {403}


def test_viewer_sees_and_changes_nothing(client_of, make):
    schedule = make()
    viewer = client_of("view_schedule")
    shown = viewer.get(page(schedule)).content.decode()
    assert viewer.get(LIST).status_code == 200
    assert "<textarea" not in shown
    assert 'name="action"' not in shown
    assert viewer.post(page(schedule), FORM).status_code == 403


def test_secrets_are_blank_and_stay(boss, client_of, make, registered):
    @job(name="login", sensitive=("user",))
    def login(user: str, password: str, times: int = 1) -> None: ...

    schedule = make(
        name="sum", job_name="login", args=[SECRET], kwargs={"password": SECRET},
        headers={"token": SECRET},
    )  # fmt: skip
    for client in (boss, client_of("view_schedule")):
        assert SECRET not in client.get(page(schedule)).content.decode()
        assert SECRET not in client.get(LIST).content.decode()
    changed = {
        "job_name": "login", "args": f'["{REDACTED}"]', "headers": f'{{"token": "{REDACTED}"}}',
        "kwargs": f'{{"password": "{REDACTED}", "times": 2}}',
    }  # fmt: skip
    assert post(boss, page(schedule), **changed) == []
    schedule.refresh_from_db()
    assert (schedule.args, schedule.headers) == ([SECRET], {"token": SECRET})
    assert schedule.kwargs == {"password": SECRET, "times": 2}


def test_blanks_find_their_own_places():
    assert unblanked([REDACTED, {"a": REDACTED}, 3], [1, {"a": 2}, 4]) == [1, {"a": 2}, 3]
    assert unblanked([1, 2], [1]) == [1, 2]


@pytest.mark.parametrize(
    ("value", "stored"),
    [({"b": REDACTED}, {"a": 1}), ([REDACTED], [1, 2]), ([REDACTED, 3], [1]), (REDACTED, ...),
     ({"a": [REDACTED]}, {"a": 1}), ([{"a": REDACTED}], [{"a": 1}, {"a": 2}])],
)  # fmt: skip
def test_blanks_without_a_place_are_refused(value, stored):
    with pytest.raises(ValidationError, match="a hidden value is kept only at"):
        unblanked(value, stored)


def test_blanks_are_not_kept_for_another_job_function(boss, make, registered):
    @job(name="login")
    def login(password: str) -> None: ...

    @job(name="say")
    def say(text: str) -> None: ...

    schedule = make(name="sum", job_name="login", args=[SECRET], headers={"token": SECRET})
    changed = {"job_name": "say", "args": f'["{REDACTED}"]', "headers": '{"token": "new"}'}
    (error,) = post(boss, page(schedule), **changed)
    assert error.startswith("args: Replace ********")
    schedule.refresh_from_db()
    assert (schedule.job_name, schedule.args) == ("login", [SECRET])
    assert post(boss, page(schedule), **changed | {"args": '["hello"]'}) == []


def test_pages_survive_rows_edited_into_nonsense(boss, make):
    for fields in (
        {"crontab": "nonsense", "kind": "crontab"}, {"timezone": "Mars", "kind": "crontab"},
        {"kind": "never"}, {"kind": "solar"}, {"args": {"a": 1}, "kwargs": [1], "headers": 5},
        {"interval_seconds": -5}, {"job_name": "<script>alert(1)</script>"},
    ):  # fmt: skip
        schedule = make()
        Schedule.objects.filter(pk=schedule.pk).update(**fields)
        assert boss.get(page(schedule)).status_code == 200
    shown = boss.get(LIST).content.decode()
    assert "<script>alert" not in shown
    assert "unknown job function" in shown


def test_page_shows_the_last_runs(boss, make):
    schedule = make()
    jobs = [run_of(schedule, Status.FAILURE, error_class="builtins.ValueError")]
    jobs += [run_of(schedule) for _ in range(25)]
    for url in (LIST, page(schedule)):
        shown = boss.get(url).content.decode()
        assert shown.count("jobs-run jobs-success") == 20
        assert "jobs-run jobs-failure" not in shown
        assert f"/admin/django_jobs/job/{jobs[-1].pk}/change/" in shown
    assert "median 12 ms, maximum 12 ms" in shown


@pytest.mark.usefixtures("overview_kept")
def test_list_reads_as_much_for_twenty_schedules_as_for_one(boss, make):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            boss.get(LIST)
        return len(captured)

    run_of(make())
    queries()
    few = queries()
    for _ in range(20):
        schedule = make()
        for _run in range(3):
            run_of(schedule)
    assert queries() == few <= 9


def test_runs_are_drawn_with_classes_and_titles():
    start = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
    runs = [
        Job(status=status, enqueued_at=start, started_at=start,
            ended_at=start + datetime.timedelta(seconds=2))
        for status in (Status.SUCCESS, Status.FAILURE, Status.PENDING, "STRANGE")
    ]  # fmt: skip
    svg = str(runs_svg(runs, room=5))
    assert 'aria-label="Last 4 runs: 1 failed"' in svg
    assert svg.count("<path") == 4
    assert "<title>2026-01-01 12:00:00.000 UTC: success, 2.0 s</title>" in svg
    assert 'transform="translate(9 1)"' in svg
    assert "style=" not in svg


def test_pages_have_no_inline_script_or_style(boss, make):
    schedule = make(kind="crontab", crontab="0 3 * * *")
    run_of(schedule)
    for url in (LIST, page(schedule), f"{LIST}add/"):
        shown = boss.get(url).content.decode()
        assert not re.search(r"<script(?![^>]*(src=|type=\"application/json\"))", shown)
        assert not re.search(r"<[^>]+\s(style|on\w+)=", shown)
        assert "<style" not in shown
