"""A name that nobody knows gets a word, and the name that may be meant."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_jobs import job
from django_jobs.dialects import clock
from django_jobs.management.commands import runworker
from django_jobs.models import Job, Queue, Worker
from django_jobs.near import did_you_mean
from django_jobs.operate import revoke
from django_jobs.worker.options import WorkerOptions
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


def run(*arguments: object) -> tuple[str, str]:
    """Run ``jobs``; return what it wrote, and its warnings."""
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
def test_queue_that_nobody_names_gets_a_word(arguments: tuple[str, ...]) -> None:
    out, err = run(*arguments)
    assert out
    assert err.startswith("warning: Nothing names a")
    assert err.endswith("Did you mean 'parcels'?\n")
    assert run(*(text.replace("parcel", "parcels") for text in arguments))[1] == ""


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
def test_function_that_nobody_knows_gets_a_word(arguments: tuple[str, ...]) -> None:
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
    # What ended is counted when it does.
    revoke(list(Job.objects.filter(queue="gone").values_list("pk", flat=True)))
    for queue in ("set", "routed", "coded", "waits", "runs", "later", "default"):
        assert run("list", "--queue", queue)[1] == "", queue
    assert run("list", "--name", "of.old.code")[1] == ""


@pytest.mark.usefixtures("worker_of_mail")
def test_worker_that_does_not_live_is_told_with_one_that_does() -> None:
    with pytest.raises(CommandError, match=r"named 'web11-0'. Live are: .* Did you mean 'web1-0'"):
        run("inspect", "active", "--worker", "web11-0")


@pytest.mark.usefixtures("worker_of_mail")
def test_runworker_tells_of_queues_that_nobody_names() -> None:
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
