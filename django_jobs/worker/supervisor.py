"""Starts worker processes, watches them, replaces the dead. Runs no job, holds no connection."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import signal
import time
from typing import Any

from .. import log
from ..conf import get_settings
from ..ids import uuid7
from ..process.heartbeat_file import HeartbeatFile
from .children import Children
from .file_changes import FileChanges
from .fork import close_everything
from .liveness import Liveness
from .option_commands import changed_options
from .options import WorkerOptions
from .reaper import REAP_SECONDS
from .reload import Reload
from .roles import RunBeat
from .scaling import Scaling
from .signal_pipe import SignalPipe
from .worker import send_init, send_shutdown

_log = logging.getLogger("django_jobs.worker")

TICK_SECONDS = 0.1
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
#: Signals that the supervisor hears; blocked from its end to the new start of a reload.
HEARD = (*_STOPS, signal.SIGHUP, signal.SIGUSR1)


class Supervisor:
    """Keeps ``options.processes`` workers alive until it is stopped. Commands change the number."""

    def __init__(
        self,
        options: WorkerOptions,
        *,
        run_beat: RunBeat | None = None,
        heartbeat_file: HeartbeatFile | None = None,
        is_program: bool = False,
        changes: FileChanges | None = None,
    ) -> None:
        """*run_beat* runs a beat in a process beside the workers (see :class:`Children`).

        *heartbeat_file* is touched while all processes live.
        *is_program* says that the command line of this process is that of ``runworker``. A change
        that *changes* sees is a HUP.
        """
        self.options = dataclasses.replace(options, supervisor_id=uuid7())
        self.signals = SignalPipe()
        self.children = Children(self.options, run_beat=run_beat, close=self.signals.descriptors)
        self.scaling = Scaling(self.children, options.autoscale)
        self.reload = Reload(is_program)
        self.liveness = Liveness(heartbeat_file) if heartbeat_file else None
        self._changes = changes
        self._kill_at = math.inf
        self._lease_seconds = get_settings().lease_seconds

    def run(self) -> int:
        """Supervise to the end; return the exit code."""
        with log.working_as(self.options.base_name):
            return self._run()

    def _run(self) -> int:
        send_init(self.options)
        close_everything()
        self.signals.listen(HEARD)
        try:
            self._supervise()
            while self.reload.is_wanted and not self._is_sound():
                self._supervise()  # with the code that this process has
        finally:
            self.signals.stop_listening()
            send_shutdown(self.options)
        if self.reload.is_wanted:
            # The new image has no handlers yet: signals that come before it has wait for them.
            signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
            if not any(number in _STOPS for number in self.signals.numbers):
                self.reload.start_over()
        return int(self.children.left_jobs)

    def _supervise(self) -> None:
        """Start the processes, and return when all have ended."""
        self.children.begin()
        self._kill_at = math.inf
        while self.children:
            self._tick()
        self._await_reaper()

    def _is_sound(self) -> bool:
        """Check code that changed while the processes ended; return False if it cannot start."""
        while self.reload.is_stale:
            self.reload.is_stale = False
            self.reload.begin()
            while self.reload.pids:
                for number in self.signals.wait(TICK_SECONDS):
                    self.on_signal(number)
                self._look_for_changes()
                if not self.reload.is_wanted:  # a stop came
                    self.reload.end_check()
                    return True
                self.reload.poll()
        return self.reload.is_wanted

    def _look_for_changes(self) -> None:
        if self._changes is not None and (path := self._changes.changed()):
            _log.info("changed: %s", path)
            self.on_signal(signal.SIGHUP)

    def _tick(self) -> None:
        children = self.children
        channels = [child.channel.fileno() for child in children.by_pid.values()]
        for number in self.signals.wait(TICK_SECONDS, also=channels):
            self.on_signal(number)
        self._look_for_changes()
        if self.reload.poll():
            self._stop_warm()
        for child in list(children.by_pid.values()):
            child.channel.serve(functools.partial(self._execute, child.index))
        self.scaling.scale()
        children.fill_vacancies()
        children.reaper.start_waiting()
        children.reap(others=self.reload.pids)
        children.end_coordinator()
        children.kill_stuck(self._lease_seconds)
        if self.liveness is not None:
            self.liveness.look(children.steps())
        if children.stopping and not children.cold and time.monotonic() >= self._kill_at:
            _log.warning("the grace period is over: running jobs are stopped and given back")
            self._stop_cold()

    def _await_reaper(self) -> None:
        reaper, deadline = self.children.reaper, time.monotonic() + REAP_SECONDS + 1
        while reaper and time.monotonic() < deadline:
            reaper.start_waiting()
            self.children.reap(others=self.reload.pids)
            self.signals.sleep(0.02)
        self.children.left_jobs = self.children.left_jobs or bool(reaper)

    # --- signals and commands -------------------------------------------------------------------

    def on_signal(self, number: int) -> None:
        """Do what the signal asks for."""
        if number == signal.SIGUSR1:
            self.children.show_stacks(self.signals.sleep)
        elif number == signal.SIGHUP:
            if self.children.stopping:
                self.reload.is_stale = self.reload.is_wanted
            else:
                self.reload.begin()
                if self.reload.is_wanted:
                    self._stop_warm()
        elif self.reload.is_wanted:
            # The warm stop is under way already; it ends here instead of starting over.
            self.reload.is_wanted = False
            if number == signal.SIGQUIT:
                self._stop_cold()
        elif number == signal.SIGQUIT or self.children.stopping:
            self._stop_cold()
        else:
            self._stop_warm()

    def _stop_warm(self) -> None:
        self.reload.end_check()
        if not self.children.stopping:
            _log.info(
                "stopping: finishing what runs, for up to %.0f s; the same signal again stops now",
                self.options.grace_seconds,
            )
            self._kill_at = time.monotonic() + self.options.grace_seconds
            self.children.stop()

    def _stop_cold(self) -> None:
        self.reload.end_check()
        if not self.children.cold:
            _log.warning("stopping now: running jobs are stopped and given back")
            self.children.stop(cold=True)

    def _execute(self, index: int, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Execute what the child at *index* cannot do alone; ``ValueError`` refuses it."""
        if verb == "shutdown":
            self.reload.is_wanted = False
            if arguments["cold"]:
                self._stop_cold()
            else:
                self._stop_warm()
        elif self.children.stopping:
            raise ValueError("This runworker is stopping. Start another one.")
        elif verb == "autoscale":
            self.scaling.set_autoscale(**arguments)
        elif verb in ("grow", "shrink"):
            self.scaling.resize(arguments["number"] if verb == "grow" else -arguments["number"])
        else:
            options_at = self.children.options_at
            options_at[index] = changed_options(options_at[index], verb, arguments)
        return {"processes": len(self.scaling.indexes()), **self.scaling.bounds()}
