"""The admin's pages of workers: what they do, and what they can be told."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from django_jobs import job
from django_jobs.metrics import cache
from django_jobs.models import Command, Measurement
from django_jobs.models.histogram import Tally
from django_jobs.status import Status
from tests.admin.test_jobs import make, messages_of

pytestmark = pytest.mark.django_db

LIST = "/admin/django_jobs/worker/"


def tell(client: Client, action: str, *workers: Any, **more: str) -> Any:
    chosen = [str(worker.pk) for worker in workers]
    data = {"action": action, "_selected_action": chosen, "index": "0", **more}
    return client.post(LIST, data, follow=True)


@pytest.mark.parametrize(
    ("action", "verb"),
    [("quiet", "quiet"), ("resume", "resume"), ("grow", "grow"), ("shrink", "shrink")],
)
def test_button_writes_a_command_and_the_log(
    boss: Client, new_worker: Any, action: str, verb: str
) -> None:
    live, beat, lost = new_worker(), new_worker(pool="beat"), new_worker(-5)
    stopped = new_worker(stopped_at=timezone.now())
    response = tell(boss, action, live, beat, lost, stopped)
    assert "The command was sent to 1 worker. 3 were skipped" in messages_of(response)
    command = Command.objects.get()
    assert (command.worker_id, command.name, command.created_by) == (live.pk, verb, "ann")
    assert LogEntry.objects.get().object_id == str(live.pk)


def test_shut_down_asks_first(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    asked = tell(boss, "shut_down", worker).content.decode()
    assert "The runworker of each of these workers" in asked
    assert not Command.objects.exists()
    tell(boss, "shut_down", worker, confirmed="1")
    tell(boss, "shut_down", worker, confirmed="1", cold="1")
    sent = Command.objects.order_by("pk").values_list("name", "arguments")
    assert list(sent) == [("shutdown", {"cold": False}), ("shutdown", {"cold": True})]
    assert "at once" in LogEntry.objects.latest("pk").change_message


def test_button_returns_to_its_page(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    page = f"{LIST}{worker.pk}/change/"
    assert tell(boss, "quiet", worker, next=page).redirect_chain == [(page, 302)]


def test_page_shows_running_jobs_and_commands(
    boss: Client, new_worker: Any, registered: dict[str, Any]
) -> None:
    @job(name="secretive")
    def secretive(password: str, city: str) -> None: ...

    worker = new_worker(slots=2, memory_bytes=50 * 1024 * 1024)
    mine = make(Status.STARTED, worker_id=worker.pk, name="secretive", args=["hunter2", "Oslo"])
    other = make(Status.STARTED, worker_id=new_worker().pk)
    tell(boss, "quiet", worker)
    html = boss.get(f"{LIST}{worker.pk}/change/").content.decode()
    assert str(mine.pk) in html
    assert "Oslo" in html
    assert "hunter2" not in html
    assert str(other.pk) not in html
    assert "Terminate…" in html
    assert "50.0" in html
    assert '<th scope="row">quiet</th>' in html
    part = boss.get(f"{LIST}{worker.pk}/change/", headers={"X-Jobs-Refresh": "1"})
    assert part.content.decode().count("data-region=") == 4


def test_stopped_workers_and_beats_have_no_buttons(boss: Client, new_worker: Any) -> None:
    for fields in ({"stopped_at": timezone.now()}, {"pool": "beat"}):
        html = boss.get(f"{LIST}{new_worker(**fields).pk}/change/").content.decode()
        assert 'name="action" value="quiet"' not in html
    assert (
        'name="action" value="quiet"'
        in boss.get(f"{LIST}{new_worker().pk}/change/").content.decode()
    )


def test_list_refreshes_itself(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    whole = boss.get(LIST)
    assert "X-Jobs-Refresh" in whole["Vary"]
    assert "data-refresh-seconds" in whole.content.decode()
    html = boss.get(LIST, headers={"X-Jobs-Refresh": "1"}).content.decode()
    regions = re.findall(r'data-region="(\w+)"', whole.content.decode())
    assert (
        re.findall(r'data-region="(\w+)"', html) == regions == ["alerts", "tabs", "search", "rows"]
    )
    assert "<html" not in html
    assert str(worker.pk) in html


def test_state_filter(boss: Client, new_worker: Any) -> None:
    states = {"live": new_worker(), "lost": new_worker(-5)}
    states["stopped"] = new_worker(stopped_at=timezone.now())
    for state, worker in states.items():
        assert list(boss.get(LIST, {"state": state}).context["cl"].result_list) == [worker]


def test_served_queues_show_the_excluded_ones(boss: Client, new_worker: Any) -> None:
    new_worker(exclude_queues=["mail"])
    assert "all queues but mail" in boss.get(LIST).content.decode()


def test_running_jobs_have_progress_and_an_estimate(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    now = timezone.now()
    half = {"done": 5, "total": 10, "message": "s3cr3t"}
    make("STARTED", worker_id=worker.pk, progress=half, started_at=now - datetime.timedelta(60))
    make("STARTED", worker_id=worker.pk, name="tests.jobs.echo")
    row = Measurement(starts_at=int(time.time()) // 60 * 60, queue="default")
    row.name, tally = "tests.jobs.echo", Tally(sent=1, succeeded=1)
    tally.measure([0.1], [3.0])
    row.tally = tally
    row.save()
    page = f"/admin/django_jobs/worker/{worker.pk}/change/"
    response = boss.get(page)
    first, second = response.context["running"]
    estimates = [strip_tags(row["estimate"]) for row in (first, second)]
    assert estimates == ["about 60 d 0 h left", "usually 3.0 s"]
    assert "5/10 (50%)" in first["progress"]
    assert second["progress"] == "–"
    html = response.content.decode()
    assert "s3cr3t" not in html
    assert html.index("jobs-running") < html.index("jobs-facts")

    def statements() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            boss.get(page)
        return len(captured)

    few = statements()
    for _number in range(5):
        make("STARTED", worker_id=worker.pk, progress=half)
    assert statements() == few


def test_progress_without_a_share_has_no_estimate(boss: Client, new_worker: Any) -> None:
    worker = new_worker()
    for progress in ({"done": 0, "total": 10}, {"done": 5, "total": 0}, {"done": "5"}, [5, 10]):
        make("STARTED", worker_id=worker.pk, progress=progress, started_at=timezone.now())
    rows = boss.get(f"/admin/django_jobs/worker/{worker.pk}/change/").context["running"]
    assert {row["estimate"] for row in rows} == {"–"}
    assert sorted(str(row["progress"]) != "–" for row in rows) == [False, False, False, True]


@pytest.mark.parametrize(("also", "shown"), [((), False), (("view_job",), True)])
def test_arguments_of_running_jobs_need_the_permission_to_see_jobs(
    client_of: Any, new_worker: Any, also: tuple[str, ...], shown: bool
) -> None:
    worker = new_worker()
    make("STARTED", worker_id=worker.pk, args=["their arguments"])
    page = f"/admin/django_jobs/worker/{worker.pk}/change/"
    (row,) = client_of("view_worker", *also).get(page).context["running"]
    assert ("their arguments" in row["arguments"]) is shown


def test_worker_has_one_name_everywhere(boss: Client, new_worker: Any) -> None:
    new_worker(name="lab-0", hostname="host", pid=4711)
    dashboard = boss.get("/admin/django_jobs/dashboard/").context["workers"]
    assert [row["name"] for row in dashboard] == ["lab-0"]
    assert "<h1>Workers</h1>" in boss.get("/admin/django_jobs/worker/").content.decode()


def test_memory_and_busy_slots_of_the_past_hour_are_drawn(boss: Client, new_worker: Any) -> None:
    samples = [[10, 4], None, [40, 1.5], [20, 0.5]]
    worker = new_worker(slots=4, busy=3, memory_bytes=20 * 1024 * 1024, samples=samples)
    for page in (LIST, f"{LIST}{worker.pk}/change/"):
        html = boss.get(page).content.decode()
        assert 'aria-label="Busy slots in the past hour: 2.0 of 4 on average"' in html
        assert re.search('aria-label="Memory in the past hour: at most 40.0.MB"', html)
        assert html.count("<polyline") == 4
        # A full hour is as wide as the drawing, and all slots are as high.
        assert "94.9,1 94.9,1" in html


@pytest.mark.parametrize(
    "samples", [None, {"a": 1}, [], [1, "x", [1], ["a", "b"], [None, None]], [[0, 0]] * 99]
)
def test_past_that_cannot_be_read_is_left_out(boss: Client, new_worker: Any, samples: Any) -> None:
    worker = new_worker(slots=4, busy=3, memory_bytes=20 * 1024 * 1024, samples=samples)
    for page in (LIST, f"{LIST}{worker.pk}/change/"):
        html = boss.get(page).content.decode()
        assert "3/4" in html
        assert "polyline" not in html


def test_state_is_that_of_the_worker(boss: Client, new_worker: Callable[..., Any]) -> None:
    def badges(path: str) -> list[str]:
        html = boss.get(f"/admin/django_jobs/{path}").content.decode()
        found = re.findall(r'<span class="jobs-badge[^>]*>(.*?)</span>', html, re.DOTALL)
        words = [strip_tags(one).strip() for one in found]
        return [word for word in words if word in ("live", "quiet", "lost", "stopped")]

    workers = {
        "live": new_worker(name="a"),
        "quiet": new_worker(name="b", quiet=True),
        "lost": new_worker(-1, name="c"),
        "stopped": new_worker(name="d", stopped_at=timezone.now()),
    }
    shown = {state: badges(f"worker/{one.pk}/change/") for state, one in workers.items()}
    assert shown == {state: [state] for state in workers}
    # The dashboard leaves out those that were stopped.
    assert sorted(badges("dashboard/")) == ["live", "lost", "quiet"]
