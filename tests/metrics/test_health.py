"""Health: what is judged to be well, the command, and the views for probes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse
from django.utils import translation
from pytest_django import DjangoAssertNumQueries

from django_jobs.checks import check_settings
from django_jobs.control import pause_queue
from django_jobs.db import clock
from django_jobs.metrics import cache, health
from django_jobs.metrics.health import Check, all_ok, checks, look
from django_jobs.models import Job, Queue, Schedule, Worker
from tests import jobs

pytestmark = pytest.mark.django_db

NewWorker = Callable[..., Worker]


def found(queue: str = "", max_age: float | None = None) -> dict[str, Check]:
    return {check.part: check for check in checks(look("default"), queue, max_age)}


def text(check: Check) -> str:
    return check.text % check.values


def wait(seconds: float, queue: str = "default") -> Job:
    """Make a ready job that has waited for so long."""
    result = jobs.add.apply_async((1,), queue=queue)
    Job.objects.filter(pk=result.id).update(ready_at=clock("default", -seconds))
    return Job.objects.get(pk=result.id)


def schedule(late: float | None = None, enabled: bool = True) -> Schedule:
    row = Schedule.objects.create(
        name="daily", job_name="tests.jobs.add", interval_seconds=60, enabled=enabled
    )
    if late is not None:
        Schedule.objects.update(next_run_at=clock("default", -late))
    return row


# --- the judgement ------------------------------------------------------------------------------


def test_idle_site_with_a_worker_is_well(worker: Worker) -> None:
    told = found()
    assert tuple(told) == health.PARTS
    assert all_ok(told.values())
    assert text(told["jobs"]) == "no job is ready"
    assert text(told["beat"]) == "no schedule is enabled"
    assert text(told["workers"]) == "processes alive: 1, slots: 1"


@pytest.mark.parametrize(
    "fields",
    [
        {"lease_seconds": -1},
        {"pool": Worker.BEAT},
        {"stopped_at": clock("default")},
        {"lost_at": clock("default")},
        {"quiet": True},
    ],
    ids=["lease ended", "beat", "stopped", "lost", "quiet"],
)
def test_process_that_takes_no_jobs_is_no_worker(new_worker: NewWorker, fields: Any) -> None:
    new_worker(**fields)
    check = found()["workers"]
    assert check.ok is False
    assert text(check) == (
        "all live processes are quiet" if "quiet" in fields else "no process is alive"
    )


def test_workers_of_a_queue_are_those_that_serve_it(new_worker: NewWorker) -> None:
    new_worker(queues=["mail"], slots=3)
    new_worker(exclude_queues=["mail"], slots=4)
    assert text(found("mail")["workers"]) == "processes that serve queue 'mail': 1, slots: 3"
    assert text(found()["workers"]) == "processes alive: 2, slots: 7"
    Worker.objects.filter(slots=4).delete()
    assert text(found("other")["workers"]) == "no live process serves queue 'other'"


def test_job_that_waits_too_long_is_named_by_its_queue(worker: Worker) -> None:
    wait(200)
    wait(310, "mail")
    assert found("default")["jobs"].ok is True
    assert found("default", 100)["jobs"].ok is False
    check = found()["jobs"]
    assert check.ok is False
    assert check.values["queue"] == "mail"
    assert 310 <= check.values["seconds"] < 600
    assert "longer than 300 s" in text(check)
    assert found(max_age=100_000)["jobs"].ok is True


def test_wait_that_operators_want_is_the_limit_of_its_queue(worker: Worker) -> None:
    Queue.objects.create(name="mail", target_seconds=10)
    wait(200)
    wait(20, "mail")
    assert found()["jobs"].values["queue"] == "mail"
    assert found()["jobs"].ok is False
    assert found("mail", 1000)["jobs"].ok is True


def test_paused_queue_may_have_old_jobs(worker: Worker) -> None:
    wait(1000)
    pause_queue("default")
    assert found()["jobs"].ok is True
    assert text(found("default")["jobs"]) == "queue 'default' is paused"


def test_job_that_runs_or_waits_for_its_time_does_not_count(worker: Worker) -> None:
    wait(1000)
    for status in ("STARTED", "SCHEDULED", "WAITING", "FAILURE"):
        Job.objects.update(status=status)
        assert text(found()["jobs"]) == "no job is ready"


def test_schedules_need_a_beat(new_worker: NewWorker) -> None:
    schedule(enabled=False)
    assert found()["beat"].ok is True
    Schedule.objects.update(enabled=True)
    assert text(found()["beat"]) == "no beat runs: schedules do not fire"
    new_worker(pool=Worker.BEAT, slots=0)
    assert text(found()["beat"]) == "live beats: 1; no schedule is late"


def test_beat_that_cannot_keep_up_is_not_well(new_worker: NewWorker) -> None:
    new_worker(pool=Worker.BEAT, slots=0)
    schedule(late=50)
    assert found()["beat"].ok is True
    Schedule.objects.update(next_run_at=clock("default", -65))
    check = found()["beat"]
    assert check.ok is False
    assert 65 <= check.values["lag"] < 600


def test_missing_migration_is_named_and_nothing_else_is_judged(worker: Worker) -> None:
    rows = MigrationRecorder.Migration.objects.filter(app="django_jobs")
    names = sorted(rows.values_list("name", flat=True))
    rows.filter(name=names[-1]).delete()
    told = found()
    assert told["database"].ok is True
    assert text(told["migrations"]) == f"not applied: {names[-1]}. Run `manage.py migrate`."
    assert [told[part].ok for part in ("workers", "jobs", "beat")] == [None, None, None]


def test_project_without_migrations_of_this_app_is_well(worker: Worker) -> None:
    MigrationRecorder.Migration.objects.filter(app="django_jobs").delete()
    with override_settings(MIGRATION_MODULES={"django_jobs": None}):
        assert all_ok(found().values())


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A database that refuses every connection."""

    def refuse(using: str) -> float:
        raise OperationalError("connection to db.internal failed:\n  no route")

    return lambda: monkeypatch.setattr(health, "unix_time", refuse)


def test_database_that_is_away_is_an_answer(away: Any) -> None:
    away()
    told = found()
    assert (told["database"].ok, told["workers"].ok) == (False, None)
    assert text(told["database"]) == (
        "it does not answer: OperationalError: connection to db.internal failed: no route"
    )


@pytest.mark.django_db(transaction=True)
def test_statement_that_is_refused_is_an_answer(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ready_queues", lambda using: list(Job.objects.raw("SELECT nix")))
    told = found()
    assert told["database"].ok is True
    assert [told[part].ok for part in health.PARTS[1:]] == [None] * 4
    assert "the database refused a statement: " in text(told["workers"])


def test_look_takes_few_statements_that_count_nothing(
    worker: Worker, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    schedule()
    for number in range(30):
        wait(1, f"q{number}")
    with CaptureQueriesContext(connection) as queries:
        look("default")
    assert len(queries) <= 8
    assert not [query for query in queries if "COUNT(" in query["sql"].upper()]


def test_look_reads_a_bounded_number_of_queues(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(1000, "a")
    wait(1000, "b")
    monkeypatch.setattr(health, "QUEUES_READ", 1)
    assert len(look("default").waits) == 1


# --- the command --------------------------------------------------------------------------------


def told(*arguments: str) -> tuple[str, str, str]:
    """Return stdout, stderr and the error of ``jobs health``."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("jobs", "health", *arguments, stdout=out, stderr=err, no_color=True)
    except CommandError as error:
        return out.getvalue(), err.getvalue(), str(error)
    return out.getvalue(), err.getvalue(), ""


def test_command_prints_a_line_for_each_part(worker: Worker) -> None:
    out, err, error = told()
    assert (err, error) == ("", "")
    lines = [line.split(maxsplit=3) for line in out.splitlines()]
    assert lines[0] == ["DATABASE", "CHECK", "STATE", "WHY"]
    assert [line[:3] for line in lines[1:]] == [["default", part, "ok"] for part in health.PARTS]


def test_command_fails_and_names_the_parts_that_are_not_well() -> None:
    schedule()
    out, _err, error = told()
    assert error == "Not healthy: workers of default, beat of default."
    assert "default   workers     failed  no process is alive" in out
    assert "default   jobs        ok      no job is ready" in out


def test_command_writes_json(new_worker: NewWorker) -> None:
    new_worker(slots=4)
    wait(1)
    out, _err, error = told("--json")
    answer = json.loads(out)
    assert (answer["ok"], error) == (True, "")
    assert answer["databases"]["default"]["workers"] == {
        "processes": 1, "slots": 4, "queue": "", "ok": True,
        "why": "processes alive: 1, slots: 4",
    }  # fmt: skip
    Worker.objects.all().delete()
    out, _err, error = told("--json")
    assert json.loads(out)["ok"] is False
    assert "workers" in error


def test_json_is_english_and_the_table_is_not(worker: Worker) -> None:
    english = told("--json")[0]
    with translation.override("zh-hans"):
        assert told("--json")[0] == english
        table = told()[0]
    assert "正常" in table
    assert not re.search("ok|alive|answers|ready|WHY", table)


def test_command_looks_at_one_queue(new_worker: NewWorker) -> None:
    new_worker(queues=["default"])
    wait(1000, "mail")
    assert told()[2] == "Not healthy: jobs of default."
    assert told("--queue", "default")[2] == ""
    assert told("--queue", "mail")[2] == "Not healthy: workers of default, jobs of default."
    assert told("--queue", "mail", "--max-age", "5000")[2] == "Not healthy: workers of default."


def test_command_warns_of_a_queue_that_nothing_names(worker: Worker) -> None:
    wait(1, "mail")
    assert told("--queue", "mail")[1] == ""
    assert told("--queue", "mial")[1].count("warning: Nothing names a queue 'mial'") == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--queue", "a,b"), "comma"),
        (("--queue", ""), "1 to 100 characters"),
        (("--max-age", "soon"), "must be a number of seconds"),
        (("--max-age", "-1"), "must be from 0"),
        (("--max-age", "nan"), "must be from 0"),
    ],
)
def test_command_refuses_wrong_arguments(arguments: tuple[str, ...], why: str) -> None:
    assert why in told(*arguments)[2]


def test_command_tells_of_a_database_that_is_away(away: Any) -> None:
    away()
    out, err, error = told("--queue", "mial")
    assert "default   database    failed   it does not answer: OperationalError" in out
    assert "default   workers     unknown  the database does not answer" in out
    assert (err, error.startswith("Not healthy: database of default, ")) == ("", True)


@pytest.mark.django_db(databases=["default", "reports"])
def test_command_looks_at_each_database_with_jobs(settings: Any, worker: Worker) -> None:
    settings.DJANGO_JOBS = {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    assert told()[2] == "Not healthy: workers of reports."
    assert told("--database", "default")[2] == ""
    assert told("--queue", "default")[2] == ""
    assert told("--queue", "reports")[2] == "Not healthy: workers of reports."


# --- the views ----------------------------------------------------------------------------------

LIVE, READY = "/jobs/health/live", "/jobs/health/ready"


@pytest.fixture
def opened(settings: Any) -> None:
    settings.DJANGO_JOBS = {"HEALTH_URLS": True}


def test_views_are_closed_without_the_setting(client: Client, boss: Client) -> None:
    assert [client.get(path).status_code for path in (LIVE, READY)] == [404, 404]
    assert boss.get(READY).status_code == 404
    assert (reverse("django_jobs:health_live"), reverse("django_jobs:health_ready")) == (
        LIVE,
        READY,
    )


@pytest.mark.usefixtures("opened")
def test_live_asks_no_database(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        response = client.get(LIVE)
    assert (response.status_code, response.json()) == (200, {"ok": True})
    assert "no-store" in response["Cache-Control"]
    assert client.post(LIVE).status_code == 405


@pytest.mark.usefixtures("opened")
def test_ready_tells_the_parts_and_nothing_of_the_site(client: Client, worker: Worker) -> None:
    wait(1000, "customer-acme")
    response = client.get(READY)
    assert response.status_code == 503
    assert response.json() == {
        "ok": False,
        "checks": {
            "database": True, "migrations": True, "workers": True, "jobs": False, "beat": True,
        },
    }  # fmt: skip
    assert client.get(READY, {"queue": "default"}).status_code == 200
    assert client.get(READY, {"max_age": "2000"}).json()["ok"] is True
    assert client.get(READY, {"max_age": "0", "queue": "customer-acme"}).status_code == 503
    assert "no-store" in response["Cache-Control"]
    assert client.head(READY).status_code == 503


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "query",
    [{"queue": "a,b"}, {"queue": ""}, {"queue": "x" * 101}, {"max_age": "soon"}, {"max_age": "-1"},
     {"max_age": "inf"}],
)  # fmt: skip
def test_ready_refuses_wrong_arguments(client: Client, query: dict[str, str]) -> None:
    response = client.get(READY, query)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert "acme" not in response.content.decode()


@pytest.mark.usefixtures("opened", "worker", "overview_kept")
def test_requests_share_a_look(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.get(READY)
    with django_assert_num_queries(0):
        assert client.get(READY, {"queue": "default", "max_age": "7"}).status_code == 200


@pytest.mark.usefixtures("opened")
def test_database_that_is_away_is_503_without_its_address(client: Client, away: Any) -> None:
    away()
    response = client.get(READY)
    assert response.status_code == 503
    assert response.json()["checks"] == {
        "database": False, "migrations": None, "workers": None, "jobs": None, "beat": None,
    }  # fmt: skip
    assert "db.internal" not in response.content.decode()
    assert client.get(LIVE).status_code == 200


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("path", [LIVE, READY])
def test_probes_need_no_login_and_begin_no_transaction(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]  # fmt: skip
    for alias in connections:
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
    looked: list[bool] = []

    def note(using: str) -> health.State:
        looked.append(connections[using].in_atomic_block)
        return health.State(using)

    monkeypatch.setattr("django_jobs.web.health.look", note)
    cache.clear()
    depth = len(connection.savepoint_ids)
    monkeypatch.setattr(
        "django.db.transaction.Atomic.__enter__",
        lambda self: pytest.fail("a transaction was begun"),
    )
    assert client.get(path).status_code in (200, 503)
    assert len(connection.savepoint_ids) == depth
    assert len(looked) == (path == READY)


@pytest.mark.usefixtures("opened")
@pytest.mark.django_db(databases=["default", "reports"])
def test_part_is_well_only_if_it_is_in_every_database(
    client: Client, settings: Any, worker: Worker
) -> None:
    settings.DJANGO_JOBS |= {"QUEUES": {"reports": {"DATABASE": "reports"}}}
    assert client.get(READY).json()["checks"]["workers"] is False
    assert client.get(READY, {"queue": "default"}).json()["checks"]["workers"] is True
    assert client.get(READY, {"queue": "reports"}).json()["checks"]["workers"] is False


def test_setting_is_checked(settings: Any) -> None:
    settings.DJANGO_JOBS = {"HEALTH_URLS": "yes"}
    (problem,) = check_settings(None)
    assert problem.id == "django_jobs.E001"
