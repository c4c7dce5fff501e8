"""Worker processes and all that jobs start in them: how they end, and what takes their place."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from django_jobs import TimeLimitExceeded
from django_jobs.control.commands import send
from django_jobs.exceptions import WorkerLost
from django_jobs.models import Job, Worker
from tests.integration import jobs, tasks
from tests.integration.conftest import is_alive
from tests.integration.test_pools import EACH_POOL, pool_queues, runs_coroutines
from tests.waiting import LONG

BECOME_SUBREAPER = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execv(sys.argv[1], sys.argv[1:])",
)


def test_process_that_ends_unasked_is_replaced_and_its_job_is_blamed(
    runworker, until, folder, notes
):
    poison = tasks.leave_the_process.delay(folder, 0)
    worker = runworker("-c", "1", "--beat")
    with pytest.raises(WorkerLost):
        poison.get(timeout=60)
    assert (poison.job.crashes, len(notes())) == (3, 3)
    assert worker.output().count("ended by itself with exit code 0") == 3
    until(lambda: Worker.objects.exclude(lost_at=None).count() == 3)
    # A SIGTERM of somebody else ends one in order; it is replaced, too.
    held = jobs.hold.delay(folder)
    until(lambda: held.status == "STARTED" and len(notes()) == 4)
    os.kill(int(notes()[3]), signal.SIGTERM)
    Path(folder, "go").touch()
    assert held.get(timeout=60) == int(notes()[3])
    assert jobs.hold.delay(folder).get(timeout=60) != int(notes()[3])
    beat = Worker.objects.get(pool="beat")
    os.kill(beat.pid, signal.SIGTERM)
    until(lambda: Worker.objects.live().filter(pool="beat").exclude(pk=beat.pk).exists())
    assert worker.output().count("SIGTERM that is not of its supervisor") == 2
    assert worker.stop() == 0, worker.output()


def test_jobs_begin_while_the_coordinator_is_killed_and_replaced(runworker, until, folder):
    worker = runworker("-c", "2")
    until(lambda: len(worker.workers()) == 2 and len(worker.children()) == 3)
    # Killed before this line, it would never write one.
    until(lambda: worker.output().count("coordinator ready") == 1)
    (killed,) = set(worker.children()) - set(worker.workers())
    os.kill(killed, signal.SIGKILL)
    assert jobs.mark.delay(folder, 1).get(timeout=LONG) == 1
    until(lambda: len(set(worker.children()) - {killed}) == 3)
    until(lambda: worker.output().count("coordinator ready") == 2)
    assert jobs.mark.delay(folder, 2).get(timeout=LONG) == 2
    assert worker.stop() == 0, worker.output()


@pytest.mark.parametrize(
    "pool",
    [
        ("prefork", "-c", "1"),
        pytest.param(("threads", "-c", "2"), marks=pytest.mark.once),
        pytest.param(("asyncio", "-c", "2"), marks=pytest.mark.once),
    ],
    ids=lambda pool: pool[0],
)
def test_job_that_breaks_its_process_by_its_end_is_blamed(runworker, folder, notes, pool):
    poison = tasks.close_the_descriptors.delay(folder)
    worker = runworker("-P", *pool, *pool_queues(pool))
    with pytest.raises(WorkerLost):
        poison.get(timeout=LONG)
    assert (poison.job.crashes, len(notes())) == (3, 3)
    assert jobs.mark.delay(folder, "next").get(timeout=LONG) == "next"
    assert worker.stop() == 0, worker.output()


def test_what_a_job_started_ends_with_its_process(runworker, until, folder, notes):
    Group.objects.create(name="row")
    worker = runworker("-c", "1")
    left: list[int] = []

    def family(number: int) -> list[int]:
        until(lambda: len(notes()) == number)
        worker, program, fork, gone = map(int, notes()[-1].split()[1:])
        left.append(gone)
        return [worker, program, fork]

    def is_gone(pids: list[int]) -> None:
        until(lambda: not any(map(is_alive, pids)))
        assert is_alive(left[-1]), "a process that left the group was killed"
        Group.objects.filter(name="row").update(name="row")  # no session of theirs holds it

    try:
        limited = tasks.hold_a_row_too_long.delay(folder, "limit")
        pids = family(1)
        assert not ignored_signals(pids[1]) & {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
        with pytest.raises(TimeLimitExceeded):
            limited.get(timeout=60)
        is_gone(pids)
        terminated = tasks.hold_a_row_with_children.delay(folder, "terminate")
        pids = family(2)
        terminated.revoke(terminate=True)
        is_gone(pids)
        tasks.hold_a_row_with_children.delay(folder, "crash")
        pids = family(3)
        os.kill(pids[0], signal.SIGKILL)
        is_gone(pids)
        pids = family(4)
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0, worker.output()
        is_gone(pids)
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def ignored_signals(pid: int) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")]
    return {number for number in range(1, 65) if int(mask, 16) >> (number - 1) & 1}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_coordinator_that_goes_is_replaced_and_workers_lose_nothing(
    runworker, until, folder, notes, number
):
    held = jobs.hold.delay(folder)
    worker = runworker("-c", "1", lease=6)
    until(notes)
    (coordinator,) = set(worker.children()) - set(worker.workers())
    os.kill(coordinator, number)
    until(lambda: coordinator not in worker.children() and len(worker.children()) == 2)
    before = Worker.objects.get().lease_until
    until(lambda: Worker.objects.get().lease_until > before)
    Path(folder, "go").touch()
    assert held.get(timeout=60) == int(notes()[0])
    assert (held.job.claims, Worker.objects.count()) == (1, 1)
    assert worker.stop() == 0, worker.output()


def test_process_that_keeps_the_gil_past_its_lease_is_replaced(runworker, until, folder):
    poison = tasks.keep_the_gil.delay()
    worker = runworker("-P", "threads", "-c", "2", "-Q", "default,gil", lease=1.5)
    with pytest.raises(WorkerLost):
        poison.get(timeout=60)
    assert "interpreter has not run" in worker.output()
    assert jobs.mark.delay(folder, "after").get(timeout=60) == "after"
    until(lambda: len(worker.workers()) == 1)
    assert worker.stop() == 0, worker.output()


def test_start_that_fails_once_is_tried_again_beside_what_runs(runworker, until, folder, notes):
    held = jobs.hold.delay(folder)
    worker = runworker("-c", "1")
    until(notes)
    pid = worker.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    free = next(number for number in itertools.count() if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free + 1, limits[1]))  # a pair needs two
    send("grow", {"number": 1})
    until(lambda: "cannot start a worker process" in worker.output())
    assert held.status == "STARTED"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    until(lambda: Worker.objects.live().count() == 2)
    Path(folder, "go").touch()
    assert held.get(timeout=60) == int(notes()[0])
    assert worker.stop() == 0, worker.output()


def test_supervisor_reaps_what_is_left_to_process_1(runworker, until, folder, notes):
    worker = runworker("-c", "1", prefix=BECOME_SUBREAPER)
    tasks.leave_an_orphan.delay(folder).get(timeout=60)
    until(lambda: not Path("/proc", notes()[0]).exists())
    assert worker.stop() == 0, worker.output()


def test_hangups_while_a_new_image_starts_are_heard_by_it(runworker, until, folder):
    worker = runworker("-c", "1")
    worker.signal(signal.SIGHUP)
    until(lambda: "starting over" in worker.output())
    for _ in range(5):
        worker.signal(signal.SIGHUP)
    until(lambda: worker.output().count("starting over") == 2)
    assert jobs.mark.delay(folder, "after").get(timeout=60) == "after"
    # Stops that go on until the interpreter is gone do not change its exit code.
    while not worker.has_ended():
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output()


@EACH_POOL
def test_child_that_a_job_forks_is_no_second_worker(runworker, until, folder, notes, pool):
    Group.objects.create(name="seen by children")
    worker = runworker("-P", *pool, *(flags := pool_queues(pool)))

    def run(function, *args):
        # A pool that serves one queue only has its jobs there.
        return function.apply_async(args, queue=flags[1] if flags else None).get(timeout=LONG)

    functions = [tasks.fork_and_leave, *[tasks.fork_and_leave_async] * runs_coroutines(pool)]
    ways = {"return": 0, "raise": 1, "exit": 3}
    for function in functions:
        for how, code in ways.items():
            assert run(function, folder, how) == code
    assert worker.output().count("a forked child left the job's body") == 3 * len(functions)
    assert "ValueError: in the child" in worker.output()
    if runs_coroutines(pool):  # multiprocessing waits for its children past gevent
        assert run(tasks.use_multiprocessing) == [[2, 4, 6], -15, True]
    # The worker's own sessions live on, and each attempt ended once.
    assert run(jobs.count_groups) == 1
    assert "database away" not in worker.output()
    assert "outcome dropped" not in worker.output()
    assert set(Job.objects.values_list("status", "claims")) == {("SUCCESS", 1)}
    assert not any(is_alive(int(pid)) for pid in notes())
    assert worker.stop() == 0, worker.output()
