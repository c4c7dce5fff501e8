from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..display.job_text import with_argument_texts
from ..metrics.snapshot import forget
from ..models import Job
from ..workflows.graph import workflow_of
from .attempts import attempts_of, kept_attempts
from .auto_refresh import COPY_SCRIPT, HEADER, LIVE_SCRIPT, live_list, live_part, page_to_return_to
from .base import ModelAdmin, ReadOnlyAdminMixin
from .changelist import JobChangeList
from .filters import (
    AgeFilter,
    AttemptsFilter,
    ErrorFilter,
    NameFilter,
    QueueFilter,
    ScheduleFilter,
    StatusFilter,
    WorkerFilter,
)
from .job_actions import (
    COPY,
    DELETE,
    MOST_JOBS,
    MOVE,
    OPERATIONS,
    RETRY,
    REVOKE,
    RUN_NOW,
    TERMINATE,
    Operation,
    perform,
    report,
)
from .job_fields import JobFields, payload_of
from .move_form import MoveForm
from .run_history import last_runs, strip
from .search import search
from .timeline import timeline
from .workflow_svg import MOST_DRAWN, graph

# More jobs than these are not changed without a question.
UNASKED = 100
# Of those that would be changed, so many are named in the question.
SHOWN_WHEN_ASKED = 10
# A job whose arguments are longer shows them on its own page only.
_LONGEST_ARGUMENTS = 2_000


class JobAdminMixin(JobFields, ReadOnlyAdminMixin):
    """Jobs to look at, and what an operator may do to them, each with a permission of its own."""

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
        js = (LIVE_SCRIPT, COPY_SCRIPT)

    list_display = (
        "status_column", "function_column", "arguments_column", "queue_column", "attempt_column",
        "when_column", "wait_column", "run_column", "error_column",
    )  # fmt: skip
    list_display_links = ("function_column",)
    list_filter = (
        StatusFilter, QueueFilter, NameFilter, ErrorFilter, AgeFilter, AttemptsFilter,
        ScheduleFilter, WorkerFilter,
    )  # fmt: skip
    search_fields = ("id", "name")
    search_help_text = gettext_lazy(
        "A job's id, parts of a job function's name, or job:, queue:, error:, args.name: with a "
        "value."
    )
    actions = ("retry", "run_now", "move", "revoke", "terminate", "copy", "delete_selected")
    change_list_template = "admin/django_jobs/live_list.html"
    fieldsets = JobFields.detail_fieldsets
    readonly_fields = JobFields.detail_fields

    # --- rows -----------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        jobs: Any = super().get_queryset(request)
        return with_argument_texts(jobs, _LONGEST_ARGUMENTS)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search(queryset, search_term), False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return JobChangeList

    # --- pages ----------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response: HttpResponse = super().changelist_view(request, extra_context)
        shown = (getattr(response, "context_data", None) or {}).get("cl")
        if isinstance(response, TemplateResponse) and shown is not None:
            filters = [f for f in shown.filter_specs if isinstance(f, StatusFilter)]
            tabs = [tab for f in filters for tab in f.tabs(shown)]
            response.context_data = {**(response.context_data or {}), "status_tabs": tabs}
        return live_list(request, response)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        job = context.get("original")
        if isinstance(job, Job):
            kept = kept_attempts(job)
            context["attempts"] = attempts_of(job, kept, payload_of(job).text)
            context["steps"] = timeline(job, kept)
            runs = last_runs(job.name, str(job._state.db), until=job.pk)
            context["runs"] = strip(runs, places=len(runs))
            context["workflow"] = self.shown_workflow(job)
            context["operations"] = [
                operation
                for operation in OPERATIONS
                if job.status in operation.allowed and request.user.has_perm(operation.permission)
            ]
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        if HEADER in request.headers:
            return live_part(request, "admin/django_jobs/job/live.html", context)
        return page

    def shown_workflow(self, job: Job) -> dict[str, Any] | None:
        """Return the drawing of the job's workflow; None for a job that stands alone."""
        workflow = workflow_of(job, MOST_DRAWN)
        if workflow.total < 2:
            return None
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        return {
            "svg": graph(workflow.nodes, job.pk, lambda pk: reverse(name, args=[pk])),
            "total": number_format(workflow.total, force_grouping=True),
            "done": number_format(workflow.done, force_grouping=True),
            "failed": number_format(workflow.failed, force_grouping=True),
            "left_out": workflow.total > len(workflow.nodes),
        }

    # --- operations -----------------------------------------------------------------------------

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(RETRY.permission)

    def has_move_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MOVE.permission)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(REVOKE.permission)

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(RUN_NOW.permission)

    def has_enqueue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(COPY.permission)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Django's page for the deletion of one object stays shut: DELETE asks and tells itself.
        return obj is None and request.user.has_perm(DELETE.permission)

    @admin.action(permissions=["retry"], description=gettext_lazy("Retry selected jobs"))
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._perform(RETRY, request, queryset)

    @admin.action(permissions=["run"], description=gettext_lazy("Run selected jobs now"))
    def run_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._perform(RUN_NOW, request, queryset)

    @admin.action(
        permissions=["move"], description=gettext_lazy("Move selected jobs to a queue or priority")
    )
    def move(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        given = request.POST if "confirmed" in request.POST else None
        form = MoveForm(given, using=queryset.db)
        if form.is_valid():
            return self._perform(form.operation, request, queryset)
        return self._ask(MOVE, request, queryset, self._first_ids(request, queryset), form)

    @admin.action(permissions=["revoke"], description=gettext_lazy("Revoke selected jobs"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._perform(REVOKE, request, queryset)

    @admin.action(
        permissions=["revoke"], description=gettext_lazy("Terminate selected running jobs")
    )
    def terminate(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._perform(TERMINATE, request, queryset)

    @admin.action(
        permissions=["enqueue"], description=gettext_lazy("Enqueue a copy of selected jobs")
    )
    def copy(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._perform(COPY, request, queryset)

    @admin.action(permissions=["delete"], description=gettext_lazy("Delete selected ended jobs"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._perform(DELETE, request, queryset)

    def _perform(
        self, operation: Operation, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        ids = self._first_ids(request, queryset)
        asks = operation.destructive or len(ids) > UNASKED or "ask" in request.POST
        if asks and "confirmed" not in request.POST:
            return self._ask(operation, request, queryset, ids)
        done, skipped = perform(operation, ids, request.user.pk, queryset.db)
        forget()
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, report(operation, done, skipped), level)
        is_gone = operation is DELETE and done
        if not is_gone and (next_page := page_to_return_to(request)):
            return HttpResponseRedirect(next_page)
        return None

    def _ask(
        self,
        operation: Operation,
        request: HttpRequest,
        queryset: QuerySet[Any],
        ids: list[Any],
        form: MoveForm | None = None,
    ) -> HttpResponse:
        allowed = queryset.filter(pk__in=ids, status__in=operation.allowed)
        number = allowed.order_by().count()
        context = {
            **self.admin_site.each_context(request),
            "title": (
                _("Move jobs")
                if form
                else _("%(operation)s: are you sure?") % {"operation": operation.label}
            ),
            "form": form,
            "opts": self.opts,
            "media": self.media,
            "operation": operation,
            "action": operation.name,
            "chosen": number_format(len(ids), force_grouping=True),
            "chosen_number": len(ids),
            "allowed": number_format(number, force_grouping=True),
            "allowed_number": number,
            "some": allowed.order_by("-pk")[:SHOWN_WHEN_ASKED],
            "selected": request.POST.getlist("_selected_action"),
            "across": request.POST.get("select_across", "0"),
            "next": page_to_return_to(request) or request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        page = "move" if form else "confirm"
        return TemplateResponse(request, f"admin/django_jobs/job/{page}.html", context)

    def _first_ids(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        ids = list(queryset.values_list("pk", flat=True)[: MOST_JOBS + 1])
        if len(ids) > MOST_JOBS:
            text = _("More than %d jobs match; only the newest were taken. Repeat for the others.")
            self.message_user(request, text % MOST_JOBS, messages.WARNING)
        return ids[:MOST_JOBS]


class JobAdmin(JobAdminMixin, ModelAdmin):
    pass
