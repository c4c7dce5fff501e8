"""Ends waits whose timeout is over, and lets events and waits meet whose processes died."""

from __future__ import annotations

from django.db import transaction

from ..db import clock, without_deadlock
from ..events.delivery import look, offer
from ..events.ending import End, end_waits
from ..models import Event, EventWait

#: Rows that one run or one statement takes.
BATCH = 500
# With a run each minute these are 160 events a second.
_BATCHES = 20


def run_once(using: str, *, longest_pause: float = 10.0) -> float:
    """End the waits that are due; return the seconds until the next, at most *longest_pause*."""
    meet(using)
    wait = _seconds_until_next(using)
    if wait > 0:
        return min(longest_pause, wait)
    without_deadlock(using, lambda: _time_out(using))
    return max(0.0, min(longest_pause, _seconds_until_next(using)))


def run_all(using: str) -> None:
    """End all waits that are due, and let all events and waits meet."""
    meet(using)
    while _seconds_until_next(using) <= 0:
        _time_out(using)


def meet(using: str) -> None:
    """Do the looks that no process did after its commit."""
    for event in Event.objects.using(using).filter(is_new=True).order_by("id")[:BATCH]:
        offer(event, using)
    for wait in EventWait.objects.using(using).filter(is_new=True).order_by("id")[:BATCH]:
        look(wait, using)


def prune(using: str) -> int:
    """Delete events that are kept no longer, up to so many batches; return how many."""
    events, number = Event.objects.using(using), 0
    old = events.filter(expires_at__lte=clock(using), is_new=False).order_by("expires_at")
    for _ in range(_BATCHES):
        ids = list(old.values_list("id", flat=True)[:BATCH])
        events.filter(id__in=ids)._raw_delete(using)
        number += len(ids)
        if len(ids) < BATCH:
            break
    return number


def _time_out(using: str) -> None:
    due = EventWait.objects.using(using).filter(until__lte=clock(using)).order_by("until")
    with transaction.atomic(using):
        end_waits(list(due[:BATCH]), End(timed_out=True), using)


def _seconds_until_next(using: str) -> float:
    """Return the seconds until the next timeout; negative if it is overdue."""
    waits = EventWait.objects.using(using).filter(until__isnull=False).order_by("until")
    for until, now in waits.values_list("until", clock(using))[:1]:
        return float((until - now).total_seconds())
    return float("inf")
