"""A worker process: the pool runs jobs in its main thread; three other threads do the rest."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import connections

from .. import log, signals
from ..db import own_connection
from ..metrics.collector import Collector
from ..process.reconnect import Backoff, until_database_answers
from ..process.wakeup import Waker
from ..run import forks, redirect_output
from ..run.reassert import reassert
from ..run.record import record
from ..steps.rows import RowStore
from ..values import Outcome
from .buffer import JobBuffer
from .chores import Chores
from .coordinator import Coordinator, of_one
from .dispatched import wakeup_of
from .inherited import Inherited
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
from .thread_guard import die, guard, start

#: Exit codes of processes that the supervisor replaces: used up; lost its lease; told to stop, but
#: not by the supervisor. A process with code 0 is not replaced.
RECYCLE, LOST, STOPPED = 75, 76, 77
#: Exit code: the database was away at the stop, and jobs stay STARTED.
LEFT_JOBS = 1

_log = logging.getLogger("django_jobs.worker")


def _signal_itself(cold: bool) -> None:
    os.kill(os.getpid(), signal.SIGQUIT if cold else signal.SIGTERM)


class WorkerProcess:
    """Runs jobs until it is stopped, done (burst) or used up (max-jobs, max-memory).

    Its threads: *loop* claims and records, *chores* executes commands, *pulse* shows that the
    interpreter runs. Without a supervisor it has a coordinator of its own.
    """

    def __init__(
        self,
        options: WorkerOptions,
        worker_id: UUID,
        index: int,
        shared_slots: SharedSlots,
        channel: SupervisorChannel | None,
        inherited: Inherited | None = None,
        *,
        on_pulse: Callable[[], object] = lambda: None,
        on_failure: Callable[[], object] = die,
        shut_down: Callable[[bool], object] = _signal_itself,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*channel* and *inherited* are None without a supervisor, whose processes *index* counts.

        *on_pulse* is called once a second, *on_failure* after a thread has failed. An operator ends
        a worker without a supervisor by *shut_down*, whose argument is True for a cold stop.
        """
        self.shut_down, self._on_failure = shut_down, on_failure
        self.options = options
        self.channel = channel
        self.shared_slots = shared_slots
        self.name = options.name_of(index)
        self.was_told_to_stop = self._is_abandoned = False
        self.waker = Waker()
        self.buffer = JobBuffer(self.waker.wake, options.max_jobs)
        self.wakeup = wakeup_of(options, self.waker, inherited)
        self.collector = Collector()
        self.loop = self._make_loop(worker_id)
        self.pool = self._make_pool()
        self.coordinator: Coordinator | None = None
        if inherited is None:
            self.coordinator, inherited = of_one(options, on_failure, clock)
        self.lease = Lease(self, inherited.roster.place(index if channel else 0))
        self.chores = Chores(self, inherited.commands)
        self._pulse = Pulse(self, on_pulse)

    @property
    def worker_id(self) -> UUID:
        """The id in the rows of this worker's jobs. It changes when the lease was lost."""
        return self.loop.state.worker_id

    def _make_loop(self, worker_id: UUID) -> WorkerLoop:
        return WorkerLoop(
            worker_id,
            self.options,
            self.buffer,
            self.wakeup,
            self.collector,
            on_topic=lambda topic: self.chores.hear(topic),
            on_put=lambda: self.pool.wake(),
            on_database_error=lambda: self.pool.distrust_connections(),
            on_recorded=lambda outcomes: self.pool.recorded(outcomes),
        )

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
                RowStore(lambda: self.worker_id, options.using, reassert),
                self.loop.connections.refused,
                self.stop,
            )
        )

    def run(self) -> int:
        """Run to the end; return the exit code."""
        log.worker_name.set(self.name)
        forks.guard(jobs_only=self.options.embedded)
        if not self.options.embedded:
            dump_stacks_on_usr1()
        self._send(signals.worker_process_init)
        targets: dict[str, Callable[[], object]] = {
            "loop": self._loop,
            "chores": self.chores.run,
        }
        if self.coordinator is not None:
            self.coordinator.start()
        threads = start(self.name, self._on_failure, {"pulse": self._pulse.run}, targets)
        with redirect_output.redirected(self.options.redirect_stdout):
            guard(self.name, self._on_failure, self.pool.run)
        self._stop_timers()
        self._pulse.end()
        for thread in threads:
            thread.join()
        if self.coordinator is not None:
            self.coordinator.join()
        self._send(signals.worker_process_shutdown)
        connections.close_all()
        if not self._is_abandoned and (left := self.buffer.held()):
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
        """Begin no job, renew no lease, leave running jobs to the caller, as after a cold stop."""
        self._is_abandoned = True
        self.lease.abandon()
        self.buffer.hand_out_no_more()
        self.buffer.close()
        self.give_up()
        self._stop_timers()
        running = {(entry.job_id, entry.claims): None for entry in self.shared_slots.running()}
        return DeadWorker(self.worker_id, self.name, running, cold=True, failed=False)

    def take(self, options: WorkerOptions) -> None:
        """Work by other options from now on; called from the chores' thread."""
        self.options = options
        self.loop.take(options)
        self.pool.setup.take(options.time_limits)

    def note_stop(self) -> None:
        """Have the stop noted in the worker's row: a kill from now on counts no crash."""
        self.lease.report()
        if self.coordinator is not None:
            self.coordinator.renew_soon()

    def lose_jobs(self, new_id: UUID) -> None:
        """Drop all jobs, as other workers have them now; the pulse's thread calls this.

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
        self.buffer.calls.withdraw()
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
        self.chores.await_answers()
        self._stop_timers()
        self.lease.end()
        connections.close_all()

    def _stop_timers(self) -> None:
        self.chores.timers.stop()
        if self.coordinator is not None:
            self.coordinator.stop()

    def _commit(self, outcomes: Sequence[Outcome]) -> bool:
        """Write the outcomes of an atomic body in its own transaction, in the pool's thread."""
        return len(record(self.worker_id, outcomes, self.options.using)) == len(outcomes)


def send_init(options: WorkerOptions) -> None:
    """Send the signal ``worker_init``: ``runworker`` starts."""
    signals.send_of_worker(
        signals.worker_init, options.base_name, queues=options.queues, options=options
    )


def send_shutdown(options: WorkerOptions) -> None:
    """Send the signal ``worker_shutdown``: ``runworker`` ends."""
    signals.send_of_worker(signals.worker_shutdown, options.base_name, queues=options.queues)
