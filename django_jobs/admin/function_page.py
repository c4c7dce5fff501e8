"""The parts of a job function's page besides its forms: numbers, errors and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import DurationField, ExpressionWrapper, F
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..display.failure_groups import groups_of_function
from ..display.job_text import short_class
from ..display.times import duration, ran
from ..metrics.summaries import Statistics
from ..models import Job
from ..models.histogram import BOUNDS
from ..status import Status
from . import chart_axes, charts
from .badges import moment, status_badge
from .chart_data import Chart, chart, seconds
from .run_history import newest_of_function

_SLOWEST = _NEWEST = 5


def histogram(numbers: Statistics) -> Chart | None:
    """Return the run times of the window as bars, one for each bucket between the ends."""
    counts = numbers.total.run_counts
    used = [place for place, count in enumerate(counts) if count]
    if not used:
        return None
    shown = range(max(0, used[0] - 1), min(len(counts), used[-1] + 2))
    labels = [_bucket(place) for place in shown]
    frame = charts.Frame(
        times=labels,
        ticks=[(place, _edge(bucket)) for place, bucket in enumerate(shown) if place % 3 == 0],
        axis=chart_axes.counts,
        shown=number_format,
        nothing=_("nothing ran"),
    )
    series = [charts.Series("success", _("attempts"), [counts[place] for place in shown])]
    return chart("runs", _("Run times"), frame, series, charts.bars, "")


def errors(name: str, jobs: str, using: str) -> list[dict[str, Any]]:
    """Return the errors of a week; *jobs* is the address of the list of jobs."""
    return [
        {
            "error": short_class(group.error_class),
            "path": group.error_class,
            "left": number_format(group.left),
            "hour": number_format(group.hour),
            "day": number_format(group.day),
            "week": number_format(group.week),
            "last_seen": moment(group.last_seen),
            "url": _listed(jobs, name, status=Status.FAILURE, error=group.error_class),
            "is_retriable": group.left > 0,
        }
        for group in groups_of_function(name, using)
    ]


def runs(
    name: str, newest: Sequence[Job], using: str, page_of: Callable[[UUID], str]
) -> list[dict[str, Any]]:
    """Return two tables: the newest runs, and the slowest ones among the newest jobs."""
    took = ExpressionWrapper(F("ended_at") - F("started_at"), DurationField())
    ended = newest_of_function(name, using).filter(
        ended_at__isnull=False, status__in=[Status.SUCCESS, Status.FAILURE]
    )
    slowest = list(ended.order_by(took.desc())[:_SLOWEST])
    return [
        {"title": _("Newest runs"), "rows": [_run(job, page_of) for job in newest[::-1][:_NEWEST]]},
        {"title": _("Slowest of the newest runs"), "rows": [_run(job, page_of) for job in slowest]},
    ]


def folded(options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options that code or operators set, and those that are folded."""
    changed = [one for one in options if one.get("is_set") or one.get("by_operator")]
    rest = [one for one in options if one not in changed]
    text = ngettext("%d option has its default", "%d options have their defaults", len(rest))
    return {"options": changed, "defaults": rest, "defaults_text": text % len(rest)}


def _run(job: Job, page_of: Callable[[UUID], str]) -> dict[str, Any]:
    return {
        "pk": job.pk,
        "url": page_of(job.pk),
        "status": status_badge(job.status),
        "started": moment(job.started_at),
        "took": duration(ran(job)) or "–",
    }


def _listed(jobs: str, name: str, **filters: str) -> str:
    return f"{jobs}?{urlencode({'name': name, **filters})}"


def _edge(bucket: int) -> str:
    return seconds(BOUNDS[bucket - 1]) if bucket else "0"


def _bucket(place: int) -> str:
    low = _edge(place)
    return f"{low} – {seconds(BOUNDS[place])}" if place < len(BOUNDS) else f"> {low}"
