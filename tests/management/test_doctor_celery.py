"""``jobs doctor-celery`` on a shop with Celery, and on small sources."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import CommandError, call_command

from django_jobs.define.options import JobOptions
from django_jobs.from_celery import options, settings, signals
from django_jobs.from_celery.table import Rule, find, plain
from django_jobs.management.jobs.doctor_celery.finding import Section
from django_jobs.management.jobs.doctor_celery.symbols import PACKAGES
from docs import celery_tables
from tests.waiting import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.once]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHOP = (HERE / "celery_shop.txt").read_text()
SCREEN = (HERE / "celery_shop_findings.txt").read_text()

Found = list[dict[str, Any]]


def unpack(text: str, folder: Path) -> Path:
    """Write the files of *text*, in which ``=== path`` begins each file."""
    for part in text.split("=== ")[1:]:
        name, _newline, body = part.partition("\n")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
    return folder


def doctor(*arguments: object) -> tuple[int, str]:
    out, code = io.StringIO(), 0
    try:
        call_command("jobs", "doctor-celery", *map(str, arguments), stdout=out, no_color=True)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue()


@pytest.fixture(autouse=True)
def nothing_set(settings: Any) -> None:
    settings.DJANGO_JOBS = {}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return unpack(SHOP, tmp_path / "shop")


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return what becomes of what, in the files of a text or in one module."""

    def found(text: str, *, name: str = "shop/tasks.py") -> dict[str, str]:
        unpack(text if text.startswith("=== ") else f"=== {name}\n{text}", tmp_path / "source")
        told: Found = json.loads(doctor(tmp_path / "source", "--json")[1])["findings"]
        return {each["what"]: each["becomes"] for each in told}

    return found


def steps(found: Found) -> str:
    lines = (f"{each['file']}:{each['line']}: {each['what']} [{each['step']}]" for each in found)
    return "\n".join(lines) + "\n"


# --- a whole project ------------------------------------------------------------------------------


def test_every_finding_of_the_shop_has_its_file_line_and_step(shop: Path) -> None:
    code, told = doctor(shop, "--json")
    answer = json.loads(told)
    assert steps(answer["findings"]) == SCREEN
    assert (code, answer["files"]) == (1, 19)
    found = answer["findings"]
    assert [(each["file"], each["line"]) for each in found] == sorted(
        (each["file"], each["line"]) for each in found
    )


def test_screen_shows_the_line_the_advice_and_the_section(shop: Path) -> None:
    code, screen = doctor(shop)
    assert code == 1
    assert (
        "shop/settings.py:41: CELERYD_CONCURRENCY\n"
        "    Use DJANGO_JOBS['WORKER']['CONCURRENCY'], or runworker -c. "
        "(step 2, celery.html#settings)\n"
    ) in screen
    assert (
        "    Put @job(bind=True, autoretry_for=(OSError,), max_retries=5, default_retry_delay=30, "
        "retry_backoff=False) over it, and leave it until the queues are empty. "
    ) in screen
    assert (
        "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP\n"
        "    Delete it: a worker waits for the database, at its start and later. "
        "(step 6, celery.html#settings)\n"
    ) in screen
    assert re.search(r"\nTo do: 100\. Files read: 19\.\n  step 2: \d+\n  step 4: 7\n", screen)


def test_project_without_celery_ends_with_code_0(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text("from django_jobs import job\n\n@job\ndef f(): ...\n")
    assert doctor(tmp_path) == (0, "Nothing of Celery is left. Files read: 1.\n")
    code, told = doctor(tmp_path, "--json")
    assert (code, json.loads(told)) == (0, {"findings": [], "files": 1})


def test_project_is_searched_at_its_base_dir(shop: Path, settings: Any) -> None:
    settings.BASE_DIR = str(shop)
    assert "shop/celery.py:9: Celery(…)" in doctor()[1]


def test_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere' is not a folder"):
        doctor(tmp_path / "nowhere")


def test_several_folders_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        unpack("=== tasks.py\nimport celery\n", tmp_path / name)
    screen = doctor(tmp_path / "a", tmp_path / "b")[1]
    assert [f"{tmp_path}/{name}/tasks.py:1: import of celery" in screen for name in "ab"] == [
        True,
        True,
    ]


def test_nothing_of_the_project_is_imported(tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    source = f"import celery\nopen({str(mark)!r}, 'w')\nraise SystemExit(7)\n"
    unpack(f"=== tasks.py\n{source}=== shop/settings.py\n{source}", tmp_path / "source")
    assert doctor(tmp_path / "source")[0] == 1
    assert not mark.exists()


def test_file_that_does_not_parse_is_named(
    found: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    found("=== a.py\nx = (\n=== b.py\nx = '\0'\n=== c.py\nimport celery\n")
    (tmp_path / "source" / "gone.py").symlink_to("nowhere")
    (tmp_path / "source" / "large.py").write_text("import celery\n" * 200_000)
    os.mkfifo(tmp_path / "source" / "pipe.yml")
    lines = doctor(tmp_path / "source")[1].splitlines()
    assert lines[0] == "a.py:1: The file does not parse (SyntaxError)"
    assert lines[2].startswith("b.py")
    assert "The file does not parse" in lines[2]
    assert lines[4] == "c.py:1: import of celery"
    assert lines[-3] == "To do: 3. Files read: 3."


def test_file_that_cannot_be_read_is_named(
    found: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found("x = 1\n")

    def refuse(path: Path, mode: str = "") -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "open", refuse)  # root may read every file
    screen = doctor(tmp_path / "source")[1]
    assert screen.startswith("shop/tasks.py: The file cannot be read (PermissionError)\n")


def test_requirements_of_powershell_are_read(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("Django==5.2\ncelery==5.4\n", encoding="utf-16")
    assert "requirements.txt:2: package celery\n" in doctor(tmp_path)[1]


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("celery", "django_celery_beat")),
    reason="Celery and django-celery-beat are not installed",
)
def test_shop_with_its_own_settings_tells_of_rows_of_celery_s_beat(shop: Path) -> None:
    if django.VERSION >= (6, 1):
        pytest.skip("django-celery-beat allows no Django 6.1")

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TEST")}
        environment = {**kept, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "shop.settings"}
        return subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", *arguments],
            env=environment, cwd=shop, capture_output=True, text=True, check=False, timeout=LONG,
        )  # fmt: skip

    away = json.loads(manage("jobs", "doctor-celery", "--json").stdout)["findings"]
    (row,) = [each for each in away if "periodictask" in each["file"]]
    assert row["what"] == "The table cannot be read (OperationalError)"
    made = """
from django_celery_beat.models import IntervalSchedule, PeriodicTask
ten = IntervalSchedule.objects.create(every=10, period="minutes")
PeriodicTask.objects.create(name="every ten", task="orders.tasks.total", interval=ten, args="[1]")
PeriodicTask.objects.create(name="ready", task="django_jobs.map", interval=ten, exchange="x",
    args='["orders.tasks.total", [1]]')
"""
    assert manage("migrate", "-v", "0").returncode == 0
    assert manage("shell", "-v", "0", "-c", made).returncode == 0
    told = manage("jobs", "doctor-celery", "--json")
    found = json.loads(told.stdout)["findings"]
    rows = {each["what"]: each for each in found if "periodictask" in each["file"]}
    # Of the others no file is different.
    assert steps([each for each in found if each not in rows.values()]) == SCREEN
    unknown = rows["row 'every ten' of orders.tasks.total"]
    assert unknown["becomes"].startswith("It would be left out: No job function is named 'orders.")
    assert (unknown["file"], unknown["step"]) == ("django_celery_beat_periodictask", 4)
    ready = rows["row 'ready' of django_jobs.map"]
    assert "import-celery-beat copies it" in ready["becomes"]
    assert "exchange and routing_key have no effect" in ready["becomes"]
    manage("jobs", "import-celery-beat")
    left = manage("jobs", "doctor-celery").stdout
    assert "row 'every ten'" in left
    assert "row 'ready'" not in left


BEFORE = """
=== shop/celery.py
from celery import Celery
app = Celery("shop")
=== shop/settings.py
CELERY_TASK_TIME_LIMIT = 60
CELERY_BROKER_URL = "redis://"
CELERY_BEAT_SCHEDULE = {"nightly": {"task": "shop.tasks.total", "schedule": 60.0}}
=== shop/tasks.py
from celery import shared_task
@shared_task
def total(): ...
def place():
    total.delay_on_commit()
"""
DURING = (
    BEFORE.replace("@shared_task", "@job\n@shared_task")
    .replace("_on_commit", "")
    .replace("import shared_task", "import shared_task\nfrom django_jobs import job")
)
MOVED = DURING.replace("CELERY_BEAT_SCHEDULE", "OTHER")
AFTER = "=== shop/tasks.py\nfrom django_jobs import job\n@job\ndef total(): ...\n"


def test_steps_of_a_migration_leave_less_to_do(tmp_path: Path, settings: Any) -> None:
    def steps_left(source: str, name: str) -> list[int]:
        code, told = doctor(unpack(source, tmp_path / name), "--json")
        found = [each["step"] for each in json.loads(told)["findings"]]
        assert code == bool(found)
        return sorted(set(found))

    assert steps_left(BEFORE, "before") == [2, 4, 6]
    settings.DJANGO_JOBS = {"WORKER": {"TIME_LIMIT": 60}}
    assert steps_left(DURING, "during") == [4, 6]
    entry = {"job": "tests.jobs.add", "schedule": 60.0}
    settings.DJANGO_JOBS = {"WORKER": {"TIME_LIMIT": 60}, "SCHEDULES": {"nightly": entry}}
    assert (
        "beat entry 'nightly' of shop.tasks.total\n"
        "    Delete it here, or it runs twice: DJANGO_JOBS['SCHEDULES'] has it. (step 4"
    ) in doctor(tmp_path / "during")[1]
    assert (
        "CELERY_TASK_TIME_LIMIT\n    Delete it when no Celery worker needs it: "
        "DJANGO_JOBS['WORKER']['TIME_LIMIT'] is set. (step 6"
    ) in doctor(tmp_path / "during")[1]
    test = "settings.CELERY_TASK_TIME_LIMIT = 3\n"
    assert steps_left(f"=== test_x.py\n{test}", "of a test") == [2]
    assert steps_left(MOVED, "moved") == [6]
    assert steps_left(AFTER, "after") == []


# --- what is found --------------------------------------------------------------------------------


def test_folders_of_libraries_are_left_out(found: Callable[..., dict[str, str]]) -> None:
    assert not found(
        "=== .tox/x.py\nimport celery\n=== env/pyvenv.cfg\n=== env/x.py\nimport celery\n"
        "=== lib/site-packages/x.py\nimport celery\n=== node_modules/x.py\nimport celery\n"
    )


def test_both_decorators_leave_the_last_step(found: Callable[..., dict[str, str]]) -> None:
    told = found(
        "from celery import shared_task as task\nimport django_jobs\n"
        "@django_jobs.job(bind=True)\n@task(bind=True)\ndef f(self): ...\n"
    )
    assert told == {
        "import of celery.shared_task": "Delete it: job of django_jobs takes its place.",
        "@task(bind=True) of f()": "Delete this line when Celery's queues are empty: @job stands "
        "over it.",
    }


def test_sentry_gets_another_integration(found: Callable[..., dict[str, str]]) -> None:
    told = found(
        "import sentry_sdk\nfrom sentry_sdk.integrations.celery import CeleryIntegration\n"
        "import sentry_sdk.integrations.celery\nfrom sentry_sdk.crons import monitor\n"
        "sentry_sdk.init(integrations=[CeleryIntegration(monitor_beat_tasks=True)])\n"
        "sentry_sdk.set_tag('a', 1)\n@monitor('x')\ndef f(): sentry_sdk.capture_exception()\n",
        name="shop/settings.py",
    )
    becomes = (
        "Use DjangoJobsIntegration of django_jobs.contrib.sentry, with monitor_schedules= for "
        "monitor_beat_tasks=; keep both while both decorators stand."
    )
    assert set(told.values()) == {becomes}
    assert [what.partition(" (")[0] for what in told] == [
        "import of sentry_sdk.integrations.celery.CeleryIntegration",
        "import of sentry_sdk.integrations.celery",
    ]


@pytest.mark.parametrize(
    ("decorator", "text"),
    [
        ("@shared_task(acks_late=True)", "Put @job(acks_late=True) over it"),
        ("@shared_task", "acks_late=False keeps Celery's at most once"),
        ("@shared_task(autoretry_for=[OSError])", "@job(autoretry_for=[OSError], retry_backoff=F"),
        ("@shared_task(autoretry_for=[OSError], retry_backoff=3)", "[OSError], retry_backoff=3) o"),
        ("@shared_task(retry_kwargs={'max_retries': 2})", "@job(max_retries=2) over it"),
        (
            "@shared_task(autoretry_for=[E], retry_backoff=4, retry_kwargs={'countdown': 2})",
            "@job(autoretry_for=[E], retry_backoff=4) over it",
        ),
        ("@shared_task(retry_kwargs=POLICY)", "@job(max_retries=POLICY['max_retries']) over it"),
        ("@shared_task(track_started=True)", "track_started: STARTED is always recorded"),
        ("@shared_task(own=True)", "own: it has no counterpart; leave it out."),
        ("@shared_task(rate_limit='1/s')", "rate_limit holds over all workers."),
        ("@shared_task(base=T)", "The options of T go into @job, and its hooks into a class of"),
    ],
)
def test_decorator_becomes_job(
    found: Callable[..., dict[str, str]], decorator: str, text: str
) -> None:
    told = found(f"from celery import shared_task\n{decorator}\ndef f(): ...\n")
    (advice,) = [becomes for what, becomes in told.items() if what.startswith("@shared_task")]
    assert text in advice


def test_project_that_acknowledges_late_hears_nothing_of_it(
    found: Callable[..., dict[str, str]], settings: Any
) -> None:
    settings.CELERY_TASK_ACKS_LATE = True
    told = found("from celery import shared_task\n@shared_task\ndef f(): ...\n")
    assert "at most once" not in told["@shared_task of f()"]


def test_setting_from_elsewhere_is_told_without_a_line(
    found: Callable[..., dict[str, str]], settings: Any, tmp_path: Path
) -> None:
    settings.CELERY_BROKER_URL = "redis://:s3cret@host/0"
    settings.CELERY_UNHEARD_OF = 3
    assert "CELERY_BROKER_URL" in found("x = 1\n")
    screen = doctor(tmp_path / "source")[1]
    assert "(settings): CELERY_BROKER_URL\n" in screen
    assert "s3cret" not in screen
    assert "UNHEARD" not in screen


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("app = Celery('x', broker='redis://:s3cret@h')\n", "broker= of Celery()"),
        ("app = Celery('x')\napp.conf['task_routes'] = {}\n", "app.conf['task_routes']"),
        ("app = Celery('x')\napp.conf.update({'task_routes': {}})\n",
         "'task_routes' of app.conf.update()"),
        ("class Config:\n    task_routes = {}\napp = Celery('x')\napp.config_from_object(Config)\n",
         "task_routes"),
        (("app = Celery('x')\napp.config_from_object('shop.conf:settings', namespace='Q')\n"
         "Q_TASK_ROUTES = {}\n"), "Q_TASK_ROUTES"),
        ("class App(Celery): ...\napp = App('x')\napp.send_task('f')\n", "app.send_task"),
        ("def make():\n    queue = Celery('x')\n    queue.control.ping()\n", "queue.control.ping"),
        ("from celery import current_app\ncurrent_app.send_task('f')\n", "current_app.send_task"),
        ("import celery\ncelery.current_app.tasks['f']\n", "celery.current_app.tasks"),
        ("CELERY_BEAT_SCHEDULE = {}\nCELERY_BEAT_SCHEDULE['a'] = {'task': 'f', 'schedule': 3}\n",
         "beat entry 'a' of f"),
        ("CELERYBEAT_SCHEDULE = {}\nCELERYBEAT_SCHEDULE.update({'a': {'task': 'f'}})\n",
         "beat entry 'a' of f"),
        ("f.apply_async_on_commit()\n", "f.apply_async_on_commit()"),
        ("class T:\n    def f(self):\n        self.retry(args=[1])\n", "args= of self.retry()"),
        ("f.s('s3cret').freeze()\n", "f.s(…).freeze()"),
        ("f.signature(('s3cret',), exchange='x')\n", "exchange= of f.signature()"),
        ("from celery import shared_task\nf = shared_task(g)\n", "shared_task()"),
        ("from celery import shared_task\nf = shared_task(bind=True)(g)\n", "shared_task()"),
        ("import celery\n@celery.shared_task\ndef f():\n    f.retry()\n", "f.retry"),
        ("LOGGING = {'loggers': {'celery.task': {}, '': {}}}\n", "logger 'celery.task'"),
        ("import logging\nlogging.getLogger('celery')\n", "logger 'celery'"),
        ("path('p/', include('celery_progress.urls'))\n", "name 'celery_progress.urls'"),
        ("INSTALLED_APPS = ['djcelery']\n", "name 'djcelery'"),
        ("CELERY = {'task_routes': {}}\n", "'task_routes' of CELERY"),
        ("from celery.signals import task_retry\n@receiver([task_retry])\ndef f(): ...\n",
         "receiver of f()"),
        (("from opentelemetry.instrumentation.celery import CeleryInstrumentor\n"
          "CeleryInstrumentor().instrument()\n"),
         "import of opentelemetry.instrumentation.celery.CeleryInstrumentor (line 3)"),
        ("import opentelemetry.instrumentation.celery as traced\n",
         "import of opentelemetry.instrumentation.celery"),
    ],
)  # fmt: skip
def test_use_of_celery_is_found(
    found: Callable[..., dict[str, str]], source: str, what: str
) -> None:
    told = found(f"from celery import Celery\n{source}")
    assert what in told
    assert "s3cret" not in str(told)


@pytest.mark.parametrize(
    "source",
    [
        "from app.models import task\nfrom app import control\ncontrol.ping()\ntask.send_task()\n",
        "pool.apply_async(f, (1,), callback=g)\n",
        "BROKER_FEE = 3\nCELEBRATION = 1\ncelery = 'a vegetable'\n",
        "from django.dispatch import receiver\nfrom shop.events import ended\nended.connect(f)\n",
        "requests.Session().request.hostname\nrequest.session.set(x=1)\n",
        "transaction.on_commit(lambda: cache.clear())\n",
        (
            "from django_jobs import AsyncResult, job\nimport django_jobs\nAsyncResult(1)\n"
            "django_jobs.AsyncResult(1)\n"
        ),
        "logging.getLogger('shop.celery')\nx = {'celery': 3}\n",
        (
            "import opentelemetry\nfrom opentelemetry import trace\n"
            "from opentelemetry.instrumentation.django import DjangoInstrumentor\n"
        ),
        "def celery_app(): ...\n",
        "cache.set('x', 1, compression='zlib', retries=3)\n",
        "import django_jobs\ndjango_jobs.add_periodic_task(60, f.s())\n",
        f"x = y{'.filter(a=1)' * 300}\n",
        "class Task: ...\nclass Mail(Task):\n    abstract = True\n",
        (
            "=== flower/__init__.py\n=== flower/models.py\nclass Flower: ...\n"
            "=== shop/views.py\nfrom flower.models import Flower\nfrom flower import models\n"
        ),
        (
            "=== app/__init__.py\n=== app/tasks.py\ndef f(): ...\n"
            "=== app/views.py\nfrom app.tasks import f\nimport app\napp.tasks.f()\n"
        ),
        "=== requirements.txt\nDjango\ncelery-free\n# celery\n=== notes.txt\ncelery\n",
        "=== Makefile\nvegetables: celery\n\techo beat the eggs\n",
    ],
)
def test_what_is_not_celery_s_is_left_alone(
    found: Callable[..., dict[str, str]], source: str
) -> None:
    assert found(source) == {}


def test_calls_on_commit_stay_where_the_jobs_are_in_another_database(
    found: Callable[..., dict[str, str]], settings: Any
) -> None:
    source = "transaction.on_commit(f.delay)\nf.delay_on_commit()\n"
    assert list(found(source)) == ["transaction.on_commit(f.delay)", "f.delay_on_commit()"]
    settings.DJANGO_JOBS = {"DATABASE": "reports"}
    assert found(source) == {
        "f.delay_on_commit()": "Use transaction.on_commit() with delay: the jobs are in another "
        "database."
    }


def test_one_call_of_an_app_is_one_finding(found: Callable[..., dict[str, str]]) -> None:
    told = found(
        "from celery import Celery\nqueue = Celery('x')\nqueue.AsyncResult(1)\n"
        "queue.add_periodic_task(60, f.s(), name='a')\n"
    )
    assert [what for what in told if what.startswith("queue.")] == [
        "queue.AsyncResult",
        "queue.add_periodic_task() of 'a'",
    ]


def test_old_name_of_a_setting_in_conf_has_the_rule_of_the_present_one(
    found: Callable[..., dict[str, str]],
) -> None:
    told = found(
        "from celery import current_app\ncurrent_app.conf.CELERY_ALWAYS_EAGER = True\n"
        "current_app.conf.update(BROKER_URL='x', CELERYD_CONCURRENCY=4)\n"
    )
    assert told["current_app.conf.CELERY_ALWAYS_EAGER"].startswith("Use DJANGO_JOBS['EAGER']")
    assert told["BROKER_URL= of current_app.conf.update()"].startswith("Delete it: the database")
    assert "CONCURRENCY" in told["CELERYD_CONCURRENCY= of current_app.conf.update()"]
    assert len(told) == 4


def test_app_is_followed_through_imports(found: Callable[..., dict[str, str]]) -> None:
    told = found(
        "=== proj/celery.py\nfrom celery import Celery\napp = Celery('proj')\n"
        "=== proj/__init__.py\nfrom .celery import app as queue\n"
        "=== proj/mail/tasks.py\nfrom .. import queue\nfrom proj import queue as other\n"
        "@queue.task\ndef f(): ...\n\n@other.task\ndef g(): ...\n\n"
        "class Base(other.Task):\n    def run(self): ...\n\nclass More(Base):\n    queue = 'x'\n"
    )
    assert {"@queue.task of f()", "@other.task of g()", "class Base(other.Task)", "Base.run()",
            "class More(Base)", "More.queue", "import of the app queue",
            "import of the app other"} <= told.keys()  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("'task': 'f', 'schedule': 3, 'relative': True", "Leave out 'relative'."),
        ("'task': 'f', 'options': {'routing_key': 'x'}", "Use 'queue' in its options."),
        ("'task': 'f', 'options': {'queue': 'x', 'expires': 3}", "SCHEDULES']."),
        ("'task': 'f', 'options': {'retry': 1}", "Leave out 'retry' in its options."),
        ("'schedule': crontab(day_of_month=1, day_of_week=1)", "days that match both"),
        ("'schedule': schedule(run_every=3)", "Give seconds or a timedelta"),
        ("'task': 'celery.backend_cleanup'", "workers delete expired results by themselves."),
    ],
)
def test_beat_entry_says_what_changes(
    found: Callable[..., dict[str, str]], entry: str, text: str
) -> None:
    told = found(f"CELERY_BEAT_SCHEDULE = {{'a': {{{entry}}}}}\n")
    (advice,) = [becomes for what, becomes in told.items() if what.startswith("beat entry 'a'")]
    assert advice.endswith(text) or text in advice


@pytest.mark.parametrize(
    ("name", "line", "what"),
    [
        ("requirements/prod.txt", "celery[redis,auth]>=5", "package celery"),
        ("requirements-dev.in", "Django_Celery_Beat  # schedules", "package django-celery-beat"),
        ("pyproject.toml", 'celery = { version = "^5", extras = ["redis"] }', "package celery"),
        ("pyproject.toml", '    "flower",', "package flower"),
        (
            "requirements.txt",
            "opentelemetry-instrumentation-celery==0.66b2",
            "package opentelemetry-instrumentation-celery",
        ),
        ("setup.cfg", "    celery<6", "package celery"),
        ("setup.py", 'setup(install_requires=["django", "celery ~= 5.4"])', "package celery"),
        ("Pipfile", 'kombu = "*"', "package kombu"),
        ("environment.yml", "  - celery=5.4", "package celery"),
        ("compose.yaml", "command: celery --app=shop worker -B", "celery worker"),
        ("deploy/web.service", "ExecStart=/srv/bin/celery -A shop beat", "celery beat"),
        ("compose/django/celery/worker/start", "exec celery -A config.app worker", "celery worker"),
        (
            "compose/start-worker",
            "watch celery.__main__.main --args '-A x worker'",
            "celery worker",
        ),
        ("Makefile", "\tcelery beat", "celery beat"),
        ("Dockerfile", 'CMD ["celery", "-A", "shop", "worker"]', "celery worker"),
    ],
)
def test_packages_and_commands_are_found(
    found: Callable[..., dict[str, str]], name: str, line: str, what: str
) -> None:
    assert list(found(f"{line}\n", name=name)) == [what]


# --- the tables -----------------------------------------------------------------------------------

TABLES = [name for name in celery_tables.TABLES if name != "OPTIONS"]


def test_page_has_the_tables_of_the_code() -> None:
    page = celery_tables.PAGE.read_text()
    assert celery_tables.written(page) == page, "run python -m docs.celery_tables"
    assert set(re.findall(r"\.\. table: (\w+)", page)) == set(celery_tables.TABLES)


def test_sections_exist_in_the_page() -> None:
    page = celery_tables.PAGE.read_text()
    titles = re.findall(r"^(.+)\n[-=]{3,}$", page, re.MULTILINE)
    anchors = {re.sub("[^a-z0-9]+", "-", title.lower()).strip("-") for title in titles}
    assert {str(section) for section in Section} <= anchors


@pytest.mark.parametrize("table", TABLES)
def test_texts_name_what_exists(table: str) -> None:
    for rule in celery_tables.TABLES[table]:
        for dotted in re.findall(r"``django_jobs\.([\w.]+?)(?:\(\))?``", rule.text):
            module, _dot, name = f"django_jobs.{dotted}".rpartition(".")
            parent = import_module(module)
            assert hasattr(parent, name) or importlib.util.find_spec(f"{module}.{name}"), dotted
        for key in re.findall(r"DJANGO_JOBS\['(\w+)'\]", rule.text):
            from django_jobs.conf import KEYS

            assert key in KEYS, key


@pytest.mark.parametrize("table", TABLES)
def test_advice_is_a_sentence(table: str) -> None:
    for rule in celery_tables.TABLES[table]:
        assert re.match(r"(Use|Delete it)\b.*\.$", rule.advice), rule
        assert "``" not in rule.advice


def test_every_setting_and_signal_of_celery_has_a_rule() -> None:
    defaults = pytest.importorskip("celery.app.defaults", reason="Celery is not installed")
    known = {name: settings.setting_of(f"CELERY_{name.upper()}") for name in defaults.DEFAULTS}
    assert {name: each for name, each in known.items() if name != each} == {}
    older = {old: new for old, new in defaults._TO_NEW_KEY.items() if old.startswith("CELERY")}
    assert {old: new for old, new in older.items() if settings.setting_of(old) != new} == {}
    of_celery = vars(import_module("celery.signals"))["__all__"]
    assert [name for name in of_celery if find(signals.SIGNALS, name) is None] == []


def test_every_option_of_celerys_tasks_is_one_here_or_has_a_rule() -> None:
    task = pytest.importorskip("celery.app.task", reason="Celery is not installed").Task
    listed = {name for name, _setting in task.from_config}
    listed |= {name for name, value in vars(task).items() if isinstance(value, bool | int | float)}
    here = {*options.OPTIONS, *JobOptions.__dataclass_fields__}
    assert {name for name in listed - here if not name.startswith("_")} == set()


def test_first_rule_with_the_name_or_its_wildcard_counts() -> None:
    table = (Rule(("a_b", "a_*"), "x"), Rule(("a_c",), "None: y (:doc:`limits`)"))
    assert [find(table, name) for name in ("a_c", "b")] == [table[0], None]
    assert table[1].advice == "Delete it: y."
    assert plain("``x`` of (:ref:`y`) z (:doc:`z`)") == "x of z"


def test_options_of_errors_are_those_of_the_table() -> None:
    assert options.OPTIONS["routing_key"] == "use queue="
    assert set(options.OPTIONS) == {name for rule in options.TABLE for name in rule.names}
    assert len(options.OPTIONS) == sum(len(rule.names) for rule in options.TABLE)


# Of these only one module is for Celery.
@pytest.mark.parametrize("package", sorted(PACKAGES - {"opentelemetry", "sentry_sdk"}))
def test_import_of_each_package_is_found(
    found: Callable[..., dict[str, str]], package: str
) -> None:
    told = found(f"import {package}\nfrom {package} import x\nimport {package}.y.z as w\n")
    assert len(told) in (1, 2, 3)
    text = str(told)
    assert all(f"{package}{name}" in text for name in ("", ".x", ".y.z"))
