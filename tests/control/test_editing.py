"""A job that no worker has claimed is edited: arguments, queue, priority, time."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_jobs import chain, job
from django_jobs.admin import JobAdmin
from django_jobs.control import edit, set_queue_limits
from django_jobs.db import unix_time
from django_jobs.define.context import JobContext
from django_jobs.define.envelopes import opened_call
from django_jobs.exceptions import ArgumentError, JobDoesNotExist
from django_jobs.limits import concurrency
from django_jobs.limits.admission import Admission
from django_jobs.models import Job, Reservation
from django_jobs.values import Claimed, Outcome
from tests import jobs
from tests.waiting import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Take = Callable[..., list[Claimed]]


def only() -> Job:
    return Job.objects.get()


def test_arguments_queue_and_priority(work: Callable[..., list[Outcome]]) -> None:
    result = jobs.add.delay(1)
    text = edit(result.id, args=[20, 3], queue="mail", priority=4)
    row = only()
    assert (row.args, row.queue, row.priority, row.status) == ([20, 3], "mail", 4, "PENDING")
    assert text == "arguments [[1], {}] -> [[20, 3], {}]; queue default -> mail; priority 0 -> 4"
    work(queues=["mail"])
    assert only().result == 23


def test_note_is_called_once_with_what_changed() -> None:
    told: list[str] = []
    result = jobs.add.delay(1)
    edit(result.id, priority=4, note=lambda row, text: told.append(text))
    assert edit(result.id, args=[1], priority=4, note=lambda row, text: told.append(text)) == ""
    assert told == ["priority 0 -> 4"]


def test_text_for_the_admin_s_log_is_ascii() -> None:
    """Its table may have a character set without others, as MariaDB's latin1."""
    result = jobs.add.delay("名", 1)
    assert edit(result.id, args=["ä" * 500, 2]).isascii()
    assert only().args == ["ä" * 500, 2]


def test_long_arguments_are_cut_in_the_text() -> None:
    result = jobs.add.delay(1)
    (text,) = edit(result.id, args=["a" * 500]).split(" -> ")[1:]
    assert (len(text), text[-3:]) == (300, "...")


def test_arguments_that_are_not_given_stay() -> None:
    result = jobs.add.delay(1, b=2)
    edit(result.id, args=[5])
    assert (only().args, only().kwargs) == ([5], {"b": 2})
    edit(result.id, kwargs={"b": 3})
    assert (only().args, only().kwargs) == ([5], {"b": 3})


def test_argument_that_its_annotation_does_not_convert_is_refused() -> None:
    @job(name="tests.dated_edit")
    def remind(day: datetime.date) -> None: ...

    result = remind.delay(datetime.date(2030, 1, 1))
    with pytest.raises(ArgumentError, match="day"):
        edit(result.id, args=["soon"])
    assert only().args == ["2030-01-01"]


def test_key_of_a_fair_queue_follows_the_arguments(settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"default": {"FAIR_BY": "a"}}}
    first, second = jobs.add.delay(1), jobs.add.delay(2)
    edit(second.id, args=[1])
    assert first.job.fair_key == second.job.fair_key


def test_claimed_job_is_refused(take: Take) -> None:
    result = jobs.add.delay(1)
    take()
    with pytest.raises(ValueError, match="is STARTED: only a job that no worker has claimed"):
        edit(result.id, args=[2])
    assert only().args == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"args": [1, 2, 3]}, "too many positional arguments"),
        ({"kwargs": {"c": 1}}, "c"),
        ({"queue": ""}, "queue"),
        ({"priority": 10**6}, "priority"),
        ({"args": [float("nan")]}, "NaN|nan|JSON"),
    ],
    ids=["many", "unknown", "queue", "priority", "nan"],
)
def test_what_a_call_refuses_is_refused(change: dict[str, Any], message: str) -> None:
    result = jobs.add.delay(1)
    with pytest.raises((ValueError, TypeError), match=message):
        edit(result.id, **change)
    assert (only().args, only().queue, only().priority) == ([1], "default", 0)


def test_unknown_job() -> None:
    with pytest.raises(JobDoesNotExist):
        edit(uuid.uuid4(), priority=1)


def test_time_of_a_ready_and_of_a_scheduled_job() -> None:
    result = jobs.add.delay(1)
    later = timezone.now() + datetime.timedelta(hours=1)
    edit(result.id, eta=later)
    assert (only().status, only().run_at) == ("SCHEDULED", later)
    latest = later + datetime.timedelta(hours=1)
    edit(result.id, eta=latest)
    assert only().run_at == latest
    Job.objects.update(status="RETRY", retries=1)
    edit(result.id, eta=later)
    assert (only().status, only().run_at, only().retries) == ("RETRY", later, 1)
    assert edit(result.id, eta=timezone.now()) == "time -> now"
    assert only().status == "PENDING"
    assert edit(result.id, eta=timezone.now()) == ""


@pytest.mark.parametrize("days", [-1, 1])
def test_time_is_judged_by_the_clock_of_the_database(vendor: str, days: int) -> None:
    if vendor == "sqlite":
        pytest.skip("SQLite has the clock of the host")
    result = jobs.add.delay(1)
    now = datetime.datetime.fromtimestamp(unix_time("default"), datetime.UTC)
    hour = datetime.timedelta(hours=1)
    with time_machine.travel(now + datetime.timedelta(days=days)):
        assert edit(result.id, eta=now - hour) == ""  # it is ready already
        edit(result.id, eta=now + hour)
        assert (only().status, only().run_at) == ("SCHEDULED", now + hour)
        assert edit(result.id, eta=now - hour) == "time -> now"
        call_command("jobs", "edit", str(result.id), "--in", "3600")
    assert only().run_at is not None
    assert abs(only().run_at.timestamp() - unix_time("default") - 3600) < LONG


def test_job_that_waits_for_another_one_has_no_time(take: Take) -> None:
    chain(jobs.add.s(1), jobs.add.s(2)).apply_async()
    child = Job.objects.get(status="WAITING")
    with pytest.raises(ValueError, match="so no other time can be set"):
        edit(child.pk, eta=timezone.now())


def test_arguments_of_a_job_that_takes_a_result(drain: Callable[..., list[Outcome]]) -> None:
    chain(jobs.add.s(1), jobs.add.s(2)).apply_async()
    child = Job.objects.get(status="WAITING")
    edit(child.pk, args=[40])
    drain()
    assert Job.objects.get(pk=child.pk).result == 41
    with pytest.raises(ValueError, match="is SUCCESS"):
        edit(child.pk, args=[1])


def test_job_in_line_of_a_limit_begins_anew_with_its_new_arguments(take: Take, worker: Any) -> None:
    jobs.one_a_tenant.delay("a")
    waits = jobs.one_a_tenant.delay("a")
    Admission("default").admit(worker.pk, take())
    assert Job.objects.get(pk=waits.uuid).status == "WAITING"
    edit(waits.id, args=["b"])
    row = Job.objects.get(pk=waits.uuid)
    assert (row.status, row.waiting_for) == ("PENDING", None)
    admitted, _failed = Admission("default").admit(worker.pk, take())
    assert [each.id for each in admitted] == [waits.uuid]


def test_job_that_leaves_its_limit_gives_its_turn_to_the_next_one(take: Take, worker: Any) -> None:
    holder = jobs.one_a_tenant.delay("a")
    turn, waits = jobs.one_a_tenant.delay("a"), jobs.one_a_tenant.delay("a")
    Admission("default").admit(worker.pk, take())
    Job.objects.filter(pk=holder.uuid).update(status="SUCCESS")
    concurrency.free([holder.uuid], "default")
    assert [Job.objects.get(pk=each.uuid).status for each in (turn, waits)] == [
        "PENDING", "WAITING"
    ]  # fmt: skip
    edit(turn.id, args=["b"])
    assert Job.objects.get(pk=waits.uuid).status == "PENDING"


def test_time_of_a_rate_limit_cannot_be_set(take: Take, worker: Any) -> None:
    set_queue_limits("default", rate_limit="1/h")
    jobs.add.delay(1)
    late = jobs.add.delay(2)
    Admission("default").admit(worker.pk, take())
    assert Reservation.objects.filter(job_id=late.uuid, started=False).exists()
    with pytest.raises(ValueError, match="under a rate limit"):
        edit(late.id, eta=timezone.now())


def test_new_arguments_end_the_wait_for_a_start_under_a_rate_limit(take: Take, worker: Any) -> None:
    set_queue_limits("default", rate_limit="1/h")
    jobs.add.delay(1)
    late = jobs.add.delay(2)
    Admission("default").admit(worker.pk, take())
    before = timezone.now() + datetime.timedelta(minutes=1)
    assert Job.objects.get(pk=late.uuid).run_at > before
    edit(late.id, args=[3])
    assert not Reservation.objects.filter(job_id=late.uuid).exists()
    assert Job.objects.get(pk=late.uuid).run_at < before


def test_time_of_a_sleeping_step_cannot_be_set(work: Callable[..., list[Outcome]]) -> None:
    @job(name="tests.sleeping_edit", bind=True)
    def nap(self: JobContext) -> None:
        self.sleep(days=1)

    result = nap.delay()
    work()
    assert only().status == "SCHEDULED"
    with pytest.raises(ValueError, match="waits in a step"):
        edit(result.id, eta=timezone.now())


def test_unique_key_stays_with_its_arguments() -> None:
    result = jobs.one_import.delay("a")
    with pytest.raises(ValueError, match="has a unique key"):
        edit(result.id, args=["b"])


def test_map_goes_on_with_its_function(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="tests.mapped_edit")
    def check(password: str) -> None: ...

    check.map(["hunter2-the-secret"]).delay()
    row = only()
    # The other function would show its items.
    given = {"argument_name": "tests.jobs.add", "argument_items": "", "queue": "default"}
    html = boss.post(url(row), {**given, "priority": "0"}).content.decode()
    assert "calls a job function with each item" in html
    assert (only().args, only().kwargs) == (row.args, row.kwargs)


def test_text_of_the_change_has_no_secrets() -> None:
    result = jobs.echo.delay(password="hunter2-the-secret")
    text = edit(result.id, kwargs={"password": "another-secret"})
    assert "secret" not in text
    assert only().kwargs == {"password": "another-secret"}


def test_terminal(capsys: Any) -> None:
    result = jobs.add.delay(1)
    call_command("jobs", "edit", result.id, "--args", "[7]", "--priority", "2")
    assert "arguments [[1], {}] -> [[7], {}]; priority 0 -> 2" in capsys.readouterr().out
    call_command("jobs", "edit", result.id, "--in", "3600")
    assert only().status == "SCHEDULED"
    for wrong in (
        [], ["--at", "tomorrow"], ["--args", "{}"], ["--at", "2030-01-01", "--in", "1"],
        ["--args", "[1, 2, 3]"],
    ):  # fmt: skip
        with pytest.raises(CommandError):
            call_command("jobs", "edit", result.id, *wrong)


# --- the admin ------------------------------------------------------------------------------------


def url(row: Job) -> str:
    return reverse("admin:django_jobs_job_edit", args=[row.pk])


def test_page_has_the_arguments_and_saves_them(boss: Client) -> None:
    jobs.add.delay(1)
    row = only()
    page = boss.get(reverse("admin:django_jobs_job_change", args=[row.pk])).content.decode()
    assert url(row) in page
    html = boss.get(url(row)).content.decode()
    assert 'name="argument_a" value="1"' in html
    given = {"argument_a": "5", "argument_b": "6", "queue": "mail", "priority": "0", "run_at": ""}
    boss.post(url(row), given)
    row = only()
    assert (row.args, row.kwargs, row.queue) == ([], {"a": 5, "b": 6}, "mail")
    entry = LogEntry.objects.get()
    assert entry.change_message.startswith("Edited: arguments [[1], {}] -> ")
    assert entry.change_message.endswith("queue default -> mail.")


def test_page_hides_secrets_and_leaves_them(boss: Client, registered: dict[str, Any]) -> None:
    @job(name="tests.secret_edit")
    def pay(amount: int, password: str) -> None: ...

    pay.delay(3, "hunter2-the-secret")
    row = only()
    html = boss.get(url(row)).content.decode()
    assert "hunter2" not in html
    given = {"argument_amount": "4", "argument_password": "", "queue": "default", "priority": "0"}
    boss.post(url(row), given)
    assert only().kwargs == {"amount": 4, "password": "hunter2-the-secret"}
    assert "hunter2" not in LogEntry.objects.get().change_message
    boss.post(url(row), given | {"argument_password": "another-secret"})
    assert only().kwargs == {"amount": 4, "password": "another-secret"}


def test_page_leaves_arguments_that_nobody_has_changed(boss: Client) -> None:
    jobs.add.delay(1)
    given = {"argument_a": "1", "argument_b": "", "queue": "mail", "priority": "0"}
    boss.post(url(only()), given)
    assert (only().queue, only().args, only().kwargs) == ("mail", [1], {})


def test_page_has_no_field_for_the_result_of_another_job(boss: Client) -> None:
    chain(jobs.add.s(1), jobs.add.s(2)).apply_async()
    html = boss.get(url(Job.objects.get(status="WAITING"))).content.decode()
    assert 'name="argument_a"' not in html
    assert 'name="argument_b" value="2"' in html


@pytest.mark.parametrize("hint", [int, float, bool, str, dict])
def test_page_leaves_an_encrypted_argument_that_stays_empty(
    boss: Client, registered: dict[str, Any], settings: Any, hint: Any
) -> None:
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}

    def pay(amount: int, extra: Any = None) -> None: ...

    pay.__annotations__["extra"] = hint
    function = job(name="tests.encrypted_edit", encrypt=["extra"])(pay)
    value = {"a": 471_108_154_711} if hint is dict else hint(1)
    function.delay(3, value)
    row = only()
    assert "471108154711" not in boss.get(url(row)).content.decode()
    given = {"argument_amount": "4", "argument_extra": "", "queue": "default", "priority": "0"}
    boss.post(url(row), given)
    args, kwargs = opened_call(only().args, only().kwargs)
    assert (args, kwargs) == ([], {"amount": 4, "extra": value})


def test_page_says_what_is_wrong(boss: Client, take: Take) -> None:
    jobs.add.delay(1)
    row = only()
    given = {"argument_a": "x", "queue": "a queue", "priority": "0"}
    assert "Enter a whole number" in boss.post(url(row), given).content.decode()
    assert only().args == [1]
    take()
    answer = boss.post(url(row), {**given, "argument_a": "2", "queue": "default"}, follow=True)
    assert "it cannot be edited" in answer.content.decode()
    assert only().args == [1]


def test_page_needs_its_permission(client_of: Any) -> None:
    jobs.add.delay(1)
    client = client_of("view_job", "move_job")
    assert client.get(url(only())).status_code == 403
    page = client.get(reverse("admin:django_jobs_job_change", args=[only().pk]))
    assert "/edit/" not in page.content.decode()


def test_page_needs_the_permission_to_see_the_job(client_of: Any) -> None:
    jobs.add.delay(1)
    assert client_of("edit_job").get(url(only())).status_code == 403


def test_page_of_a_job_that_has_ended_does_not_link_it(boss: Client) -> None:
    jobs.add.delay(1)
    Job.objects.update(status="SUCCESS")
    page = boss.get(reverse("admin:django_jobs_job_change", args=[only().pk]))
    assert "/edit/" not in page.content.decode()


def test_page_is_closed_where_the_admin_hides_the_row(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_view(self: Any, request: Any, obj: Any = None) -> bool:
        return obj is None

    monkeypatch.setattr(JobAdmin, "has_view_permission", may_view)
    jobs.add.delay(4711)
    answer = boss.get(url(only()))
    assert (answer.status_code, b"4711" in answer.content) == (403, False)


@pytest.mark.parametrize(
    ("hint", "value", "written"),
    [
        (dict, {"b": [1, 2], "a": None}, '{ "a": null,\r\n "b": [1,2] }'),
        (int, "7", '"7"'),
        (str, "two\nlines", r'"two\nlines"'),
        (str, None, "null"),
        (bool, 1, "1"),
    ],
)
def test_page_leaves_json_that_is_only_written_in_another_way(
    boss: Client, registered: dict[str, Any], hint: Any, value: Any, written: str
) -> None:
    def pay(extra: Any) -> None: ...

    pay.__annotations__["extra"] = hint
    job(name="tests.json_edit")(pay).delay(value)
    form = boss.get(url(only())).context["form"]
    assert json.loads(form.initial["argument_extra"]) == value
    given = {"argument_extra": written, "queue": "mail", "priority": "0"}
    boss.post(url(only()), given)
    assert (only().queue, only().args, only().kwargs) == ("mail", [value], {})
    assert "arguments" not in LogEntry.objects.get().change_message
    boss.post(url(only()), given | {"argument_extra": "[3]"})
    assert only().kwargs == {"extra": [3]}
