"""The columns of the job list and the fields of a job's page; all of them hide secrets."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..display.attempt_numbers import attempt_line
from ..display.job_text import (
    Payload,
    arguments_line,
    is_number,
    message_text,
    plain,
    pretty,
    short_class,
    shown_payload,
)
from ..display.times import duration, moment_of, ran, waited
from ..models import Job
from ..status import Status
from .badges import elapsed, moment, status_badge
from .base import _Mixed
from .waiting import waits_in_list

#: The permission to see what is encrypted, on the page of a job.
VIEW_ENCRYPTED = f"{Job._meta.app_label}.view_encrypted_job"

_NONE = "–"
_ARGUMENTS_WIDTH = 80
_LONGEST_MESSAGE = 120
# A result may have a megabyte, which makes browsers slow.
_LONGEST_JSON = 50_000
# The most links to jobs before, and to jobs after a job.
_MOST_LINKS = 20
# JSON with more lines than these can be folded.
_UNFOLDED_LINES = 12


class JobFields(_Mixed):
    """The fields of one job that :class:`~django_jobs.admin.JobAdminMixin` shows."""

    # --- columns --------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("status"))
    def status_column(self, job: Job) -> SafeString:
        return status_badge(job.status)

    @admin.display(description=gettext_lazy("job function"))
    def function_column(self, job: Job) -> SafeString:
        return format_html('<span title="{}">{}</span>', job.name, short_class(job.name))

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
        if not job.error_class:
            return waits_in_list(job) or _NONE
        message = " ".join(message_text(job).split())
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[: _LONGEST_MESSAGE - 1]}…"
        return format_html(
            '<span title="{}">{}</span><small class="jobs-message">{}</small>',
            job.error_class, short_class(job.error_class), message,
        )  # fmt: skip


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
