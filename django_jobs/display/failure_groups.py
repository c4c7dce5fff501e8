"""The failures of a week by root cause, with the jobs that did not run because of them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Case, F, TextField, Value, When

from ..metrics import cache
from ..metrics.capped_count import compiled, of_status
from ..metrics.history import error_classes, failures
from ..metrics.snapshot import CACHE_SECONDS, LONG_CACHE_SECONDS
from ..metrics.summaries import Failures
from ..models import Job
from ..models.histogram import OTHERS
from ..status import Status
from ..workflows.upstream import UPSTREAM_FAILED, cause_of, origin_of

#: The newest failed jobs, which are counted as they are now.
NEWEST = 10_000
# The newest failed jobs whose classes of errors a filter offers.
_NEWEST_CLASSES = 1_000


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


def failure_groups(using: str = "") -> FailureGroups:
    """Return the groups of failures, at most some seconds old."""
    return cache.recent(_all, using, CACHE_SECONDS)


def groups_of_function(name: str, using: str) -> list[FailureGroup]:
    """Return the groups of one job function, without those of revoked jobs."""
    groups = _groups(failures(using, name), using).groups
    return [group for group in groups if group.name == name and group.error_class]


def known_errors(using: str) -> frozenset[str]:
    """Return the classes of errors of the week, at most :data:`LONG_CACHE_SECONDS` old.

    It reads the newest failed jobs, too, because measurements leave out jobs that did not run.
    """
    return cache.recent(_errors, using, LONG_CACHE_SECONDS)


def _errors(using: str) -> frozenset[str]:
    jobs: Any = Job.objects.using(using)
    newest = of_status(jobs.all(), Status.FAILURE).order_by("-pk")[:_NEWEST_CLASSES]
    failed = set(newest.values_list("error_class", flat=True))
    return frozenset(error_classes(using) | failed) - {"", OTHERS}


def _all(using: str) -> FailureGroups:
    return _groups(cache.recent(failures, using, LONG_CACHE_SECONDS), using)


def _groups(measured: Iterable[Failures], using: str) -> FailureGroups:
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
    did_not_run = When(error_class=UPSTREAM_FAILED, then=F("error_message"))
    message = Case(did_not_run, default=Value(""), output_field=TextField())
    newest = of_status(jobs.all(), Status.FAILURE).order_by("-pk")[:NEWEST]
    sql, params = compiled(newest.values("name", "error_class", message=message), using)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT name, error_class, message, COUNT(*) FROM ({sql}) newest "  # noqa: S608
            "GROUP BY name, error_class, message",
            params,
        )
        return list(cursor.fetchall())
