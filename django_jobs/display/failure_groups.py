"""The failures of a week by root cause, with the jobs that did not run because of them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, Subquery, TextField, UUIDField, Value, When
from django.db.models.functions import Coalesce

from ..metrics import cache
from ..metrics.capped_count import of_status
from ..metrics.history import failures
from ..metrics.snapshot import CACHE_SECONDS, LONG_CACHE_SECONDS
from ..metrics.summaries import Failures
from ..models import Job
from ..status import Status
from ..workflows.upstream import UPSTREAM_FAILED, cause_of, origin_of

#: The newest failed jobs, which are counted as they are now.
NEWEST = 10_000


@dataclasses.dataclass(slots=True)
class FailureGroup:
    """The failed jobs of one job function with one class of error.

    The numbers of an hour, a day and a week are measured: they do not fall when jobs are retried.
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
    #: Those that are still FAILURE, among the :data:`NEWEST` ones.
    left: int = 0
    #: The jobs among the :data:`NEWEST` ones that did not run because of these.
    consequences: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class FailureGroups:
    """All groups of the week, the most frequent of a day first."""

    groups: list[FailureGroup]
    #: There are more failed jobs than :data:`NEWEST`.
    is_capped: bool


def failure_groups(using: str = "", seconds: float = CACHE_SECONDS) -> FailureGroups:
    """Return the groups of failures, at most *seconds* old."""
    return cache.recent(_read, using, seconds)


def _read(using: str) -> FailureGroups:
    measured = cache.recent(failures, using, LONG_CACHE_SECONDS)
    groups = {(one.name, one.error_class): _group(one) for one in measured}
    counted = 0
    for name, error_class, message, number in _failed_now(using):
        counted += number
        cause = cause_of(message) if message else None
        group = groups.setdefault(cause or (name, error_class), FailureGroup(name, error_class))
        if cause is None:
            group.left += number
            continue
        group.name, group.error_class = cause
        group.consequences += number
        group.sample = group.sample or origin_of(message)
    ordered = sorted(
        groups.values(), key=lambda one: (-one.day, -one.week, -one.left, -one.consequences)
    )
    return FailureGroups(ordered, counted >= NEWEST)


def _group(one: Failures) -> FailureGroup:
    return FailureGroup(
        one.name, one.error_class, one.hour, one.day, one.week, one.first_seen, one.last_seen,
        one.sample_id, one.by_step,
    )  # fmt: skip


def _failed_now(using: str) -> list[tuple[str, str, str, int]]:
    """Return function, class and number of failed jobs, by the message of those that did not run.

    One statement reads the newest ones.
    """
    jobs: Any = Job.objects.using(using)
    failed = of_status(jobs.all(), Status.FAILURE)
    oldest = Subquery(failed.order_by("-pk").values("pk")[NEWEST - 1 : NEWEST])
    bound = Coalesce(oldest, Value(UUID(int=0), UUIDField()))
    did_not_run = When(error_class=UPSTREAM_FAILED, then=F("error_message"))
    message = Case(did_not_run, default=Value(""), output_field=TextField())
    rows = failed.filter(pk__gte=bound).annotate(message=message).order_by()
    return list(rows.values_list("name", "error_class", "message").annotate(Count("pk")))
