"""The life of a job as one bar: how long it waited, ran and backed off."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from operator import attrgetter

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from ..display.times import duration
from ..models import Attempt, Job
from ..status import Status
from .badges import elapsed

#: A phase that still lasts takes this share of the bar, whose length must not change with time.
_OPEN = 0.2
# Shorter phases are drawn as wide as this share.
_LEAST = 0.004
# A narrower phase has no text.
_READABLE = 0.09


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """*kind* is ``wait``, ``backoff`` or the status after an attempt; without an end it lasts."""

    kind: str
    label: str
    start: datetime.datetime
    end: datetime.datetime | None = None

    @property
    def length(self) -> datetime.timedelta:
        return (self.end or self.start) - self.start


def phases(job: Job, kept: Sequence[Attempt]) -> list[Phase]:
    """Return the phases of the job in their order; *kept* are its rows of attempts."""
    return [one for one in _phases(job, kept) if one.end is None or one.end > one.start]


def _phases(job: Job, kept: Sequence[Attempt]) -> Iterator[Phase]:
    begin, kind, label = job.enqueued_at, "wait", _("wait")
    for attempt in sorted((one for one in kept if one.started_at), key=attrgetter("pk")):
        start = attempt.started_at or attempt.ended_at
        yield Phase(kind, label, begin, start)
        yield Phase(attempt.status.lower(), _run(attempt.attempt), start, attempt.ended_at)
        begin, kind, label = attempt.ended_at, "backoff", _("back-off")
    is_kept = any(one.claims == job.claims for one in kept)
    if job.status in (Status.RETRY, Status.SCHEDULED) and job.run_at:
        yield Phase(kind, label, begin, max(begin, job.run_at))
    elif job.status in (Status.PENDING, Status.WAITING):
        ready = job.ready_at or begin
        yield Phase(kind, label, begin, max(begin, ready))
        yield Phase("wait", _("wait"), max(begin, ready))
    elif job.started_at and not is_kept:
        yield Phase(kind, label, begin, max(begin, job.started_at))
        end = job.ended_at if job.status != Status.STARTED else None
        yield Phase(job.status.lower(), _run(job.attempt), job.started_at, end)
    elif job.ended_at and not is_kept:
        yield Phase(kind, label, begin, job.ended_at)


def _run(number: int) -> str:
    return _("attempt %d") % number


def bar(shown: Sequence[Phase]) -> SafeString:
    """Return the phases as an SVG whose width is that of its place; empty without phases."""
    if not shown:
        return mark_safe("")
    closed = sum((one.length for one in shown), datetime.timedelta()).total_seconds()
    is_open = shown[-1].end is None
    room = 1 - _OPEN * is_open if closed else 1
    wide = [max(_LEAST, one.length.total_seconds() / (closed or 1) * room) for one in shown]
    if is_open:
        wide[-1] = _OPEN if closed else 1.0
    scale = 1 / sum(wide)
    drawn, x = [], 0.0
    for one, width in zip(shown, (each * scale for each in wide), strict=True):
        text = f"{one.label} {duration(one.length)}" if one.end else f"{one.label} …"
        label = text if width >= _READABLE else ""
        drawn.append((one.kind, _share(x), _share(width), _share(x + width / 2), label, text))
        x += width
    marks = format_html_join(
        "",
        '<g class="jobs-phase jobs-phase-{}"><rect x="{}" y="1" width="{}" height="22"/>'
        '<text x="{}" y="16" text-anchor="middle">{}</text><title>{}</title></g>',
        drawn,
    )
    return format_html(
        '<svg class="jobs-phases" role="img" aria-label="{}" width="100%" height="24">{}</svg>',
        ", ".join(row[-1] for row in drawn), marks,
    )  # fmt: skip


def sums(shown: Sequence[Phase]) -> list[tuple[str, str, SafeString | str]]:
    """Return the kind, the label and the time of all waits, all runs and all back-offs."""
    labels = {"wait": _("waited"), "run": _("ran"), "backoff": _("backed off")}
    total = dict.fromkeys(labels, datetime.timedelta())
    lasting: dict[str, datetime.datetime] = {}
    for one in shown:
        kind = one.kind if one.kind in labels else "run"
        total[kind] += one.length
        if one.end is None:
            lasting[kind] = one.start - total[kind]
    return [
        (kind, label, elapsed(lasting[kind]) if kind in lasting else duration(total[kind]))
        for kind, label in labels.items()
        if total[kind] or kind in lasting
    ]


def _share(value: float) -> str:
    return f"{100 * value:.2f}%"
