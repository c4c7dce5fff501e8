"""The last runs of a schedule, or of a job function, as a strip of marks."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..durations import duration, exact, ran
from ..models import Job
from ..status import Status
from . import charts


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
