"""The form of a schedule in the admin: its preview, its errors, and the job of "Run now"."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django import forms
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django.asserts import assertHTMLEqual

from django_jobs import job
from django_jobs.admin.schedule_form import LongSelect, ScheduleForm
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


@pytest.mark.parametrize(
    ("clock_of_host", "days_of_two_runs", "days_of_one"),
    [("07:15", 7, 0), ("08:15", 6, 1), ("08:45", 7, 0)],
)
def test_preview_has_the_runs_in_each_hour_of_the_next_days(
    boss: Client, clock_of_host: str, days_of_two_runs: int, days_of_one: int
) -> None:
    # Berlin's clocks do not change in these days, and its winter time is UTC plus one hour.
    # The days are past: at a later time, the session of the login would have expired.
    with time_machine.travel(f"2025-12-02 {clock_of_host}:00+01:00", tick=False):
        grid = told(boss, crontab="0,30 8 * * *")["grid"]
        assert told(boss, crontab="often")["grid"] == ""
    assert grid.count('<th scope="row">') == 7
    assert grid.count('<td class="jobs-ticks-2" title="2 runs">2</td>') == days_of_two_runs
    assert grid.count('<td class="jobs-ticks-1" title="1 run">1</td>') == days_of_one


def test_page_has_the_runs_in_each_hour_of_the_next_days(boss: Client) -> None:
    boss.post(f"{LIST}add/", GIVEN | {"crontab": "* * * * *"})
    # The database's clock gave the next run, and no test sets that clock.
    next_run_at = datetime.datetime(2026, 12, 2, 8, 16, tzinfo=ZoneInfo("Europe/Berlin"))
    Schedule.objects.update(next_run_at=next_run_at)
    html = boss.get(page_of(Schedule.objects.get())).content.decode()
    # A schedule of each minute is counted to the end of the next day.
    assert html.count('<td class="jobs-ticks-4" title="60 runs">60</td>') == 15 + 24


def test_select_of_time_zones_is_that_of_django() -> None:
    choices = [("UTC", "UTC"), ("<b>", 'a "b" & c'), ("Europe/Berlin", "Europe/Berlin")]
    attrs = {"id": "id_zone", "required": True, "disabled": False, "data-a": '"<'}
    ours, django_s = LongSelect(choices=choices), forms.Select(choices=choices)
    for value in ("Europe/Berlin", "<b>", "nowhere", None):
        assertHTMLEqual(ours.render("zone", value, attrs), django_s.render("zone", value, attrs))
    form = ScheduleForm(instance=Schedule(name="nightly", timezone="Mars/Base"))
    assert '<option value="Mars/Base" selected>Mars/Base</option>' in str(form["timezone"])


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


# --- a field for each parameter -------------------------------------------------------------------

WHEN = {name: value for name, value in GIVEN.items() if name not in ("args", "kwargs")}
BILL = {**WHEN, "job_name": "shop.bill", "arguments_of": "shop.bill"}


@pytest.fixture
def bill(registered: dict[str, Any]) -> None:
    @job(name="shop.bill", sensitive=["code"])
    def bill(
        user_id: int,
        amount: float,
        day: datetime.date | None = None,
        mode: Literal["draft", "final"] = "draft",
        code: str = "",
        **extra: Any,
    ) -> None: ...


def stored_bill(**fields: Any) -> Schedule:
    return Schedule.objects.create(
        **{"name": "bills", "job_name": "shop.bill", "args": [7, 2.5],
           "kwargs": {"code": "hunter2-the-secret", "extra": {"a": 1}}, "kind": "crontab",
           "crontab": "0 8 * * *", **fields}
    )  # fmt: skip


def page_of(schedule: Schedule) -> str:
    return f"{LIST}{schedule.pk}/change/"


def errors_in(response: Any) -> dict[str, list[str]]:
    form = response.context["adminform"].form
    return {**form.errors, **(form.arguments.form.errors if form.arguments.form else {})}


@pytest.mark.usefixtures("bill")
def test_arguments_are_typed(boss: Client) -> None:
    html = boss.get(f"{LIST}add/?job_name=shop.bill").content.decode()
    assert '<input type="date" name="argument_day"' in html
    assert 'name="args"' not in html
    given = {"argument_user_id": "7", "argument_amount": "2", "argument_mode": '"final"',
             "argument_day": "2026-01-31", "argument_extra": '{"a": [1]}'}  # fmt: skip
    assert boss.post(f"{LIST}add/", BILL | given).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.args, schedule.kwargs) == (
        [], {"user_id": 7, "amount": 2.0, "mode": "final", "day": "2026-01-31", "a": [1]}
    )  # fmt: skip


@pytest.mark.usefixtures("bill")
def test_all_wrong_arguments_are_told_at_once(boss: Client) -> None:
    given = {"argument_user_id": "a", "argument_amount": "b", "argument_day": "c",
             "argument_extra": "{", "crontab": "often", "name": ""}  # fmt: skip
    response = boss.post(f"{LIST}add/", BILL | given)
    assert {"argument_user_id", "argument_amount", "argument_day", "argument_extra", "crontab",
            "name"} <= set(errors_in(response))  # fmt: skip
    assert "Enter a whole number." in response.content.decode()
    boss.post(f"{LIST}add/", BILL | {"argument_user_id": "a", "argument_amount": "1"})
    assert not Schedule.objects.exists()


@pytest.mark.usefixtures("bill")
def test_field_that_nobody_changes_keeps_its_argument(boss: Client) -> None:
    schedule = stored_bill()
    html = boss.get(page_of(schedule)).content.decode()
    assert "hunter2" not in html
    given = {"argument_user_id": "7", "argument_amount": "2.5", "argument_code": "",
             "argument_extra": '{ "extra": {"a": 1} }'}  # fmt: skip
    boss.post(page_of(schedule), BILL | given | {"name": "renamed"})
    row = Schedule.objects.get()
    assert (row.name, row.args, row.kwargs) == ("renamed", schedule.args, schedule.kwargs)
    response = boss.post(page_of(schedule), BILL | given | {"argument_amount": "3"}, follow=True)
    assert Schedule.objects.get().kwargs == {
        "user_id": 7, "amount": 3.0, "code": "hunter2-the-secret", "extra": {"a": 1}
    }  # fmt: skip
    assert Schedule.objects.get().args == []
    assert "hunter2" not in response.content.decode()
    entry = LogEntry.objects.order_by("-pk")[0]
    assert "Arguments" in entry.change_message


@pytest.mark.usefixtures("bill")
def test_other_function_shows_its_arguments_before_it_is_saved(boss: Client) -> None:
    schedule = stored_bill()
    given = {**BILL, "job_name": "tests.jobs.add", "argument_user_id": "7", "argument_a": "5"}
    response = boss.post(page_of(schedule), given)
    html = response.content.decode()
    assert "Enter the arguments of this job function" in html
    assert 'name="arguments_of" value="tests.jobs.add"' in html
    assert 'name="argument_a" value="5"' in html
    assert Schedule.objects.get().job_name == "shop.bill"
    found = boss.post(f"{LIST}preview/?schedule={schedule.pk}", given).json()
    assert 'name="argument_a" value="5"' in found["arguments"]
    boss.post(page_of(schedule), {**given, "arguments_of": "tests.jobs.add"})
    row = Schedule.objects.get()
    assert (row.job_name, row.args, row.kwargs) == ("tests.jobs.add", [], {"a": 5})


@pytest.mark.usefixtures("bill")
def test_function_without_parameters_is_saved_at_once(
    boss: Client, registered: dict[str, Any]
) -> None:
    @job(name="shop.ping")
    def ping() -> None: ...

    schedule = stored_bill()
    boss.post(page_of(schedule), {**BILL, "job_name": "shop.ping"})
    row = Schedule.objects.get()
    assert (row.job_name, row.args, row.kwargs) == ("shop.ping", [], {})


def test_page_without_a_function_asks_for_one(boss: Client) -> None:
    html = boss.get(f"{LIST}add/").content.decode()
    assert "Choose a job function first" in html
    assert 'name="args"' not in html
    response = boss.post(f"{LIST}add/", {**WHEN, "job_name": "", "arguments_of": ""})
    assert "job_name" in errors_in(response)
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(("name", "args"), [("gone.job", [1]), ("shop.bill", [1, 2, 3, 4, 5, 6])])
@pytest.mark.usefixtures("bill")
def test_arguments_without_fields_are_json(boss: Client, name: str, args: list[int]) -> None:
    schedule = stored_bill(job_name=name, args=args, kwargs={})
    html = boss.get(page_of(schedule)).content.decode()
    assert 'name="args"' in html
    assert "argument_user_id" not in html
    given = {**BILL, "args": "[8, 1.5]", "kwargs": "{}", "arguments_of": name}
    if name == "gone.job":
        return
    boss.post(page_of(schedule), given)
    assert Schedule.objects.get().args == [8, 1.5]


def test_secret_items_stay_with_the_function_that_map_calls(
    boss: Client, registered: dict[str, Any]
) -> None:
    @job(name="shop.check")
    def check(password: str) -> None: ...

    schedule = stored_bill(
        job_name="django_jobs.map", args=["shop.check", ["hunter2-the-secret"]], kwargs={}
    )
    other = {**WHEN, "job_name": "django_jobs.map"}
    typed = {"arguments_of": "django_jobs.map", "argument_name": "tests.jobs.send",
             "argument_items": ""}  # fmt: skip
    raw = {"args": '["tests.jobs.send", ["********"]]', "kwargs": "{}"}
    for given in (typed, raw):
        html = boss.post(page_of(schedule), other | given).content.decode()
        assert "Replace ******** by a new value" in html
        assert Schedule.objects.get().args == schedule.args
    boss.post(page_of(schedule), other | typed | {"argument_items": "[1]"})
    row = Schedule.objects.get()
    assert (row.args, row.kwargs) == ([], {"name": "tests.jobs.send", "items": [1]})


@pytest.mark.usefixtures("bill")
def test_preview_of_a_stored_schedule_needs_the_permission_to_change_it(
    client_of: Callable[..., Client],
) -> None:
    page = f"{LIST}preview/?schedule={stored_bill().pk}"
    assert client_of("add_schedule").post(page, BILL).status_code == 403
