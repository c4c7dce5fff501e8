"""The dashboard and the pages of queues: what they tell, who may steer, how much is read."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from django_jobs.admin import alert_strip
from django_jobs.db import clock
from django_jobs.display import failure_groups
from django_jobs.maintenance import rollup
from django_jobs.metrics import cache, flow
from django_jobs.models import Job, Mark, Measurement, Queue, Reservation, Schedule
from django_jobs.models.histogram import BUCKETS
from django_jobs.status import Status
from django_jobs.workflows.upstream import UPSTREAM_FAILED, upstream_message
from tests.admin.test_jobs import LIST, make, make_many, messages_of

pytestmark = pytest.mark.django_db

DASHBOARD = "/admin/django_jobs/dashboard/"
QUEUES = "/admin/django_jobs/queue/"
SCHEDULES = "/admin/django_jobs/schedule/"


def ago(**length: float) -> datetime.datetime:
    return timezone.now() - datetime.timedelta(**length)


def alerts_of(client: Client) -> list[str]:
    cache.clear()
    return [strip_tags(alert["text"]) for alert in client.get(DASHBOARD).context["alerts"]]


def shown(client: Client, part: str) -> Any:
    cache.clear()
    return client.get(DASHBOARD).context[part]


# --- what it tells --------------------------------------------------------------------------------


def test_tiles_count_the_open_jobs_and_link_to_them(boss: Client, new_worker: Any) -> None:
    new_worker(slots=3)
    for status in Status:
        make(status)
    tiles = {tile["kind"] + tile["label"]: tile for tile in shown(boss, "tiles")}
    assert tiles["startedRunning / slots"]["value"] == "1/3"
    assert tiles["pendingReady"]["value"] == tiles["failureFailed"]["value"] == "1"
    assert re.search(r">2\d\.", tiles["pendingOldest ready"]["value"])
    for tile in tiles.values():
        rows = boss.get(tile["url"]).context["cl"].result_list
        assert [row.status.lower() for row in rows] == [tile["kind"]]


@pytest.mark.usefixtures("overview_kept")
@pytest.mark.parametrize("path", [DASHBOARD, QUEUES])
def test_refresh_beside_another_viewer_reads_the_session_and_the_user_only(
    boss: Client, path: str
) -> None:
    # Its age in milliseconds differs at each request.
    make(Status.PENDING, ready_at=timezone.now())
    headers = {"x-jobs-refresh": "1"}
    etag = boss.get(path, headers=headers)["ETag"]
    with CaptureQueriesContext(connection) as captured:
        response = boss.get(path, headers={**headers, "if-none-match": etag})
    tables = [re.findall(r"FROM \W(\w+)", query["sql"]) for query in captured.captured_queries]
    assert (response.status_code, tables) == (304, [["django_session"], ["auth_user"]])


def test_refresh_of_the_list_of_jobs_reads_the_rows_and_their_counts(boss: Client) -> None:
    make_many(3)
    headers = {"x-jobs-refresh": "1"}
    etag = boss.get(LIST, headers=headers)["ETag"]
    with CaptureQueriesContext(connection) as captured:
        response = boss.get(LIST, headers={**headers, "if-none-match": etag})
    assert (response.status_code, len(captured)) == (304, 4)  # two are Django's


def test_jobs_that_a_worker_claimed_ahead_are_not_running(boss: Client, new_worker: Any) -> None:
    busy, gone = new_worker(slots=2), uuid4()
    for number in range(5):
        make(Status.STARTED, queue="mail" if number % 2 else "vip", worker_id=busy.pk,
             started_at=ago(seconds=60 - number))  # fmt: skip
    make(Status.STARTED, queue="vip", worker_id=gone)
    tiles = {tile["label"]: tile for tile in shown(boss, "tiles")}
    running = tiles["Running / slots"]
    assert (running["value"], running["hint"]) == ("3/2", "3 claimed ahead")
    queues = {queue["name"]: queue["running"] for queue in shown(boss, "queues")}
    # One of each queue runs, and the one of the worker that is gone.
    assert (queues["mail"], queues["vip"]) == ("1/2", "2/2")


def test_queues_are_those_of_code_rows_workers_and_jobs(boss: Client, new_worker: Any) -> None:
    new_worker(queues=["vip"], slots=2)
    Queue.objects.create(name="slow", paused_at=timezone.now())
    make(Status.PENDING, queue="mail")
    make(Status.STARTED, queue="vip")
    make(Status.RETRY, queue="later")
    queues = {queue["name"]: queue for queue in shown(boss, "queues")}
    assert {"default", "vip", "slow", "mail", "later"} <= set(queues)
    assert queues["mail"]["ready"] == "1"
    assert queues["vip"]["running"] == "1/2"
    assert queues["mail"]["running"] == "0/0"
    assert queues["later"]["timed"] == "1"
    assert queues["slow"]["is_paused"]


def test_worker_with_excluded_queues_serves_all_others(boss: Client, new_worker: Any) -> None:
    new_worker(slots=2, exclude_queues=["mail"])
    make(Status.PENDING, queue="mail")
    queues = {queue["name"]: queue for queue in shown(boss, "queues")}
    assert queues["mail"]["running"] == "0/0"
    assert queues["default"]["running"] == "0/2"


def failed(
    error_class: str, number: int = 1, name: str = "shop.send", age: float = 0, sample: str = ""
) -> str:
    """Measure failures of one class, and return the id of their sample."""
    sample = sample or str(uuid4())
    now = int(timezone.now().timestamp() - age)
    measure(name, age=age, succeeded=0, failed=number, errors={error_class: [number, now, sample]})
    return sample


def test_failures_are_counted_by_function_and_error(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age in (10, 7200, 90_000, 700_000):
        failed("smtplib.SMTPException", 4, age=age)
    sample = failed("builtins.KeyError", 2)
    first, second = shown(boss, "failures")
    assert (first["error"], first["hour"], first["day"], first["week"]) == (
        "SMTPException", "4", "8", "12",
    )  # fmt: skip
    assert (first["share"], second["share"]) == ("80 %", "20 %")
    assert ("1 d ago" in first["first_seen"], "polyline" in first["sparkline"]) == (True, True)
    assert sample in second["sample"]
    kept = make(Status.FAILURE, error_class="builtins.KeyError", name="shop.send")
    make(Status.FAILURE, error_class="smtplib.SMTPException", name="shop.send")
    assert list(boss.get(second["url"]).context["cl"].result_list) == [kept]
    assert [one["left"] for one in shown(boss, "failures")] == ["1", "1"]
    monkeypatch.setattr(failure_groups, "NEWEST", 1)
    assert [one["left"] for one in shown(boss, "failures")] == ["1+", "0+"]


def test_no_class_of_errors_hides_behind_another(boss: Client) -> None:
    for number in range(12):
        failed(f"shop.Error{number}", 30_000 - number)
    html = boss.get(DASHBOARD, {"window": "24h"}).content.decode()
    assert [f"Error{number}<" in html for number in (9, 10, 11)] == [True, False, False]
    (link,) = re.findall(r'href="([^"]*)#jobs-failures">2 more kinds', html)
    html = boss.get(DASHBOARD + link.replace("&amp;", "&")).content.decode()
    assert all(f"Error{number}<" in html for number in range(12))
    assert ("more kind" in html, 'window=24h" aria-current' in html) == (False, True)


def test_consequences_count_at_their_root_cause(boss: Client) -> None:
    failed("shop.Down", 1)
    make(Status.FAILURE, name="shop.send", error_class="shop.Down")
    for name in ("shop.merge", "shop.publish"):
        text = upstream_message(uuid4(), "shop.send", Status.FAILURE, "shop.Down", "it: is away")
        make(Status.FAILURE, name=name, error_class=UPSTREAM_FAILED, error_message=text)
    origin = uuid4()
    text = upstream_message(origin, "shop.plan", Status.REVOKED, "", "terminated")
    make(Status.FAILURE, error_class=UPSTREAM_FAILED, error_message=text)
    first, second = shown(boss, "failures")
    assert (first["error"], first["day"], first["consequences"]) == (
        "Down", "1", "2 failed with them",
    )  # fmt: skip
    assert (second["name"], second["error"]) == ("shop.plan", "revoked")
    assert second["consequences"] == "1 failed with it"
    assert str(origin) in second["sample"]
    assert first["is_retriable"]
    assert not second["is_retriable"]


def test_dashboard_links_only_to_pages_the_user_may_view(
    client_of: Callable[..., Client], new_worker: Any
) -> None:
    origin = make(Status.FAILURE, error_class="a.B")
    text = upstream_message(origin.pk, origin.name, Status.FAILURE, "a.B")
    make(Status.FAILURE, error_class=UPSTREAM_FAILED, error_message=text)
    new_worker()
    Schedule.objects.create(
        name="nightly", job_name="tests.jobs.add", kind="interval", interval_seconds=60,
        next_run_at=ago(seconds=90),
    )  # fmt: skip
    measure("shop.send", "mail", succeeded=3)
    client = client_of("view_dashboard", "retry_job", "pause_queue")
    html = client.get(DASHBOARD).content.decode().split('id="content-main"')[1]
    assert re.findall(r'(?:href|action)="(/[^"]*)"', html) == []
    assert "Retry all" not in html
    assert "nightly" in html
    every = ["view_job", "view_worker", "view_schedule", "view_queue", "view_function"]
    User.objects.get().user_permissions.add(*Permission.objects.filter(codename__in=every))
    html = client.get(DASHBOARD).content.decode().split('id="content-main"')[1]
    links = set(re.findall(r'(?:href|formaction)="(/[^"]*)"', html))
    assert len(links) > 10
    assert {client.get(link.replace("&amp;", "&")).status_code for link in links} == {200}


def test_retry_all_of_a_failure_asks_with_its_number(boss: Client) -> None:
    for name in ("B", "C"):
        failed(f"a.{name}", name="tests.jobs.add")
        make(Status.FAILURE, error_class=f"a.{name}")
    (url,) = (one["url"] for one in shown(boss, "failures") if one["error"] == "B")
    form = {"action": "retry", "index": "0", "select_across": "1", "_selected_action": "all"}
    boss.post(url, {**form, "confirmed": "1"})
    assert [row.error_class for row in Job.objects.filter(status=Status.FAILURE)] == ["a.C"]


# --- alerts ---------------------------------------------------------------------------------------


def test_healthy_system_has_no_alerts(boss: Client, new_worker: Any) -> None:
    new_worker()
    make(Status.PENDING)
    assert alerts_of(boss) == []


def test_alert_of_a_queue_without_a_worker(boss: Client, new_worker: Any) -> None:
    make(Status.PENDING, queue="mail")
    new_worker(queues=["default"])
    told = ["No live worker serves queue “mail” (1 ready)."]
    assert alerts_of(boss) == told
    for fields in ({"queues": ["vip"]}, {"quiet": True}, {"stopped_at": timezone.now()}):
        new_worker(**fields)
    assert alerts_of(boss) == told
    new_worker(queues=["mail"])
    assert alerts_of(boss) == []


def test_alert_of_no_worker_at_all(boss: Client, new_worker: Any, settings: Any) -> None:
    assert alerts_of(boss) == ["No live worker runs."]
    make(Status.PENDING, queue="mail")
    make(Status.SCHEDULED)
    assert alerts_of(boss) == ["No live worker runs, and 2 jobs wait."]
    (alert,) = boss.get(DASHBOARD).context["alerts"]
    assert (alert["severity"], alert["command"]) == ("error", "manage.py runworker")
    settings.DJANGO_JOBS = {"EAGER": True}
    assert alerts_of(boss) == []


@pytest.mark.parametrize("page", [DASHBOARD, QUEUES, LIST])
def test_alerts_have_a_button_on_every_page_of_jobs(
    client_of: Callable[..., Client], new_worker: Any, page: str
) -> None:
    new_worker()
    Queue.objects.create(name="mail", paused_at=timezone.now())
    make(Status.PENDING, queue="mail")
    client = client_of("view_dashboard", "view_queue", "view_job")
    assert "Queue “mail” is paused" in client.get(page).content.decode()
    assert 'name="resume" value="mail"' not in client.get(page).content.decode()
    User.objects.get().user_permissions.add(Permission.objects.get(codename="pause_queue"))
    html = client.get(page).content.decode()
    part = client.get(page, headers={"X-Jobs-Refresh": "1"}).content.decode()
    for text in (html, part):
        assert '<input type="hidden" name="resume" value="mail">' in text
    client.post(QUEUES, {"resume": "mail", "next": page})
    assert "Queue “mail” is paused" not in client.get(page).content.decode()


def test_alerts_of_schedules_are_in_their_list(boss: Client, new_worker: Any) -> None:
    new_worker()
    new_worker(pool="beat")
    row = Schedule.objects.create(
        name="nightly", job_name="tests.jobs.add", kind="interval", interval_seconds=60,
        next_run_at=ago(seconds=900), args=[1, 2],
    )  # fmt: skip
    make(Status.PENDING, queue="mail")
    html = boss.get(SCHEDULES).content.decode()
    assert "is overdue" in html
    assert "queue “mail”" not in html
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    assert (form["action"], form["_selected_action"]) == ("run_now", str(row.pk))
    response = boss.post(SCHEDULES, form)
    assert response.status_code == 302
    assert Job.objects.filter(schedule_id=row.pk).exists()


def test_index_says_how_many_alerts_there_are(
    client_of: Callable[..., Client], new_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of("view_dashboard")
    assert "⚠ 1 alert<" in client.get("/admin/").content.decode()
    assert "⚠" not in client.get("/admin/password_change/").content.decode()
    new_worker()
    cache.clear()
    assert "⚠" not in client.get("/admin/").content.decode()
    monkeypatch.setattr(alert_strip, "overview", _no_tables)
    assert client.get("/admin/").status_code == 200


def _no_tables(using: str) -> Any:
    raise OperationalError("no such table")


def test_alert_of_a_paused_queue_only_with_a_backlog(boss: Client, new_worker: Any) -> None:
    new_worker()
    Queue.objects.create(name="mail", paused_at=timezone.now())
    assert alerts_of(boss) == []
    make(Status.PENDING, queue="mail")
    assert alerts_of(boss) == ["Queue “mail” is paused (1 ready)."]


def test_alert_of_a_queue_behind_its_target(boss: Client, new_worker: Any) -> None:
    new_worker()
    queue = Queue.objects.create(name="mail", target_seconds=60)
    make(Status.PENDING, queue="mail", ready_at=ago(seconds=30))
    assert alerts_of(boss) == []
    make(Status.PENDING, queue="mail", ready_at=ago(seconds=600))
    (told,) = alerts_of(boss)
    assert re.fullmatch(r"Queue “mail” is behind: its oldest job has waited 10 min \d+ s\.", told)
    queue.target_seconds = None
    queue.save()
    assert alerts_of(boss) == []


def test_alerts_of_schedules(boss: Client, new_worker: Any) -> None:
    new_worker()
    schedule = Schedule.objects.create(
        name="nightly", job_name="tests.jobs.add", kind="interval", interval_seconds=60
    )
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock("default", 30))
    assert alerts_of(boss) == ["No beat runs: schedules do not fire."]
    new_worker(pool="beat")
    assert alerts_of(boss) == []
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock("default", -300))
    assert alerts_of(boss) == ["Schedule “nightly” is overdue: it should have run 5 min ago."]
    Schedule.objects.filter(pk=schedule.pk).update(enabled=False)
    assert alerts_of(boss) == []


def test_alert_of_a_worker_without_heartbeats(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    type(worker).objects.update(heartbeat_at=clock("default", -50))
    (told,) = alerts_of(boss)
    assert re.fullmatch(r"Worker w sent its last heartbeat 5\d s ago\.", told)
    new_worker()
    type(worker).objects.update(heartbeat_at=clock("default", -50))
    (told,) = alerts_of(boss)
    assert re.fullmatch(r"2 workers send no heartbeats; w sent its last 5\d s ago\.", told)


# --- charts ---------------------------------------------------------------------------------------


def measure(name: str, queue: str = "default", age: float = 0, **numbers: Any) -> None:
    counts = [0] * BUCKETS
    counts[5] = numbers["succeeded"] + numbers.get("failed", 0)
    length = numbers.get("seconds", 60)
    Measurement.objects.create(
        starts_at=int(timezone.now().timestamp() - age) // length * length, queue=queue, name=name,
        waits=counts, runs=counts, run_seconds=1.5, longest_run_seconds=0.4, **numbers,
    )  # fmt: skip


def test_charts_and_rows_show_the_window(boss: Client) -> None:
    measure("shop.send", "mail", succeeded=90, failed=10)
    measure("shop.send", "mail", age=7200, succeeded=1000)
    for window, ended in (("1h", 100), ("24h", 1100), ("nonsense", 100)):
        context = boss.get(DASHBOARD, {"window": window}).context
        (function,) = context["functions"]
        assert function["runs"] == f"{ended}"
        ended_chart, _wait, run = context["charts"]
        assert f"succeeded {ended - 10 if window != '24h' else 90}" in ended_chart.svg
        assert run.rows[0][1] != "–"
        (mail,) = (queue for queue in context["queues"] if queue["name"] == "mail")
        assert (mail["failed"], "polyline" in mail["sparkline"]) == ("10", True)
    tile = next(tile for tile in context["tiles"] if tile["kind"] == "failure")
    assert tile["hint"] == "10 in 1h (10 %)"


def test_every_chart_has_its_numbers_as_a_table(boss: Client) -> None:
    measure("shop.send", succeeded=7, failed=0)
    html = boss.get(DASHBOARD).content.decode()
    assert html.count('class="jobs-chart"') == html.count("As a table") == 3
    assert '<td class="jobs-number">7</td>' in html


def test_marks_are_lines_in_the_charts(boss: Client) -> None:
    now = int(timezone.now().timestamp())
    measure("shop.send", succeeded=3)
    told = io.StringIO()
    call_command("jobs", "mark", " v1.4\n <b> ", stdout=io.StringIO(), stderr=told)
    assert told.getvalue() == ""
    Mark.objects.create(at=now - 2 * 86_400, name="v1.3")
    for window, shown in (("1h", False), ("7d", True)):
        chart, *_others = boss.get(DASHBOARD, {"window": window}).context["charts"]
        assert "v1.4 &lt;b&gt;</text>" in chart.svg
        assert ("v1.3" in chart.svg) == shown
    Mark.objects.create(at=now - 16 * 86_400, name="v1.2")
    rollup.run_once("default", uuid4())
    assert set(Mark.objects.values_list("name", flat=True)) == {"v1.3", "v1.4 <b>"}


@pytest.mark.once
@pytest.mark.parametrize("name", ["", "  ", "v" * 101, "v\x1b1"])
def test_wrong_name_of_a_mark_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match="must have 1 to 100 printable characters"):
        call_command("jobs", "mark", name)


def test_bar_tells_what_jobs_wait_for(boss: Client, new_worker: Any) -> None:
    new_worker(queues=["default"])
    Queue.objects.create(name="mail", paused_at=timezone.now())
    for queue, number in (("default", 2), ("mail", 1), ("gpu", 1)):
        for _number in range(number):
            make(Status.PENDING, queue=queue)
    make(Status.SCHEDULED)
    make(Status.WAITING, pending_parents=1)
    make(Status.RETRY)
    make(Status.SUCCESS)
    parts = {str(part["label"]): part for part in shown(boss, "waiting")}
    assert {label: part["number"] for label, part in parts.items()} == {
        "for a free slot": "2", "for a paused queue": "1", "for a worker of the queue": "1",
        "for other jobs": "1", "for their time": "1", "for their next attempt": "1",
    }  # fmt: skip
    assert float(parts["for a free slot"]["width"]) == pytest.approx(200 / 7, abs=0.01)
    assert boss.get(parts["for other jobs"]["url"]).context["cl"].result_count == 1


def test_previous_period_is_a_faint_line_and_a_change(boss: Client) -> None:
    measure("shop.send", succeeded=30)
    measure("shop.send", age=5400, succeeded=20, seconds=600)
    ended, wait, _run = shown(boss, "charts")
    assert (ended.before, wait.before) == ("the hour before", "p95 the hour before")
    assert "jobs-past" in ended.svg
    tiles = {tile["label"]: tile for tile in boss.get(DASHBOARD).context["tiles"]}
    assert (tiles["Done in 1h"]["value"], tiles["Done in 1h"]["change"]) == ("30", "▲ 50 %")
    assert tiles["Failed"]["change"] == ""
    assert "compared with the hour before" in boss.get(DASHBOARD).content.decode()


def test_bar_leads_to_the_jobs_that_ended_then(boss: Client) -> None:
    measure("shop.send", age=120, succeeded=1)
    at = Measurement.objects.get().starts_at
    ended = [
        make(Status.SUCCESS, ended_at=datetime.datetime.fromtimestamp(at + late, datetime.UTC),
             id=UUID(int=(at * 1000 - 5000) << 80 | late))
        for late in (0, 59)
    ]  # fmt: skip
    make(Status.SUCCESS)
    chart, *_others = shown(boss, "charts")
    (link,) = re.findall(r'<a href="([^"]*)"', chart.svg)
    assert link == f"{LIST}?ended={at}-{at + 60}"
    assert set(boss.get(link).context["cl"].result_list) == set(ended)
    assert link in chart.rows[0][0]


@pytest.mark.parametrize("given", ["x", "1-", "5-4", "1-999999999999999999", "1--2", "²-³"])
def test_wrong_times_of_an_end_match_nothing(boss: Client, given: str) -> None:
    make(Status.SUCCESS)
    assert not boss.get(LIST, {"ended": given}).context["cl"].result_list


# --- live -----------------------------------------------------------------------------------------


def test_refresh_returns_the_page_without_its_frame(boss: Client) -> None:
    make(Status.PENDING)
    whole = boss.get(DASHBOARD)
    part = boss.get(DASHBOARD, headers={"X-Jobs-Refresh": "1"})
    regions = part.content.decode().count("data-region=")
    assert regions == whole.content.decode().count("data-region=") > 4
    assert "<html" not in part.content.decode()
    assert "X-Jobs-Refresh" in whole["Vary"]


def test_unchanged_refresh_is_a_304(boss: Client) -> None:
    first = boss.get(DASHBOARD, headers={"X-Jobs-Refresh": "1"})
    ask = {"X-Jobs-Refresh": "1", "If-None-Match": first["ETag"]}
    again = boss.get(DASHBOARD, headers=ask)
    assert (again.status_code, again.content) == (304, b"")
    make(Status.PENDING)
    cache.clear()
    assert boss.get(DASHBOARD, headers=ask).status_code == 200


def test_refresh_leaves_messages_for_the_page(boss: Client) -> None:
    boss.post(QUEUES, {"pause": "mail", "next": DASHBOARD})
    boss.get(DASHBOARD, headers={"X-Jobs-Refresh": "1"})
    assert "mail" in messages_of(boss.get(DASHBOARD))


def test_refresh_needs_the_permission(client_of: Callable[..., Client]) -> None:
    client = client_of("view_job")
    assert client.get(DASHBOARD, headers={"X-Jobs-Refresh": "1"}).status_code == 403


@pytest.mark.usefixtures("overview_kept")
def test_viewers_share_one_snapshot(boss: Client) -> None:
    boss.get(DASHBOARD)
    with CaptureQueriesContext(connection) as captured:
        boss.get(DASHBOARD)
    assert not [query for query in captured if "django_jobs_job" in query["sql"]]


# --- how much is read -----------------------------------------------------------------------------


def test_dashboard_queries_do_not_grow(client_of: Callable[..., Client], new_worker: Any) -> None:
    client = client_of("view_dashboard", "view_job", "retry_job", "pause_queue")

    def queries() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            assert client.get(DASHBOARD).status_code == 200
        return len(captured)

    new_worker()
    make(Status.PENDING)
    queries()
    few = queries()
    for number in range(30):
        make_many(10, [Status.PENDING, Status.FAILURE, Status.SUCCESS][number % 3])
        make(Status.STARTED, queue=f"q{number}")
        make(Status.PENDING, queue=f"q{number}")
        new_worker(queues=[f"q{number}"])
        Queue.objects.create(name=f"q{number}")
    assert queries() == few <= 14


# --- queues ---------------------------------------------------------------------------------------


def test_pause_and_resume_a_queue_that_has_no_row(boss: Client) -> None:
    response = boss.post(QUEUES, {"pause": "mail", "next": DASHBOARD}, follow=True)
    assert response.redirect_chain == [(DASHBOARD, 302)]
    row = Queue.objects.get()
    assert (row.name, row.paused_by) == ("mail", "ann")
    assert row.paused_at is not None
    assert "ann" in boss.get(QUEUES).content.decode()
    boss.post(QUEUES, {"resume": "mail"})
    row.refresh_from_db()
    assert row.paused_at is None
    audit = [entry.change_message for entry in LogEntry.objects.order_by("pk")]
    assert audit == ["Paused.", "Resumed."]


def test_pause_of_an_invalid_queue_name_is_refused(boss: Client) -> None:
    response = boss.post(QUEUES, {"pause": "#" * 200}, follow=True)
    assert "queue" in messages_of(response)
    assert not Queue.objects.exists()


def test_next_leads_to_this_site_only(boss: Client) -> None:
    response = boss.post(QUEUES, {"pause": "mail", "next": "https://evil.example/"})
    assert response["Location"] == QUEUES


def test_clear_asks_and_then_deletes_the_ready_jobs_only(boss: Client) -> None:
    make_many(3, Status.PENDING)
    kept = [
        make(Status.PENDING, queue="mail"), make(Status.STARTED), make(Status.SCHEDULED),
        make(Status.PENDING, has_dependents=True),
    ]  # fmt: skip
    asked = boss.post(QUEUES, {"clear": "default"}).content.decode()
    assert "All 4 ready jobs of queue “default” are deleted" in asked
    assert Job.objects.count() == 7
    response = boss.post(QUEUES, {"clear": "default", "confirmed": "1"}, follow=True)
    assert "3 ready jobs of queue “default” were deleted." in messages_of(response)
    assert set(Job.objects.all()) == set(kept)
    assert LogEntry.objects.get().change_message == "Cleared: 3 ready jobs were deleted."


def test_limits_are_edited_without_touching_a_pause(boss: Client) -> None:
    form = {"name": "mail", "concurrency": "5", "rate_limit": "", "target_seconds": "60"}
    assert boss.post(f"{QUEUES}add/", form).status_code == 302
    Queue.objects.update(paused_at=timezone.now(), paused_by="bob")
    assert boss.post(f"{QUEUES}mail/change/", form | {"concurrency": "7"}).status_code == 302
    row = Queue.objects.get()
    assert (row.concurrency, row.target_seconds, row.paused_by) == (7, 60, "bob")
    assert LogEntry.objects.count() == 2


def test_limits_of_a_queue_with_any_name_are_a_link(boss: Client) -> None:
    for name in ("tenant_40", "a_5Fb", "x/y?z=1", "grün & %20"):
        Queue.objects.create(name=name)
    html = boss.get(QUEUES).content.decode()
    found = [boss.get(link) for link in re.findall(r'href="([^"]*/change/)"', html)]
    told = sorted(one.context["original"].name for one in found)
    assert told == sorted(Queue.objects.values_list("name", flat=True))


@pytest.mark.parametrize("way", ["change", "delete"])
def test_new_rate_gives_new_times(boss: Client, way: str) -> None:
    Queue.objects.create(name="mail", rate_limit="1/h")
    later = timezone.now() + datetime.timedelta(hours=5)
    row = make("SCHEDULED", queue="mail", run_at=later)
    Reservation.objects.create(key="queue:mail", job_id=row.pk, at=later.timestamp())
    form = {"name": "mail", "concurrency": "5", "rate_limit": "1/h", "target_seconds": ""}
    assert boss.post(f"{QUEUES}mail/change/", form).status_code == 302
    assert Job.objects.get().run_at == later
    if way == "change":
        form["rate_limit"] = "9/s"
    assert boss.post(f"{QUEUES}mail/{way}/", {**form, "post": "yes"}).status_code == 302
    assert not Reservation.objects.exists()
    assert Job.objects.get().run_at < timezone.now() + datetime.timedelta(seconds=60)


@pytest.mark.parametrize(
    "fields", [{"name": "#bad"}, {"target_seconds": "0"}, {"concurrency": "-1"}]
)
def test_invalid_limits_are_refused(boss: Client, fields: dict[str, str]) -> None:
    form = {"name": "mail", "concurrency": "", "rate_limit": "", "target_seconds": ""}
    assert boss.post(f"{QUEUES}add/", form | fields).status_code == 200
    assert not Queue.objects.exists()


@pytest.mark.parametrize(
    ("action", "permission"),
    [("pause", "pause_queue"), ("resume", "pause_queue"), ("clear", "delete_job")],
)
def test_buttons_of_a_queue_need_their_permissions(
    client_of: Callable[..., Client], action: str, permission: str
) -> None:
    client = client_of("view_queue", "change_queue")
    assert client.post(QUEUES, {action: "mail", "confirmed": "1"}).status_code == 403
    html = client.get(QUEUES).content.decode()
    assert f'name="{action}"' not in html
    user = User.objects.get()
    user.user_permissions.add(Permission.objects.get(codename=permission))
    assert client.post(QUEUES, {action: "mail", "confirmed": "1"}).status_code == 302


def rows_of_queues(client: Client) -> dict[str, Any]:
    cache.clear()
    context = client.get(QUEUES).context
    return {row["name"]: row for row in [*context["queues"], *context["idle_queues"]]}


def test_busy_queues_are_first_and_idle_ones_folded(boss: Client) -> None:
    make_many(3, Status.PENDING)
    make(Status.WAITING, queue="gpu")
    make(Status.PENDING, queue="mail")
    Queue.objects.create(name="slow", paused_at=timezone.now())
    Queue.objects.create(name="unused")
    context = boss.get(QUEUES).context
    assert [row["name"] for row in context["queues"]] == ["default", "mail", "gpu", "slow"]
    assert "unused" in [row["name"] for row in context["idle_queues"]]
    assert [row["waiting"] for row in context["queues"]] == ["0", "0", "1", "0"]
    names = [row["name"] for row in shown(boss, "queues")]
    assert names[:4] == ["default", "mail", "gpu", "slow"]


def test_queue_tells_its_flow_and_when_it_is_empty(boss: Client) -> None:
    make_many(20, Status.PENDING)
    row = rows_of_queues(boss)["default"]
    assert (row["flow"], row["empty"]) == ("2.0 / 0", "grows")
    measure("shop.send", age=120, succeeded=60)
    row = rows_of_queues(boss)["default"]
    assert (row["flow"], row["empty"]) == ("2.0 / 6.0", "5 min 0 s")
    Job.objects.all().delete()
    make(Status.PENDING, id=UUID(int=1 << 80))
    assert (row := rows_of_queues(boss)["default"])["flow"] == "0 / 6.0"
    assert row["empty"] == "10.0 s"
    Measurement.objects.all().delete()
    assert rows_of_queues(boss)["default"]["empty"] == "never"


def test_inflow_of_many_jobs_is_that_of_the_newest(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(timezone.now().timestamp() * 1000)
    for back in range(6):
        make(Status.PENDING, id=UUID(int=(now - back * 60_000) << 80))
    monkeypatch.setattr(flow, "CAP", 3)
    rate = float(rows_of_queues(boss)["default"]["flow"].partition(" ")[0])
    assert 1 < rate <= 1.5  # three in two minutes, and a little more


def test_page_of_a_queue(boss: Client) -> None:
    Queue.objects.create(name="x/y?z=1", paused_at=timezone.now())
    make(Status.PENDING, queue="x/y?z=1")
    measure("shop.send", "x/y?z=1", succeeded=3)
    measure("shop.other", "mail", succeeded=90)
    url = rows_of_queues(boss)["x/y?z=1"]["url"]
    page = boss.get(url, {"window": "24h"})
    assert [row["name"] for row in page.context["functions"]] == ["shop.send"]
    assert "succeeded 3" in page.context["charts"][0].svg
    (link,) = re.findall(r'href="([^"]*status=PENDING[^"]*)"', page.content.decode())
    assert boss.get(link.replace("&amp;", "&")).context["cl"].result_count == 1
    part = boss.get(url, headers={"X-Jobs-Refresh": "1"}).content.decode()
    assert "data-region" in part
    assert "<html" not in part
    boss.post(QUEUES, {"resume": "x/y?z=1", "next": url})
    assert Queue.objects.get().paused_at is None
    assert boss.get(url.replace("z", "none")).status_code == 404


@pytest.mark.parametrize("path", ["", "default/page/"])
def test_queries_of_queues_do_not_grow(boss: Client, path: str) -> None:
    def queries() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            assert boss.get(QUEUES + path).status_code == 200
        return len(captured)

    make(Status.PENDING)
    queries()
    few = queries()
    for number in range(20):
        make(Status.PENDING, queue=f"q{number}")
        make(Status.WAITING, queue=f"q{number}")
        Queue.objects.create(name=f"q{number}")
    assert queries() == few <= 14


def test_queue_page_shows_limits_of_settings_and_rows(boss: Client, settings: Any) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"mail": {"CONCURRENCY": 4, "RATE_LIMIT": "9/m"}}}
    measure("shop.send", "mail", succeeded=3, failed=2)
    shown = rows_of_queues(boss)
    assert (shown["mail"]["running"], shown["mail"]["rate_limit"]) == ("0/4", "9/m")
    assert (shown["mail"]["failed"], "polyline" in shown["mail"]["sparkline"]) == ("2", True)
    Queue.objects.create(name="mail", concurrency=2, rate_limit="5/s")
    cache.clear()
    shown = rows_of_queues(boss)
    assert (shown["mail"]["running"], shown["mail"]["rate_limit"]) == ("0/2", "5/s")


def test_invalid_rate_limit_is_refused(boss: Client) -> None:
    form = {"name": "mail", "concurrency": "", "rate_limit": "often", "target_seconds": ""}
    assert boss.post(f"{QUEUES}add/", form).status_code == 200
    assert not Queue.objects.exists()
