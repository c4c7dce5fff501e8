"""The parts of a job's page about the job itself: heading, error, facts and arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..define import registry
from ..display.attempt_numbers import retries_words
from ..display.call_text import call_line
from ..display.job_text import Payload, fair_key_line, short_class
from ..display.times import moment_of
from ..models import Attempt, Function, Job, Schedule, Worker
from ..status import Status
from ..workflows.graph import after, before
from .attempts import worker_name
from .badges import moment, status_badge
from .base import may_view
from .job_fields import json_shown, payload_of, progress_bar, run_time
from .tracebacks import Part, parts

# The most links in "Runs after", and in "Needed by".
_MOST_LINKS = 20
# Longer arguments are shown as JSON, a line for each.
_LONGEST_LINE = 400

Fact = tuple[str, SafeString | str]


@dataclasses.dataclass(frozen=True, slots=True)
class ShownError:
    """The error of the last attempt; *kind* is a class of ``admin.css``."""

    kind: str
    title: str
    error_class: str
    path: str
    message: str
    traceback: Sequence[Part]


@dataclasses.dataclass(frozen=True, slots=True)
class Pages:
    """Links to the pages of an admin site that the user may see."""

    site: AdminSite
    request: HttpRequest

    def link(self, model: type[Model], pk: Any, label: object, title: str = "") -> SafeString:
        """Return a link to a row's page, or the label alone."""
        return self._link(model, label, title, "change", pk)

    def jobs(self, label: object, **filters: str) -> SafeString:
        """Return a link to the list of the jobs with these values in its filters."""
        return self._link(Job, label, "", "changelist", **filters)

    def _link(
        self, model: type[Model], label: object, title: str, page: str, *args: Any, **query: str
    ) -> SafeString:
        if not may_view(self.site, model, self.request):
            return format_html('<span title="{}">{}</span>', title, label)
        name = f"{self.site.name}:{model._meta.app_label}_{model._meta.model_name}_{page}"
        url = reverse(name, args=args, query=query or None)
        return format_html('<a href="{}" title="{}">{}</a>', url, title, label)


def heading(job: Job) -> list[SafeString | str]:
    """Return the texts beside the job's name; empty ones are left out."""
    took = run_time(job)
    ran = format_html(_("ran %s") % "{}", took) if took else ""
    if job.status == Status.STARTED:
        ran = format_html(_("runs for %s") % "{}", took)
    told = (status_badge(job.status), moment(moment_of(job)), ran, retries_words(job))
    return [one for one in told if one]


def shown_error(job: Job, kept: Sequence[Attempt], payload: Payload) -> ShownError | None:
    """Return the error of a job that failed, is retried, or was made to run again.

    *kept* are the attempts that did not succeed, the newest first. A job that somebody retries has
    an error there only.
    """
    newest = next((one for one in kept if one.error_class), None)
    if job.status in (Status.SUCCESS, Status.REVOKED):
        return None
    if job.error_class or payload.message:
        kind = "failure" if job.status == Status.FAILURE else "retry"
        title = "" if kind == "failure" or newest is None else _of_attempt(newest)
        path, message = job.error_class, payload.message
    elif newest is not None:
        kind, title = "retry", _of_attempt(newest)
        path, message = newest.error_class, payload.text(newest.error_message)
    else:
        return None
    # A job that no worker could run, or whose parent failed, has an error without an attempt.
    is_same = newest is not None and newest.error_class == path
    traceback = payload.text(newest.traceback) if newest is not None and is_same else ""
    return ShownError(kind, title, short_class(path), path, message, parts(traceback))


def facts(job: Job, pages: Pages) -> list[Fact]:
    """Return labels and values, without those that are empty."""
    payload = payload_of(job)
    return [(label, value) for label, value in _facts(job, payload, pages) if value]


def _facts(job: Job, payload: Payload, pages: Pages) -> Iterator[Fact]:
    using = str(job._state.db)
    yield _("Job function"), _function(job, pages)
    queue = pages.jobs(job.queue, queue=job.queue)
    if job.fair_key is not None:
        key = fair_key_line(job, payload)
        queue = format_html(_("%(queue)s, key %(key)s") % {"queue": "{}", "key": "{}"}, queue, key)
    yield _("Queue"), queue
    yield _("Worker"), _worker(job, pages, using)
    yield _("Id"), format_html("<code>{}</code>", job.pk)
    yield _("Priority"), str(job.priority) if job.priority else ""
    yield _("Enqueued by"), _enqueued_by(job, pages, using)
    if job.crashes:
        text = ngettext("%d lost worker", "%d lost workers", job.crashes)
        yield _("Crashes"), text % job.crashes
    if job.expires_at and not job.has_ended:
        yield _("Expires"), moment(job.expires_at)
    if job.status == Status.REVOKED:
        yield _("Reason"), payload.message
    yield _("Runs after"), _links(pages, *before(job, _MOST_LINKS))
    yield _("Needed by"), _links(pages, *after(job, _MOST_LINKS))
    if payload.progress is not None:
        yield _("Progress"), progress_bar(payload.progress)


def arguments_shown(job: Job) -> SafeString:
    """Return the arguments with the names of their parameters."""
    payload = payload_of(job)
    if payload.call is None:
        return json_shown(payload.args)
    line = call_line(payload.call)
    if not line:
        return format_html('<span class="quiet">{}</span>', _("none"))
    if len(line) <= _LONGEST_LINE:
        pairs = [(f"{name}=" if name else "", call_line([("", value)])) for name, value in
                 payload.call]  # fmt: skip
        shown = format_html_join(" ", "<span><b>{}</b>{}</span>", pairs)
        return format_html('<code class="jobs-call">{}</code>', shown)
    named = {name or str(place): value for place, (name, value) in enumerate(payload.call)}
    return json_shown(named)


def _of_attempt(attempt: Attempt) -> str:
    return _("Error of attempt %d") % attempt.attempt


def _function(job: Job, pages: Pages) -> SafeString | str:
    if registry.find(job.name) is None:
        return job.name
    return pages.link(Function, job.name, job.name)


def _worker(job: Job, pages: Pages, using: str) -> SafeString | str:
    if job.worker_id is None or job.started_at is None:
        return ""
    name = worker_name(job.worker_id, using)
    is_known = Worker.objects.using(using).filter(pk=job.worker_id).exists()
    return pages.link(Worker, job.worker_id, name) if is_known else name


def _enqueued_by(job: Job, pages: Pages, using: str) -> SafeString | str:
    if job.schedule_id is not None:
        names = Schedule.objects.using(using).filter(pk=job.schedule_id)
        name = names.values_list("name", flat=True).first()
        label = name or _("schedule %s") % job.schedule_id
        return pages.link(Schedule, job.schedule_id, label)
    if job.parent_id is not None:
        return pages.link(Job, job.parent_id, _("job %s") % job.parent_id)
    return ""


def _links(pages: Pages, jobs: Sequence[Job], number: int) -> SafeString | str:
    if not jobs:
        return ""
    rows = [
        (status_badge(one.status), pages.link(Job, one.pk, short_class(one.name), one.name))
        for one in jobs
    ]
    links = format_html_join(mark_safe("<br>"), "{} {}", rows)
    if number == len(jobs):
        return links
    return format_html("{}<br>{}", links, _("… and %d more") % (number - len(jobs)))
