"""A project moves from Celery by the steps of ``docs/celery.rst``: no queued message is lost.

A real Celery worker on a Redis of its own and a real ``runworker`` run side by side, on the code of
a small project that changes from step to step.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import LONG

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("celery", "redis")),
        reason="moving from Celery: celery and redis are not installed (pip install celery[redis])",
    ),
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="moving from Celery: no redis-server is installed (Debian: apt install "
        "redis-server)",
    ),
]

ROOT = Path(__file__).parents[2]

SETTINGS = """
import os

SECRET_KEY = "x"
INSTALLED_APPS = ["django_jobs", "shop", *os.environ["APPS"].split()]
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE"] + "/db",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 60,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"}}}
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ["REDIS"]
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
"""

CELERY = """
from celery import Celery

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

NOTES = """
import os

def note(text):
    with open(os.environ["SITE"] + "/notes", "a") as file:
        file.write(text + " by " + os.environ["RUNNER"] + "\\n")
"""

# The lines that a step has not are taken out; the bodies stay the same.
TASKS = """
from celery import Task, shared_task  # celery
from celery.exceptions import Ignore as CeleryIgnore  # celery
from django_jobs import Ignore, JobContext, job  # jobs
from shop.notes import note

class Stop(
    Ignore,  # jobs
    CeleryIgnore,  # celery
):
    pass

class Hooks:
    def on_success(self, retval, task_id, args, kwargs):
        note(f"hook {retval}")

class Base(Hooks, Task):  # celery
    abstract = True  # celery

class JobBase(Hooks, JobContext):  # jobs
    pass  # jobs

@job(base=JobBase)  # jobs
@shared_task(base=Base)  # celery
def plain(who):
    note(f"plain {who}")
    return who

@job  # jobs
@shared_task  # celery
def collect(found):
    note(f"collect {sorted(found)}")

@job  # jobs
@shared_task  # celery
def stopping(who):
    note(f"stopping {who}")
    raise Stop

@job(bind=True, max_retries=3)  # jobs
@shared_task(bind=True, max_retries=3)  # celery
def asking(self, who, pause=0):
    note(f"asking {who} {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=pause)
    plain.delay(f"of {who}")

@job(autoretry_for=[OSError], max_retries=1, default_retry_delay=0, retry_backoff=False)  # jobs
@shared_task(autoretry_for=(OSError,), max_retries=1, default_retry_delay=0)  # celery
def failing(who):
    note(f"failing {who}")
    raise OSError
"""

BEGUN = """
from shop.tasks import asking
asking.delay("old", pause=5)
"""

QUEUED = """
from celery import chain, chord
from shop.tasks import collect, failing, plain, stopping
print(plain.delay("old").id)
print(stopping.delay("old").id)
chord([plain.s("left"), plain.s("right")])(collect.s())
plain.apply_async(("later",), countdown=5)
failing.delay("old")
chain(plain.s("first"), plain.s()).delay()
"""

CALLED = """
from django_jobs import chain
from shop.tasks import asking, failing, plain, stopping
plain.delay("new")
stopping.delay("new")
asking.delay("new")
failing.delay("new")
plain.apply_async(("delayed",), countdown=1)
chain(plain.s("one"), plain.s()).delay()
"""

OLD_RESULT = """
import sys
from celery.result import AsyncResult
print(AsyncResult(sys.argv[-1]).get(timeout=60))
"""

OLD_STATE = """
import sys
from celery.result import AsyncResult
print(AsyncResult(sys.argv[-1]).state)
"""

EVERY_SECOND = """
from django_celery_beat.models import IntervalSchedule, PeriodicTask
second = IntervalSchedule.objects.create(every=1, period="seconds")
PeriodicTask.objects.create(name="tick", task="shop.tasks.plain", interval=second, args='["tick"]')
"""

MOVED = """
import datetime
from django_celery_beat.models import PeriodicTask
from django_jobs.models import Schedule
tick = PeriodicTask.objects.get(name="tick")
after = Schedule.objects.get(name="tick").next_run_at - tick.last_run_at
print(tick.total_run_count, after == datetime.timedelta(seconds=1))
"""

FIRED = """
from django_jobs.models import Job, Schedule
rows = Job.objects.filter(name="shop.tasks.plain")
print(Schedule.objects.get(name="tick").run_count, rows.count())
"""

REMOVED = """
import sys
from shop.tasks import plain
plain.delay("after")
print("celery" in sys.modules)
"""

BY_CELERY = [
    *(f"asking old {attempt}" for attempt in range(3)),
    "plain old", "hook old", "plain later", "hook later", *["plain first", "hook first"] * 2,
    "plain left", "hook left", "plain right", "hook right", "collect ['left', 'right']",
    *["failing old"] * 2, "stopping old",
]  # fmt: skip
BY_JOBS = [
    *(f"asking new {attempt}" for attempt in range(3)),
    # What a body enqueues is a job, also when Celery runs the body.
    "plain of old", "hook of old", "plain of new", "hook of new", "plain new", "hook new",
    "plain delayed", "hook delayed", *["plain one", "hook one"] * 2, *["failing new"] * 2,
    "stopping new",
]  # fmt: skip


class Site:
    """The project, its processes and what they noted."""

    def __init__(self, folder: Path, redis: str) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TEST_")},
            "SITE": str(folder),
            "REDIS": redis,
            "APPS": "",
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def deploy(self, *parts: str) -> None:
        package = self.folder / "shop"
        package.mkdir(exist_ok=True)
        other = {"celery", "jobs"} - set(parts)
        lines = TASKS.splitlines()
        kept = [line for line in lines if not line.endswith(tuple(f"# {name}" for name in other))]
        (package / "tasks.py").write_text("\n".join(kept))
        (package / "settings.py").write_text(SETTINGS)
        (package / "notes.py").write_text(NOTES)
        with_celery = "celery" in parts
        (package / "__init__.py").write_text("from .celery import app\n" if with_celery else "")
        (package / "celery.py").unlink(missing_ok=True)
        if with_celery:
            (package / "celery.py").write_text(CELERY)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            env=self.environment | {"RUNNER": "jobs"},
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=LONG,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def code(self, text: str, *arguments: str) -> str:
        return self.run("-c", f"import django\ndjango.setup()\n{text}", *arguments)

    def manage(self, *arguments: str) -> str:
        return self.run("-m", "django", *arguments)

    def start(self, runner: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{runner}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self.environment | {"RUNNER": runner},
                cwd=self.folder, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def celery(self) -> subprocess.Popen[bytes]:
        quick = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
        return self.start("celery", "celery", "-A", "shop", "worker", "-c", "1", *quick)

    def notes(self, runner: str) -> list[str]:
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        end = f" by {runner}"
        return sorted(line.removesuffix(end) for line in lines if line.endswith(end))

    def count(self, condition: str) -> int:
        database = sqlite3.connect(self.folder / "db", timeout=60)
        sql = f"SELECT count(*) FROM django_jobs_job WHERE {condition}"
        (count,) = database.execute(sql).fetchone()
        database.close()
        return int(count)

    def live_jobs(self) -> int:
        return self.count("status NOT IN ('SUCCESS', 'FAILURE')")

    def clean_up(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(LONG)


def stop_celery_s_beat(process: subprocess.Popen[bytes]) -> None:
    """End Celery's beat: it can miss a TERM that comes while it logs or sends a tick."""
    while process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


@pytest.fixture
def socket() -> Iterator[str]:
    """The socket of a Redis that lives for the test."""
    # The path of a Unix socket holds about 100 characters, and TMPDIR may be long.
    with tempfile.TemporaryDirectory(prefix="jobs-", dir="/tmp") as folder:
        path = f"{folder}/redis"
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            yield path
        finally:
            stop(server)


@pytest.fixture
def site(tmp_path: Path, socket: str) -> Iterator[Site]:
    site = Site(tmp_path, f"redis+socket://{socket}")
    yield site
    site.clean_up()


def messages(broker: Any) -> list[dict[str, Any]]:
    """The messages that no worker has, and those that it has not acknowledged."""
    waiting = [json.loads(text) for text in broker.lrange("celery", 0, -1)]
    return waiting + [json.loads(text)[0] for text in broker.hvals("unacked")]


def retries(message: dict[str, Any]) -> int:
    return int(message["headers"]["retries"])


def test_moving_from_celery_loses_no_message(
    site: Site, socket: str, until: Callable[..., None]
) -> None:
    import redis

    broker: Any = redis.Redis(unix_socket_path=socket)
    until(lambda: Path(socket).exists())

    site.deploy("celery")
    site.manage("migrate", "-v", "0")
    site.code(BEGUN)
    old = site.celery()
    until(lambda: site.notes("celery") == ["asking old 0"])
    # Celery acknowledges the first message beside the body, and would else send it twice.
    until(lambda: [retries(message) for message in messages(broker)] == [1])
    assert stop(old) == 0
    plain_id, stopping_id = site.code(QUEUED).split()

    site.deploy("celery", "jobs")
    celery = site.celery()
    worker = site.start("jobs", "django", "runworker", "--concurrency", "1")
    site.code(CALLED)
    until(lambda: len(site.notes("celery")) >= len(BY_CELERY))
    # Celery's worker keeps messages with a later time among those that are not acknowledged.
    until(lambda: not broker.llen("celery") and not broker.hlen("unacked"))
    until(lambda: not site.live_jobs())
    assert site.code(OLD_RESULT, plain_id) == "old"
    assert site.code(OLD_STATE, stopping_id) == "PENDING"
    assert site.count("name = 'shop.tasks.stopping' AND status = 'SUCCESS'") == 1
    assert (stop(celery), stop(worker)) == (0, 0)
    assert site.notes("celery") == sorted(BY_CELERY)
    assert site.notes("jobs") == sorted(BY_JOBS)

    broker.shutdown(nosave=True)
    site.deploy("jobs")
    assert site.code(REMOVED) == "False"
    site.manage("runworker", "--burst")
    assert site.notes("jobs") == sorted([*BY_JOBS, "plain after", "hook after"])
    assert site.notes("celery") == sorted(BY_CELERY)


@pytest.mark.skipif(
    importlib.util.find_spec("django_celery_beat") is None,
    reason="moving from Celery's beat: django-celery-beat is not installed",
)
def test_beat_moves_without_a_lost_or_a_doubled_tick(
    site: Site, socket: str, until: Callable[..., None]
) -> None:
    until(lambda: Path(socket).exists())
    site.environment["APPS"] = "django.contrib.contenttypes django_celery_beat"
    site.deploy("celery", "jobs")
    site.manage("migrate", "-v", "0")
    site.code(EVERY_SECOND)
    celery = site.celery()
    worker = site.start("jobs", "django", "runworker", "--concurrency", "1")
    beat = site.start("beat", "celery", "-A", "shop", "beat", "--pidfile=", "-l", "WARNING")
    until(lambda: site.notes("celery").count("plain tick") >= 2)
    stop_celery_s_beat(beat)
    site.manage("jobs", "import-celery-beat")
    # The first tick here is the one that Celery's beat would have sent next.
    sent, is_next = site.code(MOVED).split()
    assert is_next == "True"
    until(lambda: site.notes("celery").count("plain tick") == int(sent))
    assert site.notes("jobs") == []

    beat = site.start("beat", "django", "runbeat")
    until(lambda: site.notes("jobs").count("plain tick") >= 2)
    assert stop(beat) == 0
    until(lambda: not site.live_jobs())
    runs, rows = site.code(FIRED).split()
    assert site.notes("jobs").count("plain tick") == int(runs) == int(rows)
    assert (stop(celery), stop(worker)) == (0, 0)
    assert site.notes("celery").count("plain tick") == int(sent)
