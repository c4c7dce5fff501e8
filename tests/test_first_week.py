"""What people type who come from Celery, or who have just begun: it works, or says what to type."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import logging
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command, get_commands
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_jobs import job, log
from django_jobs.display.attempt_numbers import attempt_line
from django_jobs.management.commands import runworker
from django_jobs.models import Job
from django_jobs.worker.options import WorkerOptions
from tests import jobs


def texts(number: str) -> list[str]:
    found = [
        each for each in run_checks(tags=["django_jobs"]) if each.id == f"django_jobs.{number}"
    ]
    return [f"{each.msg} {each.hint}" for each in found]


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_public_addresses_answer_under_login_required(settings: Any, client: Client) -> None:
    middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    settings.DJANGO_JOBS = {"METRICS_TOKEN": "0123456789abcdef"}
    assert client.get(jobs.add.delay(1).status_url()).json()["status"] == "PENDING"
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    assert client.get(reverse("django_jobs:metrics"), headers=headers).status_code == 200
    assert client.get(reverse("django_jobs:metrics")).status_code == 401


@pytest.mark.django_db
def test_metrics_without_their_package_say_what_to_install(
    settings: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_JOBS = {"METRICS_TOKEN": "0123456789abcdef"}
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    response = client.get(reverse("django_jobs:metrics"), headers=headers)
    assert response.status_code == 503
    assert "install the extra 'prometheus'" in response.text


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        ({"shop.*": {"que": "x"}}, "has 'que', and only 'queue' and 'priority' are allowed"),
        ([{"shop.*": {"routing_key": "x"}}], "Celery's routing_key is 'queue' here"),
        ({"shop.*": "mail"}, "must be a dict with 'queue' and 'priority', got 'mail'"),
        ({"shop.*": {"queue": "a,b"}}, "must not have a comma"),
        ({"shop.*": {"priority": "high"}}, "priority must be a whole number"),
        (["mail"], "must be a dict"),
    ],
)
def test_wrong_route_is_an_error_of_check(settings: Any, routes: Any, text: str) -> None:
    settings.DJANGO_JOBS = {"ROUTES": routes}
    (told,) = texts("E013")
    assert text in told


def test_right_routes_pass_the_check(settings: Any) -> None:
    routes = [{"a.*": {"queue": "x", "priority": 3}, "b.*": {}}, lambda name, args, kwargs: None]
    settings.DJANGO_JOBS = {"ROUTES": routes}
    assert not texts("E013")


def test_celery_s_settings_are_warned_of(settings: Any) -> None:
    assert not texts("W005")
    settings.CELERY_TASK_ALWAYS_EAGER = True
    settings.CELERY_BEAT_SCHEDULE = {}
    told = " ".join(texts("W005"))
    assert "CELERY_TASK_ALWAYS_EAGER is Celery's" in told
    assert "Use DJANGO_JOBS['SCHEDULES']." in told


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"EAGER": "yes"}, "Use True or False or 'raise'."),
        ({"EAGER": 1}, "Use True or False or 'raise'."),
        ({"RESULT_EXPIRE": 3}, "Did you mean 'RESULT_EXPIRES'?"),
        ({"ROUTES": 3}, "Use a dict or a list or a tuple."),
    ],
)
def test_wrong_setting_says_what_to_write(settings: Any, given: Any, hint: str) -> None:
    settings.DJANGO_JOBS = given
    (told,) = texts("E001")
    assert hint in told


def test_token_of_the_wrong_type_is_not_shown(settings: Any) -> None:
    settings.DJANGO_JOBS = {"METRICS_TOKEN": b"bytes-token-secret-1"}
    (told,) = texts("E001")
    assert "got bytes" in told
    assert "secret-1" not in told


def test_another_app_s_command_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not texts("W004")
    get_commands()
    monkeypatch.setitem(get_commands(), "runworker", "channels")
    (told,) = texts("W004")
    assert "`manage.py runworker` is the command of channels" in told
    assert "`manage.py jobs worker`" in told


@dataclasses.dataclass
class Shipment:
    id: int
    country: dataclasses.InitVar[str]


@pytest.mark.parametrize(
    ("hint", "told", "advice"),
    [
        (
            "Decimal",
            "Decimal, whose names only type checkers see",
            "outside of `if TYPE_CHECKING:`",
        ),
        ("list[uuid.Nowhere | UUID]", "list[uuid.Nowhere | UUID], whose names", "Import them"),
        ("Shipment", "Shipment, which takes 'country' and keeps no such field.", "InitVar"),
        (list[Shipment | None], "Shipment, which takes 'country'", "Make it a field"),
    ],
)
def test_annotation_that_brings_no_value_back_is_warned_of(
    registered: dict[str, Any], hint: Any, told: str, advice: str
) -> None:
    def remind(self: Any, note: str, when: Any, *, limit: int = 0) -> None: ...

    remind.__annotations__["when"] = hint
    job(name="shop.jobs.remind", bind=True)(remind)
    (text,) = texts("W006")
    assert text.startswith(f"shop.jobs.remind annotates its parameter 'when' as {told}")
    assert advice in text


@pytest.mark.parametrize(
    "hint",
    [
        str, datetime.date, "datetime.date | None", list[uuid.UUID], datetime.date | str, Any,
        Literal["a"], list[int], "Nowhere", "int", decimal.Decimal,
    ],
)  # fmt: skip
def test_parameter_that_arrives_as_annotated_is_not_warned_of(
    registered: dict[str, Any], hint: Any
) -> None:
    def remind(when: Any) -> datetime.date: ...  # type: ignore[empty-body]

    remind.__annotations__["when"] = hint
    job(name="shop.jobs.remind")(remind)
    assert not texts("W006")


# --- command lines ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-P", "eventlet"], "Use gevent, which does the same, or asyncio"),
        (["-P", "procs"], "there is no pool 'procs', but prefork, threads, asyncio, gevent, solo"),
        (["-A", "shop"], "-A is Celery's: Django's settings name the project"),
        (["-E"], "-E is Celery's: all events are rows"),
        (["-O", "fair"], "-O is Celery's"),
        (["-f", "x.log"], "the worker logs to stderr"),
        (["--without-gossip"], "there is no gossip"),
    ],
)
def test_celery_s_arguments_say_what_to_type(arguments: list[str], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        call_command("runworker", *arguments)


def test_celery_s_names_of_arguments_are_taken() -> None:
    command = runworker.Command()
    parser = command.create_parser("manage.py", "runworker")
    given = vars(
        parser.parse_args(["--max-tasks-per-child", "7", "--hostname", "w1@%h", "-c", "2"])
    )
    options = command._options(given)
    assert options.max_jobs == 7
    assert options.name_of(1) == f"{options.name}-1"
    assert options.name.startswith("w1@")
    assert "%" not in options.name


def test_name_of_a_process_may_hold_its_number() -> None:
    assert WorkerOptions(name="w%i@host").name_of(3) == "w3@host"
    assert WorkerOptions(name="host").name_of(3) == "host-3"


@pytest.mark.django_db
def test_worker_and_beat_are_verbs_of_jobs_too(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("jobs", "beat", "--once")
    assert "0 schedules were due" in capsys.readouterr().out
    with pytest.raises(CommandError, match="at least 1"):
        call_command("jobs", "worker", "--concurrency", "0")


@pytest.mark.django_db
def test_worker_without_tables_says_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", lambda *_: ["auth_user"])
    with pytest.raises(CommandError, match=r"run .manage.py migrate. first"):
        call_command("runworker", "--burst")


@pytest.mark.once
def test_import_before_setup_says_what_to_call() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from django_jobs import job"],
        env={"DJANGO_SETTINGS_MODULE": "testproject.settings", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "was imported before Django was set up. Call django.setup() first" in done.stderr


# --- logging ------------------------------------------------------------------------------------


@pytest.fixture
def loggers() -> Iterator[tuple[logging.Logger, logging.Logger]]:
    """The root logger and the package's, as in a process of its own."""
    both = logging.getLogger(), logging.getLogger("django_jobs")
    before = [(each, each.handlers[:], each.level) for each in both]
    for each in both:
        each.handlers[:], each.level = [], logging.NOTSET
    both[0].setLevel(logging.WARNING)
    yield both
    for each, handlers, level in before:
        each.handlers[:] = handlers
        each.setLevel(level)


def test_project_s_logging_is_left_alone(settings: Any, loggers: Any) -> None:
    root, package = loggers
    root.handlers.clear()  # pytest's
    handlers = {"file": {"class": "logging.NullHandler"}}
    given = {"version": 1, "disable_existing_loggers": False, "handlers": handlers}
    settings.LOGGING = given | {"loggers": {"app": {"handlers": ["file"]}}}
    log.set_up_console(None)
    assert (root.handlers, root.level) == ([], logging.WARNING)
    assert (len(package.handlers), package.level) == (1, logging.INFO)
    settings.LOGGING = given | {"root": {"handlers": ["file"], "level": "WARNING"}}
    package.handlers.clear()
    package.setLevel(logging.NOTSET)
    root.addHandler(logging.NullHandler())
    log.set_up_console(None)
    assert (package.handlers, package.level, root.level) == ([], logging.NOTSET, logging.WARNING)
    log.set_up_console("DEBUG")
    assert (package.level, root.level) == (logging.DEBUG, logging.WARNING)


def test_without_logging_all_is_shown(settings: Any, loggers: Any) -> None:
    root, package = loggers
    root.handlers.clear()
    settings.LOGGING = {}
    log.set_up_console(None)
    assert (len(root.handlers), root.level, package.level) == (1, logging.INFO, logging.INFO)


# --- retries ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("registered")
def test_attempts_are_told_of_many_only_where_something_retries() -> None:
    @job(autoretry_for=[OSError])
    def retried() -> None: ...

    @job
    def plain() -> None: ...

    def shown(function: Any, retries: int = 0) -> str:
        return attempt_line(Job(name=function.name, started_at=timezone.now(), retries=retries))

    assert [shown(retried), shown(retried, 1), shown(plain), shown(plain, 1)] == [
        "1/4", "2/4", "1", "2/4",
    ]  # fmt: skip
