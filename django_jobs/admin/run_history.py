"""The last runs of a schedule or a job function, as a row of marks."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import QuerySet
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from ..display.times import duration, exact, ran
from ..models import Job
from ..status import Status
from . import charts

#: The number of runs of a job function that are shown.
RUNS_SHOWN = 30
# No index holds the names, so only this many of the newest jobs are read.
_MOST_READ = 20_000
_COLUMNS = ("id", "name", "status", "enqueued_at", "run_at", "started_at", "ended_at")


def runs_of_function(name: str, using: str, until: UUID | None = None) -> list[Job]:
    """Return the newest started jobs of a job function up to the id *until*, the oldest first."""
    return list(newest_of_function(name, using, until)[:RUNS_SHOWN])[::-1]


def newest_of_function(name: str, using: str, until: UUID | None = None) -> QuerySet[Job]:
    """Return the started jobs of a job function among the newest jobs of all, the newest first."""
    newest = Job.objects.using(using).order_by("-pk")
    if until is not None:
        newest = newest.filter(pk__lte=until)
    oldest = newest.values_list("pk", flat=True)[_MOST_READ : _MOST_READ + 1].first()
    runs = newest.filter(name=name, started_at__isnull=False)
    return (runs if oldest is None else runs.filter(pk__gte=oldest)).only(*_COLUMNS)


def runs_svg(runs: Sequence[Job], room: int = 20) -> SafeString:
    """Return an SVG of *runs*, the oldest first, as wide as *room* of them."""
    marks = [charts.Mark(job.status.lower(), _title(job)) for job in runs]
    return charts.run_marks(marks, _summary(runs), room)


def _title(job: Job) -> str:
    # The page is sent again when a title changes.
    took = "" if job.status == Status.STARTED else duration(ran(job))
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
