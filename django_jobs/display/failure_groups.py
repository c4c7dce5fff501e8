"""The failures of a week by root cause: true numbers, with the jobs that failed because of them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any
from uuid import UUID

from django.db.models import Subquery, UUIDField, Value
from django.db.models.functions import Coalesce

from ..metrics import cache
from ..metrics.capped_count import of_status
from ..metrics.history import failures
from ..metrics.snapshot import LONG_CACHE_SECONDS
from ..metrics.summaries import Failures
from ..models import Job
from ..status import Status
from ..workflows.upstream import UPSTREAM_FAILED, cause_of

#: The newest failed jobs among which consequences are looked for.
NEWEST = 20_000


@dataclasses.dataclass(slots=True)
class FailureGroup:
    """The failed jobs of one job function with one class of error.

    The numbers are measured. Only the consequences are counted in the table of jobs.
    """

    name: str
    #: Empty for jobs that were revoked, of which only the consequences count here.
    error_class: str
    hour: int = 0
    day: int = 0
    week: int = 0
    first_seen: datetime.datetime | None = None
    last_seen: datetime.datetime | None = None
    #: The latest of them.
    sample: UUID | None = None
    by_step: tuple[int, ...] = ()
    #: The jobs among the :data:`NEWEST` failed ones that did not run because of these.
    consequences: int = 0
    #: One of the consequences, if none of the jobs themselves is known.
    consequence: UUID | None = None


def failure_groups(using: str = "") -> list[FailureGroup]:
    """Return all groups of the week, at most some seconds old; the most frequent of a day first."""
    return cache.recent(_read, using, LONG_CACHE_SECONDS)


def _read(using: str) -> list[FailureGroup]:
    groups = {(one.name, one.error_class): _group(one) for one in failures(using)}
    for job_id, message in _consequences(using):
        if (cause := cause_of(message)) is not None:
            group = groups.setdefault(cause, FailureGroup(*cause))
            group.consequences += 1
            group.consequence = group.consequence or job_id
    return sorted(groups.values(), key=lambda one: (-one.day, -one.week, -one.consequences))


def _group(one: Failures) -> FailureGroup:
    return FailureGroup(
        one.name, one.error_class, one.hour, one.day, one.week, one.first_seen, one.last_seen,
        one.sample_id, one.by_step,
    )  # fmt: skip


def _consequences(using: str) -> list[tuple[UUID, str]]:
    """Return ids and messages of the jobs that failed because another one did, newest first."""
    jobs: Any = Job.objects.using(using)
    failed = of_status(jobs.all(), Status.FAILURE).order_by("-pk")
    oldest = Subquery(failed.values("pk")[NEWEST - 1 : NEWEST])
    bound = Coalesce(oldest, Value(UUID(int=0), UUIDField()))
    rows = failed.filter(error_class=UPSTREAM_FAILED, pk__gte=bound)
    return list(rows.values_list("pk", "error_message"))
