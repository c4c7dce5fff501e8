"""What somebody sends or writes to do harm breaks nothing, and shows nothing."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_jobs import conf, exceptions, job, log, signature
from django_jobs.admin import JobAdminMixin, WorkerAdminMixin
from django_jobs.admin.base import ModelAdmin
from django_jobs.admin.job_fields import progress_bar
from django_jobs.api.result import AsyncResult
from django_jobs.define import key_values, registry
from django_jobs.exceptions import ResultTimeout
from django_jobs.maintenance import rollup
from django_jobs.management.pidfile import pidfile
from django_jobs.metrics.history import totals
from django_jobs.models import Attempt, Job, Measurement, Schedule, Worker, histogram
from django_jobs.run.execute import Environment
from django_jobs.status import Status
from tests.admin.test_jobs import LIST, make, page
from tests.jobs import add
from tests.management.test_jobs import jobs
from tests.test_serialization import calls

pytestmark = pytest.mark.django_db

ESCAPES = "\x1b[31m\x9b2J\u202edetcefni\r"


# --- pages and the state of a job -----------------------------------------------------------------


@pytest.mark.parametrize("value", ["²", "1" * 5_000, "-1", "１", "1" * 18, "a", "\0"])
def test_filter_by_schedule_takes_any_text(boss: Client, value: str) -> None:
    assert boss.get(LIST, {"schedule": value}).status_code == 200


def test_search_with_very_many_words_finds_nothing(boss: Client) -> None:
    make(name="a")
    assert boss.get(LIST, {"q": "a " * 1_500}).status_code == 200
    assert boss.get(LIST, {"q": "a " * 40}).status_code == 200


@pytest.mark.parametrize("verb", ["pause", "resume", "clear"])
def test_queue_of_no_possible_name_is_refused(boss: Client, verb: str) -> None:
    url = reverse("admin:django_jobs_queue_changelist")
    for name in ("a\0b", "a" * 500, "\x1b["):
        answer = boss.post(url, {verb: name, "confirmed": "1"}, follow=True)
        assert answer.status_code == 200
        assert [message.level_tag for message in answer.context["messages"]] == ["error"]


def test_schedule_that_no_number_names_is_refused(boss: Client) -> None:
    row = Schedule.objects.create(
        name="a", job_name="tests.jobs.add", kind="interval", interval_seconds=60
    )
    url = reverse("admin:django_jobs_schedule_changelist")
    data = {"action": "disable_schedules", "_selected_action": [row.pk], "index": "0"}
    assert boss.post(url, data | {"from_schedule": "²"}, follow=True).status_code == 200


def test_row_with_odd_values_breaks_no_page(boss: Client, client: Client) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    row = make(
        Status.STARTED, args=deep, progress={"done": 10**400, "total": 10**400 + 1},
        result={"a": deep},
    )  # fmt: skip
    for url in (LIST, page(row), reverse("django_jobs:status", args=[row.pk])):
        assert boss.get(url).status_code == 200
    Job.objects.update(status="BAD")
    for url in (LIST, page(row), reverse("django_jobs:status", args=[row.pk])):
        assert boss.get(url).status_code == 200


ODD: list[Any] = [None, True, 7, 1e308, "x", [1], [[]], {"a": 1}, {"registered": [1], "conf": "x"}]


@pytest.mark.parametrize("odd", [*ODD, {"registered": {"f": 1}, "conf": {"a": [1]}}], ids=repr)
def test_worker_with_odd_values_breaks_nothing_that_shows_it(
    boss: Client, new_worker: Any, odd: Any
) -> None:
    worker = new_worker()
    text = json.dumps(odd)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_jobs_worker SET queues = %s, exclude_queues = %s, details = %s",
            [text, text, text],
        )
    for where in ("dashboard/", "queue/", "worker/", f"worker/{worker.pk}/change/"):
        assert boss.get(f"/admin/django_jobs/{where}").status_code == 200
    for what in ("registered", "conf", "stats", "queues"):
        jobs("inspect", what)
        jobs("inspect", what, "--json")
    jobs("stats")
    jobs("list", "--queue", "nowhere")
    with pytest.raises(ResultTimeout):
        add.delay(1, 2).get(timeout=0)


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("status", ["STARTED", "SCHEDULED", "PENDING"])
def test_progress_of_any_kind_breaks_no_handle(odd: Any, status: str) -> None:
    handle = AsyncResult[Any](make(status=status, progress=odd).pk)
    assert (handle.state, handle.info, handle.progress) == (status, None, odd)


@pytest.mark.parametrize("done", [10**400, float("nan"), float("inf"), True, "1", None])
def test_progress_that_is_no_number_is_shown_as_it_is(done: Any) -> None:
    assert "<progress" not in progress_bar({"done": done, "total": 5})


def test_poll_of_the_state_reads_no_payload_that_it_does_not_tell(client: Client) -> None:
    row = make(Status.STARTED, progress={"done": 1, "total": 2, "message": ""}, result="x" * 1_000)
    url = AsyncResult(row.pk).status_url(result=True)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(url).json()["done"] == 1
    for name in ("args", "kwargs", "headers", "result"):
        sql = " ".join(query["sql"] for query in queries[1:])
        assert f'_job"."{name}"' not in sql.replace("`", '"')


def test_poll_costs_no_more_for_a_job_with_more_arguments(client: Client) -> None:
    numbers = []
    for size in (100, 10_000):
        row = make(Status.STARTED, progress={"done": 1, "total": 2, "message": ""},
                   kwargs={"token": [f"secret{n}" for n in range(size)]})  # fmt: skip
        url = AsyncResult(row.pk).status_url()
        client.get(url)
        numbers.append(calls(lambda url=url: client.get(url)))  # type: ignore[misc]
    assert numbers[1] <= 1.1 * numbers[0]


# --- who sees what --------------------------------------------------------------------------------


def running(new_worker: Any) -> tuple[Worker, Job]:
    worker = new_worker()
    return worker, make(Status.STARTED, worker_id=worker.pk, kwargs={"note": "diagnosis"})


def test_worker_s_page_shows_no_arguments_without_the_permission_for_jobs(
    client_of: Callable[..., Client], new_worker: Any
) -> None:
    worker, _row = running(new_worker)
    url = reverse("admin:django_jobs_worker_change", args=[worker.pk])
    html = client_of("view_worker").get(url).content.decode()
    assert "tests.jobs.add" in html
    assert "diagnosis" not in html


def test_worker_s_page_shows_arguments_with_the_permission(boss: Client, new_worker: Any) -> None:
    worker, _row = running(new_worker)
    url = reverse("admin:django_jobs_worker_change", args=[worker.pk])
    assert "diagnosis" in boss.get(url).content.decode()


@pytest.mark.parametrize("closed", ["rows", "model"])
def test_worker_s_page_asks_the_jobs_admin_of_its_site(
    rf: RequestFactory, new_worker: Any, closed: str
) -> None:
    worker, row = running(new_worker)

    class MyJobAdmin(JobAdminMixin, ModelAdmin):
        def has_view_permission(self, request: Any, obj: Any = None) -> bool:
            return closed != "model"

        def get_queryset(self, request: Any) -> Any:
            rows = super().get_queryset(request)
            return rows.none() if closed == "rows" else rows

    class MyWorkerAdmin(WorkerAdminMixin, ModelAdmin):
        pass

    site = admin.AdminSite("other")
    site.register(Job, MyJobAdmin)
    site.register(Worker, MyWorkerAdmin)
    request = rf.get("/")
    request.user = User.objects.create_superuser("root")
    shown = site.get_model_admin(Worker)._running(request, worker, closed != "model")  # type: ignore[attr-defined]
    assert "diagnosis" not in str(shown), row


# --- the terminal and the log ---------------------------------------------------------------------


def test_commands_escape_what_steers_the_terminal(new_worker: Any) -> None:
    worker = new_worker(name=f"w{ESCAPES}", details={"conf": {"a": ESCAPES}})
    row = make(Status.FAILURE, name=f"a{ESCAPES}", error_message=ESCAPES)
    Attempt.objects.create(job_id=row.pk, attempt=1, status=ESCAPES[:8], traceback=ESCAPES,
                           ended_at=row.ended_at)  # fmt: skip
    make(status=f"B{ESCAPES[:5]}")
    outputs = []
    for verb in (["inspect", "conf"], ["show", row.pk], ["workflow", row.pk], ["list"], ["stats"],
                 ["inspect", "stats"], ["inspect", "ping"], ["resume", f"q{ESCAPES}"],
                 ["inspect", "ping", "nobody"], ["retry", row.pk]):  # fmt: skip
        try:
            outputs.append(jobs(*verb))
        except CommandError as error:
            outputs.append(str(error))
    text = "".join(outputs)
    assert worker.pk
    for character in ("\x1b", "\x9b", "\u202e", "\r"):
        assert character not in text


def test_console_s_log_cannot_be_forged() -> None:
    format_ = log.ConsoleFormatter("%(levelname)s %(message)s").format
    text = f"bad\n2026-01-01 CRITICAL forged {ESCAPES}"
    record = logging.LogRecord("a", logging.ERROR, "", 1, "%s", (text,), None)
    lines = format_(record).split("\n")
    assert [line[:2] for line in lines] == ["ER", "  "]
    assert "\x1b" not in lines[1]
    try:
        raise ValueError(text)
    except ValueError:
        record.exc_info = sys.exc_info()
    record.exc_text = None
    assert all(line.startswith("  ") for line in format_(record).split("\n")[1:])


def test_log_line_of_a_job_is_one_line(
    caplog: pytest.LogCaptureFixture, work: Any, settings: Any
) -> None:
    caplog.set_level(logging.INFO, "django_jobs")
    make(Status.PENDING, name="a\n2026 CRITICAL forged", ended_at=None)
    work()
    assert "forged" in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_log_line_of_an_errback_names_it_on_one_line(
    caplog: pytest.LogCaptureFixture, work: Any, registered: Any
) -> None:
    job(name="tests.fails", max_retries=0)(fails_at_once).apply_async(
        link_error=signature("a\n2026 CRITICAL forged\x1b[31m")
    )
    work()
    (record,) = [each for each in caplog.records if "errback not" in each.getMessage()]
    first = record.getMessage().split("\n")[0]
    assert first.endswith(r"errback=a\n2026 CRITICAL forged\x1b[31m")


def fails_at_once() -> None:
    raise ValueError


# --- files ----------------------------------------------------------------------------------------


def test_pidfile_is_written_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    for old in ("", "no number", "999999999", f"{os.getpid()}\n"):
        path.write_text(old)
        with pidfile(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"
        assert not path.exists()
    with pytest.raises(CommandError, match="cannot be written"), pidfile(str(tmp_path / "a/b")):
        pass


def test_pidfile_of_a_running_process_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(CommandError, match="running process"), pidfile(str(path)):
        pass
    assert path.read_text() == f"{os.getppid()}\n"


def test_pidfile_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "pid"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(CommandError, match="is a link"), pidfile(str(path)):
        pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("how", ["pipe", "link to a pipe"])
def test_pidfile_that_is_a_pipe_does_not_hang(tmp_path: Path, how: str) -> None:
    path = tmp_path / "pid"
    os.mkfifo(tmp_path / "fifo" if "link" in how else path)
    if "link" in how:
        path.symlink_to(tmp_path / "fifo")
    with pytest.raises(CommandError, match="not a regular file"), pidfile(str(path)):
        pass


def test_pidfile_of_another_process_is_left(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pidfile(str(path)):
        path.write_text(f"{os.getppid()}\n")
    assert path.exists()


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Retry", "Ignore", "Reject", "Snooze", "Replaced"])
def test_row_cannot_steer_the_job_that_waits_for_it(name: str) -> None:
    error_class = f"django_jobs.exceptions.{name}"
    row = make(Status.FAILURE, error_class=error_class, error_message="x")
    Attempt.objects.create(job_id=row.pk, attempt=1, status="FAILURE", error_class=error_class,
                           error_args=["x"], ended_at=row.ended_at)  # fmt: skip
    with pytest.raises(exceptions.JobFailed):
        AsyncResult(row.pk).get()


def test_retry_that_the_body_made_itself_counts(registered: Any, run: Any, work: Any) -> None:
    @job(name="hostile.again", max_retries=1)
    def again() -> None:
        raise exceptions.Retry("please", countdown=0)

    run(again)
    Job.objects.update(status=Status.PENDING)
    (outcome,) = work()
    assert outcome.status == Status.FAILURE
    assert outcome.retries == 1


def test_names_in_rows_import_nothing(work: Any) -> None:
    """5,000 names, real and made up, are looked up as job functions and as exceptions."""
    chosen = random.Random(7)
    parts = [
        "os", "system", "subprocess", "Popen", "antigravity", "this", "tests", "jobs", "__import__",
        "ctypes.util", "xmlrpc.server", "turtle", "idlelib.run", "..", "a b", "\u202e", "builtins",
        "django_jobs", "eval", "exec", "importlib", "import_module", "wsgiref.handlers", "lib2to3",
        "json", "JSONDecodeError", "DoesNotExist", "models", "x" * 40,
    ]  # fmt: skip
    names = [".".join(chosen.choices(parts, k=chosen.randint(1, 6)))[:250] for _ in range(5_000)]
    fixed = [
        "antigravity.fly",
        "this.s",
        "turtle.Turtle",
        "tests.not_loaded.f",
        "xmlrpc.client.Fault",
    ]
    names[: len(fixed)] = fixed
    assert not {"antigravity", "turtle", "this"} & set(sys.modules)
    before = set(sys.modules)
    for name in names:
        assert registry.find(name) is None or name in registry._functions
    rows = [
        Job(pk=uuid.uuid4(), name=name, queue="default", status=Status.FAILURE, error_class=name,
            error_message="x", enqueued_at=ended, ended_at=ended)
        for ended in [make().enqueued_at] for name in names
    ]  # fmt: skip
    Job.objects.bulk_create(rows[:500])
    Attempt.objects.bulk_create(
        Attempt(job_id=row.pk, attempt=1, status="FAILURE", error_class=row.error_class,
                error_args=["x"], ended_at=row.ended_at)
        for row in rows[:500]
    )  # fmt: skip
    from django_jobs.define.rebuilt_errors import loaded_class
    from django_jobs.workflows.remote_exception import exception_of

    for name in names:
        loaded_class(name)
    for row in Job.objects.filter(status=Status.FAILURE)[:500]:
        assert isinstance(exception_of(row), Exception)
    Job.objects.filter(status=Status.FAILURE).update(status=Status.PENDING, ended_at=None)
    for number, row in enumerate(Job.objects.filter(status=Status.PENDING)[:100]):
        field = ("options", "headers", "kwargs")[number % 3]
        Job.objects.filter(pk=row.pk).update(
            **{field: {"link_error": [["", {"task": row.name, "args": []}]], "base": row.name}}
        )
    work(limit=500, environment=Environment(worker_name="w"))
    assert set(sys.modules) - before <= {"django_jobs.workflows.remote_exception"}


# --- labels and digests ---------------------------------------------------------------------------


def test_queues_without_end_count_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histogram, "MOST_KEYS", 3)
    for number in range(8):
        one = histogram.Tally(sent=1)
        row = Measurement(starts_at=60 * number, queue=f"q{number}", name=f"f{number % 2}")
        row.tally = one
        row.save()
    before = totals("default")
    assert sum(found.sent for found in before.values()) == 8
    assert set(before) <= {("q0", "f0"), ("q1", "f1"), ("q2", "f0"), ("(others)", "f0"),
                           ("(others)", "f1")}  # fmt: skip
    rollup.run_once("default", uuid.uuid4())
    assert {key: one.sent for key, one in totals("default").items()} == {
        key: one.sent for key, one in before.items()
    }
    assert Measurement.objects.filter(seconds=Measurement.TOTAL).count() == len(before)


def test_digest_of_a_key_needs_the_secret_key(settings: Any) -> None:
    first = key_values.of_value("f", "4711")
    assert key_values.of_value("f", "4711") == first
    settings.SECRET_KEY = "another"
    assert key_values.of_value("f", "4711") != first
    assert key_values.of_function("f" * 200) == key_values.of_function("f" * 200)
    assert django_settings.SECRET_KEY == "another"


@pytest.mark.parametrize("given", [
    {"METRICS_TOKEN": b"bytes-token-secret-1"}, {"ENQUEUE_URL": ["bytes-token-secret-1"]},
    {"ENCRYPTION_KEYS": "bytes-token-secret-1"}, {"SCHEDULES": ["bytes-token-secret-1"]},
    ["bytes-token-secret-1"],
])  # fmt: skip
def test_check_of_the_settings_tells_no_secret(settings: Any, given: Any) -> None:
    settings.DJANGO_JOBS = given
    problems = conf.problems()
    assert problems
    assert "bytes-token-secret-1" not in str(problems)
