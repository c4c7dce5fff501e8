from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..metrics.open_jobs import QueueState
from ..metrics.snapshot import Overview, overview, recent_marks, recent_statistics
from ..metrics.summaries import PERIODS, Statistics
from ..metrics.worker_states import WorkerState
from ..models import Approval, Function, Job, Queue, Schedule, Worker
from ..status import Status
from .alert_strip import badge_index, shown_alerts
from .auto_refresh import CHART_SCRIPT, COPY_SCRIPT, REFRESH_SCRIPT, page_or_parts
from .badges import elapsed, moment, paused_badge, worker_badge
from .base import ModelAdmin, ReadOnlyAdminMixin, may_view
from .chart_data import busiest, change, compared_with, drawn, seconds, share, spark, windows
from .failure_rows import failure_rows
from .http_api.dashboard import DashboardJsonMixin
from .job_actions import RETRY
from .operations import may_operate
from .queue_buttons import PAUSE, RESUME
from .queue_rows import busy_first
from .waiting_bar import parts_of

_WORKERS_SHOWN = 10


class DashboardAdminMixin(DashboardJsonMixin, ReadOnlyAdminMixin):
    """One page that shows alerts, queues, failures, workers and schedules, and refreshes itself."""

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
        js = (REFRESH_SCRIPT, CHART_SCRIPT, COPY_SCRIPT)

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        badge_index(admin_site)

    def get_urls(self) -> list[URLPattern]:
        # Only a list: the model has no table.
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        page = path("", self.admin_site.admin_view(self.changelist_view), name=name)
        return self.with_json([page])

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        using = get_settings().database
        window = request.GET.get("window", "")
        window = window if window in PERIODS else "1h"
        snapshot, numbers = overview(using), recent_statistics(window, using)
        may = _permissions(self.admin_site, request)
        pages = {
            name: self._page(f"{name}_changelist")
            for name in ("job", "queue", "function", "worker", "schedule")
            if may[f"view_{name}"]
        }
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name),
            "opts": self.opts,
            "media": self.media,
            "may": may,
            "alerts": shown_alerts(self.admin_site, request, snapshot),
            "pages": pages,
            "windows": windows(window),
            "tiles": [
                *self.tiles(snapshot, numbers),
                *self.tile_of_questions(snapshot, may["view_approval"]),
            ],
            "charts": drawn(
                numbers,
                self._ended if may["view_job"] else None,
                recent_marks(window, using),
            ),
            "waiting": parts_of(snapshot.waiting, self._jobs),
            "functions": [{**row, "url": self._jobs(name=row["name"])} for row in busiest(numbers)],
            **self.queues(snapshot, numbers),
            **self.failures(using, window, request.GET.get("failures") == "most"),
            "workers": [self.shown_worker(one) for one in _busiest(snapshot)],
            "workers_left": max(0, len(snapshot.workers) - _WORKERS_SHOWN),
            "schedules": [self.shown_schedule(one) for one in snapshot.schedules],
            **(extra_context or {}),
        }
        folder = "admin/django_jobs/dashboard"
        return page_or_parts(request, f"{folder}/page.html", f"{folder}/parts.html", context)

    # --- sections -------------------------------------------------------------------------------

    def tiles(self, snapshot: Overview, numbers: Statistics) -> list[dict[str, Any]]:
        counts = snapshot.statuses
        running = f"{snapshot.running}/{snapshot.slots}"
        claimed = counts[Status.STARTED] - snapshot.running
        ahead = _("%s claimed ahead") % number_format(claimed) if claimed else ""
        oldest = min((queue.oldest for queue in snapshot.queues if queue.oldest), default=None)
        waited = elapsed(oldest) if oldest else "–"
        now, before = numbers.total, numbers.previous.total
        compared = compared_with(numbers.period.seconds)

        def tile(
            label: str, value: object, status: Status, change: str, hint: str = ""
        ) -> dict[str, Any]:
            return {
                **self._tile(label, value, status, hint),
                "change": change,
                "compared": compared,
            }

        done = _("Done in %(window)s") % {"window": numbers.period.name}
        return [
            self._tile(_("Ready"), counts[Status.PENDING], Status.PENDING),
            self._tile(_("Running / slots"), running, Status.STARTED, ahead),
            self._tile(_("Waiting"), counts[Status.WAITING], Status.WAITING),
            self._tile(_("Scheduled"), counts[Status.SCHEDULED], Status.SCHEDULED),
            self._tile(_("Retrying"), counts[Status.RETRY], Status.RETRY),
            tile(
                done, number_format(now.succeeded), Status.SUCCESS,
                change=change(now.succeeded, before.succeeded),
            ),
            tile(
                _("Failed"), counts[Status.FAILURE], Status.FAILURE,
                change=change(now.failed, before.failed), hint=_recently(numbers),
            ),
            tile(
                _("Oldest ready"), waited, Status.PENDING,
                change=change(now.wait.p95 or 0.0, before.wait.p95 or 0.0),
                hint=_("wait p95 %s") % seconds(now.wait.p95),
            ),
        ]  # fmt: skip

    def tile_of_questions(self, snapshot: Overview, may_view: bool) -> list[dict[str, Any]]:
        """Return a tile that counts the questions of jobs, if there are some to be seen."""
        number = snapshot.questions
        if not (number and may_view):
            return []
        page = self._page("approval_changelist")
        return [{"label": _("Waiting for people"), "value": str(number), "kind": "waiting",
                 "url": page, "is_linked": True}]  # fmt: skip

    def queues(self, snapshot: Overview, numbers: Statistics) -> dict[str, Any]:
        queues = sorted(snapshot.queues, key=busy_first)
        rows = [self.shown_queue(queue, numbers) for queue in queues]
        return {
            "queues": rows,
            "idle_queues": [(row["name"], row["url"]) for row in rows if row["is_idle"]],
        }

    def shown_queue(self, queue: QueueState, numbers: Statistics) -> dict[str, Any]:
        activity = next((one for one in numbers.queues if one.name == queue.name), None)
        return {
            "name": queue.name,
            "is_idle": queue.is_idle,
            "url": self._page("queue_page", quote(queue.name)),
            "ready": str(queue.ready),
            "running": f"{queue.running}/{queue.slots}",
            "waiting": number_format(queue.waiting),
            "timed": number_format(queue.timed),
            "oldest": elapsed(queue.oldest) if queue.oldest else "–",
            "failed": number_format(activity.failed if activity else 0),
            "sparkline": spark(activity),
            "is_paused": queue.is_paused,
            "badge": paused_badge() if queue.is_paused else "",
        }

    def failures(self, using: str, window: str, most: bool) -> dict[str, Any]:
        page = functools.partial(self._page, "job_change")
        more = urlencode({"window": window, "failures": "most"})
        return {**failure_rows(using, most, self._jobs, page), "most_failures": f"?{more}"}

    def shown_worker(self, worker: WorkerState) -> dict[str, Any]:
        return {
            "name": worker.name,
            "url": self._page("worker_change", worker.pk),
            "state": worker_badge(is_live=worker.is_live, is_quiet=worker.quiet),
            "pool": worker.pool,
            "busy": "–" if worker.pool == Worker.BEAT else f"{worker.busy}/{worker.slots}",
            "heartbeat": moment(worker.heartbeat_at),
        }

    def shown_schedule(self, schedule: Any) -> dict[str, Any]:
        return {
            "name": schedule.name,
            "url": self._page("schedule_change", schedule.pk),
            "job": schedule.job_name.rpartition(".")[2],
            "when": moment(schedule.next_run_at),
        }

    def _tile(self, label: str, value: object, status: Status, hint: str = "") -> dict[str, Any]:
        return {
            "label": label,
            "hint": hint,
            "value": str(value),
            "kind": status.lower(),
            "url": self._jobs(status=status),
        }

    def _ended(self, start: int, end: int) -> str:
        """Return the address of the jobs that ended between two Unix times."""
        return self._jobs(ended=f"{start}-{end}")

    def _jobs(self, **filters: str) -> str:
        return f"{self._page('job_changelist')}?{urlencode(filters)}"

    def _page(self, name: str, *args: Any) -> str:
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{name}", args=args)


class DashboardAdmin(DashboardAdminMixin, ModelAdmin):
    pass


def _busiest(snapshot: Overview) -> list[WorkerState]:
    """Return the workers to show: those with a late heartbeat first, then the busiest."""
    workers = sorted(snapshot.workers, key=lambda one: (not one.is_late, -one.busy))
    return workers[:_WORKERS_SHOWN]


def _recently(numbers: Statistics) -> str:
    return _("%(number)s in %(window)s (%(share)s)") % {
        "number": number_format(numbers.total.failed),
        "window": numbers.period.name,
        "share": share(numbers.total),
    }


def _permissions(site: AdminSite, request: HttpRequest) -> Mapping[str, bool]:
    models: tuple[type[Model], ...] = (Job, Queue, Worker, Schedule, Function, Approval)
    may = {f"view_{model._meta.model_name}": may_view(site, model, request) for model in models}
    # The buttons post to these lists.
    may["retry_job"] = may_operate(site, Job, request, RETRY)
    may["pause_queue"] = may_operate(site, Queue, request, PAUSE)
    may["resume_queue"] = may_operate(site, Queue, request, RESUME)
    return may
