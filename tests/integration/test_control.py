"""Real workers execute commands, and their answers say what they did.

A worker takes a second to start and to stop, so one of them goes through many commands.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_jobs.control import commands, pause_queue, resume_queue
from django_jobs.exceptions import TimeLimitExceeded
from django_jobs.models import Worker
from tests.integration import jobs
from tests.waiting import LONG


def tell(verb: str, workers: Any = None, **arguments: Any) -> list[dict[str, Any]]:
    """Send a command, wait for it, and return the answers."""
    rows = commands.wait(commands.send(verb, arguments, workers=workers), LONG)
    assert all(row.done_at for row in rows), f"{verb} was not answered"
    return [row.answer for row in rows]


def live() -> list[str]:
    return sorted(Worker.objects.live().values_list("name", flat=True))


def runs(folder: str, queue: str) -> bool:
    result = jobs.mark.apply_async((folder, queue), queue=queue)
    return bool(result.get(timeout=LONG) == queue)


def test_quiet_worker_claims_nothing_and_so_does_its_successor(runworker, until, folder, notes):
    worker = runworker("-c", "1")
    assert tell("quiet") == [{"quiet": True}]
    assert Worker.objects.live().get().quiet is True
    held = jobs.mark.delay(folder, "held")
    os.kill(worker.workers()[0], signal.SIGKILL)
    until(lambda: Worker.objects.count() == 2 and len(live()) == 1)
    assert tell("ping")[0]["busy"] == 0
    assert (held.status, Worker.objects.live().get().quiet) == ("PENDING", True)
    assert tell("resume") == [{"quiet": False}]
    assert held.get(timeout=LONG) == "held"
    assert Worker.objects.live().get().quiet is False
    assert worker.stop() == 0


def test_commands_change_the_queues_and_the_number_of_processes(runworker, until, folder, notes):
    worker = runworker("-c", "2", "-n", "w", "-Q", "default,other")
    until(lambda: live() == ["w-0", "w-1"])
    assert sorted(answer["pong"] for answer in tell("ping")) == ["w-0", "w-1"]

    assert [answer["queues"] for answer in tell("add-queue", queue="extra")] == [
        ["default", "other", "extra"]
    ] * 2
    assert runs(folder, "extra")
    tell("remove-queue", queue="default")
    unserved = jobs.mark.delay(folder, "unserved")
    # What is added serves what the others do by now.
    assert tell("grow", number=1) == [{"processes": 3}]
    until(lambda: live() == ["w-0", "w-1", "w-2"])
    assert [row.queues for row in Worker.objects.live()] == [["other", "extra"]] * 3

    assert tell("shrink", number=2) == [{"processes": 1}]
    until(lambda: live() == ["w-0"])
    assert runs(folder, "other")
    assert unserved.status == "PENDING"
    (refusal,) = tell("shrink", number=1)
    assert refusal["error"] == (
        "This runworker has 1 processes, and one stays. Shut it down to stop them."
    )

    assert tell("shutdown") == [{"shutdown": "warm"}]
    assert worker.wait() == 0, worker.output()
    assert live() == []


def test_surplus_process_finishes_its_job_and_is_not_replaced(runworker, until, folder, notes):
    worker = runworker("-c", "3", "-n", "w")
    until(lambda: len(live()) == 3)
    held = [jobs.hold.delay(folder) for _ in range(3)]
    until(lambda: len(notes()) == 3)
    assert tell("shrink", number=2) == [{"processes": 1}]
    assert {result.status for result in held} == {"STARTED"}
    # One of them does not live to end it.
    dead = Worker.objects.get(name="w-2").pid
    os.kill(dead, signal.SIGKILL)
    Path(folder, "go").touch()
    ended_by = [result.get(timeout=LONG) for result in held]
    assert (dead in ended_by, sum(result.job.crashes for result in held)) == (False, 1)
    until(lambda: live() == ["w-0"])
    assert Worker.objects.count() == 3
    assert worker.stop() == 0


def test_time_limit_is_set_for_the_next_jobs(runworker, until, folder, notes):
    worker = runworker("-c", "1")
    arguments = {"job": jobs.hold.name, "hard": 1.5, "soft": None}
    assert tell("time-limit", **arguments) == [arguments]
    for _ in range(2):  # the second in the process that follows the killed one
        with pytest.raises(TimeLimitExceeded):
            jobs.hold.delay(folder).get(timeout=LONG)
    tell("time-limit", job=jobs.hold.name)
    result = jobs.hold.delay(folder)
    until(lambda: len(notes()) == 3)
    Path(folder, "go").touch()
    assert result.get(timeout=LONG)
    assert worker.stop() == 0


def test_paused_queue_holds_from_the_next_claim_on(runworker, until, folder, notes):
    worker = runworker("-c", "1")
    assert runs(folder, "default")
    pause_queue("default")
    held = jobs.mark.delay(folder, "held")
    assert runs(folder, "another")
    assert held.status == "PENDING"
    resume_queue("default")
    assert held.get(timeout=LONG) == "held"
    assert worker.stop() == 0


def test_cold_shutdown_gives_the_running_job_back(runworker, until, folder, notes):
    result = jobs.hold.delay(folder)
    worker = runworker("-c", "2")
    until(notes)
    assert tell("shutdown", cold=True) == [{"shutdown": "cold"}]
    assert worker.wait() == 0, worker.output()
    assert (result.status, result.job.crashes) == ("PENDING", 0)


def test_autoscale_follows_the_work(runworker, until, folder, notes):
    worker = runworker("--autoscale", "3,1,1")
    assert len(live()) == 1
    held = [jobs.hold.delay(folder) for _ in range(4)]
    until(lambda: len(notes()) == 3, LONG)
    (refusal,) = tell("grow", number=1)
    assert "This runworker scales itself, from 1 to 3 processes" in refusal["error"]
    assert len(live()) == 3
    Path(folder, "go").touch()
    for result in held:
        result.get(timeout=LONG)
    until(lambda: len(live()) == 1, LONG)
    bounds = {"most": 4, "least": 2, "idle_seconds": 30}
    assert tell("autoscale", most=4, least=2) == [{"processes": 2, **bounds}]
    until(lambda: len(live()) == 2)
    assert tell("autoscale", most=None, least=None) == [{"processes": 2}]
    assert worker.stop() == 0


def test_solo_worker_obeys_what_one_process_can(runworker, until, folder, notes):
    worker = runworker("-P", "solo", "-Q", "default")
    assert tell("quiet") == [{"quiet": True}]
    assert tell("resume") == [{"quiet": False}]
    (refusal,) = tell("grow")
    assert refusal["error"] == ("A solo worker stays one process. Start another one beside it.")
    (refusal,) = tell("time-limit", job=jobs.hold.name, hard=1)
    assert "A hard time limit cannot stop the only process" in refusal["error"]
    (refusal,) = tell("add-queue", queue="limited")
    assert "The solo pool cannot serve 'limited': Job function" in refusal["error"]
    (refusal,) = tell("remove-queue", queue="default")
    assert "'default' is this worker's only queue" in refusal["error"]
    assert tell("shutdown") == [{"shutdown": "warm"}]
    assert worker.wait() == 0, worker.output()


def test_top_draws_on_a_terminal_until_q(transactional_db: None, until: Any) -> None:
    ours, terminal = pty.openpty()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"]),
    }
    top = subprocess.Popen(
        [sys.executable, "manage.py", "jobs", "top", "--interval", "0.05"],
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=Path(__file__).parents[2],
    )
    os.close(terminal)
    drawn = bytearray()

    def has_drawn(text: bytes, times: int) -> bool:
        ready, _, _ = select.select([ours], [], [], 0.1)
        if ready:
            with contextlib.suppress(OSError):  # the other side has closed
                drawn.extend(os.read(ours, 65536))
        return drawn.count(text) >= times

    try:
        until(lambda: has_drawn(b"QUEUE", 3), LONG)
        os.write(ours, b"xq")
        until(lambda: has_drawn(b"\x1b[?1049l", 1), LONG)
        assert top.wait(LONG) == 0
    finally:
        top.kill()
        top.wait()
        os.close(ours)
    assert drawn.startswith(b"\x1b[?1049h\x1b[?25l\x1b[H")
    assert drawn.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")
