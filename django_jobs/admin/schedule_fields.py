"""The columns of the schedule list, and the read-only fields of a schedule's page."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..define import registry
from ..define.sensitive import shown_schedule
from ..display.job_text import pretty, short_class
from ..display.schedule_text import description
from ..display.times import duration, ran
from ..models import Job, Schedule
from ..schedules.ticks import Kind, upcoming, utc, zone_of
from .badges import badge, moment, status_badge
from .base import _Mixed, linked, page_on
from .day_grid import day_grid
from .run_history import runs_svg
from .schedule_blanks import shown_arguments
from .schedule_runs import lateness, runs_of_schedules

#: How many of the next runs are shown.
PREVIEW = 5

# The page shows the arguments below the job function.
_WHAT = (None, {"fields": ("name", "description", "enabled", "job_name")})
_JOB = (
    gettext_lazy("Options of the job"),
    {"fields": ("queue", "priority", "expires_seconds", "headers"), "classes": ("collapse",)},
)
_POLICIES = (
    gettext_lazy("Policies"),
    {
        "fields": (("missed", "missed_limit"), "deadline_seconds", "overlap", "jitter_seconds"),
        "classes": ("collapse",),
    },
)
_BOUNDS = (
    gettext_lazy("Start and end"),
    {"fields": ("starts_at", "ends_at", "one_off"), "classes": ("collapse",)},
)
_STATE = ("when", "state", "next_run", "next_times", "runs_shown", "counts", "lateness", "error")


@dataclasses.dataclass(frozen=True, slots=True)
class ShownRun:
    link: SafeString
    status: SafeString
    tick: SafeString
    late: str
    took: str
    error: str


class ScheduleFields(_Mixed):
    """The fields of one schedule that :class:`~django_jobs.admin.ScheduleAdminMixin` shows."""

    shown_fields = (
        *_STATE, "shown_args", "shown_kwargs", "shown_headers",
    )  # fmt: skip
    view_fieldsets: Any = (
        (None, {"fields": ("name", "description", "job_name", "shown_args", "shown_kwargs",
                           "enabled")}),
        (gettext_lazy("State"), {"fields": _STATE}),
        (gettext_lazy("When"), {"fields": ("kind", "timezone", "starts_at", "ends_at", "one_off")}),
        (gettext_lazy("Options of the job"),
         {"fields": ("queue", "priority", "expires_seconds", "shown_headers")}),
        _POLICIES,
    )  # fmt: skip

    @property
    def add_fieldsets(self) -> Any:
        return (_WHAT, *_timing(None), _BOUNDS, _POLICIES, _JOB)

    def change_fieldsets(self, schedule: Schedule) -> Any:
        state = (gettext_lazy("State"), {"fields": _STATE})
        return (state, _WHAT, *_timing(schedule.kind), _BOUNDS, _POLICIES, _JOB)

    def shown_runs(self, schedule: Schedule) -> list[ShownRun]:
        """Return the last runs, the newest first."""
        return [_shown(job, self._page_of(job)) for job in reversed(_runs(schedule))]

    def _page_of(self, job: Job) -> str:
        return page_on(self.admin_site, Job, "change", job.pk)

    # --- columns --------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("job function"))
    def function(self, schedule: Schedule) -> SafeString:
        short = schedule.job_name.rpartition(".")[2]
        return format_html('<span title="{}">{}</span>', schedule.job_name, short)

    @admin.display(description=gettext_lazy("when"))
    def when(self, schedule: Schedule) -> str:
        return description(schedule) or "–"

    @admin.display(description=gettext_lazy("state"))
    def state(self, schedule: Schedule) -> SafeString:
        badges = [_state_badge(schedule)]
        if schedule.source != Schedule.Source.ADMIN:
            label = schedule.get_source_display()
            badges.append(badge("revoked", "M6 4L2 8L6 12M10 4L14 8L10 12", label))
        return format_html_join(" ", "{}", ((one,) for one in badges))

    @admin.display(description=gettext_lazy("next run"))
    def next_run(self, schedule: Schedule) -> SafeString:
        return moment(schedule.next_run_at) if schedule.enabled else mark_safe("–")

    @admin.display(description=gettext_lazy("last run"))
    def last_run(self, schedule: Schedule) -> SafeString:
        runs = _runs(schedule)
        if not runs:
            return moment(schedule.last_run_at)
        newest = runs[-1]
        link = linked(self._page_of(newest), moment(newest.enqueued_at))
        return format_html("{} {}", link, status_badge(newest.status))

    @admin.display(description=gettext_lazy("last 20 runs"))
    def runs_shown(self, schedule: Schedule) -> SafeString:
        return runs_svg(_runs(schedule))

    # --- a schedule's page ----------------------------------------------------------------------

    @admin.display(description=gettext_lazy("next five runs"))
    def next_times(self, schedule: Schedule) -> SafeString:
        if not schedule.enabled or schedule.next_run_at is None:
            return mark_safe("–")
        try:
            zone = zone_of(schedule)
            first = utc(schedule.next_run_at)
            ticks = list(itertools.islice(upcoming(schedule, first), PREVIEW))
            grid = day_grid(schedule, first)
        except (ValueError, ArithmeticError) as error:
            return format_html("{}", error)
        local = (tick.astimezone(zone) for tick in ticks)
        rows = ((tick_text(tick),) for tick in local)
        return format_html(
            '<ol class="jobs-times">{}</ol>{}', format_html_join("", "<li>{}</li>", rows), grid
        )

    @admin.display(description=gettext_lazy("counts"))
    def counts(self, schedule: Schedule) -> str:
        runs, skipped = schedule.run_count, schedule.skipped_count
        texts = (
            ngettext("%d run", "%d runs", runs) % runs,
            ngettext("%d tick skipped", "%d ticks skipped", skipped) % skipped,
        )
        return ", ".join(texts)

    @admin.display(description=gettext_lazy("delay"))
    def lateness(self, schedule: Schedule) -> str:
        late = sorted(lateness(_runs(schedule)))
        if not late:
            return "–"
        return _("median %(usual)s, maximum %(most)s (of the last runs)") % {
            "usual": duration(late[len(late) // 2]),
            "most": duration(late[-1]),
        }

    @admin.display(description=gettext_lazy("last error"))
    def error(self, schedule: Schedule) -> SafeString | str:
        if not schedule.last_error:
            return "–"
        return format_html(
            '<pre class="jobs-text">{}</pre>', shown_schedule(schedule).text(schedule.last_error)
        )

    @admin.display(description=gettext_lazy("arguments"))
    def shown_args(self, schedule: Schedule) -> SafeString:
        return _json(shown_arguments(schedule)["args"])

    @admin.display(description=gettext_lazy("keyword arguments"))
    def shown_kwargs(self, schedule: Schedule) -> SafeString:
        return _json(shown_arguments(schedule)["kwargs"])

    @admin.display(description=gettext_lazy("headers"))
    def shown_headers(self, schedule: Schedule) -> SafeString:
        return _json(shown_arguments(schedule)["headers"])


def tick_text(local: datetime.datetime) -> str:
    """Return a time in the schedule's zone, as ``Mon, 5 Jan 2026 08:00:00 CET``."""
    # Translators: a format of Django's filter "date".
    day = date_format(local, _("D, j M Y"))
    return f"{day} {local:%H:%M:%S %Z}"


def _timing(kind: str | None) -> Iterable[Any]:
    """Return the fields of each kind; a schedule's page folds those of the other kinds."""

    def part(title: Any, own: str, *fields: Any) -> Any:
        folded = kind != own if kind else own in (Kind.CLOCKED, Kind.SOLAR)
        return (title, {"fields": fields, "classes": ("collapse",) if folded else ()})

    return (
        (gettext_lazy("When"), {"fields": (("kind", "timezone"),)}),
        part(gettext_lazy("Interval"), Kind.INTERVAL, ("every", "period")),
        part(gettext_lazy("Crontab"), Kind.CRONTAB, "crontab"),
        part(gettext_lazy("Fixed time"), Kind.CLOCKED, "clocked_at"),
        part(gettext_lazy("Solar event"), Kind.SOLAR, "solar_event", ("latitude", "longitude")),
    )


def _runs(schedule: Schedule) -> list[Job]:
    # Several fields need them, so they are read once.
    runs: list[Job] | None = vars(schedule).get("_runs")
    if runs is None:
        runs = runs_of_schedules([schedule.pk], str(schedule._state.db))[schedule.pk]
        vars(schedule)["_runs"] = runs
    return runs


def _state_badge(schedule: Schedule) -> SafeString:
    if schedule.last_error:
        return badge("failure", "M4 4l8 8M12 4l-8 8", _("error"))
    if not schedule.enabled:
        return badge("revoked", "M4 4h8v8H4z", _("disabled"))
    if registry.find(schedule.job_name) is None:
        return badge("failure", "M4 4l8 8M12 4l-8 8", _("unknown job function"))
    return badge("success", "M3 8l4 4l6-8", _("enabled"))


def _shown(job: Job, page: str) -> ShownRun:
    late = next(iter(lateness([job])), None)
    return ShownRun(
        link=linked(page, job.pk),
        status=status_badge(job.status),
        tick=moment(job.run_at or job.enqueued_at, precise=True),
        late=duration(late),
        took=duration(ran(job)),
        error=short_class(job.error_class),
    )


def _json(value: Any) -> SafeString:
    return format_html('<pre class="jobs-text">{}</pre>', pretty(value))
