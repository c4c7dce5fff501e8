"""The loop that claims jobs for a pool and records how they ended, over one connection."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import Error

from .. import log
from ..db import is_away
from ..define.context import JobContext
from ..enqueue.notify import Topic
from ..limits.admission import Admission
from ..maintenance import promote, unblock
from ..metrics.collector import Collector
from ..process.reconnect import drop_connection, longer
from ..process.wakeup import GUARD_SECONDS, Wakeup
from ..run.claim import Claimer, ready_queues
from ..run.execute import execute_refusal
from ..run.outcome import postponed
from ..run.record import record_apart, release, release_strays, save_progress
from ..values import Claimed, Outcome
from .buffer import Desk
from .options import WorkerOptions

#: Most jobs claimed by one statement.
MAX_BATCH = 1000
# As many jobs are claimed ahead as run in this time: enough to hide the round trip of a claim.
AHEAD_SECONDS = 0.05
# An end waits so long for others to be written with it; far below the 50 ms that are promised.
GATHER_SECONDS = 0.01
# What a running job shows of its progress is written at most so often.
PROGRESS_SECONDS = 0.05
# Jobs that did not begin within this time, as those before them run long, go back to the queue.
RELEASE_SECONDS = 0.5
# A job that must run alone, where long ones run, is left to others so often.
POSTPONEMENTS = 5
# How long the names of the queues that have jobs are believed while there is always work.
QUEUES_SECONDS = 1.0
# Who hears of work and has no free slot, or came too late the last time, lets others go first for
# so long: of many sleepers one wakes for each job, and the rest do not hold it up on its way.
PATIENCE_SECONDS = 0.002
# While other transactions hold all ready jobs, a worker looks again after such pauses. The end of
# such a transaction is announced only where it makes a job ready: a rollback is not.
_SHORTEST_LOCKED, _LONGEST_LOCKED = 0.002, 0.25
# A claim may take effect long after its connection broke, so the keeper looks for such jobs again
# and again, at most so far apart.
_STRAYS_SECONDS = 10.0
# A job that could not connect is the last one when no other follows within this time.
_TRYING_SECONDS = 2.0


class Keeper:
    """Claims what fits, hands it to the pool, records what has ended; returns how long to sleep."""

    def __init__(
        self,
        worker_id: UUID,
        options: WorkerOptions,
        desk: Desk,
        wakeup: Wakeup,
        collector: Collector,
        *,
        on_topic: Callable[[str], None],
        on_put: Callable[[], None],
        on_database_error: Callable[[], None],
        on_recorded: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
    ) -> None:
        self.worker_id = worker_id
        self.options = options
        self.desk = desk
        self.wakeup = wakeup
        self.collector = collector
        self.stopping = False
        #: A stop that waits for no database.
        self.given_up = False
        #: Why the process ends: its jobs or its memory are used up, and another takes its place.
        self.used_up = False
        self._on_topic = on_topic
        self._on_put = on_put
        self._on_database_error = on_database_error
        self._on_recorded = on_recorded
        self._admission = Admission(options.using)
        self._claimer = Claimer()
        self._queues: set[str] = set()
        self._queues_read = 0.0
        self._queues_asked = 0.0
        self._look_at = 0.0
        self._look_anew = False
        self._heard_at: float | None = None
        self._came_late = False
        self._was_empty = False
        self._due_is_ready = False
        self._locked_pause = 0.0
        self._suspected_at = 0.0
        self._alone = self._wary = False
        # Jobs show their progress in threads of their own.
        self._showing = threading.Lock()
        self._shown: dict[tuple[UUID, int], dict[str, Any]] = {}
        self._saved_at = 0.0
        self._backoff = 0.0
        # When to look for strays, and how long to wait after that; a claim whose answer was lost
        # leaves them, so a keeper without an error never looks.
        self._strays_at = math.inf
        self._strays_pause = 0.0
        # Parts of the step whose statement the database refused: not before, and the pause.
        self._refused: dict[str, tuple[float, float]] = {}
        # While jobs cannot connect: when to claim again, and until when only to try.
        self._claim_from = self._trying_until = self._refused_pause = 0.0

    def take(self, options: WorkerOptions) -> None:
        """Work by other options from the next claim on; called from another thread."""
        self.options = options
        self._look_anew = True
        self.wakeup.waker.wake()

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Keep until told to stop and the desk is empty."""
        while True:
            pause = self._survive(self.step)
            if pause is None:
                return
            if pause > 0:
                self._sleep(pause)

    def step(self) -> float | None:
        """Do what is due; return the seconds to sleep, or None when all is done."""
        if time.monotonic() >= self._strays_at:
            self._try("giving strays back", self._release_strays)
        self._try("saving progress", self._save_progress)
        want = self._want()
        self._try("recording", self._record, want > 0)
        self._retire_when_used_up()
        self._try("giving late jobs back", self._release_late)
        self._try("giving waiting jobs back", self._release_waiting)
        if self.stopping:
            return None if self._is_empty() else self._pause()
        if want > 0:
            self._try("claiming", self._claim, want)
        if self.options.burst and self._was_empty and self._is_empty():
            self._end_burst()
        return self._pause()

    def _end_burst(self) -> None:
        """Stop when a claim found nothing after all that is due was made ready."""
        if self._due_is_ready:
            self.stopping = True
            return
        unblock.run_all(self.options.using)
        self._due_is_ready = promote.run_all(self.options.using)
        pause = 0.0 if self._due_is_ready else _SHORTEST_LOCKED
        self._look_at, self._was_empty = time.monotonic() + pause, False

    def _sleep(self, seconds: float) -> None:
        for topic in self._survive(lambda: self.wakeup.wait(seconds)) or ():
            now = time.monotonic()
            if topic == Topic.ANY:
                self._queues_read = 0.0
            elif self._hear(topic):
                # What was just heard need not be asked for, but others may have been missed.
                if now - self._queues_asked < GUARD_SECONDS:
                    self._queues_read = now
            else:
                continue
            # The first call counts: many that follow it closely must not put the look off.
            if self._heard_at is None:
                self._heard_at = now

    def _hear(self, topic: str) -> bool:
        """Note a queue that has jobs, if this worker serves it, or pass a duty's call on."""
        if topic in (Topic.TIMED, Topic.COMMANDS):
            self._on_topic(topic)
        elif self.options.serves(topic):
            self._queues.add(topic)
            return True
        return False

    def _survive(self, action: Callable[[], Any]) -> Any:
        """Do *action*; when it fails, log the error, wait, connect anew and say "at once".

        An error that is not the database's is a defect, of this package or of a row: it is logged
        with its traceback, and the jobs that run here go on.
        """
        try:
            answer = action()
        except Exception as error:
            self._backoff = longer(self._backoff)
            log.failed("claiming and recording", error, self._backoff, away=is_away(error))
            drop_connection(self.options.using)
            self._on_database_error()
            self._look_for_strays()
            self.wakeup.listens = False
            if self.stopping and self.given_up and action == self.step:
                return None
            self.wakeup.waker.wait(self._backoff)
            return 0.0 if action == self.step else ()
        if self._backoff and action == self.step:
            self._backoff = 0.0
            log.database_back("claiming and recording")
            self._survive(self.wakeup.open)
        return answer

    def _try(self, name: str, part: Callable[..., None], *args: Any) -> None:
        """Do a part of the step. A part whose statement is refused rests, longer each time.

        It holds up no other part. A database that is away is raised, as it concerns all of them.
        """
        if self._refused and time.monotonic() < self._rests_until(name):
            return
        try:
            part(*args)
        except Error as error:
            if is_away(error):
                raise
            pause = longer(self._refused.get(name, (0.0, 0.0))[1])
            log.failed(name, error, pause, away=False)
            self._look_for_strays()
            self._refused[name] = time.monotonic() + pause, pause
        else:
            self._refused.pop(name, None)

    def _rests_until(self, name: str) -> float:
        return self._refused.get(name, (0.0, 0.0))[0]

    def _look_for_strays(self) -> None:
        """Look at once, and again later: the effect of what was sent may come at any time."""
        self._strays_at = self._strays_pause = 0.0

    def _release_strays(self) -> None:
        self._strays_pause = min(_STRAYS_SECONDS, self._strays_pause * 2 or 1.0)
        self._strays_at = time.monotonic() + self._strays_pause
        release_strays(self.worker_id, self.desk.held(), self.options.using)

    def _pause(self) -> float:
        waiting, running, ended = self.desk.counts()
        now = time.monotonic()
        if ended:
            return max(GATHER_SECONDS, self._rests_until("recording") - now)
        suspect = self.desk.aside
        if suspect and not waiting and not running:
            return 0.0
        if self._shown:
            return max(0.0, self._saved_at + PROGRESS_SECONDS - now)
        until = self._next_look()
        if suspect and suspect.deferrals < POSTPONEMENTS:
            until = self._suspected_at + RELEASE_SECONDS
        elif self._takes_none() or self._want_room() <= 0:
            until = now + 1.0
        if waiting:
            until = min(until, self.desk.last_move + RELEASE_SECONDS)
        return max(0.0, min(until, self._strays_at) - now)

    def _is_empty(self) -> bool:
        return not any(self.desk.counts()) and self.desk.aside is None

    # --- record ---------------------------------------------------------------------------------

    def _record(self, now: bool) -> None:
        ended = self.desk.ended()
        if not ended:
            return
        waiting, _running, _ended = self.desk.counts()
        age = time.monotonic() - ended[0].ended
        # Nothing left to run beside it: nobody would share the write, so it is made at once.
        if now or not waiting or age >= GATHER_SECONDS or len(ended) >= MAX_BATCH:
            for start in range(0, len(ended), MAX_BATCH):
                batch = ended[start : start + MAX_BATCH]
                self._write([outcome for outcome in batch if not outcome.recorded])
                self.collector.ended(outcome for outcome in batch if outcome.recorded)
                self.desk.recorded(len(batch))
                self._on_recorded(batch)
            if self.options.burst:
                # They may have enqueued others, or be what others waited for.
                self._look_at, self._was_empty = 0.0, False

    def _write(self, outcomes: list[Outcome]) -> None:
        using = self.options.using
        self.collector.ended(
            record_apart(self.worker_id, outcomes, using, on_ready=self._made_ready)
        )
        if any(outcome.job.places for outcome in outcomes):
            # The next in line are pending now, and older than others.
            self._claimer.forget()
            self._look_at, self._was_empty = 0.0, False

    def _made_ready(self, queue: str) -> None:
        """Look for what this worker itself has let run, of which not every database tells it."""
        if self._hear(queue):
            self._look_at = 0.0

    def show(self, context: JobContext, progress: dict[str, Any]) -> None:
        """Take what a running job shows; only the latest is written."""
        request = context.request
        if request.uuid is None:
            return
        key = (request.uuid, context.claims)
        with self._showing:
            wake = not self._shown
            self._shown[key] = progress
        if wake:
            self.wakeup.waker.wake()

    def _save_progress(self) -> None:
        if self._shown and time.monotonic() >= self._saved_at + PROGRESS_SECONDS:
            self._saved_at = time.monotonic()
            with self._showing:
                shown, self._shown = self._shown, {}
            try:
                save_progress(self.worker_id, shown, self.options.using)
            except Error as error:
                if is_away(error):
                    # It may be the last that its job shows for long.
                    with self._showing:
                        self._shown = shown | self._shown
                raise

    # --- claim ----------------------------------------------------------------------------------

    def connection_refused(self, error: BaseException) -> None:
        """Claim nothing for a while, and then one job at a time: a job could not connect.

        Called from the pool's threads, once for each job that is given back for this reason.
        """
        now = time.monotonic()
        if now < self._claim_from:
            return
        self._refused_pause = longer(self._refused_pause if now < self._trying_until else 0.0)
        self._claim_from = now + self._refused_pause
        self._trying_until = self._claim_from + _TRYING_SECONDS
        log.connection_refused(error, self._refused_pause)

    def _ahead(self) -> int:
        ahead = int(self.options.slots * AHEAD_SECONDS / max(self.desk.run_seconds, 1e-6))
        return min(ahead, MAX_BATCH)

    def _want_room(self) -> int:
        """How many jobs fit: into free slots, and ahead for as long as a round trip takes."""
        waiting, running, _ended = self.desk.counts()
        ahead = self._ahead()
        self.desk.low_water = ahead // 2
        room = self.options.slots + ahead - running - waiting
        return room if waiting <= self.desk.low_water else 0

    def _want(self) -> int:
        if self._takes_none():
            self._begin_suspect()
            return 0
        if time.monotonic() < self._next_look():
            return 0
        # Those of a dead host come together, and each of them needs this worker for itself.
        most = 1 if self._wary or time.monotonic() < self._trying_until else MAX_BATCH
        return min(self._want_room(), most)

    def _takes_none(self) -> bool:
        self._alone = self._alone and any(self.desk.counts())
        suspected = self._alone or self.desk.aside is not None
        return self.stopping or self.options.quiet or suspected or self.desk.spent

    def _next_look(self) -> float:
        return max(self._wanted_look(), self._rests_until("claiming"), self._claim_from)

    def _wanted_look(self) -> float:
        if self._look_anew:
            return 0.0
        if self._heard_at is None:
            return self._look_at
        _waiting, running, _ended = self.desk.counts()
        others_first = self._came_late or running >= self.options.slots
        return min(self._look_at, self._heard_at + (PATIENCE_SECONDS if others_first else 0.0))

    def _claim(self, want: int) -> None:
        jobs: list[Claimed] = []
        contended = False
        if self._look_anew:
            self._look_anew = False
            self._queues_read = 0.0
        if self._may_have_work():
            # Those that were heard before the options changed are looked at again.
            queues = sorted(filter(self.options.serves, self._queues))
            jobs, contended = self._claimer.claim(self.worker_id, queues, want, self.options.using)
        if jobs:
            self._due_is_ready = False
            self.wakeup.found_work()
            self.collector.claimed(jobs)
            self._hand_over(jobs)
        self._was_empty = not jobs and not contended
        if jobs or self._heard_at is not None:
            self._came_late = not jobs
        self._heard_at = None
        if self._was_empty:
            self._queues_read = 0.0
        all_taken = self.wakeup.listens and len(jobs) < want and not contended
        if self._was_empty or (all_taken and not self.options.burst):
            # Of what comes later it hears, where it can.
            self._look_at = time.monotonic() + self.wakeup.next_look()
        elif not jobs:
            self._locked_pause = min(_LONGEST_LOCKED, 2 * self._locked_pause or _SHORTEST_LOCKED)
            self._look_at = time.monotonic() + self._locked_pause
            return
        else:
            self._look_at = 0.0
        self._locked_pause = 0.0

    def _may_have_work(self) -> bool:
        """Look whether there is work, where that is cheaper than a claim; learn the queues."""
        now = time.monotonic()
        if now - self._queues_read >= QUEUES_SECONDS:
            self._queues_read = self._queues_asked = now
            self._queues.clear()
            for topic in ready_queues(self.options.using):
                self._hear(topic)
        return bool(self._queues)

    def _hand_over(self, jobs: list[Claimed]) -> None:
        """Give claimed jobs to the pool; one that was in a crash waits until it can run alone."""
        suspects = [job for job in jobs if job.crashes]
        self._wary = bool(suspects)
        if suspects:
            self._suspected_at = time.monotonic()
            self.desk.put_aside(suspects[0])
            release(self.worker_id, suspects[1:], self.options.using)
            jobs = [job for job in jobs if not job.crashes]
        self._put(self._admit(jobs))
        self._begin_suspect()

    def _admit(self, jobs: list[Claimed]) -> list[Claimed]:
        admitted, failed = self._admission.admit(self.worker_id, jobs)
        self._write([execute_refusal(job, error) for job, error in failed])
        return admitted

    def _put(self, jobs: list[Claimed]) -> None:
        if jobs:
            self.desk.put(jobs)
            self._on_put()

    def _begin_suspect(self) -> None:
        suspect = self.desk.aside
        if suspect is None:
            return
        busy = any(self.desk.counts())
        ends = self.stopping or self.desk.spent
        # It leaves for a worker that is idle, rather than keep all slots waiting; not for ever, for
        # where all are busy it would never run.
        late = time.monotonic() >= self._suspected_at + RELEASE_SECONDS
        leaves = late and suspect.deferrals < POSTPONEMENTS
        if (busy and not ends and not leaves) or self.desk.take_aside() is None:
            return
        if ends:
            release(self.worker_id, [suspect], self.options.using)
        elif busy:
            self._write([postponed(suspect)])
        elif admitted := self._admit([suspect]):
            self._alone = True
            self._put(admitted)

    # --- release --------------------------------------------------------------------------------

    def _release_late(self) -> None:
        self._give_back(self.desk.withdraw_late())

    def _release_waiting(self) -> None:
        waiting, running, _ended = self.desk.counts()
        if not waiting:
            return
        free = max(0, self.options.slots - running)  # so many are about to be taken
        slow = time.monotonic() - self.desk.last_move >= RELEASE_SECONDS
        if slow or self.stopping or self.desk.spent:
            jobs = self.desk.withdraw()
            if slow:
                self.desk.run_seconds = max(self.desk.run_seconds, RELEASE_SECONDS)
            self._give_back(jobs)
        elif (waiting - free) * self.desk.run_seconds > self.options.slots * RELEASE_SECONDS:
            # Claimed while jobs were shorter: the last of them would begin too late here.
            self._give_back(self.desk.withdraw(keep=free + self._ahead()))

    def _give_back(self, jobs: list[Claimed]) -> None:
        # When the answer is lost they may be another worker's already, so they do not run here. If
        # nothing was given back, they are strays.
        release(self.worker_id, jobs, self.options.using)

    def _retire_when_used_up(self) -> None:
        if self.desk.spent and not self.stopping:
            self.used_up = self.stopping = True
