"""The last runs of a schedule as a strip: a mark for each, which differ in shape, not in colour."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from ..durations import duration, exact, ran
from ..models import Job
from ..status import Status

_STEP, _HEIGHT = 8, 18

# A path for each status in a box of 6 × 18: full, crossed out, half, hollow.
_SHAPES = {
    Status.SUCCESS: "M0 0h6v18h-6z",
    Status.FAILURE: "M0 0h6v18h-6zM0 18L6 0M0 0L6 18",
    Status.REVOKED: "M0 12h6v6h-6z",
}
_HOLLOW = "M.5 .5h5v17h-5z"


def strip(runs: Sequence[Job], places: int = 20) -> SafeString:
    """Return an SVG of *runs*, the oldest first, that leaves room for *places* of them."""
    if not runs:
        return mark_safe("–")
    marks = format_html_join(
        "\n",
        '<path class="jobs-run jobs-run-{}" d="{}" transform="translate({} 1)">'
        "<title>{}</title></path>",
        (
            (
                job.status.lower(),
                _SHAPES.get(job.status, _HOLLOW),  # type: ignore[call-overload]
                (places - len(runs) + position) * _STEP + 1,
                _title(job),
            )
            for position, job in enumerate(runs)
        ),
    )
    width = places * _STEP
    return format_html(
        '<svg class="jobs-strip" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" '
        'height="{}">{}</svg>',
        _summary(runs),
        width,
        _HEIGHT + 2,
        width,
        _HEIGHT + 2,
        marks,
    )


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
