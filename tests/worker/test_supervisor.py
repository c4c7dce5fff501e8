"""Parts of a worker process and of its supervisor, each in a situation that once failed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from django_jobs.exceptions import TimeLimitExceeded, WorkerStopping
from django_jobs.ids import uuid7
from django_jobs.models import Worker
from django_jobs.worker import solo
from django_jobs.worker.buffer import JobBuffer, boot_time
from django_jobs.worker.child_process import COORDINATOR, Child, how_it_ended
from django_jobs.worker.children import Children
from django_jobs.worker.fork import fork
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.pools import MainThreadPool
from django_jobs.worker.pools.lending import LentThreads
from django_jobs.worker.pools.mainthread import Stoppable
from django_jobs.worker.reaper import DeadWorker, Reaper, reap
from django_jobs.worker.shared_slots import SharedSlots
from django_jobs.worker.supervisor import Supervisor
from django_jobs.worker.supervisor_channel import SupervisorChannel
from django_jobs.worker.worker import RECYCLE, STOPPED
from tests.worker.parts import Clock


def a_job() -> Any:
    return SimpleNamespace(id=uuid7(), claims=1, name="job", begin_by=None)


# --- lease --------------------------------------------------------------------------------------


def test_no_job_starts_between_the_end_of_a_lease_and_its_renewal() -> None:
    buffer, job, taken = JobBuffer(lambda: None, None), a_job(), []
    buffer.lease(until=boot_time() - 1)
    buffer.put([job])
    assert buffer.take(0, wait=False) is None
    slot = threading.Thread(target=lambda: taken.append(buffer.take(0)))
    slot.start()
    assert buffer.counts() == (1, 0, 0)
    buffer.lease(until=boot_time() + 600)
    slot.join(60)
    assert taken == [job]


# --- fork ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_child_leaves_the_session_of_its_parent_open() -> None:
    connection.ensure_connection()
    session = connection.connection
    pid = fork(lambda: int(connection.connection is not None), [])
    assert os.waitpid(pid, 0) == (pid, 0)
    assert Worker.objects.count() == 0  # the server has ended no session
    assert connection.connection is session


# --- stop ---------------------------------------------------------------------------------------


def solo_pool(buffer: JobBuffer) -> MainThreadPool:
    options = SimpleNamespace(pool="solo", slots=1, max_memory=None)
    return MainThreadPool(SimpleNamespace(options=options, buffer=buffer, shared_slots=None))


def test_stop_from_a_signal_handler_takes_no_lock() -> None:
    # The buffer wakes its loop while it holds its lock, when a job comes too late.
    buffer = JobBuffer(lambda: pool.stop_now(), None)
    pool = solo_pool(buffer)
    late = a_job()
    late.begin_by = 0.0
    buffer.put([late])
    thread = threading.Thread(target=buffer.take, args=(0,), kwargs={"wait": False}, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    # It was outside a body: the next one meets it.
    with pytest.raises(WorkerStopping), pool.stoppable:
        pytest.fail("a body began after the stop")


def test_stop_is_raised_in_a_body_and_nowhere_else(switching: None) -> None:
    stoppable = Stoppable()
    over, main = threading.Event(), threading.main_thread().ident

    def send() -> None:
        while not over.is_set():
            signal.pthread_kill(main, signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, lambda *_: stoppable.stop())
    thread = threading.Thread(target=send)
    thread.start()
    try:
        stopped = 0
        while stopped < 40:
            try:
                with stoppable:
                    sum(range(10))
            except WorkerStopping:
                stopped += 1
            stoppable = Stoppable()
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR2, before)


def test_solo_stop_while_a_worker_is_used_up_starts_no_other(monkeypatch) -> None:
    runs: list[int] = []

    class UsedUp(SimpleNamespace):
        """A worker that is told to stop after it has decided to make room for another."""

        def __init__(self, *_: Any, **__: Any) -> None:
            options = WorkerOptions(pool="solo")
            super().__init__(waker=SimpleNamespace(close=lambda: None), options=options)
            self.stop = lambda: None

        def run(self) -> int:
            runs.append(RECYCLE)
            assert len(runs) == 1, "another one began after the stop"
            signal.raise_signal(signal.SIGTERM)
            return RECYCLE

    monkeypatch.setattr(solo, "WorkerProcess", UsedUp)
    monkeypatch.setattr(solo._Stop, "_count_down", lambda stop: None)
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    }
    try:
        assert solo.run_solo(WorkerOptions(pool="solo")) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert runs == [RECYCLE]


# --- processes that cannot start ------------------------------------------------------------------


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor(WorkerOptions(pool="threads"))
    yield supervisor
    supervisor.signals.close()


class FailsOnce:
    """Fails at the first call, as a system call may."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, target: Callable[[], int], close: Sequence[int] = ()) -> int:
        self.calls += 1
        if self.calls == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return 4_000_000 + self.calls


def test_worker_that_cannot_be_forked_is_tried_again(monkeypatch, supervisor, caplog) -> None:
    monkeypatch.setattr("django_jobs.worker.children.fork", FailsOnce())
    supervisor.children.vacant = {0: 0.0}
    supervisor.children.fill_vacancies()
    assert not supervisor.children.by_pid
    assert supervisor.children.vacant[0] > time.monotonic() - 1
    assert "cannot start a worker process index=0" in caplog.text
    supervisor.children.vacant = {0: 0.0}
    supervisor.children.fill_vacancies()
    (child,) = supervisor.children.by_pid.values()
    assert not supervisor.children.vacant
    child.channel.close()
    child.shared_slots.close()


def test_jobs_of_a_dead_worker_are_given_back_when_a_process_can_start(caplog) -> None:
    clock = Clock()
    reaper = Reaper("default", FailsOnce(), clock)
    reaper.add(DeadWorker(uuid7(), "w", {}, cold=False, failed=True))
    assert reaper, "its jobs would be forgotten"
    assert not reaper.pids
    assert "trying again" in caplog.text
    reaper.start_waiting()
    assert not reaper.pids
    clock.advance(1.0)
    reaper.start_waiting()
    assert reaper.pids == {4_000_002}


def test_supervisor_that_stops_reports_jobs_that_it_could_not_give_back(
    vendor: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = uuid7()
    monkeypatch.setattr("django_jobs.worker.reaper.REAP_SECONDS", 0.0)
    monkeypatch.setattr("django_jobs.worker.reaper.hear_term", lambda handler: None)
    monkeypatch.setattr("django_jobs.worker.reaper.own_connection", lambda using: None)
    assert (
        reap(DeadWorker(uuid7(), "w", {(job_id, 1): None}, cold=True, failed=False), "default") == 1
    )
    assert f"began={job_id}" in caplog.text
    assert "stay STARTED" in caplog.text
    supervisor = Supervisor(WorkerOptions())
    monkeypatch.setattr("django_jobs.worker.children.reap", lambda pid: 1)
    monkeypatch.setattr("django_jobs.worker.children.reap_orphans", lambda known: None)
    supervisor.children.reaper.pids.add(4_000_003)
    supervisor.children.reap()
    assert not supervisor.children.left_jobs, "the jobs are rescued while it goes on"
    supervisor.children.stopping = True
    supervisor.children.reaper.pids.add(4_000_004)
    supervisor.children.reap()
    assert supervisor.children.left_jobs


def test_shared_slots_keep_the_jobs_whose_ends_were_not_recorded() -> None:
    shared_slots, first, second = SharedSlots(2), uuid7(), uuid7()
    assert shared_slots.unrecorded() == []
    position = shared_slots.keep_end(first, 1)
    shared_slots.keep_end(second, 3)
    assert sorted(shared_slots.unrecorded()) == sorted([(first, 1), (second, 3)])
    shared_slots.forget_end(position)
    assert shared_slots.unrecorded() == [(second, 3)]
    assert shared_slots.running() == []


def test_only_the_job_of_a_hard_limit_is_blamed_for_the_kill(child: SimpleNamespace) -> None:
    process = subprocess.Popen(["sleep", "600"])
    try:
        child.child.pid, slots = process.pid, child.child.shared_slots
        overdue, beside = uuid7(), uuid7()
        slots.begin(0, overdue, 1, 900.0, 999.0)
        slots.begin(1, beside, 1, 900.0, 0.0)
        child.child.kill_overdue()
        assert child.killed == [signal.SIGKILL]
        left = child.child.jobs_left(failed=False)
        assert isinstance(left[overdue, 1], TimeLimitExceeded)
        assert isinstance(left[beside, 1], WorkerStopping), "it is given back"
    finally:
        process.kill()
        process.wait()


# --- signs of life --------------------------------------------------------------------------------


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A worker process with a clock of the test; ``killed`` has the signals that it was sent."""
    clock = SimpleNamespace(now=1000.0, killed=[], is_stopped=False)
    module = "django_jobs.worker.child_process"
    monkeypatch.setattr(f"{module}.kill_group", lambda pid, number: clock.killed.append(number))
    monkeypatch.setattr(f"{module}._is_stopped", lambda pid: clock.is_stopped)
    clock.child = Child(
        0, 1, uuid7(), "w-0", SharedSlots(2), SupervisorChannel(), 0.0, clock=lambda: clock.now
    )

    def look(times: int, seconds: float = 0.5) -> None:
        for _ in range(times):
            clock.now += seconds
            clock.child.kill_silent(60.0)

    clock.look = look
    yield clock
    clock.child.channel.close()
    clock.child.shared_slots.close()


def test_process_without_a_sign_of_life_for_a_lease_is_killed(child: SimpleNamespace) -> None:
    child.look(200)
    assert child.killed == [], "a process is not judged before its first sign of life"
    child.child.shared_slots.pulse = 1.0
    child.look(120)
    child.child.shared_slots.pulse = 2.0
    child.look(121)
    assert child.killed == []
    child.look(1)
    assert child.killed == [signal.SIGKILL]


def test_time_without_a_look_does_not_count_as_silence(
    child: SimpleNamespace,
) -> None:
    child.child.shared_slots.pulse = 1.0
    child.look(2)
    child.look(1, seconds=3600.0)
    child.look(100)
    assert child.killed == []


def test_process_that_a_signal_stopped_is_not_killed(child: SimpleNamespace) -> None:
    child.child.shared_slots.pulse = 1.0
    child.is_stopped = True
    child.look(300)
    child.is_stopped = False
    child.look(50)
    assert child.killed == []


def test_coordinator_without_a_sign_of_life_is_killed_before_a_lease_ends(
    child: SimpleNamespace,
) -> None:
    child.child.index = COORDINATOR
    child.is_stopped = True  # by a signal: the leases end all the same
    child.child.shared_slots.pulse = 1.0
    child.look(41)
    assert child.killed == []
    child.look(1)
    assert child.killed == [signal.SIGKILL]


# --- the coordinator ------------------------------------------------------------------------------


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A coordinator and a worker that were never forked; ``sent`` has their signals."""
    found = SimpleNamespace(children=Children(WorkerOptions()), sent=[], codes={})
    pids = itertools.count(4_000_000)
    monkeypatch.setattr("django_jobs.worker.children.fork", lambda target, close: next(pids))
    monkeypatch.setattr("django_jobs.worker.children.reap", lambda pid: found.codes.get(pid))
    monkeypatch.setattr("django_jobs.worker.children.reap_orphans", lambda known: None)
    monkeypatch.setattr("os.kill", lambda pid, number: found.sent.append((pid, number)))
    found.children.begin()
    found.children.fill_vacancies()
    by_index = {child.index: child for child in found.children.by_pid.values()}
    found.coordinator, found.worker = by_index[COORDINATOR], by_index[0]
    yield found
    for child in (*by_index.values(), *found.children.by_pid.values()):
        child.channel.close()


def end(processes: SimpleNamespace, child: Child, code: int) -> None:
    """Let a process end in order with *code*, or be killed by the signal -*code*."""
    if code >= 0:
        child.shared_slots.exit_code = code
    processes.codes[child.pid] = code
    processes.children.reap()


def test_coordinator_starts_before_the_workers(processes: SimpleNamespace) -> None:
    assert processes.coordinator.pid < processes.worker.pid


@pytest.mark.parametrize("stopping", [False, True])
def test_dead_coordinator_is_replaced_also_while_workers_finish_their_jobs(
    processes: SimpleNamespace, caplog: pytest.LogCaptureFixture, stopping: bool
) -> None:
    children = processes.children
    if stopping:
        children.stop()
        assert processes.sent == [(processes.worker.pid, signal.SIGTERM)]
    end(processes, processes.coordinator, -signal.SIGKILL)
    assert "coordinator died pid=" in caplog.text
    assert not children.reaper, "it has no row and no jobs"
    assert children.vacant.keys() == {COORDINATOR}
    children.vacant[COORDINATOR] = 0.0
    children.fill_vacancies()
    assert COORDINATOR in {child.index for child in children.by_pid.values()}


def test_coordinator_that_died_just_before_a_stop_is_replaced(processes: SimpleNamespace) -> None:
    end(processes, processes.coordinator, -signal.SIGKILL)
    processes.children.stop()
    assert processes.children.vacant.keys() == {COORDINATOR}
    end(processes, processes.worker, STOPPED)
    processes.children.end_coordinator()
    assert not processes.children


@pytest.mark.parametrize("code", [0, STOPPED])
def test_coordinator_ends_after_the_last_worker(processes: SimpleNamespace, code: int) -> None:
    children = processes.children
    if code == STOPPED:
        children.stop()
    children.end_coordinator()
    assert (processes.coordinator.pid, signal.SIGTERM) not in processes.sent
    end(processes, processes.worker, code)
    for _ in range(2):
        children.end_coordinator()
    assert processes.sent.count((processes.coordinator.pid, signal.SIGTERM)) == 1
    end(processes, processes.coordinator, STOPPED)
    assert not children


def test_lease_of_a_dead_process_is_not_renewed(processes: SimpleNamespace) -> None:
    place = processes.children.inherited.roster.place(0)
    place.enter(processes.worker.worker_id)
    end(processes, processes.worker, RECYCLE)
    assert place.sign() is None


def test_log_tells_how_a_process_ended() -> None:
    assert how_it_ended(0) == "ended by itself with exit code 0"
    assert how_it_ended(-signal.SIGSEGV) == "killed by SIGSEGV"
    assert how_it_ended(-200) == "killed by signal 200"


# --- threads of coroutines ------------------------------------------------------------------------


def test_no_two_coroutines_share_a_thread_at_a_time(switching: None) -> None:
    threads, users, overlaps = LentThreads(), {}, []

    async def job(number: int) -> None:
        loan = threads.lend()
        seen = set()
        for _ in range(3):
            ident = await sync_to_async(threading.get_ident)()
            seen.add(ident)
            if users.setdefault(ident, number) != number:
                overlaps.append(number)
            await asyncio.sleep(0)
        assert len(seen) == 1
        del users[seen.pop()]
        executor = loan.end()
        assert executor is not None
        await executor.end()
        with pytest.raises(RuntimeError, match="Await your tasks"):
            await sync_to_async(threading.get_ident)()

    async def jobs() -> None:
        await asyncio.gather(*(asyncio.create_task(job(number)) for number in range(60)))

    asyncio.run(jobs())
    assert overlaps == []
    threads.close()


def test_hangup_in_another_program_reloads_without_a_check() -> None:
    supervisor = Supervisor(WorkerOptions())
    supervisor.on_signal(signal.SIGHUP)
    assert supervisor.reload.pids == []
    assert supervisor.reload.is_wanted
    assert supervisor.children.stopping
    supervisor.signals.close()


# --- stacks -------------------------------------------------------------------------------------


def test_each_process_writes_its_stacks_before_the_next_one_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("os.kill", lambda pid, number: seen.append((pid, number)))
    children: Any = SimpleNamespace(by_pid={7: None, 8: None})
    Children.show_stacks(children, lambda seconds: seen.append("pause"))
    assert seen == [(7, signal.SIGUSR1), "pause", (8, signal.SIGUSR1), "pause"]
