"""Warnings of unknown names, with a suggestion."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import chain, job, signature
from django_jobs.control import commands, revoke
from django_jobs.db import clock
from django_jobs.define.schedule_spec import solar
from django_jobs.limits.overrides import set_limits
from django_jobs.management.commands import runworker
from django_jobs.management.jobs.celery_beat import converted
from django_jobs.metrics.history import statistics
from django_jobs.models import Job, Queue, Schedule, Worker
from django_jobs.schedules.validation import problems
from django_jobs.suggest import did_you_mean
from django_jobs.worker.options import WorkerOptions
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


def run(*arguments: object) -> tuple[str, str]:
    """Run ``jobs``; return its output and its warnings."""
    out, err = io.StringIO(), io.StringIO()
    call_command("jobs", *map(str, arguments), stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def worker_of_mail() -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        name="web1-0", hostname="h", pid=1, pool="solo", started_at=now, heartbeat_at=now,
        lease_until=clock("default", 60), queues=["parcels"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("pause", "parcel"),
        ("resume", "parcel"),
        ("limit", "parcel", "--rate", "1/m"),
        ("purge", "--queue", "parcel", "--noinput"),
        ("list", "--queue", "parcel"),
        ("retry", "--queue", "parcel"),
        ("revoke", "--queue", "parcel"),
        ("move", "--queue", "parcel", "--priority", "1"),
        ("move", "--queue", "default", "--to", "parcel"),
        ("run", "tests.jobs.add", "--args", "[1, 2]", "--queue", "parcel"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("worker_of_mail")
def test_unknown_queue_is_warned_of(arguments: tuple[str, ...]) -> None:
    out, err = run(*arguments)
    assert out
    assert err.startswith("warning: Nothing names a")
    assert err.endswith("Did you mean 'parcels'?\n")
    assert run(*(text.replace("parcel", "parcels") for text in arguments))[1] == ""


def test_each_unknown_queue_is_warned_of() -> None:
    _out, err = run("pause", "new", "newer")
    assert [name in err for name in ("queue 'new'", "queue 'newer'")] == [True, True]


def test_unknown_queue_is_paused_all_the_same() -> None:
    out, err = run("pause", "new")
    assert out == "new: paused\n"
    assert "Nothing names a queue 'new'" in err
    assert Queue.objects.get(name="new").paused_at is not None
    assert run("resume", "new") == ("new: resumed\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--name", "tests.jobs.ad"),
        ("list", "--name", "add"),
        ("retry", "--name", "jobs.add"),
        ("revoke", "--name", "tests.jobs.ADD"),
        ("move", "--name", "tests.jobs.ad", "--to", "default"),
    ],
    ids=" ".join,
)
def test_unknown_function_is_warned_of(arguments: tuple[str, ...]) -> None:
    _out, err = run(*arguments)
    assert err.startswith("warning: No job function is named")
    assert "Did you mean 'tests.jobs.add'" in err


def test_names_of_code_settings_and_rows_are_known(settings: Any, registered: Any) -> None:
    settings.DJANGO_JOBS = {
        "QUEUES": {"set": {}},
        "ROUTES": [{"a.*": {"queue": "routed"}}, lambda *call: None],
        "SCHEDULES": {},
    }

    @job(queue="coded", name="coded")
    def coded() -> None: ...

    registered["coded"] = coded
    for queue in ("waits", "runs", "later", "gone"):
        jobs.add.apply_async((1, 2), queue=queue)
    Job.objects.filter(queue="waits").update(status="WAITING")
    Job.objects.filter(queue="runs").update(status="STARTED")
    Job.objects.filter(queue="later").update(status="SCHEDULED", name="of.old.code")
    # A job is counted in a measurement when it ends.
    revoke(list(Job.objects.filter(queue="gone").values_list("pk", flat=True)))
    for queue in ("set", "routed", "coded", "waits", "runs", "later", "default"):
        assert run("list", "--queue", queue)[1] == "", queue
    assert run("list", "--name", "of.old.code")[1] == ""


@pytest.mark.usefixtures("worker_of_mail")
def test_unknown_worker_gets_a_suggestion() -> None:
    with pytest.raises(CommandError, match=r"named 'web11-0'. The live .* Did you mean 'web1-0'"):
        run("inspect", "active", "--worker", "web11-0")


@pytest.mark.usefixtures("worker_of_mail")
def test_runworker_warns_of_unknown_queues() -> None:
    options = WorkerOptions(pool="solo", queues=("parcel", "default"), exclude_queues=("mail",))
    err = io.StringIO()
    runworker.Command(stderr=err, no_color=True)._warn_of_unknown_queues(options)
    assert err.getvalue() == (
        "warning: Nothing names a queue 'parcel': no job function, route, setting, schedule, "
        "worker or job. Did you mean 'parcels'?\n"
    )


def test_other_verbs_ask_for_no_names() -> None:
    with CaptureQueriesContext(connection) as plain:
        run("list")
    assert len(plain) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mial", " Did you mean 'mail'?"),
        ("MAIL", " Did you mean 'mail'?"),
        ("zzz", ""),
        (5, ""),
    ],
)
def test_did_you_mean(name: object, told: str) -> None:
    assert did_you_mean(name, ["mail", "default"]) == told


def _raised(call: Any) -> str:
    with pytest.raises((CommandError, ValueError, LookupError, TypeError)) as caught:
        call()
    return str(caught.value)


def _checked(**setting: Any) -> str:
    with override_settings(DJANGO_JOBS=setting):
        found = run_checks(tags=["django_jobs"])
    return " ".join(f"{message.msg} {message.hint}" for message in found)


def _schedule(**fields: Any) -> str:
    row = {"name": "s", "job_name": "tests.jobs.add", "kind": "interval", "interval_seconds": 5}
    schedule = Schedule(**{"args": [1], **row, **fields})
    return str(problems(schedule))


SCHEDULE = {"job": "tests.jobs.add", "schedule": 5, "args": [1]}


@pytest.mark.parametrize(
    ("tell", "meant"),
    [
        (lambda: _raised(signature("tests.jobs.ad").delay), "tests.jobs.add"),
        (lambda: _raised(chain(jobs.add.s(1), signature("jobs.add")).delay), "tests.jobs.add"),
        (lambda: _raised(lambda: run("run", "tests.jobs.ad")), "tests.jobs.add"),
        (lambda: _raised(lambda: run("run", "add")), "tests.jobs.add"),
        (lambda: _checked(SCHEDULES={"a": {**SCHEDULE, "job": "jobs.add"}}), "tests.jobs.add"),
        (lambda: _checked(SCHEDULES={"a": {**SCHEDULE, "priorty": 5}}), "priority"),
        (lambda: _checked(DATABASE="defalt"), "default"),
        (lambda: _checked(RESULT_EXPIRE=5), "RESULT_EXPIRES"),
        (lambda: _checked(WORKER={"concurency": 5}), "CONCURRENCY"),
        (lambda: _schedule(job_name="ADD"), "tests.jobs.add"),
        (lambda: _schedule(kind="crontab", crontab="@dayly"), "@daily"),
        (lambda: _schedule(timezone="Europe/Berln"), "Europe/Berlin"),
        (lambda: _raised(lambda: solar("sunris", 1, 2)), "sunrise"),
        (lambda: _schedule(kind="solar", solar_event="sunst", latitude=1, longitude=2), "sunset"),
        (lambda: _raised(lambda: commands.check("qiet", {})), "quiet"),
        (lambda: _raised(lambda: set_limits("tests.jobs.ad", rate_limit=1)), "tests.jobs.add"),
        (lambda: _raised(lambda: call_command("runbeat", "--once", database="defalt")), "default"),
    ],
)
def test_every_name_that_is_looked_up_has_a_suggestion(tell: Any, meant: str) -> None:
    told = tell()
    assert re.search(rf"[Dd]id you mean .*{re.escape(meant)}", told), told


def test_django_celery_beats_unknown_function_has_a_suggestion() -> None:
    task = SimpleNamespace(
        name="n", description="", task="tests.jobs.ad", args="[1]", kwargs="{}", headers="",
        enabled=True, one_off=False, start_time=None, expires=None, expire_seconds=None, queue=None,
        priority=None, interval=SimpleNamespace(every=5, period="seconds"), crontab=None,
        clocked=None, solar=None,
    )  # fmt: skip
    _schedule, reason, _note = converted(task, "default")
    assert "Did you mean 'tests.jobs.add'" in reason


def test_an_unknown_period_is_refused() -> None:
    with pytest.raises(ValueError, match="period must be one of 1h, 24h, 7d, got '1hour'"):
        statistics("1hour")
