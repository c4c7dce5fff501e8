"""The worker processes of a supervisor: it starts them, replaces dead ones, stops them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from uuid import UUID

from ..ids import uuid7
from . import roles
from .child_process import BEAT, COORDINATOR, Child
from .fork import fork, kill_group, reap, reap_orphans
from .inherited import Inherited
from .options import WorkerOptions
from .reaper import Reaper
from .roles import RunBeat, name_of
from .shared_slots import SharedSlots
from .supervisor_channel import SupervisorChannel
from .worker import STOPPED

_log = logging.getLogger("django_jobs.worker")

# A child that dies sooner than this after its start is replaced more and more slowly.
STILLBORN_SECONDS = 1.0
LONGEST_PAUSE = 30.0
# More seconds than a process needs to write its stacks.
_STACKS_SECONDS = 0.02


class Children:
    """Keeps one process at each wanted index, until it is told to stop.

    *run_beat* runs a beat, whose row has that id, at an index of its own; the beat calls its second
    argument at each step. A forked process closes the file descriptors *close*.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        run_beat: RunBeat | None = None,
        close: Iterable[int] = (),
    ) -> None:
        self.options = options
        self.by_pid: dict[int, Child] = {}
        #: The index of each missing process, and the moment of its start.
        self.vacant: dict[int, float] = {}
        #: The options of each process, as commands have changed them. They hold for the next
        #: process at its index, too.
        self.options_at: dict[int, WorkerOptions] = {}
        self.stopping = False
        #: The processes were killed.
        self.cold = False
        #: At the stop the database was away: jobs stay STARTED until another worker rescues them.
        self.left_jobs = False
        self.reaper = Reaper(options.using, self.fork)
        self.inherited = Inherited.new()
        self._run_beat = run_beat
        self._close = list(close)
        #: Whether the processes write their load.
        self.watched = False
        self._failures: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self.by_pid or self.vacant)

    def begin(self) -> None:
        """Want as many processes as the options say, also after a stop."""
        self.stopping = self.cold = False
        now = time.monotonic()
        self.vacant = {COORDINATOR: now, **dict.fromkeys(range(self.options.processes), now)}
        if self._run_beat is not None:
            self.vacant[BEAT] = now

    def fork(self, target: Callable[[], int]) -> int:
        return fork(target, close=self._close)

    def fill_vacancies(self) -> None:
        """Start each missing process whose moment has come."""
        now = time.monotonic()
        for index in [index for index, when in self.vacant.items() if when <= now]:
            del self.vacant[index]
            try:
                self._start(index)
            except OSError as error:
                pause = self._pause_after_failure(index)
                self.vacant[index] = now + pause
                _log.error(
                    "cannot start a worker process index=%d, trying again in %.0f s: %s",
                    index,
                    pause,
                    error,
                    extra={"worker": name_of(index, self.options)},
                )

    def _start(self, index: int) -> None:
        self.options_at[index] = self._options_of(index)
        with contextlib.ExitStack() as undo:
            worker_id, shared_slots = uuid7(), SharedSlots(self.options.slots)
            undo.callback(shared_slots.close)
            channel = SupervisorChannel()
            undo.callback(channel.close)
            shared_slots.watched = self.watched
            pid = self.fork(functools.partial(self._work, worker_id, index, shared_slots, channel))
            undo.pop_all()
        channel.keep_supervisor_end()
        name, now = name_of(index, self.options), time.monotonic()
        self.by_pid[pid] = Child(index, pid, worker_id, name, shared_slots, channel, now)

    def _options_of(self, index: int) -> WorkerOptions:
        """Return the options of a new process; an additional one gets those of the first."""
        if index in self.options_at or index < 0:
            return self.options_at.get(index, self.options)
        first = min((other for other in self.options_at if other >= 0), default=index)
        return dataclasses.replace(self.options_at.get(first, self.options), quiet=False)

    def _work(
        self, worker_id: UUID, index: int, shared_slots: SharedSlots, channel: SupervisorChannel
    ) -> int:
        """Be the process at *index*; return its exit code."""
        channel.keep_child_end()
        for other in self.by_pid.values():
            other.channel.close()
        # An end that the process did not announce is a crash, whatever its exit code.
        shared_slots.exit_code = code = roles.run(
            index, worker_id, self.options_at[index], shared_slots, channel, self.inherited,
            self._run_beat,
        )  # fmt: skip
        return code

    def reap(self, others: Iterable[int] = ()) -> None:
        """Take note of all processes that have ended; *others* are pids that the caller reaps."""
        for pid in [*self.by_pid, *self.reaper.pids]:
            code = reap(pid)
            if code is None:
                continue
            if pid in self.by_pid:
                self._ended(self.by_pid.pop(pid), code)
            else:
                self.reaper.pids.discard(pid)
                self.left_jobs = self.left_jobs or (self.stopping and code != 0)
        reap_orphans({*self.by_pid, *self.reaper.pids, *others})

    def _ended(self, child: Child, code: int) -> None:
        """Have a dead process's jobs given back, and decide whether another one replaces it."""
        in_order = code == child.shared_slots.exit_code
        running = bool(child.shared_slots.running())
        if not in_order:
            failed = not child.killed and not self.cold
            if failed:
                child.log_death(code)
            if child.index != COORDINATOR:  # which has no row
                self.reaper.add(child.remains(self.cold, failed))
        if child.index >= 0:
            self.inherited.roster.place(child.index).leave()
        child.shared_slots.close()
        child.channel.close()
        if child.surplus:
            self.options_at.pop(child.index, None)
        if child.surplus or (in_order and code == 0):
            return
        if self.stopping and (child.index != COORDINATOR or self.cold):
            return
        if in_order and code == STOPPED:
            child.log_stop()
        # A process that died of its job says nothing about the next one.
        innocent = in_order or child.killed or running
        stillborn = not innocent and time.monotonic() - child.started < STILLBORN_SECONDS
        pause = self._pause_after_failure(child.index) if stillborn else 0.0
        if not stillborn:
            self._failures.pop(child.index, None)
        self.vacant[child.index] = time.monotonic() + pause

    def _pause_after_failure(self, index: int) -> float:
        """Return the seconds to the next start at *index*: more after each failure in a row."""
        failures = self._failures[index] = self._failures.get(index, 0) + 1
        return min(LONGEST_PAUSE, 2.0 ** (failures - 1))

    def steps(self) -> dict[int, float]:
        """Return the moment of the last step of each process that there should be, by index.

        It is 0 if the process has taken none or does not exist at present.
        """
        found = dict.fromkeys(self.vacant, 0.0)
        for child in self.by_pid.values():
            if not child.surplus:
                found[child.index] = child.shared_slots.stepped
        return found

    def kill_stuck(self, lease_seconds: float) -> None:
        """Kill processes whose jobs are overdue or whose interpreters hang."""
        for child in self.by_pid.values():
            child.kill_overdue()
            child.kill_silent(lease_seconds)

    def stop(self, cold: bool = False) -> None:
        """Let all processes finish what they run, or kill them; replace none from now on."""
        self.stopping = True
        self.cold = self.cold or cold
        # While a worker finishes its jobs, its lease must be renewed.
        self.vacant = {} if cold else {i: at for i, at in self.vacant.items() if i == COORDINATOR}
        if cold:
            for pid in self.by_pid:
                kill_group(pid, signal.SIGKILL)
            return
        for child in self.by_pid.values():
            if child.index != COORDINATOR:
                os.kill(child.pid, signal.SIGTERM)

    def end_coordinator(self) -> None:
        """Stop the coordinator when all other processes have ended and none is to start."""
        others = [child for child in self.by_pid.values() if child.index != COORDINATOR]
        if others or self.vacant.keys() - {COORDINATOR}:
            return
        self.vacant.clear()
        for child in self.by_pid.values():
            if not child.surplus:
                child.surplus = True
                os.kill(child.pid, signal.SIGTERM)

    def show_stacks(self, pause: Callable[[float], object]) -> None:
        """Let each process write its stacks to stderr, one process after another."""
        for pid in self.by_pid:
            os.kill(pid, signal.SIGUSR1)
            # Two processes that write at once would mix their lines.
            pause(_STACKS_SECONDS)
