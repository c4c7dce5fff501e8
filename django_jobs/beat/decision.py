"""Decides what to do with a due schedule; the jobs of all due schedules are written together."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from .. import log
from ..define.sensitive import shown_schedule
from ..enqueue.insert import write
from ..locking import lock_keys
from ..models import Schedule
from ..schedules.policies import chosen, most_runs
from ..schedules.rows import row_of_tick
from ..schedules.ticks import due_ticks, utc
from ..values import NewJob

# Messages are for people, but a long argument may make them long.
_LONGEST_ERROR = 2_000


@dataclasses.dataclass(slots=True)
class Firing:
    """The decision about one schedule.

    ``rows`` are the jobs to write and ``job_ids`` those that were written. ``next`` is the tick to
    wait for, or None when the schedule has ended.
    """

    schedule: Schedule
    now: datetime.datetime
    following: datetime.datetime | None
    next: datetime.datetime | None = None
    skipped: int = 0
    reason: str = ""
    error: str = ""
    rows: list[NewJob] = dataclasses.field(default_factory=list)
    job_ids: list[UUID] = dataclasses.field(default_factory=list)

    def fail(self, error: str) -> None:
        """Skip the ticks and keep *error* for the row; a one-off schedule stays enabled."""
        self.skipped += len(self.rows)
        self.rows = []
        self.next = self.following
        self.error = shown_schedule(self.schedule).text(error)[:_LONGEST_ERROR]

    def skip(self, number: int, reason: str) -> None:
        if number:
            self.skipped += number
            self.reason = reason

    def log(self) -> None:
        tick = utc(self.schedule.next_run_at)
        late = (self.now - tick).total_seconds() if tick else 0.0
        if self.error:
            log.schedule_failed(self.schedule.name, self.error)
        elif self.skipped:
            log.ticks_skipped(self.schedule.name, self.skipped, self.reason)
        jobs = [row for row in self.rows if row.id in self.job_ids]
        log.ticks_fired(self.schedule.name, jobs, late)


def decide(schedule: Schedule, now: datetime.datetime, overlaps: bool) -> Firing:
    """Decide about a due schedule; *overlaps* means that its previous job has not ended.

    It raises nothing: an error of the schedule becomes the ``error`` of the Firing.
    """
    first = utc(schedule.next_run_at)
    assert first is not None
    try:
        due = due_ticks(schedule, first, now, most_runs(schedule))
    except Exception as problem:  # one bad row must not stop the others
        firing = Firing(schedule, now, None)
        firing.fail(f"disabled: {problem}")
        return firing
    ticks = chosen(schedule, due, now)
    firing = Firing(schedule, now, due.next)
    firing.skip(due.count - len(ticks), "missed")
    if schedule.overlap == Schedule.Overlap.SKIP:
        allowed = 0 if overlaps else 1
        firing.skip(len(ticks[allowed:]), "the previous run has not ended")
        ticks = ticks[:allowed]
    firing.next = None if schedule.one_off and ticks else due.next
    try:
        firing.rows = [row_of_tick(schedule, tick, now) for tick in ticks]
    except Exception as problem:  # routes and keys are code of the project
        firing.skip(len(ticks), "error")
        firing.fail(f"{type(problem).__name__}: {problem}")
    return firing


def enqueue(firings: Sequence[Firing], using: str) -> None:
    """Insert the jobs of all *firings*, with one statement per job function."""
    by_function: dict[str, list[Firing]] = {}
    for firing in firings:
        if firing.rows:
            by_function.setdefault(firing.schedule.job_name, []).append(firing)
    # Lock all unique keys before the first job: each statement may lock rows of jobs.
    keys = [row.unique_key for firing in firings for row in firing.rows]
    lock_keys([key for key in keys if key], using)
    for group in by_function.values():
        if not _written(group, using) and len(group) > 1:
            for firing in group:
                _written([firing], using)


def _written(group: Sequence[Firing], using: str) -> bool:
    """Insert the jobs of schedules with the same function; return False if that was refused."""
    rows = [row for firing in group for row in firing.rows]
    try:
        ids = write(rows, using)
    except (DatabaseError, InterfaceError):
        raise
    except Exception as refusal:
        # One schedule's queue may be full or in another database; the others may be accepted.
        if len(group) == 1:
            group[0].fail(f"{type(refusal).__name__}: {refusal}")
        return False
    new = {row.id for row, job_id in zip(rows, ids, strict=True) if job_id == row.id}
    for firing in group:
        firing.job_ids = [row.id for row in firing.rows if row.id in new]
        firing.skip(len(firing.rows) - len(firing.job_ids), "a live job has its unique key")
    return True
