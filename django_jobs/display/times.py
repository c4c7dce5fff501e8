"""Times and durations of jobs in words."""

from __future__ import annotations

import dataclasses
import datetime

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import Job
from ..status import Status

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = (
    (_DAY, gettext_lazy("%d d")), (_HOUR, gettext_lazy("%d h")), (_MINUTE, gettext_lazy("%d min")),
    (1, gettext_lazy("%d s")),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Age:
    """A time in a sentence. Its text changes each second, so pages show it as an element."""

    at: datetime.datetime
    #: The text is the time since then, ``5 s``; else it is the moment, ``5 s ago``.
    is_duration: bool = False

    def __str__(self) -> str:
        return duration(timezone.now() - self.at) if self.is_duration else relative(self.at)


def duration(length: datetime.timedelta | None) -> str:
    """Return ``250 ms``, ``1.2 s``, ``3 min 5 s``, ``2 h 5 min`` or ``3 d 4 h``; empty for None."""
    if length is None:
        return ""
    seconds = max(0.0, length.total_seconds())
    if seconds < 0.9995:
        return _("%d ms") % round(seconds * 1000)
    if seconds < 59.95:
        return _("%.1f s") % seconds
    whole = round(seconds)
    if whole < _HOUR:
        return _("%(minutes)d min %(seconds)d s") % {
            "minutes": whole // _MINUTE,
            "seconds": whole % _MINUTE,
        }
    if whole < _DAY:
        return _("%(hours)d h %(minutes)d min") % {
            "hours": whole // _HOUR,
            "minutes": whole % _HOUR // _MINUTE,
        }
    return _("%(days)d d %(hours)d h") % {"days": whole // _DAY, "hours": whole % _DAY // _HOUR}


def relative(moment: datetime.datetime | None) -> str:
    """Return ``now``, ``5 s ago``, ``3 min ago`` or ``in 2 h``; empty for None."""
    if moment is None:
        return ""
    seconds = round((moment - timezone.now()).total_seconds())
    if seconds == 0:
        return _("now")
    text = next(text % (abs(seconds) // size) for size, text in _UNITS if abs(seconds) >= size)
    return (_("in %s") if seconds > 0 else _("%s ago")) % text


def exact(moment: datetime.datetime | None) -> str:
    """Return *moment* in the current time zone, to the millisecond; empty for None."""
    if moment is None:
        return ""
    text, local = local_text(moment), _local(moment)
    return f"{text} {local.tzname()}" if local.tzname() else text


def local_text(moment: datetime.datetime) -> str:
    """Return *moment* as :func:`exact` does, without the name of the time zone."""
    return _local(moment).replace(tzinfo=None).isoformat(" ", "milliseconds")


def _local(moment: datetime.datetime) -> datetime.datetime:
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def moment_of(job: Job) -> datetime.datetime | None:
    """Return the time that matters in the job's status, as run_at while it is SCHEDULED."""
    if job.status in (Status.SCHEDULED, Status.RETRY):
        run_at: datetime.datetime | None = job.run_at
        return run_at
    if job.status == Status.PENDING:
        return job.ready_at
    if job.status == Status.STARTED:
        return job.started_at
    return job.ended_at or job.enqueued_at


def waited(job: Job) -> datetime.timedelta | None:
    """Return how long the job was ready before its last attempt, or has been ready."""
    if job.ready_at is None:
        return None
    if job.status == Status.PENDING:
        return timezone.now() - job.ready_at
    return job.started_at - job.ready_at if job.started_at else None


def ran(job: Job) -> datetime.timedelta | None:
    """Return how long the last attempt took, or has taken; None if it is not known."""
    if job.started_at is None:
        return None
    if job.status == Status.STARTED:
        return timezone.now() - job.started_at
    if job.status in (Status.SUCCESS, Status.FAILURE) and job.ended_at:
        return job.ended_at - job.started_at
    return None
