"""Sentences for the reasons why jobs wait; no other module makes them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.utils import timezone, translation
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from ..metrics.waiting import Kind
from ..models import Job, Worker
from ..status import ENDED
from .waiting_reason import WaitingReason
from .waiting_reasons import waiting_reasons

#: Makes a link of a text: gets "job", "queue", "worker" or "function", its key, and the text.
Link = Callable[[str, str, str], str]

_TEXTS = {
    Kind.TIME: gettext_noop("it is to run at %(until)s"),
    Kind.RETRY: gettext_noop("it runs again at %(until)s, after %(subject)s"),
    Kind.PAUSED: gettext_noop("queue “%(queue)s” is paused"),
    Kind.NO_WORKER: gettext_noop("no live worker serves queue “%(queue)s” (runworker -Q %(name)s)"),
    Kind.QUIET: gettext_noop("the workers of queue “%(queue)s” are quiet"),
    Kind.UNKNOWN_FUNCTION: gettext_noop("no live worker knows %(subject)s; next try at %(until)s"),
    Kind.DEFERRED: gettext_noop("a worker could not run it (%(subject)s); next try at %(until)s"),
    Kind.SLEEP: gettext_noop("its step “%(step)s” sleeps until %(until)s"),
    Kind.STEP_RETRY: gettext_noop("its step “%(step)s” is called again at %(until)s"),
    Kind.FAIR_TURN: gettext_noop(
        "its key waits for its turn in the fair queue “%(queue)s”; %(busy)s of %(slots)s slots are "
        "busy"
    ),
    Kind.PREFETCHED: gettext_noop("worker %(by)s has claimed it and has not begun it"),
}


def plain(model: str, key: str, text: str) -> str:
    """Return the *text* without a link."""
    return text


def sentence(reason: WaitingReason, link: Link = plain) -> str:
    """Return a reason in the current language, without a full stop.

    *link* gets the parts that have a page. All texts that rows have pass it, or the *link* of the
    pages could not escape them: see :func:`django_jobs.admin.waiting.waiting_shown`.
    """
    words = _words(reason, link)
    make = _BY_KIND.get(reason.kind)
    return make(reason, words) if make else _(_TEXTS[reason.kind]) % words


def _words(reason: WaitingReason, link: Link) -> dict[str, Any]:
    def text(value: str) -> str:
        return link("", "", value)

    named = [link("job", str(one.id), one.name) for one in reason.jobs]
    return {
        "queue": link("queue", reason.queue, reason.queue),
        "name": text(reason.queue),
        "subject": link("function", reason.subject, reason.subject)
        if reason.kind in (Kind.RATE, Kind.CONCURRENCY)
        else text(reason.subject),
        "step": text(reason.step),
        "until": text(clock_time(reason.until)),
        "since": text(clock_time(reason.since)),
        "by": link("worker", str(reason.worker_id or ""), reason.by),
        "limit": text(reason.limit),
        "per": text(reason.per),
        "jobs": ", ".join(named),
        "number": number_format(reason.number or 0, force_grouping=True),
        "place": number_format((reason.position or 0) + 1, force_grouping=True),
        "before": number_format(reason.position or 0, force_grouping=True),
        "slots": reason.slots,
        "busy": reason.busy,
    }


def _paused(reason: WaitingReason, words: dict[str, Any]) -> str:
    if reason.by and reason.since:
        return _("queue “%(queue)s” is paused by %(by)s since %(since)s") % words
    if reason.since:
        return _("queue “%(queue)s” is paused since %(since)s") % words
    return _(_TEXTS[Kind.PAUSED]) % words


def _limit(reason: WaitingReason, words: dict[str, Any], text: str, of_queue: str) -> str:
    if not reason.subject:
        return of_queue % words
    limit = text % words
    return limit if not reason.per else _("%(limit)s for each %(per)s") % {**words, "limit": limit}


def _rate(reason: WaitingReason, words: dict[str, Any]) -> str:
    limit = _limit(
        reason, words, _("rate limit %(limit)s of %(subject)s"),
        _("rate limit %(limit)s of queue “%(queue)s”"),
    )  # fmt: skip
    return _("%(limit)s: it starts about %(until)s") % {**words, "limit": limit}


def _concurrency(reason: WaitingReason, words: dict[str, Any]) -> str:
    limit = _limit(
        reason, words, _("concurrency limit %(limit)s of %(subject)s"),
        _("concurrency limit %(limit)s of queue “%(queue)s”"),
    )  # fmt: skip
    place = _("after more than %(before)s others") if reason.is_capped else _("place %(place)s")
    text = _("%(limit)s is reached: %(where)s in line") % {"limit": limit, "where": place % words}
    return text if not reason.jobs else _("%(text)s, held by %(jobs)s") % {**words, "text": text}


def _dependencies(reason: WaitingReason, words: dict[str, Any]) -> str:
    if reason.kind == Kind.CHILDREN:
        text = ngettext(
            "%(number)s job that it started has not ended",
            "%(number)s jobs that it started have not ended",
            reason.number or 0,
        )
    else:
        text = ngettext(
            "%(number)s job that it depends on has not ended",
            "%(number)s jobs that it depends on have not ended",
            reason.number or 0,
        )
    more = ", …" if reason.jobs and (reason.number or 0) > len(reason.jobs) else ""
    return text % words + (f": {words['jobs']}{more}" if reason.jobs else "")


def _asked(reason: WaitingReason, words: dict[str, Any]) -> str:
    if not reason.step:
        return _("one of its steps waits")
    if reason.kind == Kind.APPROVAL:
        text = _("its step “%(step)s” waits for the decision of a person") % words
    else:
        text = _("its step “%(step)s” waits for the event “%(subject)s”") % words
    return text if not reason.until else _("%(text)s until %(until)s") % {**words, "text": text}


def _queued(reason: WaitingReason, words: dict[str, Any]) -> str:
    busy = _("%(busy)s of %(slots)s slots of queue “%(queue)s” are busy") % words
    if not reason.position and not reason.is_capped:
        return _("a worker claims it next, %(busy)s") % {"busy": busy}
    if reason.is_capped:
        text = _("more than %(before)s jobs are before it, %(busy)s")
    else:
        text = ngettext(
            "%(before)s job is before it, %(busy)s",
            "%(before)s jobs are before it, %(busy)s",
            reason.position or 0,
        )
    return text % {**words, "busy": busy}


_BY_KIND: dict[Kind, Callable[[WaitingReason, dict[str, Any]], str]] = {
    Kind.PAUSED: _paused,
    Kind.RATE: _rate,
    Kind.CONCURRENCY: _concurrency,
    Kind.DEPENDENCIES: _dependencies,
    Kind.CHILDREN: _dependencies,
    Kind.EVENT: _asked,
    Kind.APPROVAL: _asked,
    Kind.QUEUED: _queued,
}


def clock_time(moment: datetime.datetime | None) -> str:
    """Return the time of day in the current time zone, with the date if a day is between."""
    if moment is None:
        return ""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    is_near = abs(moment - timezone.now()) < datetime.timedelta(days=1)
    return f"{local:%H:%M:%S}" if is_near else f"{local:%Y-%m-%d %H:%M:%S}"


def why_open(job_id: UUID, using: str) -> str:
    """Return a job's status and what it waits for, in English: "It is PENDING: no live …"."""
    rows = Job.objects.using(using).defer("args", "kwargs", "headers", "result", "progress")
    job = rows.filter(pk=job_id).first()
    if job is None:
        return "Its row was deleted."
    if job.status in ENDED:
        return f"It is {job.status} since a moment ago."
    if job.is_deferred:
        return f"It is {job.status}: {job.error_message.rstrip('.')}."
    reason = waiting_reasons([job], using).get(job.pk)
    if reason is None:
        return f"It is {job.status}: {_by_whom(job, using)}."
    with translation.override(None):
        return f"It is {job.status}: {sentence(reason)}."


def _by_whom(job: Job, using: str) -> str:
    workers: Any = Worker.objects.using(using)
    worker = workers.filter(pk=job.worker_id).only("name").first()
    name = f"worker {worker.name}" if worker else "a worker whose row is gone"
    began = job.started_at or timezone.now()
    return f"{name} has run it for {(timezone.now() - began).total_seconds():.0f} s"
