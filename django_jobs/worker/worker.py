"""One worker process: a pool in the main thread; loop, duties, heartbeat, pulse in others."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import Error, connections

from .. import log, signals
from ..conf import get_settings
from ..db import is_away, own_connection, unix_time
from ..enqueue.notify import Topic
from ..ids import uuid7
from ..maintenance import promote, prune, rescue, rollup, unblock
from ..metrics.capped_count import ready_queues
from ..metrics.collector import Collector
from ..models import Queue
from ..process import heartbeat
from ..process.reconnect import Backoff, until_database_answers
from ..process.timers import Duties, Duty
from ..process.wakeup import Waker, Wakeup
from ..run import forks, redirect_output
from ..run.record import record
from ..values import Outcome
from .autoscale import LOOK_SECONDS, Gauge
from .buffer import JobBuffer, boot_time
from .command_handler import Control
from .isolation import dump_stacks_on_usr1
from .loop import WorkerLoop
from .options import WorkerOptions
from .pools import POOLS
from .pools.base import Workplace
from .shared_slots import Board
from .supervisor_channel import Line
from .worker_info import details

PULSE_SECONDS = 1.0
# Jobs that were scheduled within this time are looked at together.
TOGETHER_SECONDS = 0.02
#: Exit codes of processes that another one replaces: used up, without its lease, told to stop by
#: somebody else than its supervisor. 0 is "done, do not replace me".
RECYCLE, LOST, STOPPED = 75, 76, 77
#: The database was away at the stop, and jobs stay STARTED.
LEFT_JOBS = 1

_log = logging.getLogger("django_jobs.worker")


class WorkerProcess:
    """Runs jobs until it is stopped, done (burst) or used up (max-jobs, max-memory)."""

    def __init__(
        self, options: WorkerOptions, worker_id: UUID, index: int, board: Board, line: Line | None
    ) -> None:
        self.options = options
        self.worker_id = worker_id
        self.index = index
        self.line = line
        self.board = board
        self.name = options.name_of(index)
        self.parent = os.getppid()
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
            on_topic=self._heard,
            on_put=self._put,
            on_database_error=lambda: self.pool.distrust_connections(),
            on_recorded=lambda outcomes: self.pool.recorded(outcomes),
        )
        self.pool = POOLS[options.pool](
            Workplace(
                self.name,
                options,
                self.buffer,
                board,
                dict(options.time_limits),
                self.loop.progress.show,
                self._commit,
                self.loop.connections.refused,
            )
        )
        self.control = Control(self)
        self.gauge = Gauge(self.buffer, options.slots)
        # Others than a host's first worker promote when that one is stuck in C code.
        self._late = min(index, 4) * 0.25
        self.duties = Duties(self._table(), options.using)
        self.heart = Duties(self._heart_table(), options.using)
        self._beaten = self._judges_from = math.inf
        # By how much the database's clock is ahead of this host's; None before the first look.
        self._ahead: float | None = None
        self._done_before = 0
        self._told = False
        self._over = threading.Event()

    def run(self) -> int:
        """Run to the end; return the exit code."""
        forks.guard()
        dump_stacks_on_usr1()
        self._send(signals.worker_process_init)
        threads = [
            threading.Thread(target=self._guard, args=(target,), name=name, daemon=True)
            for name, target in (
                ("loop", self._loop),
                ("duties", lambda: self._do(self.duties)),
                ("heartbeat", lambda: self._do(self.heart)),
                ("pulse", self._show_life),
            )
        ]
        for thread in threads:
            thread.start()
        with redirect_output.redirected(self.options.redirect_stdout):
            self._guard(self.pool.run)
        self._stop_duties()
        self._over.set()
        for thread in threads:
            thread.join()
        self._send(signals.worker_process_shutdown)
        connections.close_all()
        if left := self.buffer.held():
            log.jobs_left(self.worker_id, sorted(job_id for job_id, _claims in left))
            return LEFT_JOBS
        if self._told:
            return STOPPED
        return RECYCLE if self.loop.state.used_up else 0

    def _send(self, signal: signals.WorkerSignal, **named: Any) -> None:
        queues = self.options.queues
        signals.send_of_worker(signal, self.name, queues=queues, worker_id=self.worker_id, **named)

    def stop(self, *_: Any) -> None:
        """Stop warmly: finish what runs, give the rest back. Safe as a signal handler."""
        self._told = True
        self.loop.state.stopping = True
        self.waker.wake()

    def give_up(self) -> None:
        """Let the stop wait for no database that is away. Safe as a signal handler."""
        self.loop.state.given_up = True
        self.waker.wake()

    def take(self, options: WorkerOptions) -> None:
        """Work by other options from now on; called from the duties' thread."""
        self.options = options
        self.loop.take(options)
        limits = self.pool.place.time_limits
        limits.update(options.time_limits)
        for name in limits.keys() - options.time_limits.keys():
            del limits[name]

    # --- the loop's thread ----------------------------------------------------------------------

    def _loop(self) -> None:
        own_connection(self.options.using)
        for action in (self._register, self.wakeup.open):
            until_database_answers(
                action,
                Backoff("starting", self.options.using),
                self.waker.wait,
                going_on=lambda: not self.loop.state.stopping,
            )
        _log.info("worker ready name=%s wakeup=%s", self.name, self.wakeup.name)
        self._send(signals.worker_ready)
        self.loop.run()
        self._send(signals.worker_shutting_down, warm=True)
        self.buffer.close()
        self.pool.wake()
        self._stop_duties()
        self._sign_off()
        connections.close_all()

    def _register(self) -> None:
        asked_at = boot_time()
        options = self.options
        heartbeat.register(
            self.worker_id,
            self.name,
            options.using,
            pool=options.pool,
            slots=options.slots,
            queues=options.queues,
            exclude_queues=options.exclude_queues,
            quiet=options.quiet,
            supervisor_id=options.supervisor_id,
            details=details(options),
        )
        self.collector.synchronize(self.options.using)
        self._beaten = time.monotonic()
        self._judges_from = self._beaten + _rescue_seconds()
        self._leased(asked_at)

    def _sign_off(self) -> None:
        try:
            self.collector.flush(self.options.using)
            heartbeat.sign_off(self.worker_id, self.options.using, done=self._done())
        except Error as error:
            log.failed("signing off", error, 0.0, away=is_away(error))

    def _heard(self, topic: str) -> None:
        if topic == Topic.TIMED:
            # Many that come together need one look, and the other workers need none so soon.
            self.duties.ask("promote", within=max(TOGETHER_SECONDS, self._late))
        else:
            self.duties.ask("control")

    def _put(self) -> None:
        self.pool.wake()
        # A job may be terminated while it runs, and a notification of that may be lost.
        self.duties.ask("control", within=1.0)

    # --- the threads of the duties and of the heartbeat -----------------------------------------

    def _table(self) -> list[Duty]:
        return [
            Duty("control", 1.0, self._control, after=1.0),
            Duty("load", LOOK_SECONDS, self._tell_load),
            Duty("promote", 10.0, self._promote),
            Duty("rescue", _rescue_seconds(), self._rescue),
            Duty("measure", 15.0, self._measure, after=15.0),
            Duty("wake", 10.0, lambda: unblock.run_once(self.options.using), after=2.0),
            Duty("prune", 60.0, self._prune, after=30.0),
            Duty("rollup", 60.0, self._roll_up, after=45.0),
        ]

    def _heart_table(self) -> list[Duty]:
        """What nothing may hold up, as the other duties' waiting for locks would."""
        beat_seconds = get_settings().heartbeat_seconds
        return [
            Duty("heartbeat", beat_seconds, self._beat, after=beat_seconds),
        ]

    def _do(self, duties: Duties) -> None:
        own_connection(self.options.using)
        try:
            duties.run()
        finally:
            connections.close_all()

    def _stop_duties(self) -> None:
        self.duties.stop()
        self.heart.stop()

    def _beat(self) -> None:
        _waiting, running, _ended = self.buffer.counts()
        done, asked_at, using = self._done(), boot_time(), self.options.using
        if heartbeat.beat(self.worker_id, using, busy=running, done=done, stopping=self._told):
            self._leased(asked_at)
        else:
            self._lost()
        now = time.monotonic()
        if self._is_late(now):
            self._judges_from = now + _rescue_seconds()
        self._beaten = now

    def _leased(self, asked_at: float) -> None:
        # The database's clock counts from a later moment, so it ends the lease later.
        self.buffer.lease(asked_at + get_settings().lease_seconds)
        self.pool.wake()

    def _is_late(self, now: float) -> bool:
        return now - self._beaten > get_settings().lease_seconds / 2

    def _done(self) -> int:
        return self.buffer.jobs_done - self._done_before

    def _lost(self) -> None:
        _log.error(
            "worker lost name=%s: its lease ran out and its jobs were given to others", self.name
        )
        if self.line is not None:
            # What runs here runs elsewhere too by now; nothing of it may go on.
            self.board.farewell = LOST
            os._exit(LOST)
        # What has not begun is run by others; outcomes of the old id are dropped as the rows no
        # longer carry it.
        self.buffer.lease(until=0.0)
        self.buffer.withdraw()
        self.buffer.take_aside()
        self.worker_id = self.loop.state.worker_id = uuid7()
        self._done_before = self.buffer.jobs_done
        self._register()

    def _control(self) -> float | None:
        self.control.run_once()
        _waiting, running, _ended = self.buffer.counts()
        # One that is quiet, or full, does not look at the queues, where it would hear of commands.
        return 1.0 if running or self.options.quiet else 10.0

    def _tell_load(self) -> float | None:
        if not self.board.watched:
            return 1.0  # a command may ask for it
        self.board.load = self.gauge.read(self._is_behind)
        return None

    def _is_behind(self) -> bool:
        """Tell whether there are ready jobs that this worker would claim if it could."""
        ready = filter(self.options.serves, ready_queues(self.options.using))
        paused = Queue.objects.using(self.options.using).exclude(paused_at=None)
        return bool(set(ready) - set(paused.values_list("name", flat=True)))

    def _promote(self) -> float:
        # On SQLite the loop sees that rows changed, but not that time has passed.
        longest = 1.0 if self.wakeup.dialect.version() is not None else 10.0
        return promote.run_once(self.options.using, longest_pause=longest, grace=self._late)

    def _rescue(self) -> float | None:
        now = time.monotonic()
        if self._clock_jumped(now):
            self._judges_from = now + _rescue_seconds()
            self.heart.ask("heartbeat")
        if self._is_late(now) or now < self._judges_from:
            # The database was away, or its clock jumped, and every lease ran out: first all that
            # live renew theirs.
            return min(_rescue_seconds(), max(1.0, self._judges_from - now))
        rescued = rescue.run_once(self.options.using)
        if rescued:
            _log.warning("rescued jobs=%d from dead workers", rescued)
        return 0.1 if rescued >= rescue.BATCH else None

    def _clock_jumped(self, now: float) -> bool:
        """Tell whether the database's clock went ahead of this host's since the last look.

        A smaller step than this ends no lease that is renewed in time.
        """
        before, self._ahead = self._ahead, unix_time(self.options.using) - now
        return before is not None and self._ahead - before > _rescue_seconds()

    def _prune(self) -> float | None:
        pruned = prune.run_once(self.options.using, self.worker_id)
        return 0.1 if pruned >= prune.BATCH else None

    def _measure(self) -> None:
        self.collector.flush(self.options.using)

    def _roll_up(self) -> float | None:
        more = rollup.run_once(self.options.using, self.worker_id)
        return 0.1 if more else None

    # --- the pulse's thread ---------------------------------------------------------------------

    def _show_life(self) -> None:
        """Show the supervisor that the interpreter runs, whatever the database does; watch it.

        A stop is noted in the worker's row as soon as it is seen here.
        """
        self.board.pulse = time.monotonic()
        noted = False
        while not self._over.wait(PULSE_SECONDS):
            self.board.pulse = time.monotonic()
            if self._told and not noted:
                # A signal handler must take no lock, so it cannot ask for this itself.
                self.heart.ask("heartbeat")
                noted = True
            if self.line is not None and os.getppid() != self.parent:
                _log.error("worker orphaned name=%s: its supervisor is gone", self.name)
                os._exit(1)

    # --- shared ---------------------------------------------------------------------------------

    def _commit(self, outcome: Outcome) -> bool:
        """Write an atomic job's success in the body's own transaction, in the pool's thread."""
        return len(record(self.worker_id, [outcome], self.options.using)) == 1

    def _guard(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException:
            _log.critical(
                "worker failed name=%s thread=%s",
                self.name,
                threading.current_thread().name,
                exc_info=True,
            )
            # Half a worker is worse than none: without bookkeeping its jobs would be lost to all.
            sys.stderr.flush()
            os._exit(1)


def send_init(options: WorkerOptions) -> None:
    """Tell the receivers that ``runworker`` starts."""
    signals.send_of_worker(
        signals.worker_init, options.base_name, queues=options.queues, options=options
    )


def send_shutdown(options: WorkerOptions) -> None:
    """Tell the receivers that ``runworker`` ends."""
    signals.send_of_worker(signals.worker_shutdown, options.base_name, queues=options.queues)


def _rescue_seconds() -> float:
    """How often a worker looks for dead ones; so long all others have to renew their leases."""
    return get_settings().lease_seconds / 4
