from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import BooleanField, Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..conf import get_settings
from ..db import clock
from ..display.job_text import pretty, with_argument_texts
from ..models import Command, Job, Worker
from .auto_refresh import HEADER, REFRESH_SCRIPT, list_or_parts, parts_response
from .badges import moment
from .base import ModelAdmin, ReadOnlyAdminMixin, may_view, page_on
from .http_api.workers import WorkerJsonMixin
from .job_actions import TERMINATE
from .operations import actions_of, may_operate
from .stack import shown_answer
from .worker_buttons import WorkerButtonsMixin, takes_commands
from .worker_fields import SHORT_FIELDS, WorkerFields
from .worker_jobs import running_rows

_COMMANDS_SHOWN = 10
_LONGEST_ARGUMENTS = 2_000


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


class WorkerAdminMixin(WorkerJsonMixin, WorkerFields, WorkerButtonsMixin, ReadOnlyAdminMixin):
    """The worker processes: their state, their running jobs, and the commands sent to them."""

    list_display = (*SHORT_FIELDS, "uptime", "jobs_done", "memory")
    list_filter = (StateFilter, "pool")
    # The page shows the worker itself; a project may add fields of its own.
    fieldsets = ((None, {"fields": ()}),)
    search_fields = ("name", "hostname")
    actions = actions_of(WorkerButtonsMixin.operations)
    change_list_template = "admin/django_jobs/refreshed_list.html"
    change_form_template = "admin/django_jobs/worker/change_form.html"

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
        js = (REFRESH_SCRIPT,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # The database's clock judges leases: this host's clock may be wrong.
        lives = When(
            stopped_at=None,
            lost_at=None,
            lease_until__gte=clock(get_settings().database),
            then=Value(True),
        )
        workers = super().get_queryset(request).defer(None).defer("details")
        live = Case(lives, default=Value(False), output_field=BooleanField())
        known: QuerySet[Any] = workers.annotate(is_live=live)
        return known

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return list_or_parts(request, super().changelist_view(request, context))

    # --- a worker's page ------------------------------------------------------------------------

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        worker = context.get("original")
        if isinstance(worker, Worker):
            may_view_job = may_view(self.admin_site, Job, request)
            context["running"] = self._running(request, worker, may_view_job)
            context["commands"] = _commands(self.admin_site, worker, request)
            context |= {"title": worker.name, "subtitle": None}
            context["facts"] = [(label, value) for label, value in self.facts(worker) if value]
            context["may_view_job"] = may_view_job
            jobs = page_on(self.admin_site, Job, "changelist")
            may_terminate = may_operate(self.admin_site, Job, request, TERMINATE)
            context["jobs_url"] = jobs
            context["may_terminate"] = bool(jobs) and may_terminate
            context["operations"] = [
                operation
                for operation in self.operations
                if takes_commands(worker) and self.has_operation_permission(request, operation)
            ]
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        if HEADER in request.headers:
            return parts_response(request, "admin/django_jobs/worker/parts.html", context)
        return page

    def _running(
        self, request: HttpRequest, worker: Worker, may_view_job: bool
    ) -> list[dict[str, Any]]:
        jobs: Any = Job.objects.using(worker._state.db)
        mine = jobs.running().filter(worker_id=worker.pk).order_by("started_at")
        if may_view_job and self.admin_site.is_registered(Job):
            # The jobs' admin decides which rows this user sees.
            rows = self.admin_site.get_model_admin(Job).get_queryset(request)
            mine = mine.filter(pk__in=rows.order_by().values("pk"))
        shown = with_argument_texts(mine, _LONGEST_ARGUMENTS)[: worker.slots + 100]

        def page_of(pk: Any) -> str:
            return page_on(self.admin_site, Job, "change", pk) if may_view_job else ""

        return running_rows(
            shown, str(worker._state.db), with_arguments=may_view_job, page_of=page_of
        )


class WorkerAdmin(WorkerAdminMixin, ModelAdmin):
    pass


def _commands(site: AdminSite, worker: Worker, request: HttpRequest) -> list[dict[str, Any]]:
    rows = Command.objects.using(worker._state.db).filter(worker_id=worker.pk)
    return [
        {
            "name": command.name,
            "by": command.created_by,
            "created": moment(command.created_at),
            "done": moment(command.done_at),
            "answer": "" if answer is None else pretty(answer),
        }
        for command in rows.order_by("-pk")[:_COMMANDS_SHOWN]
        for answer in [shown_answer(site, command, request)]
    ]
