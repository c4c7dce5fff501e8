from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import BooleanField, Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..conf import get_settings
from ..control import commands
from ..db import clock
from ..display.job_text import arguments_line, pretty, with_argument_texts
from ..display.times import duration, ran
from ..metrics.snapshot import forget
from ..models import Command, Job, Worker
from .auto_refresh import HEADER, LIVE_SCRIPT, live_list, live_part, page_to_return_to
from .badges import moment, worker_badge
from .base import ModelAdmin, ReadOnlyAdminMixin, may_view
from .job_actions import TERMINATE

_FIELDS = ("name", "state", "hostname", "pid", "pool", "busy_slots", "served", "heartbeat")
_COMMANDS_SHOWN = 10
_LONGEST_ARGUMENTS, _ARGUMENTS_WIDTH = 2_000, 80
# What can be told to workers: the action, its label, the verb, what the log says.
_TOLD = {
    "quiet": (gettext_lazy("Quiet"), "quiet", "Told to take no new jobs."),
    "resume": (gettext_lazy("Resume"), "resume", "Told to take jobs again."),
    "grow": (gettext_lazy("One process more"), "grow", "Told to grow by one process."),
    "shrink": (gettext_lazy("One process less"), "shrink", "Told to shrink by one process."),
    "shut_down": (gettext_lazy("Shut down"), "shutdown", "Told to shut down."),
}


class StateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("live", _("live")), ("lost", _("lost")), ("stopped", _("stopped"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "stopped":
            return queryset.exclude(stopped_at=None)
        if self.value() in ("live", "lost"):
            return queryset.filter(stopped_at=None, is_live=self.value() == "live")
        return queryset


class WorkerAdminMixin(ReadOnlyAdminMixin):
    """The worker processes: which of them live, what they do, and what they are told to do."""

    list_display = (*_FIELDS, "uptime", "jobs_done", "memory")
    list_filter = (StateFilter, "pool")
    fields = (*_FIELDS, "started", "uptime", "stopped", "lost", "jobs_done", "memory", "version")
    readonly_fields = fields
    search_fields = ("name", "hostname")
    actions = tuple(_TOLD)
    change_list_template = "admin/django_jobs/live_list.html"
    change_form_template = "admin/django_jobs/worker/change_form.html"

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
        js = (LIVE_SCRIPT,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Leases run by the database's clock: this host's may be wrong.
        lives = When(
            stopped_at=None,
            lost_at=None,
            lease_until__gte=clock(get_settings().database),
            then=Value(True),
        )
        workers = super().get_queryset(request)
        live = Case(lives, default=Value(False), output_field=BooleanField())
        known: QuerySet[Any] = workers.annotate(is_live=live)
        return known

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return live_list(request, super().changelist_view(request, extra_context))

    # --- a worker's page ------------------------------------------------------------------------

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        worker = context.get("original")
        if isinstance(worker, Worker):
            may_view_job = may_view(self.admin_site, Job, request)
            context["running"] = self._running(request, worker, may_view_job)
            context["told"] = _told(worker)
            context["may_view_job"] = may_view_job
            context["may_terminate"] = may_view_job and request.user.has_perm(TERMINATE.permission)
            controlled = self.has_control_permission(request) and vars(worker)["is_live"]
            context["operations"] = [
                {"name": name, "label": label}
                for name, (label, _verb, _audit) in _TOLD.items()
                if controlled and worker.pool != Worker.BEAT
            ]
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        if HEADER in request.headers:
            return live_part(request, "admin/django_jobs/worker/live.html", context)
        return page

    def _running(
        self, request: HttpRequest, worker: Worker, may_view_job: bool
    ) -> list[dict[str, Any]]:
        jobs: Any = Job.objects.using(worker._state.db)
        mine = jobs.running().filter(worker_id=worker.pk).order_by("started_at")
        if may_view_job and self.admin_site.is_registered(Job):
            # Whose rows this user sees is the jobs' admin to say.
            rows = self.admin_site.get_model_admin(Job).get_queryset(request)
            mine = mine.filter(pk__in=rows.order_by().values("pk"))
        shown: Iterable[Job] = with_argument_texts(mine, _LONGEST_ARGUMENTS)[: worker.slots + 100]
        return [
            {
                "pk": job.pk,
                "name": job.name,
                "queue": job.queue,
                "arguments": arguments_line(job, _ARGUMENTS_WIDTH) if may_view_job else "",
                "started": moment(job.started_at),
                "ran": duration(ran(job)),
            }
            for job in shown
        ]

    # --- columns --------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("state"))
    def state(self, worker: Worker) -> SafeString:
        return worker_badge(worker, bool(vars(worker)["is_live"]))

    @admin.display(description=gettext_lazy("busy slots"))
    def busy_slots(self, worker: Worker) -> str:
        return "–" if worker.pool == Worker.BEAT else f"{worker.busy}/{worker.slots}"

    @admin.display(description=gettext_lazy("queues"))
    def served(self, worker: Worker) -> str:
        if worker.pool == Worker.BEAT:
            return _("schedules")
        named = ", ".join(map(str, worker.queues)) if worker.queues else _("all queues")
        if not worker.exclude_queues:
            return named
        return _("%(queues)s but %(excluded)s") % {
            "queues": named,
            "excluded": ", ".join(map(str, worker.exclude_queues)),
        }

    @admin.display(description=gettext_lazy("heartbeat"))
    def heartbeat(self, worker: Worker) -> SafeString:
        return moment(worker.heartbeat_at)

    @admin.display(description=gettext_lazy("uptime"))
    def uptime(self, worker: Worker) -> str:
        until = worker.stopped_at or worker.lost_at or timezone.now()
        return duration(until - worker.started_at)

    @admin.display(description=gettext_lazy("memory"))
    def memory(self, worker: Worker) -> str:
        return "–" if worker.memory_bytes is None else filesizeformat(worker.memory_bytes)

    @admin.display(description=gettext_lazy("started"))
    def started(self, worker: Worker) -> SafeString:
        return moment(worker.started_at, precise=True)

    @admin.display(description=gettext_lazy("stopped"))
    def stopped(self, worker: Worker) -> SafeString:
        return moment(worker.stopped_at, precise=True)

    @admin.display(description=gettext_lazy("lost"))
    def lost(self, worker: Worker) -> SafeString:
        return moment(worker.lost_at, precise=True)

    # --- actions --------------------------------------------------------------------------------

    def has_control_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.control_worker")

    @admin.action(
        permissions=["control"],
        description=gettext_lazy("Quiet: selected workers take no new jobs"),
    )
    def quiet(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._tell("quiet", request, queryset)

    @admin.action(
        permissions=["control"],
        description=gettext_lazy("Resume: selected workers take jobs again"),
    )
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._tell("resume", request, queryset)

    @admin.action(
        permissions=["control"],
        description=gettext_lazy("One process more in each runworker of the selected workers"),
    )
    def grow(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._tell("grow", request, queryset)

    @admin.action(
        permissions=["control"],
        description=gettext_lazy("One process less in each runworker of the selected workers"),
    )
    def shrink(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._tell("shrink", request, queryset)

    @admin.action(
        permissions=["control"],
        description=gettext_lazy("Shut down each runworker of the selected workers"),
    )
    def shut_down(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        workers = _tellable(queryset)
        if workers and "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": _("Shut down: are you sure?"),
                "opts": self.opts,
                "media": self.media,
                "action": "shut_down",
                "workers": workers,
                "selected": [worker.pk for worker in workers],
                "next": page_to_return_to(request) or request.get_full_path(),
            }
            request.current_app = self.admin_site.name
            return TemplateResponse(request, "admin/django_jobs/worker/confirm.html", context)
        return self._tell("shut_down", request, queryset)

    def _tell(
        self, action: str, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        _label, verb, audit = _TOLD[action]
        arguments: dict[str, bool] = {}
        if action == "shut_down" and "cold" in request.POST:
            arguments, audit = {"cold": True}, "Told to shut down at once."
        workers = _tellable(queryset)
        by = request.user.get_username()
        ids = [one.pk for one in workers]
        sent = commands.send(verb, arguments, workers=ids, by=by, using=queryset.db)
        told = {command.worker_id for command in sent}
        user_id: Any = request.user.pk
        if told:
            chosen = [worker for worker in workers if worker.pk in told]
            LogEntry.objects.log_actions(user_id, chosen, CHANGE, audit)
        text = ngettext("%d worker was told.", "%d workers were told.", len(told)) % len(told)
        if left := queryset.count() - len(workers):
            skipped = ngettext(
                "%d was skipped: it does not live, or runs no jobs.",
                "%d were skipped: they do not live, or run no jobs.",
                left,
            )
            text = f"{text} {skipped % left}"
        self.message_user(request, text, messages.SUCCESS if told else messages.WARNING)
        forget()
        back = page_to_return_to(request)
        return HttpResponseRedirect(back) if back else None


class WorkerAdmin(WorkerAdminMixin, ModelAdmin):
    pass


def _tellable(workers: QuerySet[Any]) -> list[Worker]:
    return [one for one in workers if vars(one)["is_live"] and one.pool != Worker.BEAT]


def _told(worker: Worker) -> list[dict[str, Any]]:
    rows = Command.objects.using(worker._state.db).filter(worker_id=worker.pk)
    return [
        {
            "name": command.name,
            "by": command.created_by,
            "created": moment(command.created_at),
            "done": moment(command.done_at),
            "answer": "" if command.answer is None else pretty(command.answer),
        }
        for command in rows.order_by("-pk")[:_COMMANDS_SHOWN]
    ]
