"""The columns of the job list and the fields of a job's page. None shows a row's value as it is."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..durations import duration, moment_of, ran, waited
from ..models import Job
from ..presentation import (
    arguments_line,
    attempt_line,
    pretty,
    retries_line,
    short_class,
    shown_payload,
)
from .attempts import worker_name
from .badges import moment, status_badge

_NONE = "–"
_ARGUMENTS_WIDTH = 80
# A result may have a megabyte, which no browser shows well.
_LONGEST_JSON = 50_000


class JobFields:
    """What :class:`~django_jobs.admin.JobAdminMixin` shows of one job."""

    detail_fieldsets: Any = (
        (None, {"fields": ("status_column", "id", "name", "queue", "priority", "retries_shown",
                           "worker")}),
        (gettext_lazy("Timeline"), {"fields": ("enqueued", "scheduled_for", "ready", "started",
                                               "ended", "expires")}),
        (gettext_lazy("Arguments"), {"fields": ("arguments", "keyword_arguments",
                                                "headers_shown")}),
        (gettext_lazy("Outcome"), {"fields": ("result_shown", "progress_shown", "error")}),
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
    def wait_column(self, job: Job) -> str:
        return duration(waited(job)) or _NONE

    @admin.display(description=gettext_lazy("run"))
    def run_column(self, job: Job) -> str:
        return duration(ran(job)) or _NONE

    @admin.display(description=gettext_lazy("error"))
    def error_column(self, job: Job) -> str:
        return short_class(job.error_class) or _NONE

    # --- a job's page ---------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("retries"))
    def retries_shown(self, job: Job) -> str:
        if not job.crashes:
            return retries_line(job)
        return _("%(retries)s, and %(crashes)d lost workers") % {
            "retries": retries_line(job),
            "crashes": job.crashes,
        }

    @admin.display(description=gettext_lazy("priority"))
    def priority(self, job: Job) -> int:
        return job.priority

    @admin.display(description=gettext_lazy("worker"))
    def worker(self, job: Job) -> str:
        return worker_name(job.worker_id, str(job._state.db))

    @admin.display(description=gettext_lazy("enqueued"))
    def enqueued(self, job: Job) -> SafeString:
        return moment(job.enqueued_at, precise=True)

    @admin.display(description=gettext_lazy("scheduled for"))
    def scheduled_for(self, job: Job) -> SafeString:
        return moment(job.run_at, precise=True)

    @admin.display(description=gettext_lazy("ready"))
    def ready(self, job: Job) -> SafeString:
        return moment(job.ready_at, precise=True)

    @admin.display(description=gettext_lazy("started"))
    def started(self, job: Job) -> SafeString:
        return _after(job.started_at, waited(job), _("waited %s"))

    @admin.display(description=gettext_lazy("ended"))
    def ended(self, job: Job) -> SafeString:
        return _after(job.ended_at, ran(job), _("ran %s"))

    @admin.display(description=gettext_lazy("expires"))
    def expires(self, job: Job) -> SafeString:
        return moment(job.expires_at, precise=True)

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, job: Job) -> SafeString:
        return _json(_payload(job)["args"])

    @admin.display(description=gettext_lazy("keyword arguments"))
    def keyword_arguments(self, job: Job) -> SafeString:
        return _json(_payload(job)["kwargs"])

    @admin.display(description=gettext_lazy("headers"))
    def headers_shown(self, job: Job) -> SafeString | str:
        return _json(headers) if (headers := _payload(job)["headers"]) else _NONE

    @admin.display(description=gettext_lazy("result"))
    def result_shown(self, job: Job) -> SafeString | str:
        result = _payload(job)["result"]
        return _NONE if result is None else _json(result)

    @admin.display(description=gettext_lazy("progress"))
    def progress_shown(self, job: Job) -> SafeString | str:
        progress = _payload(job)["progress"]
        return _NONE if progress is None else _json(progress)

    @admin.display(description=gettext_lazy("error"))
    def error(self, job: Job) -> SafeString | str:
        message = _payload(job)["message"]
        if not job.error_class and not message:
            return _NONE
        return format_html('<pre class="jobs-text">{}</pre>', _joined(job.error_class, message))


def _after(
    when: datetime.datetime | None, took: datetime.timedelta | None, text: str
) -> SafeString:
    if when is None or took is None:
        return moment(when, precise=True)
    return format_html(
        '{} <span class="quiet">({})</span>', moment(when, precise=True), text % duration(took)
    )


def _json(value: Any) -> SafeString:
    text = pretty(value)
    if len(text) > _LONGEST_JSON:
        left = len(text) - _LONGEST_JSON
        text = f"{text[:_LONGEST_JSON]}\n{_('… %d more characters') % left}"
    return format_html('<pre class="jobs-text">{}</pre>', text)


def _payload(job: Job) -> dict[str, Any]:
    # Five fields of one page show parts of it; the row is read once.
    shown: dict[str, Any] | None = vars(job).get("_shown_payload")
    if shown is None:
        shown = vars(job)["_shown_payload"] = shown_payload(job)
    return shown


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)
