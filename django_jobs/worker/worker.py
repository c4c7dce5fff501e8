"""A worker process: the pool runs jobs in its main thread; four other threads do the rest."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections

from .. import log, signals
from ..conf import get_settings
from ..db import own_connection
from ..metrics.collector import Collector
from ..process.reconnect import Backoff, until_database_answers
from ..process.timers import Timer, Timers
from ..process.wakeup import Waker, Wakeup
from ..run import forks, redirect_output
from ..run.record import record
from ..values import Outcome
from .buffer import JobBuffer
from .chores import Chores
from .isolation import dump_stacks_on_usr1
from .lease import Lease
from .loop import WorkerLoop
from .options import WorkerOptions
from .pools import POOLS
from .pools.base import Pool, PoolSetup
from .pulse import Pulse
from .reaper import DeadWorker
from .shared_slots import SharedSlots
from .supervisor_channel import SupervisorChannel

#: Exit codes of processes that the supervisor replaces: used up; lost its lease; told to stop, but
#: not by the supervisor. A process with code 0 is not replaced.
RECYCLE, LOST, STOPPED = 75, 76, 77
#: Exit code: the database was away at the stop, and jobs stay STARTED.
LEFT_JOBS = 1

_log = logging.getLogger("django_jobs.worker")


def _die() -> None:
    # A worker without one of its threads would keep jobs that nobody records or rescues.
    sys.stderr.flush()
    os._exit(1)


def _signal_itself(cold: bool) -> None:
    os.kill(os.getpid(), signal.SIGQUIT if cold else signal.SIGTERM)


class WorkerProcess:
    """Runs jobs until it is stopped, done (burst) or used up (max-jobs, max-memory).

    Its threads: *loop* claims and records, *chores* does maintenance, *heartbeat* renews the lease,
    *pulse* shows the supervisor that the interpreter runs.
    """

    def __init__(
        self,
        options: WorkerOptions,
        worker_id: UUID,
        index: int,
        shared_slots: SharedSlots,
        channel: SupervisorChannel | None,
        *,
        on_pulse: Callable[[], object] = lambda: None,
        on_failure: Callable[[], object] = _die,
        shut_down: Callable[[bool], object] = _signal_itself,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*channel* is None without a supervisor, whose processes *index* counts.

        *on_pulse* is called once a second, *on_failure* after a thread has failed. An operator ends
        a worker without a supervisor by *shut_down*, whose argument is True for a cold stop.
        """
        self.shut_down, self._on_failure = shut_down, on_failure
        self.options = options
        self.index = index
        self.channel = channel
        self.shared_slots = shared_slots
        self.name = options.name_of(index)
        self.was_told_to_stop = False
        self.waker = Waker()
        self.buffer = JobBuffer(self.waker.wake, options.max_jobs)
        self.wakeup = Wakeup(options.using, self.waker)
        self.collector = Collector()
        self.loop = WorkerLoop(
            worker_id,
            options,
            self.buffer,
            self.wakeup,
            self.collector,
            on_topic=lambda topic: self.chores.hear(topic),
            on_put=self._put,
            on_database_error=lambda: self.pool.distrust_connections(),
            on_recorded=lambda outcomes: self.pool.recorded(outcomes),
        )
        self.pool = self._make_pool()
        self.lease = Lease(self, clock)
        self.chores = Chores(self)
        self.heartbeat = self._make_heartbeat()
        self._pulse = Pulse(self, on_pulse)

    @property
    def worker_id(self) -> UUID:
        """The id in the rows of this worker's jobs. It changes when the lease was lost."""
        return self.loop.state.worker_id

    def _make_pool(self) -> Pool:
        options = self.options
        return POOLS[options.pool](
            PoolSetup(
                self.name,
                options,
                self.buffer,
                self.shared_slots,
                dict(options.time_limits),
                self.loop.progress.show,
                self._commit,
                self.loop.connections.refused,
                self.stop,
            )
        )

    def _make_heartbeat(self) -> Timers:
        # Its own thread: the chores wait for locks, and nothing may hold the heartbeat up.
        seconds = get_settings().heartbeat_seconds
        return Timers([Timer("heartbeat", seconds, self.lease.renew, seconds)], self.options.using)

    def run(self) -> int:
        """Run to the end; return the exit code."""
        log.worker_name.set(self.name)
        forks.guard(jobs_only=self.options.embedded)
        if not self.options.embedded:
            dump_stacks_on_usr1()
        self._send(signals.worker_process_init)
        guarded = partial(_guard, self.name, self._on_failure)
        threads = [
            threading.Thread(target=guarded, args=(target,), name=name, daemon=True)
            for name, target in (
                ("loop", self._loop),
                ("chores", lambda: _run_timers(self.chores.timers)),
                ("heartbeat", lambda: _run_timers(self.heartbeat)),
                ("pulse", self._pulse.run),
            )
        ]
        for thread in threads:
            thread.start()
        with redirect_output.redirected(self.options.redirect_stdout):
            guarded(self.pool.run)
        self._stop_timers()
        self._pulse.end()
        for thread in threads:
            thread.join()
        self._send(signals.worker_process_shutdown)
        connections.close_all()
        if left := self.buffer.held():
            log.jobs_left(self.worker_id, sorted(job_id for job_id, _claims in left))
            return LEFT_JOBS
        if self.was_told_to_stop:
            return STOPPED
        return RECYCLE if self.loop.state.used_up else 0

    def _send(self, signal: signals.WorkerSignal, **named: Any) -> None:
        queues = self.options.queues
        signals.send_of_worker(signal, self.name, queues=queues, worker_id=self.worker_id, **named)

    # --- called from other threads and from signal handlers -------------------------------------

    def stop(self, *_: Any) -> None:
        """Stop warmly: finish the running jobs, release the others. Safe as a signal handler."""
        self.was_told_to_stop = self.loop.state.stopping = True
        self.waker.wake()

    def give_up(self) -> None:
        """Do not let the stop wait for a database that is away. Safe as a signal handler."""
        self.loop.state.given_up = True
        self.waker.wake()

    def abandon(self) -> DeadWorker:
        """Renew the lease no more; leave the running jobs to the caller, as after a cold stop."""
        self.lease.is_over = True
        self.give_up()
        self._stop_timers()
        running = {(entry.job_id, entry.claims): None for entry in self.shared_slots.running()}
        return DeadWorker(self.worker_id, self.name, running, cold=True, failed=False)

    def take(self, options: WorkerOptions) -> None:
        """Work by other options from now on; called from the chores' thread."""
        self.options = options
        self.loop.take(options)
        limits = self.pool.setup.time_limits
        limits.update(options.time_limits)
        for name in limits.keys() - options.time_limits.keys():
            del limits[name]

    def renew_soon(self) -> None:
        """Renew the lease at once, in the heartbeat's thread."""
        self.heartbeat.ask("heartbeat")

    def lose_jobs(self, new_id: UUID) -> None:
        """Drop all jobs, as other workers have them now; the heartbeat's thread calls this.

        With a supervisor the process ends. Without one it goes on under *new_id*.
        """
        if self.channel is not None:
            # The jobs that run here also run elsewhere by now, so they must not go on.
            self.shared_slots.exit_code = LOST
            os._exit(LOST)
        # The rows no longer have the old id, so outcomes under it will be dropped.
        self.buffer.lease(until=0.0)
        self.buffer.withdraw()
        self.buffer.take_aside()
        self.loop.state.worker_id = new_id

    # --- the threads ----------------------------------------------------------------------------

    def _loop(self) -> None:
        own_connection(self.options.using)
        state = self.loop.state
        for action in (self.lease.begin, self.wakeup.open):
            until_database_answers(
                action,
                Backoff("starting", self.options.using),
                self.loop.wait_to_start,
                going_on=lambda: not state.stopping,
            )
        if not state.stopping:
            _log.info("worker ready name=%s wakeup=%s", self.name, self.wakeup.name)
            self._send(signals.worker_ready)
        self.loop.run()
        self._send(signals.worker_shutting_down, warm=True)
        self.buffer.close()
        self.pool.wake()
        self._stop_timers()
        self.lease.end()
        connections.close_all()

    def _put(self) -> None:
        self.pool.wake()
        self.chores.job_begins()

    def _stop_timers(self) -> None:
        self.chores.timers.stop()
        self.heartbeat.stop()

    def _commit(self, outcome: Outcome) -> bool:
        """Write an atomic job's success in the body's own transaction, in the pool's thread."""
        return len(record(self.worker_id, [outcome], self.options.using)) == 1


def _guard(name: str, on_failure: Callable[[], object], target: Callable[[], None]) -> None:
    log.worker_name.set(name)
    try:
        target()
    except BaseException:
        thread = threading.current_thread().name
        _log.critical("worker failed name=%s thread=%s", name, thread, exc_info=True)
        on_failure()


def _run_timers(timers: Timers) -> None:
    own_connection(timers.using)
    try:
        timers.run()
    finally:
        connections.close_all()


def send_init(options: WorkerOptions) -> None:
    """Send the signal ``worker_init``: ``runworker`` starts."""
    signals.send_of_worker(
        signals.worker_init, options.base_name, queues=options.queues, options=options
    )


def send_shutdown(options: WorkerOptions) -> None:
    """Send the signal ``worker_shutdown``: ``runworker`` ends."""
    signals.send_of_worker(signals.worker_shutdown, options.base_name, queues=options.queues)
