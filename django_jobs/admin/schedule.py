from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy, ngettext

from ..conf import get_settings
from ..control import schedules
from ..define.sensitive import shown_schedule
from ..metrics.snapshot import NO_BEAT, lacks_beat
from ..models import Schedule
from ..schedules.planning import plan
from .base import FilteredAdminMixin, ModelAdmin
from .schedule_fields import ScheduleFields
from .schedule_form import ScheduleForm
from .schedule_runs import last_runs

# Name, label, permission, and for which schedules: enabled or not.
_ACTIONS = (
    ("enable_schedules", gettext_lazy("Enable"), "change", (False,)),
    ("disable_schedules", gettext_lazy("Disable"), "change", (True,)),
    ("skip_next", gettext_lazy("Skip next"), "change", (True,)),
    ("run_now", gettext_lazy("Run now"), "run", (True, False)),
)


class ScheduleAdminMixin(ScheduleFields, FilteredAdminMixin):
    """When which job runs: made and changed here, or shown as the code says it."""

    form = ScheduleForm
    list_display = (
        "name", "function", "when", "state", "next_run", "last_run", "runs_strip",
    )  # fmt: skip
    list_filter = ("enabled", "kind", "source")
    list_per_page = 25
    search_fields = ("name", "job_name", "description")
    ordering = ("name",)
    sortable_by = ("name",)
    show_facets = admin.ShowFacets.NEVER
    actions = ("enable_schedules", "disable_schedules", "skip_next", "run_now", "delete_selected")
    change_form_template = "admin/django_jobs/schedule/change_form.html"

    class Media:
        css = {"all": ["django_jobs/admin.css", "django_jobs/schedule.css"]}

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
        response: HttpResponse = super().changelist_view(request, extra_context)
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        if changelist is not None:
            self._tell_of_no_beat(request)
            rows = list(changelist.result_list)
            runs = last_runs([row.pk for row in rows], get_settings().database)
            for row in rows:
                vars(row)["_runs"] = runs[row.pk]
            changelist.result_list = rows
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        self._tell_of_no_beat(request)
        schedule = context.get("original")
        if isinstance(schedule, Schedule):
            context["runs"] = self.shown_runs(schedule)
            context["operations"] = [
                {"name": name, "label": label}
                for name, label, permission, enabled in _ACTIONS
                if self._may(request, permission) and schedule.enabled in enabled
            ]
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    def _tell_of_no_beat(self, request: HttpRequest) -> None:
        if lacks_beat(get_settings().database):
            self.message_user(request, str(NO_BEAT), messages.WARNING)

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        using = get_settings().database
        if change and form.changed_data:
            schedules.by_hand(obj)
        obj.save(using=using)
        plan(using, [obj.pk])

    # --- actions --------------------------------------------------------------------------------

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.run_schedule")

    def _may(self, request: HttpRequest, permission: str) -> bool:
        allowed: bool = getattr(self, f"has_{permission}_permission")(request)
        return allowed

    @admin.action(permissions=["change"], description=gettext_lazy("Enable selected schedules"))
    def enable_schedules(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        wanted = queryset.filter(enabled=False)
        return self._do(request, wanted, schedules.enable, "Enabled.")

    @admin.action(permissions=["change"], description=gettext_lazy("Disable selected schedules"))
    def disable_schedules(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        wanted = queryset.filter(enabled=True)
        return self._do(request, wanted, schedules.disable, "Disabled.")

    @admin.action(
        permissions=["change"], description=gettext_lazy("Skip next run of selected schedules")
    )
    def skip_next(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        wanted = queryset.filter(enabled=True, next_run_at__isnull=False)
        return self._do(request, wanted, schedules.skip_next, "Skipped the next run.")

    @admin.action(permissions=["run"], description=gettext_lazy("Run selected schedules now"))
    def run_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return self._do(request, queryset, self._run_each(request), "Run now.")

    def _run_each(self, request: HttpRequest) -> Callable[..., list[int]]:
        def run(ids: list[int], *, using: str) -> list[int]:
            done = []
            for schedule in Schedule.objects.using(using).filter(pk__in=ids):
                try:
                    schedules.run_now(schedule, using=using)
                    done.append(schedule.pk)
                except Exception as error:  # each is in a transaction of its own
                    why = shown_schedule(schedule).text(str(error))
                    text = f"{schedule}: {type(error).__name__}: {why}"
                    self.message_user(request, text, messages.ERROR)
            return done

        return run

    def _do(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        operation: Callable[..., list[int]],
        audit: str,
    ) -> HttpResponse | None:
        using = get_settings().database
        chosen = list(queryset)
        user_id: Any = request.user.pk
        with transaction.atomic(using):
            done = operation([schedule.pk for schedule in chosen], using=using)
            if done:
                changed = [schedule for schedule in chosen if schedule.pk in done]
                LogEntry.objects.log_actions(user_id, changed, CHANGE, audit)
        number = len(done)
        text = ngettext("%d schedule was changed.", "%d schedules were changed.", number) % number
        self.message_user(request, text, messages.SUCCESS if done else messages.WARNING)
        page = request.POST.get("from_schedule", "")
        if page.isascii() and page.isdecimal():
            name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(name, args=[page]))
        return None


class ScheduleAdmin(ScheduleAdminMixin, ModelAdmin):
    pass
