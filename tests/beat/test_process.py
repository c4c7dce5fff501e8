"""Real ``runbeat`` processes: they fire, wake, wait for the database, and stop."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import tempfile
from collections.abc import Callable, Iterator

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from django_jobs.beat.loop import Beat
from django_jobs.db import clock
from django_jobs.models import Job, Schedule, Worker
from tests.forkserver import ForkServer, environment
from tests.races import held
from tests.waiting import LONG
from tests.worker.parts import Clock
from tests.written import written


class Process:
    """A ``manage.py`` command on the tests' database."""

    def __init__(self, server: ForkServer, *arguments: str) -> None:
        self.log = tempfile.TemporaryFile("w+")
        self.process = server.start(arguments, environment(), self.log)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(LONG)

    def output(self) -> str:
        return written(self.log)

    def clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.mark.django_db(transaction=True)
def test_beat_pauses_longer_each_time_while_a_due_schedule_is_locked(make, vendor):
    if vendor == "sqlite":
        return  # SQLite has one writer at a time
    make(due=1)
    beat = Beat("default")
    beat.register()
    beat.is_ready = True
    with held(lambda: list(Schedule.objects.select_for_update())):
        pauses = [beat.step() for _ in range(12)]
    assert 0 < pauses[0] < pauses[1] < pauses[-2] == pauses[-1] < 1.0
    assert beat.step() == 0.0
    assert Job.objects.count() == 1
    Schedule.objects.update(next_run_at=clock("default", -1))
    with held(lambda: list(Schedule.objects.select_for_update())):
        assert beat.step() == pauses[0]


@pytest.fixture
def start(
    transactional_db: None, until: Callable[..., None], fork_server: Callable[[], ForkServer]
) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        process = Process(fork_server(), *arguments)
        started.append(process)
        until(lambda: "beat ready" in process.output() or process.process.poll() is not None)
        assert process.process.poll() is None, process.output()
        return process

    yield start
    for process in started:
        process.clean_up()


def test_beat_fires_wakes_for_a_new_schedule_and_stops(make, start, until, tmp_path):
    pidfile = tmp_path / "pid"
    beat = start("runbeat", "--pidfile", str(pidfile))
    assert pidfile.read_text() == f"{beat.process.pid}\n"
    (row,) = Worker.objects.live()
    assert (row.pool, row.pid, row.slots) == ("beat", beat.process.pid, 0)
    assert list(Worker.objects.executing()) == []
    # The beat is notified, plans the schedule, and fires it half a second later.
    Schedule.objects.create(
        name="new", job_name="tests.jobs.add", args=[1], kind="interval", interval_seconds=0.5,
        missed="all",
    )  # fmt: skip
    until(lambda: Job.objects.count() >= 2)
    jobs = list(Job.objects.order_by("run_at"))
    assert jobs[1].run_at - jobs[0].run_at == datetime.timedelta(seconds=0.5)
    assert all(job.ready_at >= job.run_at for job in jobs)
    assert beat.end() == 0
    assert not pidfile.exists()
    row.refresh_from_db()
    assert row.stopped_at is not None


def test_heartbeat_file_of_a_beat_is_touched_and_removed(start, until, tmp_path):
    path = tmp_path / "alive"
    beat = start("runbeat", "--heartbeat-file", str(path))
    until(lambda: path.stat().st_mtime > 0)
    assert beat.end() == 0
    assert not path.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_step_of_a_beat_is_told_also_if_the_database_is_away(monkeypatch, fails):
    steps: list[bool] = []
    beat = Beat("default", on_step=lambda: steps.append(fails))

    def step() -> float:
        if fails:
            raise OperationalError("away")
        return 0.0

    monkeypatch.setattr(beat, "step", step)
    beat.waker.wake()
    beat.turn()
    assert steps == [fails]


def test_heartbeat_file_is_refused_for_a_beat_that_fires_once(tmp_path):
    with pytest.raises(CommandError, match="--once ends by itself"):
        call_command("runbeat", "--once", "--heartbeat-file", str(tmp_path / "alive"))


def test_beat_ends_on_ctrl_c(start):
    assert start("runbeat").end(signal.SIGINT) == 0


def test_beat_inside_runworker_runs_the_jobs_it_fires(make, start, until):
    make(kind="interval", interval_seconds=0.5)
    worker = start("runworker", "--beat", "-c", "1")
    until(lambda: Job.objects.filter(status="SUCCESS").count() >= 2)
    (row,) = Worker.objects.live().filter(pool=Worker.BEAT)
    os.kill(row.pid, signal.SIGKILL)
    until(lambda: Worker.objects.live().filter(pool=Worker.BEAT).exclude(pk=row.pk).exists())
    row.refresh_from_db()
    fired = Job.objects.count()
    until(lambda: Job.objects.count() > fired)
    assert worker.end() == 0
    assert not Worker.objects.live().exists()


@pytest.mark.parametrize("arguments", [("--beat", "--burst"), ("--beat", "--pool", "solo")])
def test_beat_inside_runworker_is_refused_where_it_cannot_be(arguments):
    with pytest.raises(CommandError, match="beat"):
        call_command("runworker", *arguments)


def test_beat_survives_its_connections(make, start, until, vendor):
    if vendor == "sqlite":
        return  # SQLite has no server that could stop
    make(kind="interval", interval_seconds=0.3, missed="all")
    beat = start("runbeat")
    until(Job.objects.exists)
    with connection.cursor() as cursor:
        if vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        else:
            cursor.execute(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (thread,) in cursor.fetchall():
                with contextlib.suppress(OperationalError):  # it may have ended by itself
                    cursor.execute(f"KILL {thread}")
    fired = Job.objects.count()
    until(lambda: Job.objects.count() > fired + 2)
    # It says so at the end of the step that has fired.
    until(lambda: "database back" in beat.output())
    assert beat.end() == 0


@pytest.mark.django_db
def test_once_fires_due_schedules_and_ends(make, capsys):
    make(due=1)
    make()
    call_command("runbeat", "--once")
    assert Job.objects.count() == 1
    assert "1 schedule was due" in capsys.readouterr().out


@pytest.mark.django_db
def test_unknown_database_is_refused():
    with pytest.raises(CommandError, match="'nowhere' is not in DATABASES"):
        call_command("runbeat", "--database", "nowhere")


@pytest.mark.django_db
def test_pidfile_of_a_running_process_is_refused(tmp_path):
    (tmp_path / "pid").write_text(f"{os.getppid()}\n")
    with pytest.raises(CommandError, match="names a running process"):
        call_command("runbeat", "--once", "--pidfile", str(tmp_path / "pid"))


@pytest.mark.django_db
@pytest.mark.parametrize("left", [os.getpid(), 0, -1, ""])
def test_pidfile_that_a_dead_process_left_is_taken_over(tmp_path, left):
    path = tmp_path / "pid"
    path.write_text(f"{left}\n")
    call_command("runbeat", "--once", "--pidfile", str(path))
    assert not path.exists()


@pytest.mark.django_db
def test_step_sleeps_until_the_next_schedule_or_heartbeat(make, settings):
    settings.DJANGO_JOBS = {"HEARTBEAT_SECONDS": 3_000, "LEASE_SECONDS": 30_000}
    beat = Beat("default", clock=Clock())
    beat.register()
    beat.is_ready = True
    assert beat.step() == pytest.approx(3_000)
    make(kind="clocked", clocked_at=timezone.now() + datetime.timedelta(seconds=2_000))
    assert 1_000 < beat.step() <= 2_000
    make(due=1)
    assert beat.step() == 0
    assert 1_000 < beat.step() <= 2_000


@pytest.mark.django_db
def test_beat_is_no_worker(client, django_user_model, capsys):
    Beat("default").register()
    call_command("jobs", "stats")
    shown = capsys.readouterr().out
    assert "beat" in shown
    assert "No live worker." in shown
    client.force_login(django_user_model.objects.create_superuser("boss"))
    shown = client.get("/admin/django_jobs/worker/").content.decode()
    assert "schedules</td>" in shown
    assert "all queues" not in shown


@pytest.mark.django_db
def test_beat_that_was_taken_for_dead_registers_anew():
    now = Clock()
    beat = Beat("default", clock=now)
    beat.register()
    Worker.objects.update(lost_at=timezone.now())
    beat.renew()
    assert not Worker.objects.live()
    now.advance(60)
    beat.renew()
    assert Worker.objects.live().get().pk == beat.presence.worker_id
