from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst

from ..conf import get_settings
from ..control import schedules
from ..metrics.snapshot import NO_BEAT, lacks_beat
from ..models import Schedule
from ..schedules.planning import plan
from .base import FilteredAdminMixin, ModelAdmin
from .busy_hours import BusyHoursMixin
from .operations import actions_of
from .schedule_buttons import ScheduleButtonsMixin
from .schedule_form import ScheduleForm
from .schedule_preview import preview
from .schedule_runs import runs_of_schedules


class ScheduleAdminMixin(BusyHoursMixin, ScheduleButtonsMixin, FilteredAdminMixin):
    """The schedules: those of the admin can be edited, those of the code are shown."""

    form = ScheduleForm
    list_display = (
        "name", "function", "when", "state", "next_run", "last_run", "runs_shown",
    )  # fmt: skip
    list_filter = ("enabled", "kind", "source")
    list_per_page = 25
    search_fields = ("name", "job_name", "description")
    ordering = ("name",)
    sortable_by = ("name",)
    show_facets = admin.ShowFacets.NEVER
    actions = (*actions_of(ScheduleButtonsMixin.operations), "delete_selected")
    change_form_template = "admin/django_jobs/schedule/change_form.html"

    change_list_template = "admin/django_jobs/schedule/change_list.html"

    class Media:
        css = {"all": ["django_jobs/admin.css", "django_jobs/schedule.css"]}
        js = (Script("django_jobs/schedule_form.js", defer=True),)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_preview"
        return [path("preview/", view, name=name), *super().get_urls()]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Return what a schedule that is not saved yet does, as JSON: see :func:`preview`."""
        stored = self.get_object(request, request.GET.get("schedule", ""))
        if stored is not None and not self.has_change_permission(request, stored):
            raise PermissionDenied
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        return JsonResponse(preview(ScheduleForm(request.POST, instance=stored), request))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        schedules: QuerySet[Any] = super().get_queryset(request)
        return schedules.using(get_settings().database)

    def get_fieldsets(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        if not self.has_change_permission(request, obj):
            return self.view_fieldsets
        return self.change_fieldsets(obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        return self.shown_fields

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        response: HttpResponse = super().changelist_view(request, context)
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        if changelist is not None:
            rows = list(changelist.result_list)
            runs = runs_of_schedules([row.pk for row in rows], get_settings().database)
            for row in rows:
                vars(row)["_runs"] = runs[row.pk]
            changelist.result_list = rows
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # The list's strip of alerts says so, at most some seconds late.
        if lacks_beat(get_settings().database):
            self.message_user(request, str(NO_BEAT), messages.WARNING)
        schedule = context.get("original")
        if isinstance(schedule, Schedule):
            context["runs"] = self.shown_runs(schedule)
            context["operations"] = [
                operation
                for operation in self.operations
                if self.has_operation_permission(request, operation)
                and schedule.enabled in operation.enabled
            ]
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        using = get_settings().database
        if change and form.changed_data:
            schedules.by_hand(obj)
        obj.save(using=using)
        plan(using, [obj.pk])


class ScheduleAdmin(ScheduleAdminMixin, ModelAdmin):
    pass
