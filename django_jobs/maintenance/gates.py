"""Gates of limits that nobody uses any more go, and starts that no window reaches."""

from __future__ import annotations

from django.db import connections, transaction
from django.db.models import Exists, OuterRef, QuerySet

from ..dialects import unix_time
from ..models import Gate, Job, Place, Reservation
from ..rates import LONGEST_SECONDS

#: Most gates that one run looks at; the next goes on behind them.
BATCH = 1_000

_last: dict[str, str] = {}


def run_once(using: str) -> int:
    """Look at one batch of gates, by their keys; return how many went."""
    gates = Gate.objects.using(using)
    batch = gates.filter(key__gt=_last.get(using, "")).order_by("key")
    keys = list(batch.values_list("key", flat=True)[:BATCH])
    _last[using] = keys[-1] if len(keys) == BATCH else ""
    if not keys:
        return 0
    # Also slots that were never used: their jobs are gone, or stand in line anew.
    before = unix_time(using) - LONGEST_SECONDS
    Reservation.objects.using(using).filter(key__in=keys, at__lt=before)._raw_delete(using)
    unused = list(_unused(keys, using).values_list("key", flat=True))
    if not unused:
        return 0
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using):
        mine = gates.filter(key__in=unused).order_by("key")
        held = list(mine.select_for_update(skip_locked=skip_locked).values_list("key", flat=True))
        # Somebody may have come before the lock.
        still = list(_unused(held, using).values_list("key", flat=True))
        gates.filter(key__in=still)._raw_delete(using)
    return len(still)


def _unused(keys: list[str], using: str) -> QuerySet[Gate]:
    gates = Gate.objects.using(using).filter(key__in=keys)
    for rows, column in (
        (Place.objects, "key"), (Reservation.objects, "key"), (Job.objects, "waiting_for"),
    ):  # fmt: skip
        gates = gates.filter(~Exists(rows.using(using).filter(**{column: OuterRef("key")})))
    return gates
