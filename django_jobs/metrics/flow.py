"""The flow of each queue: how many jobs come into it, and how many leave it."""

from __future__ import annotations

import dataclasses
from uuid import UUID

from django.db import connections

from ..models import Job
from . import cache
from .capped_count import CAP, compiled
from .snapshot import CACHE_SECONDS, recent_statistics

#: Jobs of so many seconds count, if they are not more than ten thousand. The last minute of them
#: is the current one, so that the flow changes with the jobs or once a minute.
SECONDS = 600


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """Jobs a minute, lately."""

    #: Those that were enqueued and still have a row.
    inflow: float = 0.0
    #: Those that succeeded or failed.
    outflow: float = 0.0

    def seconds_to_empty(self, ready: int) -> float | None:
        """Return when *ready* jobs will be done, None if they become no fewer."""
        if self.outflow <= self.inflow:
            return None
        return 60 * ready / (self.outflow - self.inflow)


def flows(using: str) -> dict[str, Flow]:
    """Return the flow of each queue that has one."""
    inflow = cache.recent(_inflow, using, CACHE_SECONDS)
    # The current minute is not over.
    minutes = SECONDS // 60
    ended = {
        one.name: sum(one.ended_by_step[-minutes - 1 : -1]) / minutes
        for one in recent_statistics("1h", using).queues
    }
    return {name: Flow(inflow.get(name, 0.0), ended.get(name, 0.0)) for name in {*inflow, *ended}}


def _inflow(using: str) -> dict[str, float]:
    """Count the newest jobs by queue; the index of the ids has them by time."""
    minute = int(cache.unix_time(using)) // 60 * 60
    first = UUID(int=(minute + 60 - SECONDS) * 1000 << 80)
    newest = Job.objects.using(using).filter(pk__gte=first).order_by("-pk")
    sql, params = compiled(newest.values("queue", "pk")[:CAP], using)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT queue, COUNT(*) FROM ({sql}) newest GROUP BY queue", params)  # noqa: S608
        found: dict[str, int] = dict(cursor.fetchall())
    seconds = float(SECONDS)
    if sum(found.values()) == CAP:
        pks = newest.values_list("pk", flat=True)
        last, oldest = ((pks[place].int >> 80) / 1000 for place in (0, CAP - 1))
        seconds = max(1.0, max(last, minute) - oldest)
    return {name: 60 * number / seconds for name, number in found.items()}
