"""``jobs import-celery-beat`` with the real django-celery-beat, in a separate site."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.core.management import CommandError, call_command

from django_jobs.management.jobs.celery_beat import converted

# It allows no Django beyond 6.0 yet, so it is not installed beside a newer one.
needs_celery_beat = pytest.mark.skipif(
    django.VERSION >= (6, 1) and importlib.util.find_spec("django_celery_beat") is None,
    reason="django-celery-beat allows no Django 6.1",
)

MAKE = """
import datetime
from django.core.management import call_command
from django_celery_beat.models import *

call_command("migrate", verbosity=0)
when = datetime.datetime(2030, 1, 2, 3, 4, tzinfo=datetime.UTC)
ran = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
make = PeriodicTask.objects.create
ten = IntervalSchedule.objects.create(every=10, period="minutes")
micro = IntervalSchedule.objects.create(every=10, period="microseconds")
cron = CrontabSchedule.objects.create(minute="0, 30", hour="*/2", day_of_week="mon-fri",
    month_of_year="1,7", timezone="Asia/Kathmandu")
both = CrontabSchedule.objects.create(minute="0", hour="0", day_of_month="13", day_of_week="5")
sun = SolarSchedule.objects.create(event="solar_noon", latitude="52.520008", longitude="-13.404954")
once = ClockedSchedule.objects.create(clocked_time=when)
past = ClockedSchedule.objects.create(clocked_time=ran)
daily = CrontabSchedule.objects.create(minute="0", hour="6", timezone="UTC")
make(name="full", task="tests.jobs.add", interval=ten, args="[1]", kwargs='{"b": 2}', queue="vip",
    headers='{"h": 1}', priority=7, expire_seconds=60, start_time=when, description="words",
    exchange="x")
make(name="cron", task="tests.jobs.add", crontab=cron, args="[1]", expires=when, one_off=True)
make(name="both", task="tests.jobs.add", crontab=both, args="[1]")
make(name="sun", task="tests.jobs.add", solar=sun, args="[1]", enabled=False)
make(name="once", task="tests.jobs.add", clocked=once, one_off=True, args="[1]")
make(name="unknown", task="proj.tasks.gone", interval=ten)
make(name="too often", task="tests.jobs.add", interval=micro, args="[1]")
make(name="bad json", task="tests.jobs.add", interval=ten, args="[1")
make(name="bad args", task="tests.jobs.add", interval=ten)
make(name="missed", task="tests.jobs.add", crontab=daily, args="[1]", last_run_at=ran)
make(name="interval", task="tests.jobs.add", interval=ten, args="[1]", last_run_at=ran)
make(name="clocked", task="tests.jobs.add", clocked=past, one_off=True, args="[1]")
make(name="celery.backend_cleanup", task="celery.backend_cleanup", crontab=cron)
"""


SENT = """
import datetime
from celery import Celery
from django.core.management import call_command
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

call_command("migrate", verbosity=0)
ten = IntervalSchedule.objects.create(every=10, period="minutes")
now = datetime.datetime.now(datetime.UTC)
PeriodicTask.objects.create(name="sent", task="tests.jobs.add", interval=ten, args="[1]",
    last_run_at=now - datetime.timedelta(minutes=10))
app = Celery("site", broker="memory://", fixups=[])
beat = DatabaseScheduler(app=app)
beat.tick()
beat.close()
(sent,) = PeriodicTask.objects.filter(name="sent")
print(sent.total_run_count, (sent.last_run_at + datetime.timedelta(minutes=10)).isoformat())
"""


# One process for all steps, as a start imports Django and Celery.
RUN = """
import contextlib, io, json, sys
import django
from django.core.management import call_command

django.setup()
outputs = []
for step in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        if isinstance(step, str):
            exec(step, {})
        else:
            call_command(*step)
    outputs.append(output.getvalue())
print(json.dumps(outputs))
"""
IMPORT = ["jobs", "import-celery-beat", "--json"]
SCHEDULES = ["jobs", "schedules", "--json"]


@pytest.fixture
def site(tmp_path: Path) -> Any:
    """Run code and commands in a site with both apps and a database of its own."""

    def run(*steps: str | list[str]) -> list[str]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.beat.celery_site",
            "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        }
        environment.pop("TEST_DATABASE_NAME", None)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", RUN, json.dumps(steps)],
            env=environment, capture_output=True, text=True, check=False,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs: list[str] = json.loads(done.stdout)
        assert len(outputs) == len(steps)
        return outputs

    return run


@pytest.mark.once
@needs_celery_beat
def test_import_copies_every_kind_with_its_options(site):
    full = "from django_jobs.models import *; s = Schedule.objects.get(name='full'); "
    full += "print(s.args, s.kwargs, s.queue, s.priority, s.headers, s.expires_seconds)"
    _, dry, before, report, after, shown, again = site(
        MAKE, [*IMPORT, "--dry-run"], SCHEDULES, IMPORT, SCHEDULES, full, IMPORT[:-1]
    )
    dry, report = json.loads(dry), json.loads(report)
    assert json.loads(before) == []
    assert report["imported"] == dry["imported"]
    assert report["imported"] == [
        "both", "clocked", "cron", "full", "interval", "missed", "once", "sun",
    ]  # fmt: skip
    assert "exchange" in report["notes"]["full"]
    assert "days that match both" in report["notes"]["both"]
    left = report["left_out"]
    assert "No job function is named 'proj.tasks.gone'" in left["unknown"]
    assert "must be from 0.1 seconds" in left["too often"]
    assert "Expecting" in left["bad json"]
    assert "missing a required argument" in left["bad args"]
    assert "by themselves" in left["celery.backend_cleanup"]
    rows = {row["name"]: row for row in json.loads(after)}
    full, cron = rows["full"], rows["cron"]
    assert (full["interval_seconds"], full["description"]) == (600, "words")
    assert full["starts_at"] == full["next_run_at"] == "2030-01-02T03:04:00Z"
    assert (cron["crontab"], cron["timezone"]) == ("0,30 */2 * 1,7 mon-fri", "Asia/Kathmandu")
    assert (cron["ends_at"], cron["one_off"]) == ("2030-01-02T03:04:00Z", True)
    assert (rows["sun"]["solar_event"], rows["sun"]["latitude"]) == ("solar_noon", 52.520008)
    assert (rows["sun"]["enabled"], rows["both"]["enabled"]) == (False, False)
    assert rows["once"]["next_run_at"] == rows["once"]["clocked_at"] == "2030-01-02T03:04:00Z"
    # The next tick of Celery's beat, even if it has passed: no tick is lost or doubled.
    assert rows["missed"]["next_run_at"] == "2026-01-02T06:00:00Z"
    assert rows["interval"]["next_run_at"] == "2026-01-02T03:14:00Z"
    assert rows["clocked"]["next_run_at"] == "2026-01-02T03:04:00Z"
    assert shown.strip() == "[1] {'b': 2} vip 7 {'h': 1} 60.0"
    assert "0 imported, 13 left out" in again
    assert "full: a schedule with this name exists" in again


@pytest.mark.once
@needs_celery_beat
def test_import_goes_on_after_what_celery_s_beat_has_sent(site):
    sent, _, schedules = site(SENT, IMPORT, SCHEDULES)
    count, following = sent.split()
    assert count == "1"
    (row,) = json.loads(schedules)
    told = datetime.datetime.fromisoformat(row["next_run_at"])
    assert abs(told - datetime.datetime.fromisoformat(following)).total_seconds() < 0.01


def test_import_without_the_app_is_refused():
    with pytest.raises(CommandError, match="not in INSTALLED_APPS"):
        call_command("jobs", "import-celery-beat", "--database", "default")


def test_task_without_a_schedule_is_left_out():
    task = SimpleNamespace(
        name="n", description="", task="tests.jobs.add", args="[1]", kwargs="{}", headers="",
        enabled=True, one_off=False, start_time=None, expires=None, expire_seconds=None, queue=None,
        priority=None, interval=None, crontab=None, clocked=None, solar=None,
    )  # fmt: skip
    assert converted(task, "default")[:2] == (
        None,
        "It has no interval, crontab, clocked time or solar event.",
    )


@pytest.mark.django_db
def test_schedules_are_listed(make, capsys):
    make(name="fine", crontab="0 8 * * mon-fri", kind="crontab", timezone="Europe/Berlin")
    make(name="broken", last_error="x" * 100, source="code", enabled=False, args=["hunter2-top"])
    call_command("jobs", "schedules", "--database", "default")
    shown = capsys.readouterr().out
    assert "At 08:00, Monday through Friday (Europe/Berlin)" in shown
    assert "disabled, from code" in shown
    assert "x" * 59 + "…" in shown
    assert "hunter2" not in shown


@pytest.mark.django_db
def test_command_says_that_there_are_no_schedules(capsys):
    call_command("jobs", "schedules")
    assert "No schedules." in capsys.readouterr().out
