"""The jobs that a worker runs now, with their progress and an estimate of the rest."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import ExpressionWrapper, F, TextField
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..display.job_text import arguments_line, is_number
from ..display.times import duration
from ..metrics.snapshot import recent_statistics
from ..models import Job
from .badges import elapsed, moment
from .job_fields import progress_bar, run_time

_ARGUMENTS_WIDTH = 80
_WINDOW = "24h"


def running_rows(
    jobs: Iterable[Job], using: str, *, with_arguments: bool, page_of: Callable[[UUID], str]
) -> list[dict[str, Any]]:
    """Return the rows of the table; two statements, however many *jobs* there are.

    *page_of* returns the address of a job's page; empty if there is none for the user.
    """
    shown = list(jobs)
    progress = _progress([job.pk for job in shown], using)
    usual = {one.name: one.run.p50 for one in recent_statistics(_WINDOW, using).functions}
    return [
        {
            "pk": job.pk,
            "url": page_of(job.pk),
            "name": job.name,
            "queue": job.queue,
            "arguments": arguments_line(job, _ARGUMENTS_WIDTH) if with_arguments else "",
            "started": moment(job.started_at),
            "ran": run_time(job),
            "progress": _bar(progress.get(job.pk)),
            "estimate": _estimate(job, progress.get(job.pk), usual.get(job.name)),
        }
        for job in shown
    ]


def _progress(ids: list[UUID], using: str) -> Mapping[UUID, tuple[float, float]]:
    """Return the done and the total of each job. Messages may have secrets, so they stay out."""
    text = ExpressionWrapper(F("progress"), output_field=TextField())
    rows = Job.objects.using(using).filter(pk__in=ids, progress__isnull=False)
    found = {}
    for pk, value in rows.values_list("pk", text):
        try:
            known = json.loads(value)
        except (ValueError, RecursionError):  # somebody edited the row
            continue
        done, total = (known.get(key) if isinstance(known, dict) else None
                       for key in ("done", "total"))  # fmt: skip
        if is_number(done) and is_number(total) and total > 0:
            found[pk] = (done, total)
    return found


def _bar(known: tuple[float, float] | None) -> SafeString | str:
    return "–" if known is None else progress_bar({"done": known[0], "total": known[1]})


def _estimate(job: Job, known: tuple[float, float] | None, usual: float | None) -> SafeString | str:
    if known is not None and known[0] > 0 and job.started_at:
        done, total = known
        left = elapsed(job.started_at, times=max(0.0, total - done) / done)
        return format_html(_("about %s left") % "{}", left)
    if usual is not None:
        return _("usually %s") % duration(datetime.timedelta(seconds=usual))
    return "–"
