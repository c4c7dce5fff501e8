from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from ..control.events import awaited_events
from ..display.attempt_logs import logs_of
from ..display.job_text import short_class, with_argument_texts, with_messages
from ..display.waiting import reason_of
from ..models import Attempt, Job
from .approvals import shown_approvals
from .attempts import attempts_of, kept_attempts
from .auto_refresh import COPY_SCRIPT, HEADER, REFRESH_SCRIPT, list_or_parts, parts_response
from .base import ModelAdmin, ReadOnlyAdminMixin
from .changelist import JobChangeList
from .completions import completions
from .edit_job import EditJobMixin
from .export import FORMATS, exported
from .filters import (
    AttemptsFilter,
    ErrorFilter,
    NameFilter,
    QueueFilter,
    ScheduleFilter,
    StatusFilter,
    WorkerFilter,
)
from .http_api.jobs import JobJsonMixin
from .job_actions import DELETE, RETRY, RETRY_FROM, REVOKE, SEND_EVENT, Operation
from .job_buttons import JobButtonsMixin
from .job_facts import Pages, arguments_shown, facts, heading, shown_error
from .job_fields import VIEW_ENCRYPTED, JobFields, json_shown, payload_of, show_encrypted
from .operations import actions_of
from .phases import bar, phases, sums
from .run_history import runs_of_function, runs_svg
from .search import HELP, search
from .stack import StackMixin
from .steps import StepRow, shown_steps
from .time_filters import AgeFilter, DatesFilter, EndedFilter
from .timeline import timeline
from .waiting import waiting_shown
from .workflow_section import shown_workflow

# Longer arguments appear on the job's own page only.
_LONGEST_ARGUMENTS = 2_000


class JobAdminMixin(
    EditJobMixin, StackMixin, JobJsonMixin, JobFields, JobButtonsMixin, ReadOnlyAdminMixin
):
    """The jobs, and the operations on them, each with a permission of its own."""

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
        js = (REFRESH_SCRIPT, COPY_SCRIPT)

    list_display = (
        "status_column", "function_column", "arguments_column", "queue_column", "attempt_column",
        "when_column", "wait_column", "run_column", "error_column",
    )  # fmt: skip
    list_display_links = ("function_column",)
    list_filter = (
        StatusFilter, QueueFilter, NameFilter, ErrorFilter, AgeFilter, DatesFilter, AttemptsFilter,
        EndedFilter, ScheduleFilter, WorkerFilter,
    )  # fmt: skip
    search_fields = ("id", "name")
    search_help_text = HELP
    actions = actions_of(JobButtonsMixin.operations)
    change_list_template = "admin/django_jobs/refreshed_list.html"
    # The page shows the job itself; a project may add fields of its own.
    fieldsets = ((None, {"fields": ()}),)

    # --- rows -----------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        jobs: Any = super().get_queryset(request)
        return with_messages(with_argument_texts(jobs, _LONGEST_ARGUMENTS))

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
        kind = request.GET.get("export", "")
        if kind in FORMATS:
            return self.export(request, kind)  # type: ignore[return-value]
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        response: HttpResponse = super().changelist_view(request, context)
        shown = (getattr(response, "context_data", None) or {}).get("cl")
        if isinstance(response, TemplateResponse) and shown is not None:
            filters = [f for f in shown.filter_specs if isinstance(f, StatusFilter)]
            response.context_data = {
                **(response.context_data or {}),
                "status_tabs": [tab for f in filters for tab in f.tabs(shown)],
                "chips": list(shown.chips()),
                "completions": () if HEADER in request.headers else completions(shown),
                "exports": [(kind, shown.get_query_string({"export": kind})) for kind in FORMATS],
                "search_help": self.search_help_text,
                "operations_on_all": self.operations_on_all(request, shown),
            }
        return list_or_parts(request, response)

    def export(self, request: HttpRequest, kind: str) -> StreamingHttpResponse:
        """Return the jobs that match the filters of the address as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        filters = request.GET.copy()
        del filters["export"]
        request.GET = filters  # type: ignore[assignment]
        try:
            return exported(self.get_changelist_instance(request).get_queryset(request), kind)
        except IncorrectLookupParameters as error:
            raise BadRequest(str(error)) from error

    def operations_on_all(self, request: HttpRequest, shown: Any) -> list[Operation]:
        """Return the operations on all jobs that match; none where nothing was chosen."""
        if not (shown.result_count and (shown.has_active_filters or shown.query)):
            return []
        status = shown.params.get("status")
        return [
            operation
            for operation in (RETRY, REVOKE, DELETE)
            if self.has_operation_permission(request, operation)
            and (status is None or status in operation.allowed)
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        job = context.get("original")
        if isinstance(job, Job):
            if request.user.has_perm(VIEW_ENCRYPTED):
                show_encrypted(job)
            kept = kept_attempts(job)
            context["attempts"] = attempts_of(job, kept, logs_of(job), payload_of(job).text)
            context |= self.shown_job(request, job, kept)
            context["steps"], context["steps_left_out"] = shown_steps(job)
            runs = runs_of_function(job.name, str(job._state.db), until=job.pk)
            context["runs"] = runs_svg(runs, room=len(runs))
            may_retry = self.has_operation_permission(request, RETRY)
            context["workflow"] = shown_workflow(self.admin_site, job, may_retry=may_retry)
            if reason := reason_of(job, payload_of(job)):
                context["waiting"] = waiting_shown(reason, request, self.admin_site)
            context["edit_url"] = self.edit_url(request, job)
            context["stack_url"] = self.stack_url(request, job)
            context["approvals"] = shown_approvals(self.admin_site, request, job)
            context["operations"] = [
                operation
                for operation in self.operations
                if job.status in operation.allowed
                and self.has_operation_permission(request, operation)
                and self.has_subject(operation, job, context["steps"])
            ]
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        if HEADER in request.headers:
            return parts_response(request, "admin/django_jobs/job/parts.html", context)
        return page

    def shown_job(self, request: HttpRequest, job: Job, kept: Sequence[Attempt]) -> dict[str, Any]:
        """Return the context of the job's page: heading, error, facts and arguments."""
        payload, shown = payload_of(job), phases(job, kept)
        return {
            "title": short_class(job.name),
            "subtitle": None,
            "heading": heading(job),
            "error": shown_error(job, kept, payload),
            "facts": facts(job, Pages(self.admin_site, request)),
            "arguments": arguments_shown(job),
            "result": "" if payload.result is None else json_shown(payload.result),
            "headers": json_shown(payload.headers) if payload.headers else "",
            "events": timeline(job, kept),
            "bar": bar(shown),
            "sums": sums(shown),
        }

    def has_subject(self, operation: Operation, job: Job, steps: Sequence[StepRow]) -> bool:
        """Return whether the job has what the operation is about."""
        if operation is RETRY_FROM:
            return bool(steps)
        return operation is not SEND_EVENT or bool(awaited_events([job.pk]))

    # --- permissions ----------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Django's page that deletes one object stays closed: DELETE asks and reports itself.
        return obj is None and request.user.has_perm(DELETE.permission)


class JobAdmin(JobAdminMixin, ModelAdmin):
    pass
