"""The columns of the job list and the fields of a job's page; all of them hide secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..display.job_text import (
    Payload,
    arguments_line,
    attempt_line,
    fair_key_line,
    is_number,
    plain,
    pretty,
    retries_line,
    short_class,
    shown_payload,
)
from ..display.times import duration, moment_of, ran, waited
from ..models import Job
from ..status import Status
from ..workflows.graph import after, before
from .attempts import worker_name
from .badges import elapsed, moment, status_badge
from .base import _Mixed
from .waiting import waits_in_list

#: The permission to see what is encrypted, on the page of a job.
VIEW_ENCRYPTED = f"{Job._meta.app_label}.view_encrypted_job"

_NONE = "–"
_ARGUMENTS_WIDTH = 80
# A result may have a megabyte, which makes browsers slow.
_LONGEST_JSON = 50_000
# The most links to jobs before, and to jobs after a job.
_MOST_LINKS = 20
# JSON with more lines than these can be folded.
_UNFOLDED_LINES = 12


class JobFields(_Mixed):
    """The fields of one job that :class:`~django_jobs.admin.JobAdminMixin` shows."""

    detail_fieldsets: Any = (
        (None, {"fields": ("status_column", "progress_shown", "error", "id", "name", "queue_shown",
                           "priority", "retries_shown", "worker", "enqueued_by", "runs_after",
                           "needed_by")}),
        (gettext_lazy("Arguments"), {"fields": ("arguments", "keyword_arguments",
                                                "headers_shown")}),
        (gettext_lazy("Outcome"), {"fields": ("result_shown",)}),
    )  # fmt: skip
    detail_fields = tuple(name for _title, part in detail_fieldsets for name in part["fields"])

    # --- columns --------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("status"))
    def status_column(self, job: Job) -> SafeString:
        return status_badge(job.status)

    @admin.display(description=gettext_lazy("job function"))
    def function_column(self, job: Job) -> str:
        return job.name

    @admin.display(description=gettext_lazy("arguments"))
    def arguments_column(self, job: Job) -> SafeString:
        return format_html(
            '<code class="jobs-arguments">{}</code>', arguments_line(job, _ARGUMENTS_WIDTH)
        )

    @admin.display(description=gettext_lazy("queue"))
    def queue_column(self, job: Job) -> str:
        return job.queue

    @admin.display(description=gettext_lazy("attempt"))
    def attempt_column(self, job: Job) -> str:
        return attempt_line(job)

    @admin.display(description=gettext_lazy("when"))
    def when_column(self, job: Job) -> SafeString:
        return moment(moment_of(job))

    @admin.display(description=gettext_lazy("wait"))
    def wait_column(self, job: Job) -> SafeString | str:
        if job.status == Status.PENDING and job.ready_at:
            return elapsed(job.ready_at)
        return duration(waited(job)) or _NONE

    @admin.display(description=gettext_lazy("run"))
    def run_column(self, job: Job) -> SafeString | str:
        return run_time(job) or _NONE

    @admin.display(description=gettext_lazy("error"))
    def error_column(self, job: Job) -> SafeString | str:
        return short_class(job.error_class) or waits_in_list(job) or _NONE

    # --- a job's page ---------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("queue"))
    def queue_shown(self, job: Job) -> str:
        if job.fair_key is None:
            return job.queue
        key = fair_key_line(job, payload_of(job))
        return _("%(queue)s, key %(key)s") % {"queue": job.queue, "key": key}

    @admin.display(description=gettext_lazy("retries"))
    def retries_shown(self, job: Job) -> str:
        if not job.crashes:
            return retries_line(job)
        text = ngettext(
            "%(retries)s, and %(crashes)d lost worker",
            "%(retries)s, and %(crashes)d lost workers",
            job.crashes,
        )
        return text % {"retries": retries_line(job), "crashes": job.crashes}

    @admin.display(description=gettext_lazy("worker"))
    def worker(self, job: Job) -> str:
        return worker_name(job.worker_id, str(job._state.db))

    @admin.display(description=gettext_lazy("enqueued by"))
    def enqueued_by(self, job: Job) -> SafeString | str:
        if job.schedule_id is not None:
            page = self._page("schedule", job.schedule_id)
            return format_html('<a href="{}">{}</a>', page, _("schedule %s") % job.schedule_id)
        if job.parent_id is not None:
            page = self._page("job", job.parent_id)
            return format_html('<a href="{}">{}</a>', page, _("job %s") % job.parent_id)
        return _NONE

    @admin.display(description=gettext_lazy("runs after"))
    def runs_after(self, job: Job) -> SafeString | str:
        return self._links(*before(job, _MOST_LINKS))

    @admin.display(description=gettext_lazy("needed by"))
    def needed_by(self, job: Job) -> SafeString | str:
        return self._links(*after(job, _MOST_LINKS))

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, job: Job) -> SafeString:
        return json_shown(payload_of(job).args)

    @admin.display(description=gettext_lazy("keyword arguments"))
    def keyword_arguments(self, job: Job) -> SafeString:
        return json_shown(payload_of(job).kwargs)

    @admin.display(description=gettext_lazy("headers"))
    def headers_shown(self, job: Job) -> SafeString | str:
        return json_shown(headers) if (headers := payload_of(job).headers) else _NONE

    @admin.display(description=gettext_lazy("result"))
    def result_shown(self, job: Job) -> SafeString | str:
        result = payload_of(job).result
        return _NONE if result is None else json_shown(result)

    @admin.display(description=gettext_lazy("progress"))
    def progress_shown(self, job: Job) -> SafeString | str:
        progress = payload_of(job).progress
        return _NONE if progress is None else progress_bar(progress)

    @admin.display(description=gettext_lazy("error"))
    def error(self, job: Job) -> SafeString | str:
        message = payload_of(job).message
        if not job.error_class and not message:
            return _NONE
        return format_html('<pre class="jobs-text">{}</pre>', _joined(job.error_class, message))

    # --- links ----------------------------------------------------------------------------------

    def _page(self, model: str, pk: Any) -> str:
        # A project may have several admin sites; the link stays on the current one.
        name = f"admin:django_jobs_{model}_change"
        return reverse(name, args=[pk], current_app=self.admin_site.name)

    def _links(self, jobs: Sequence[Job], number: int) -> SafeString | str:
        if not jobs:
            return _NONE
        rows = [(status_badge(each.status), self._page("job", each.pk), each.name) for each in jobs]
        links = format_html_join(mark_safe("<br>"), '{} <a href="{}">{}</a>', rows)
        if number == len(jobs):
            return links
        return format_html("{}<br>{}", links, _("… and %d more") % (number - len(jobs)))


def run_time(job: Job) -> SafeString | str:
    """Return how long the last attempt took; for a running one, a time that goes on."""
    if job.status == Status.STARTED and job.started_at:
        return elapsed(job.started_at)
    return duration(ran(job))


def progress_bar(progress: Any) -> SafeString:
    """Return the progress as a bar; a value that ``progress()`` did not write, as JSON."""
    known = progress if isinstance(progress, dict) else {}
    done, total = known.get("done"), known.get("total")
    if not is_number(done) or not (total is None or (is_number(total) and total > 0)):
        return json_shown(progress)
    text = plain(done)
    if total is not None:
        text = f"{text}/{plain(total)} ({done / total:.0%})"
    message = str(known.get("message") or "")
    if total is None:
        return format_html("{} {}", text, message)
    return format_html(
        '<progress class="jobs-progress" value="{}" max="{}">{}</progress> {} {}',
        done, total, text, text, message,
    )  # fmt: skip


def json_shown(value: Any) -> SafeString:
    text = pretty(value)
    if len(text) > _LONGEST_JSON:
        more = len(text) - _LONGEST_JSON
        rest = ngettext("… %d more character", "… %d more characters", more) % more
        text = f"{text[:_LONGEST_JSON]}\n{rest}"
    shown = format_html('<pre class="jobs-text" data-copy="{}">{}</pre>', _("Copy"), text)
    lines = text.count("\n") + 1
    if lines <= _UNFOLDED_LINES:
        return shown
    summary = ngettext("%d line", "%d lines", lines) % lines
    return format_html(
        '<details class="jobs-folded" open><summary>{}</summary>{}</details>', summary, shown
    )


def payload_of(job: Job) -> Payload:
    """Return the visible part of a job's payload; the first call for *job* reads it.

    Encrypted values are visible only after :func:`show_encrypted`.
    """
    shown: Payload | None = vars(job).get("_shown_payload")
    if shown is None:
        decrypts = vars(job).get("_shows_encrypted", False)
        shown = vars(job)["_shown_payload"] = shown_payload(job, decrypts=decrypts)
    return shown


def show_encrypted(job: Job) -> None:
    """Let the fields of *job* show what is encrypted, to a user who may see it."""
    vars(job)["_shows_encrypted"] = True


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)
