"""Beat fires the schedules that are due.

Firing is one transaction: it locks the rows, inserts their jobs, and advances ``next_run_at`` if it
is still the value that was read. So each tick fires exactly once with any number of beats, and a
crash cannot separate the job from the tick. The database's clock decides what is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import Error, connections, transaction

from ..db import Kind, clock, dialect_for, is_away, kind_of
from ..models import Job, Schedule
from ..schedules.planning import BATCH, locked, now_of, plan_one
from ..schedules.ticks import fingerprint, spec_of, stored
from .decision import Firing, decide, enqueue

_DEADLOCK_TRIES = 5
_TABLE = Schedule._meta.db_table

_ADVANCE = (
    f"UPDATE {_TABLE} SET next_run_at = %s, last_run_at = COALESCE(%s, last_run_at), "  # noqa: S608
    "last_job_id = COALESCE(%s, last_job_id), run_count = run_count + %s, "
    "skipped_count = skipped_count + %s, enabled = %s, last_error = %s "
    "WHERE id = %s AND next_run_at = %s AND enabled"
)


class _Overtaken(Exception):
    """Another beat fired one of these schedules first, so this transaction must roll back."""


def fire_due(using: str) -> int:
    """Fire at most :data:`BATCH` due schedules, in the order of their ticks; return how many.

    If a schedule cannot run, beat logs the error, writes it to ``last_error`` and advances the
    schedule to its next tick.
    """
    for _ in range(_DEADLOCK_TRIES):
        try:
            return _fire(using, None)
        except _Overtaken:
            continue
        except Error as error:
            kind = kind_of(error)
            if kind is Kind.WRONG:
                # The database refuses the values of one schedule; fire the others alone.
                return _fire_one_by_one(using)
            if kind is not Kind.CONFLICT:
                raise
    return 0


def _fire(using: str, ids: Sequence[int] | None) -> int:
    due = Schedule.objects.using(using).filter(enabled=True, next_run_at__lte=clock(using))
    if ids is not None:
        due = due.filter(pk__in=ids)
    due = due.annotate(now=clock(using)).order_by("next_run_at")
    with transaction.atomic(using):
        found = list(locked(due, using)[:BATCH])
        schedules = []
        for schedule in found:
            if schedule.planned_for in ("", fingerprint(spec_of(schedule))):
                schedules.append(schedule)
            else:
                plan_one(schedule, using)
        if not schedules:
            return len(found)
        busy = _busy(schedules, using)
        firings = [
            decide(schedule, now_of(schedule), schedule.last_job_id in busy)
            for schedule in schedules
        ]
        enqueue(firings, using)
        _advance(firings, using)
    for firing in firings:
        firing.log()
    return len(found)


def _fire_one_by_one(using: str) -> int:
    due = Schedule.objects.using(using).filter(enabled=True, next_run_at__lte=clock(using))
    ids = list(due.order_by("next_run_at").values_list("pk", flat=True)[:BATCH])
    for schedule_id in ids:
        try:
            _fire(using, [schedule_id])
        except _Overtaken:
            continue
        except Error as error:
            if is_away(error):
                raise
            _pass_over(schedule_id, error, using)
    return len(ids)


def _pass_over(schedule_id: int, error: Exception, using: str) -> None:
    """Advance a schedule whose job the database refuses."""
    due = Schedule.objects.using(using).filter(pk=schedule_id, next_run_at__lte=clock(using))
    with transaction.atomic(using):
        for schedule in locked(due.annotate(now=clock(using)), using):
            firing = decide(schedule, now_of(schedule), overlaps=False)
            firing.fail(f"{type(error).__name__}: {error}")
            _advance([firing], using)
            firing.log()


def _busy(schedules: Sequence[Schedule], using: str) -> set[UUID]:
    """Return the previous jobs that have not ended, of schedules that must not overlap."""
    ids = [s.last_job_id for s in schedules if s.overlap == s.Overlap.SKIP and s.last_job_id]
    if not ids:
        return set()
    jobs: Any = Job.objects.using(using)
    return set(jobs.live().filter(pk__in=ids).values_list("pk", flat=True))


def _advance(firings: Sequence[Firing], using: str) -> None:
    connection = connections[using]
    dialect = dialect_for(connection)
    rows = [
        (
            dialect.datetime(stored(firing.next)),
            dialect.datetime(stored(firing.now)) if firing.job_ids else None,
            dialect.uuid(firing.job_ids[-1]) if firing.job_ids else None,
            len(firing.job_ids),
            firing.skipped,
            firing.next is not None,
            firing.error,
            firing.schedule.pk,
            dialect.datetime(firing.schedule.next_run_at),
        )
        for firing in firings
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_ADVANCE, rows)
        if cursor.rowcount != len(rows):
            raise _Overtaken
