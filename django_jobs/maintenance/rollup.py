"""Merges old measurements into longer periods, and deletes them in the end; totals stay."""

from __future__ import annotations

from uuid import UUID

from django.db import connections, transaction
from django.db.models import QuerySet

from ..db import unix_time
from ..metrics.collector import MINUTE
from ..models import Mark, Measurement
from ..models.histogram import Tally, counted_as
from .prune import hold_lease

BATCH = 2_000
TEN_MINUTES, HOUR, DAY = 600, 3_600, 86_400
#: Rows of a minute are merged this long after it began: by then most workers have written them.
FRESH_SECONDS = 90
#: For how long a window of an hour and of a day find what they need. The period before each is
#: shown, too, but in longer steps.
MINUTES_SECONDS, TEN_MINUTES_SECONDS = HOUR + TEN_MINUTES, DAY + HOUR
#: Two weeks, for a window of a week and the week before.
KEEP_SECONDS = 15 * DAY


def run_once(using: str, holder: UUID, *, lease_seconds: float = 120.0) -> bool:
    """Merge one batch of old rows of each age; return whether there are more.

    Only one process of the cluster does it at a time.
    """
    if not hold_lease("rollup", holder, lease_seconds, using):
        return False
    now = int(unix_time(using))
    rows = Measurement.objects.using(using)
    fresh = rows.filter(seconds=MINUTE, in_total=False, starts_at__lt=now - FRESH_SECONDS)
    more = _merge(fresh, MINUTE, using, into_total=True)
    for seconds, longer, age in (
        (MINUTE, TEN_MINUTES, MINUTES_SECONDS),
        (TEN_MINUTES, HOUR, TEN_MINUTES_SECONDS),
    ):
        # Merge whole periods only.
        before = (now - age) // longer * longer
        old = rows.filter(seconds=seconds, in_total=True, starts_at__lt=before)
        more |= _merge(old, longer, using)
    rows.filter(seconds=HOUR, starts_at__lt=now - KEEP_SECONDS)._raw_delete(using)
    Mark.objects.using(using).filter(at__lt=now - KEEP_SECONDS)._raw_delete(using)
    return more


def _merge(
    old: QuerySet[Measurement], seconds: int, using: str, *, into_total: bool = False
) -> bool:
    """Replace a batch of *old* rows by rows of *seconds*; return whether the batch was full."""
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    rows = Measurement.objects.using(using)
    with transaction.atomic(using):
        found = list(old.order_by("starts_at").select_for_update(skip_locked=skip_locked)[:BATCH])
        gone = [row.pk for row in found]
        sums: dict[tuple[int, int, str, str], Tally] = {}
        if found and into_total:
            total = Measurement.TOTAL
            totals = {
                (row.queue, row.name): row
                for row in rows.filter(seconds=total).order_by("pk").select_for_update()
            }
            known = set(totals)
            for row in found:
                key = counted_as((row.queue, row.name), known)
                known.add(key)
                if (old_row := totals.pop(key, None)) is not None:
                    _add(sums, old_row, total, 0)
                    gone.append(old_row.pk)
                sums.setdefault((total, 0, *key), Tally()).add(row.tally)
        for row in found:
            _add(sums, row, seconds, row.starts_at // seconds * seconds)
        rows.filter(pk__in=gone)._raw_delete(using)
        rows.bulk_create(_row(*key, tally) for key, tally in sums.items())
    return len(found) == BATCH


def _add(
    sums: dict[tuple[int, int, str, str], Tally], row: Measurement, seconds: int, starts_at: int
) -> None:
    sums.setdefault((seconds, starts_at, row.queue, row.name), Tally()).add(row.tally)


def _row(seconds: int, starts_at: int, queue: str, name: str, tally: Tally) -> Measurement:
    row = Measurement(seconds=seconds, starts_at=starts_at, in_total=True, queue=queue, name=name)
    row.tally = tally
    return row
