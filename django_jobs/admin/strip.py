"""The last runs of a schedule, or of a job function, as a strip of marks."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..durations import duration, exact, ran
from ..models import Job
from ..status import Status
from . import charts

#: How many runs of a job function are shown.
RUNS_SHOWN = 30
# No index knows the names: the last runs are those among so many of the newest jobs.
_LOOKED_AT = 20_000
_COLUMNS = ("id", "name", "status", "enqueued_at", "run_at", "started_at", "ended_at")


def last_runs_of(job: Job) -> list[Job]:
    """Return the newest jobs of *job*'s function that began, it among them, the oldest first."""
    jobs = Job.objects.using(job._state.db)
    newest = jobs.filter(pk__lte=job.pk).order_by("-pk")
    oldest = newest.values_list("pk", flat=True)[_LOOKED_AT : _LOOKED_AT + 1].first()
    runs = newest.filter(name=job.name, started_at__isnull=False)
    if oldest is not None:
        runs = runs.filter(pk__gte=oldest)
    return list(runs.only(*_COLUMNS)[:RUNS_SHOWN])[::-1]


def strip(runs: Sequence[Job], places: int = 20) -> SafeString:
    """Return an SVG of *runs*, the oldest first, that leaves room for *places* of them."""
    marks = [charts.Mark(job.status.lower(), _title(job)) for job in runs]
    return charts.strip(marks, _summary(runs), places)


def _title(job: Job) -> str:
    took = duration(ran(job))
    return f"{exact(job.run_at or job.enqueued_at)}: {_label(job)}{f', {took}' if took else ''}"


def _label(job: Job) -> str:
    return str(Status(job.status).label) if job.status in Status.values else job.status


def _summary(runs: Sequence[Job]) -> str:
    return _("Last %(runs)d runs: %(failed)d failed") % {
        "runs": len(runs),
        "failed": sum(job.status == Status.FAILURE for job in runs),
    }
