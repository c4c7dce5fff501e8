"""The last runs of a schedule, or of a job function, as a strip of marks."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from ..display.times import duration, exact, ran
from ..models import Job
from ..status import Status
from . import charts

#: How many runs of a job function are shown.
RUNS_SHOWN = 30
# No index knows the names: the last runs are those among so many of the newest jobs.
_LOOKED_AT = 20_000
_COLUMNS = ("id", "name", "status", "enqueued_at", "run_at", "started_at", "ended_at")


def last_runs(name: str, using: str, until: UUID | None = None) -> list[Job]:
    """Return the newest jobs of a job function that began, up to *until*, the oldest first."""
    newest = Job.objects.using(using).order_by("-pk")
    if until is not None:
        newest = newest.filter(pk__lte=until)
    oldest = newest.values_list("pk", flat=True)[_LOOKED_AT : _LOOKED_AT + 1].first()
    runs = newest.filter(name=name, started_at__isnull=False)
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
    text = ngettext(
        "Last %(runs)d run: %(failed)d failed", "Last %(runs)d runs: %(failed)d failed", len(runs)
    )
    return text % {
        "runs": len(runs),
        "failed": sum(job.status == Status.FAILURE for job in runs),
    }
