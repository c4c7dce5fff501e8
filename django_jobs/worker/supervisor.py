"""Starts worker processes, watches them, replaces the dead. Runs no job, holds no connection."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from ..conf import get_settings
from ..ids import uuid7
from ..process.wakeup import readable
from .autoscale import LOOK_SECONDS, Autoscale, Load, Report
from .child_process import Child, how_it_ended
from .fork import close_everything, fork, hear_term, kill_group, reap, reap_orphans
from .options import WorkerOptions
from .reaper import REAP_SECONDS, DeadWorker, Reaper
from .reload_check import ReloadCheck, command
from .shared_slots import SharedSlots
from .steer import steered
from .supervisor_channel import SupervisorChannel
from .worker import STOPPED, WorkerProcess, send_init, send_shutdown

_log = logging.getLogger("django_jobs.worker")

TICK_SECONDS = 0.1
# A child that dies sooner than this after its start is replaced more and more slowly.
STILLBORN_SECONDS = 1.0
LONGEST_PAUSE = 30.0
# The index of the process that fires schedules.
_BEAT = -1
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
#: Signals that the supervisor hears; blocked from its end to the new start of a reload.
HEARD = (*_STOPS, signal.SIGHUP, signal.SIGUSR1)


class Supervisor:
    """Keeps ``options.processes`` workers alive, or as many as it is told, until it is stopped."""

    def __init__(
        self,
        options: WorkerOptions,
        *,
        run_beat: Callable[[UUID], int] | None = None,
        is_program: bool = False,
    ) -> None:
        """*run_beat* runs a beat, whose row has that id, in a process beside the workers.

        *is_program* says that the command line of this process is that of ``runworker``.
        """
        self._run_beat = run_beat
        self._is_program = is_program
        self.options = dataclasses.replace(options, supervisor_id=uuid7())
        self._autoscale = options.autoscale
        self._scaled_at = 0.0
        # What each process works by, as commands have changed it: the next one at its index, too.
        self._options_at: dict[int, WorkerOptions] = {}
        self._children: dict[int, Child] = {}
        self._reaper = Reaper(options.using, self._fork)
        self._vacant: dict[int, float] = {}  # index of a missing worker -> when to start it
        self._failures: dict[int, int] = {}
        self._stopping = False
        # At the stop the database was away: jobs stay STARTED until another worker rescues them.
        self._left_jobs = False
        self._cold = False
        self._reload = False
        self._rehearsal: ReloadCheck | None = None
        self._kill_at = float("inf")
        self._lease_seconds = get_settings().lease_seconds
        self._signals: list[int] = []
        self._read, self._write = os.pipe()

    def run(self) -> int:
        """Supervise to the end; return the exit code."""
        send_init(self.options)
        close_everything()
        self._listen_to_signals()
        now = time.monotonic()
        self._vacant = dict.fromkeys(range(self.options.processes), now)
        if self._run_beat is not None:
            self._vacant[_BEAT] = now
        try:
            while self._children or self._vacant:
                self._tick()
            self._await_reaper()
        finally:
            signal.set_wakeup_fd(-1)
            send_shutdown(self.options)
        if self._reload:
            self._start_over()
        return int(self._left_jobs)

    def _start_over(self) -> None:
        # The new image has no handlers yet: what comes before it has waits for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        if not any(number in _STOPS for number in self._signals):
            _log.info("reloading: starting over with the code as it is now")
            os.execv(sys.executable, command())  # noqa: S606

    def _tick(self) -> None:
        for number in self._heard_signals():
            self._on_signal(number)
        self._hear_rehearsal()
        self._hear_children()
        self._scale()
        self._fill_vacancies()
        self._reaper.start_waiting()
        self._reap()
        for child in self._children.values():
            child.kill_overdue()
            child.kill_silent(self._lease_seconds)
        if self._stopping and not self._cold and time.monotonic() >= self._kill_at:
            _log.warning("the grace period is over: running jobs are stopped and given back")
            self._stop_cold()

    # --- signals --------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, lambda number, frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)

    def _heard_signals(self) -> list[int]:
        channels = [child.channel.fileno() for child in self._children.values()]
        readable([self._read, *channels], TICK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        heard, self._signals = self._signals, []
        return heard

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._send(signal.SIGUSR1)
        elif number == signal.SIGHUP:
            self._rehearse()
        elif self._reload:
            # The warm stop is under way already; it ends here instead of starting over.
            self._reload = False
            if number == signal.SIGQUIT:
                self._stop_cold()
        elif number == signal.SIGQUIT or self._stopping:
            self._stop_cold()
        else:
            self._stop_warm()

    def _rehearse(self) -> None:
        """Begin a reload: first see whether the code as it is now can start."""
        if self._stopping:
            return
        if not self._is_program:  # nobody knows what else that program does when it starts
            self._start_reload()
            return
        self._end_rehearsal()  # the code may have changed since it began
        try:
            self._rehearsal = ReloadCheck()
        except OSError as error:
            _log.error("not reloading: the new code cannot be tried: %s", error)
            return
        _log.info("reloading: trying the code as it is now")

    def _hear_rehearsal(self) -> None:
        why = self._rehearsal.verdict() if self._rehearsal else None
        if why is None:
            return
        self._end_rehearsal()
        if why:
            _log.error(
                "not reloading: a runworker cannot start with the code as it is now, so this one "
                "goes on with the code that it has: %s",
                why,
            )
        else:
            self._start_reload()

    def _start_reload(self) -> None:
        self._reload = True
        self._stop_warm()

    def _end_rehearsal(self) -> None:
        if self._rehearsal is not None:
            self._rehearsal.end()
            self._rehearsal = None

    def _stop_warm(self) -> None:
        self._end_rehearsal()
        if not self._stopping:
            _log.info(
                "stopping: finishing what runs, for up to %.0f s; the same signal again stops now",
                self.options.grace_seconds,
            )
            self._stopping = True
            self._vacant.clear()
            self._kill_at = time.monotonic() + self.options.grace_seconds
            self._send(signal.SIGTERM)

    def _stop_cold(self) -> None:
        self._end_rehearsal()
        if not self._cold:
            _log.warning("stopping now: running jobs are stopped and given back")
            self._stopping = self._cold = True
            self._vacant.clear()
            self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        for pid in self._children:
            if number == signal.SIGKILL:
                kill_group(pid, number)
            else:
                os.kill(pid, number)

    # --- children -------------------------------------------------------------------------------

    def _fill_vacancies(self) -> None:
        now = time.monotonic()
        for index in [index for index, when in self._vacant.items() if when <= now]:
            del self._vacant[index]
            try:
                self._start(index)
            except OSError as error:
                pause = self._pause_after_failure(index)
                self._vacant[index] = now + pause
                _log.error(
                    "cannot start a worker process index=%d, trying again in %.0f s: %s",
                    index,
                    pause,
                    error,
                )

    def _start(self, index: int) -> None:
        self._options_at[index] = self._options_of(index)
        with contextlib.ExitStack() as undo:
            worker_id, shared_slots = uuid7(), SharedSlots(self.options.slots)
            undo.callback(shared_slots.close)
            channel = SupervisorChannel()
            undo.callback(channel.close)
            shared_slots.watched = self._autoscale is not None
            pid = self._fork(functools.partial(self._work, worker_id, index, shared_slots, channel))
            undo.pop_all()
        channel.keep_supervisor_end()
        self._children[pid] = Child(index, pid, worker_id, shared_slots, channel, time.monotonic())

    def _work(
        self, worker_id: UUID, index: int, shared_slots: SharedSlots, channel: SupervisorChannel
    ) -> int:
        channel.keep_child_end()
        for other in self._children.values():
            other.channel.close()
        # An end that the process did not announce is a crash, whatever its exit code.
        shared_slots.exit_code = code = self._work_to_the_end(
            worker_id, index, shared_slots, channel
        )
        return code

    def _work_to_the_end(
        self, worker_id: UUID, index: int, shared_slots: SharedSlots, channel: SupervisorChannel
    ) -> int:
        if index == _BEAT and self._run_beat is not None:
            hear_term()
            self._run_beat(worker_id)
            return STOPPED
        worker = WorkerProcess(self._options_at[index], worker_id, index, shared_slots, channel)
        hear_term(worker.stop)
        return worker.run()

    def _fork(self, target: Callable[[], int]) -> int:
        return fork(target, close=[self._read, self._write])

    def _reap(self) -> None:
        for pid in [*self._children, *self._reaper.pids]:
            code = reap(pid)
            if code is None:
                continue
            if pid in self._children:
                self._bury(self._children.pop(pid), code)
            else:
                self._reaper.pids.discard(pid)
                self._left_jobs = self._left_jobs or (self._stopping and code != 0)
        rehearsing = [self._rehearsal.pid] if self._rehearsal else []
        reap_orphans({*self._children, *self._reaper.pids, *rehearsing})

    def _bury(self, child: Child, code: int) -> None:
        """Settle what a child left, and decide whether another takes its place."""
        in_order = code == child.shared_slots.exit_code
        running = child.shared_slots.running()
        if not in_order:
            failed = not child.killed and not self._cold
            if failed:
                _log.error(
                    "worker died index=%d pid=%d: %s", child.index, child.pid, how_it_ended(code)
                )
            reasons = {
                (entry.job_id, entry.claims): child.reasons.get((entry.job_id, entry.claims))
                for entry in running
            }
            # They must not run again, and how they ended is lost with the process.
            reasons.update(dict.fromkeys(child.shared_slots.unrecorded()))
            if failed:
                # Whoever has just ended may have broken it, before that end was recorded.
                latest = child.shared_slots.latest()
                reasons.update({(entry.job_id, entry.claims): None for entry in latest})
            self._reaper.add(DeadWorker(child.worker_id, reasons, self._cold, failed))
        child.shared_slots.close()
        child.channel.close()
        if child.surplus:
            del self._options_at[child.index]
        if self._stopping or child.surplus or (in_order and code == 0):
            return
        if in_order and code == STOPPED:
            _log.warning(
                "worker stopped index=%d pid=%d by a SIGTERM that is not of its supervisor; "
                "another takes its place",
                child.index,
                child.pid,
            )
        # One that died of its job says nothing about the next one.
        innocent = in_order or child.killed or bool(running)
        stillborn = not innocent and time.monotonic() - child.started < STILLBORN_SECONDS
        pause = self._pause_after_failure(child.index) if stillborn else 0.0
        if not stillborn:
            self._failures.pop(child.index, None)
        self._vacant[child.index] = time.monotonic() + pause

    def _pause_after_failure(self, index: int) -> float:
        """Return how long the place stays empty: longer each time in a row."""
        failures = self._failures[index] = self._failures.get(index, 0) + 1
        return min(LONGEST_PAUSE, 2.0 ** (failures - 1))

    def _await_reaper(self) -> None:
        deadline = time.monotonic() + REAP_SECONDS + 1
        while self._reaper and time.monotonic() < deadline:
            self._reaper.start_waiting()
            self._reap()
            readable([self._read], 0.02)
        self._left_jobs = self._left_jobs or bool(self._reaper)

    # --- commands and the number of processes ---------------------------------------------------

    def _hear_children(self) -> None:
        for child in list(self._children.values()):
            child.channel.serve(functools.partial(self._obey, child.index))

    def _obey(self, index: int, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Do what the child at *index* was told and cannot do alone; ``ValueError`` refuses it."""
        if verb == "shutdown":
            self._reload = False
            if arguments["cold"]:
                self._stop_cold()
            else:
                self._stop_warm()
        elif self._stopping:
            raise ValueError("This runworker is stopping. Start another one.")
        elif verb == "autoscale":
            self._set_autoscale(**arguments)
        elif verb in ("grow", "shrink"):
            self._resize(arguments["number"] if verb == "grow" else -arguments["number"])
        else:
            self._options_at[index] = steered(self._options_at[index], verb, arguments)
        bounds = dataclasses.asdict(self._autoscale) if self._autoscale else {}
        return {"processes": len(self._places()), **bounds}

    def _options_of(self, index: int) -> WorkerOptions:
        """Return what a new process at *index* works by: if it is one more, as the first does."""
        if index in self._options_at:
            return self._options_at[index]
        first = min(self._options_at, default=index)
        return dataclasses.replace(self._options_at.get(first, self.options), quiet=False)

    def _crew(self) -> list[Child]:
        """Return the processes that run jobs and that stay."""
        return [
            child for child in self._children.values() if child.index != _BEAT and not child.surplus
        ]

    def _places(self) -> set[int]:
        """Return the indexes of all workers that are wanted, also of those that start just now."""
        return {child.index for child in self._crew()} | (self._vacant.keys() - {_BEAT})

    def _resize(self, change: int) -> None:
        size = len(self._places())
        if self._autoscale is not None:
            raise ValueError(
                f"This runworker scales itself, from {self._autoscale.least} to "
                f"{self._autoscale.most} processes: change that by autoscale."
            )
        if size + change < 1:
            raise ValueError(
                f"This runworker has {size} processes, and one stays. Shut it down to stop them."
            )
        self._change(change)

    def _change(self, change: int) -> None:
        """Start so many more processes or, below 0, let so many finish what they run and end."""
        for _ in range(change):
            taken = self._vacant.keys() | {child.index for child in self._children.values()}
            free = next(index for index in itertools.count() if index not in taken)
            self._vacant[free] = time.monotonic()
        for _ in range(-change):
            unborn = self._vacant.keys() - {_BEAT}
            if unborn:
                del self._vacant[max(unborn)]
                continue
            child = max(self._crew(), key=Child.dispensability)
            child.surplus = True
            os.kill(child.pid, signal.SIGTERM)

    def _set_autoscale(
        self, most: int | None, least: int | None, idle_seconds: float | None
    ) -> None:
        self._autoscale = (
            Autoscale(most, least, idle_seconds) if most and least and idle_seconds else None
        )
        for child in self._children.values():
            child.shared_slots.watched = self._autoscale is not None
        self._scaled_at = 0.0
        self._scale()

    def _scale(self) -> None:
        now = time.monotonic()
        scale = self._autoscale
        if scale is None or self._stopping or now - self._scaled_at < LOOK_SECONDS:
            return
        self._scaled_at = now
        places, crew = self._places(), self._crew()
        reports = [
            child.shared_slots.load for child in crew if not self._options_at[child.index].quiet
        ]
        reports += [Report(Load.UNKNOWN, now)] * (len(places) - len(crew))
        change = scale.change(len(places), reports, now)
        if change:
            _log.info("autoscale from=%d to=%d", len(places), len(places) + change)
            self._change(change)
