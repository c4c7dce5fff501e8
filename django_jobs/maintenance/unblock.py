"""Wakes jobs that wait for a limit although a permit is free."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, transaction

from ..limits import concurrency
from ..limits.rules import read_rules
from ..locking import limits_locked
from ..models import Job
from ..status import ENDED

#: One run looks at most at this many keys; the next run continues after them.
BATCH = 100
# If a limit is gone, this many of its jobs become PENDING at once.
_ALL = 1_000
# Seconds between two looks while jobs wait for limits, and while none does.
_SOON, _SELDOM = 2.0, 10.0

_last: dict[str, str] = {}


def run_once(using: str) -> float:
    """Wake jobs that wait although a permit is free; return the seconds until the next look.

    No transaction of a job wakes them if a person deleted or edited a row, or if a limit was raised
    or removed.
    """
    heads = _heads(_last.get(using, ""), using)
    _last[using] = heads[-1].waiting_for or "" if len(heads) == BATCH else ""
    if not heads:
        return _SELDOM
    rules = read_rules(using)
    keys = [head.waiting_for for head in heads if head.waiting_for is not None]
    with limits_locked(keys, using):
        taken = concurrency.taken(keys, using)
        free = {}
        for key, head in zip(keys, heads, strict=True):
            known, most = rules.permits(key, head.name, head.queue)
            if known:
                free[key] = _ALL if most is None else most - taken[key]
        concurrency.fill(free, using)
    _leave_line(keys, using)
    return _SOON


def run_all(using: str) -> None:
    """Wake all jobs that wait although a permit is free."""
    _last[using] = ""
    run_once(using)
    while _last[using]:
        run_once(using)


def _leave_line(keys: Sequence[str], using: str) -> None:
    """Take ended jobs out of the line: they ran without a permit while there was no limit."""
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    ended = Job.objects.using(using).filter(waiting_for__in=keys, status__in=ENDED)
    with transaction.atomic(using):
        ids = ended.select_for_update(skip_locked=skip_locked).values_list("id", flat=True)[:_ALL]
        Job.objects.using(using).filter(id__in=list(ids)).update(waiting_for=None)


def _heads(last: str, using: str) -> list[Job]:
    """Return the first job that waits for each of the next keys after *last*."""
    # A job that was woken and has no permit yet is in line too.
    line = Job.objects.using(using).only("name", "queue", "waiting_for")
    line = line.order_by("waiting_for", "rank", "id")
    heads: list[Job] = []
    while len(heads) < BATCH:
        head = line.filter(waiting_for__gt=last).first()
        if head is None or head.waiting_for is None:
            break
        heads.append(head)
        last = head.waiting_for
    return heads
