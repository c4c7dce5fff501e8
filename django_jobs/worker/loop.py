"""The loop of a worker: it claims jobs for a pool and records how they ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from ..maintenance import promote, unblock
from ..metrics.collector import Collector
from ..process.reconnect import Backoff, Parts
from ..process.wakeup import Wakeup
from ..values import Claimed, Outcome
from .buffer import JobBuffer
from .claim_timer import PATIENCE_SECONDS, SHORTEST_LOCKED, ClaimTimer
from .completer import Completer
from .connection_backoff import ConnectionBackoff
from .gatherer import Gatherer
from .loop_state import LoopState
from .options import WorkerOptions
from .producer import Producer
from .progress_buffer import ProgressBuffer
from .quarantine import Quarantine
from .ready_queues import ReadyQueues
from .releaser import RELEASE_SECONDS, Releaser, StrayReleaser
from .starter import Starter


class WorkerLoop:
    """Saves progress, records outcomes, releases late jobs and claims new ones, then sleeps.

    It runs in one thread, over one connection, until ``state.stopping`` is set and the buffer is
    empty. It calls *on_topic* with each notification that names no queue, *on_put* after it put
    jobs into the buffer, *on_database_error* after each error, *on_recorded* with what it recorded.
    *clock* returns seconds, as :func:`time.monotonic` does.
    """

    def __init__(
        self,
        worker_id: UUID,
        options: WorkerOptions,
        buffer: JobBuffer,
        wakeup: Wakeup,
        collector: Collector,
        *,
        on_topic: Callable[[str], None],
        on_put: Callable[[], None],
        on_database_error: Callable[[], None],
        on_recorded: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = state = LoopState(worker_id, options)
        self.buffer = buffer
        self.wakeup = wakeup
        self.collector = collector
        #: The number of its turns, and of tries to start. It grows while the loop does not hang.
        self.turns = 0
        self._on_database_error = on_database_error
        self._on_recorded = on_recorded
        self._clock = clock
        self._asked: dict[str, Callable[[], object]] = {}
        self._due_is_ready = False
        self._backoff = Backoff("claiming and recording", options.using)
        self.strays = StrayReleaser(state, buffer, clock)
        self._parts = Parts(self.strays.suspect, clock)
        self.timer = ClaimTimer(clock, 0.0 if wakeup.hears_alone else PATIENCE_SECONDS)
        self.queues = ReadyQueues(state, on_topic, clock)
        self.connections = ConnectionBackoff(clock)
        self.progress = ProgressBuffer(state, wakeup.waker.wake, clock)
        self.releaser = Releaser(state, buffer, clock)
        self.completer = Completer(
            state, buffer, collector, self.progress.save_last, on_recorded=self._recorded,
            on_ready=self._made_ready, on_freed=lambda: self.producer.permits_freed(), clock=clock,
        )  # fmt: skip
        self.starter = Starter(state, buffer, write=self.completer.write, on_put=on_put)
        self.quarantine = Quarantine(
            state, buffer, start=self.starter.start, write=self.completer.write, clock=clock
        )
        self.gatherer = Gatherer(state, buffer, self.starter, self.quarantine, clock)
        self.producer = self._make_producer()

    def _make_producer(self) -> Producer:
        return Producer(
            self.state, self.buffer, self.wakeup, timer=self.timer, queues=self.queues,
            quarantine=self.quarantine, connections=self.connections, hand_over=self._hand_over,
            rests_until=lambda: self._parts.rests_until("claiming"),
            fills_batches=self.gatherer.wanted, clock=self._clock,
        )  # fmt: skip

    def take(self, options: WorkerOptions) -> None:
        """Work by other options from the next claim on; called from another thread."""
        self.state.options = options
        self.wakeup.serve(options)
        self.timer.look_anew()
        self.wakeup.waker.wake()

    def ask(self, name: str, action: Callable[[], object]) -> None:
        """Have *action* done in the loop's thread, over its connection; safe from any thread.

        It may fail. *name* says in the log what it does; a later one of that name takes its place.
        """
        self._asked[name] = action
        self.wakeup.waker.wake()

    def wait_to_start(self, seconds: float) -> None:
        """Sleep after the database refused the start."""
        self.turns += 1
        self.wakeup.waker.wait(seconds)

    def run(self) -> None:
        """Run to the end of the worker."""
        while self.turn():
            continue
        self.completer.tell_rest()

    def turn(self) -> bool:
        """Take a step and sleep until the next one is due; return False when all is done.

        After an error the loop waits and connects anew. An error that is not the database's is a
        defect, of this package or of a row: it is logged with its traceback, and the jobs that run
        here go on.
        """
        stepped = False
        self.turns += 1
        try:
            pause = self.step()
            stepped = True
            if self._backoff.succeeded():
                self.wakeup.open()
            if pause is None:
                return False
            if pause > 0:
                self._sleep(pause)
        except Exception as error:
            seconds = self._backoff.failed(error)
            self._on_database_error()
            self.strays.suspect()
            self.wakeup.listens = False
            if not stepped and self.state.stopping and self.state.given_up:
                return False
            self.wakeup.waker.wait(seconds)
        return True

    def step(self) -> float | None:
        """Do what is due; return the seconds to sleep, or None when all is done."""
        run = self._parts.run
        if self.strays.doubts_claims:
            self.strays.reassert()
        while self._asked:
            run(*self._asked.popitem())
        if self.strays.is_due:
            run("giving strays back", self.strays.release)
        run("saving progress", self.progress.save)
        want = self.producer.wanted()
        if want > 0 and not self.completer.goes_first():
            # A ready job starts first, and then the job before it is recorded.
            run("claiming", self.producer.claim, want)
            want = 0
        run("recording", self.completer.record)
        if self.buffer.spent and not self.state.stopping:
            self.state.used_up = self.state.stopping = True
        run("giving late jobs back", self.releaser.release_late)
        run("giving waiting jobs back", self.releaser.release_waiting)
        if self.gatherer:
            run("starting batches", self.gatherer.start_due)
        if self.state.stopping:
            return None if self._is_empty() else self._pause()
        if want > 0:
            run("claiming", self.producer.claim, want)
        if self.state.options.burst and self.timer.found_nothing:
            self._end_burst()
        return self._pause()

    def _sleep(self, seconds: float) -> None:
        producer = self.producer
        for topic in self.wakeup.wait(seconds, idle=producer.is_idle(), full=producer.is_full()):
            if self.queues.hear(topic):
                self.timer.heard()

    def _pause(self) -> float:
        """Return the seconds until the next step is due."""
        waiting, running, ended = self.buffer.counts()
        now = self._clock()
        if ended:
            record_at = max(self.completer.due_at(), self._parts.rests_until("recording"))
            return max(0.0, min(record_at, self.producer.next_claim()) - now)
        until = self.quarantine.due_at(bool(waiting or running))
        if until != 0.0 and (due_at := self.progress.due_at) is not None:
            return max(0.0, due_at - now)
        if until is None:
            until = now + 1.0 if (claim_at := self.producer.next_claim()) == math.inf else claim_at
        if waiting:
            until = min(until, self.buffer.last_move + RELEASE_SECONDS)
        return max(0.0, min(until, self.strays.due_at, self.gatherer.due_at()) - now)

    def _is_empty(self) -> bool:
        return not (any(self.buffer.counts()) or self.buffer.aside or self.buffer.calls)

    def _end_burst(self) -> None:
        """Stop when a claim found nothing after all that is due was made ready."""
        self.gatherer.hurry()
        if not self._is_empty():
            return
        if self._due_is_ready:
            self.state.stopping = True
            return
        unblock.run_all(self.state.using)
        self._due_is_ready = promote.run_all(self.state.using)
        self.timer.look(0.0 if self._due_is_ready else SHORTEST_LOCKED)

    def _hand_over(self, jobs: list[Claimed]) -> None:
        """Take claimed jobs: start them, and set one that was in a crash aside."""
        self._due_is_ready = False
        self.collector.claimed(jobs)
        if innocent := self.gatherer.separate(self.quarantine.separate(jobs)):
            self.starter.start(innocent)
        self.quarantine.begin()

    def _recorded(self, outcomes: Sequence[Outcome]) -> None:
        self._on_recorded(outcomes)
        if self.state.options.burst:
            # These jobs may have enqueued others, or other jobs may have waited for them.
            self.timer.look()

    def _made_ready(self, queue: str) -> None:
        """Claim jobs that this worker itself made ready: not every database tells it of them."""
        if self.queues.note(queue):
            self.timer.look()
