"""The kinds of reasons why jobs wait, and the number of jobs of each kind."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Value, When

from ..models import JobQuerySet, Reservation
from ..status import Status
from .capped_count import of_status


class Kind(enum.StrEnum):
    """A kind of reason to wait. Its value is that of JSON, and of the metric's label."""

    #: For its ``eta``, ``countdown`` or ``Snooze``.
    TIME = "time"
    #: For its next attempt, after an error.
    RETRY = "retry"
    #: For its start under a rate limit.
    RATE = "rate_limit"
    #: For a permit of a concurrency limit.
    CONCURRENCY = "concurrency"
    #: A person has paused its queue.
    PAUSED = "paused"
    #: No live worker serves its queue.
    NO_WORKER = "no_worker"
    #: All live workers of its queue are quiet.
    QUIET = "quiet"
    #: No live worker knows its job function.
    UNKNOWN_FUNCTION = "unknown_function"
    #: A worker could not run it and gave it back, as for a missing key.
    DEFERRED = "deferred"
    #: For the ends of jobs that it depends on.
    DEPENDENCIES = "dependencies"
    #: For the ends of jobs that it has started itself, with ``gather()``.
    CHILDREN = "children"
    EVENT = "event"
    #: For the decision of a person.
    APPROVAL = "approval"
    #: One of its steps sleeps.
    SLEEP = "sleep"
    #: One of its steps is called again later, after an error.
    STEP_RETRY = "step_retry"
    #: For the turn of its key in a fair queue.
    FAIR_TURN = "fair_turn"
    #: A worker has claimed it ahead and has not begun it.
    PREFETCHED = "prefetched"
    #: For a free slot, behind other jobs.
    QUEUED = "queued"


#: The kinds that :attr:`.snapshot.Overview.waiting` tells apart. ``no_worker`` has the jobs of
#: quiet workers as well, ``dependencies`` those that wait for their children, ``event`` those that
#: wait for a person, ``time`` those whose step sleeps, ``deferred`` those whose function no worker
#: knows, ``queued`` those of fair queues.
COUNTED = (
    Kind.QUEUED, Kind.PAUSED, Kind.NO_WORKER, Kind.CONCURRENCY, Kind.RATE, Kind.DEPENDENCIES,
    Kind.EVENT, Kind.TIME, Kind.RETRY, Kind.DEFERRED,
)  # fmt: skip


def kinds_of_jobs(jobs: JobQuerySet) -> Iterator[QuerySet[Any]]:
    """Yield ``kind`` of the *jobs* that are WAITING, and of those that are SCHEDULED."""
    slots = Reservation.objects.using(jobs.db).filter(job_id=OuterRef("pk"), started=False)
    cases = {
        Status.WAITING: (
            When(pending_parents__gt=0, then=Value(Kind.DEPENDENCIES)),
            When(waiting_for__isnull=False, then=Value(Kind.CONCURRENCY)),
            Kind.EVENT,
        ),
        Status.SCHEDULED: (
            When(Exists(slots), then=Value(Kind.RATE)),
            When(Q(deferrals__gt=0) & ~Q(error_class=""), then=Value(Kind.DEFERRED)),
            Kind.TIME,
        ),
    }
    for status, (first, second, other) in cases.items():
        case = Case(first, second, default=Value(other), output_field=CharField())
        yield of_status(jobs, status).order_by().values(kind=case)
