"""The operations of the jobs' admin: it asks first where needed, then performs and reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..display.job_text import arguments_line
from ..metrics import cache
from .auto_refresh import page_to_return_to
from .event_form import EventForm
from .job_actions import (
    DELETE,
    MOST_JOBS,
    MOVE,
    OPERATIONS,
    RETRY_FROM,
    SEND_EVENT,
    Operation,
    perform,
    report,
    with_causes,
)
from .move_form import MoveForm
from .operations import OperationsAdminMixin
from .step_form import StepForm

#: An operation on more jobs than these asks for confirmation.
UNASKED = 100
#: The confirmation names at most so many of the jobs.
SHOWN_WHEN_ASKED = 10
# Characters of the arguments of each.
_LONGEST_ARGUMENTS = 120


class TargetForm(Protocol):
    """Asks for what an operation needs besides the jobs."""

    def is_valid(self) -> bool: ...
    @property
    def operation(self) -> Operation: ...


_FORMS: dict[Operation, Callable[[Any, list[Any], str], TargetForm]] = {
    MOVE: lambda given, ids, using: MoveForm(given, using=using),
    RETRY_FROM: lambda given, ids, using: StepForm(given, using=using, ids=ids),
    SEND_EVENT: lambda given, ids, using: EventForm(given, ids=ids),
}


class JobButtonsMixin(OperationsAdminMixin):
    """Performs the operations of ``job_actions.OPERATIONS`` on the chosen jobs."""

    operations = OPERATIONS

    def perform_operation(
        self, operation: Any, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        if operation not in _FORMS:
            return self._perform(operation, request, queryset)
        given = request.POST if "confirmed" in request.POST else None
        ids = self._first_ids(request, queryset)
        form = _FORMS[operation](given, ids, queryset.db)
        if form.is_valid():
            return self._perform(form.operation, request, queryset)
        return self._ask(operation, request, queryset, ids, form)

    def _perform(
        self, operation: Operation, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        ids = self._first_ids(request, queryset)
        asks = operation.destructive or len(ids) > UNASKED or "ask" in request.POST
        if asks and "confirmed" not in request.POST:
            return self._ask(operation, request, queryset, ids)
        wanted, replaced = with_causes(operation, ids, self.get_queryset(request))
        done, skipped = perform(operation, wanted, request.user.pk, queryset.db)
        skipped += replaced
        cache.clear()
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
        form: TargetForm | None = None,
    ) -> HttpResponse:
        allowed = queryset.filter(pk__in=ids, status__in=operation.allowed)
        number = allowed.order_by().count()
        some = [
            (job, arguments_line(job, _LONGEST_ARGUMENTS))
            for job in allowed.order_by("-pk")[:SHOWN_WHEN_ASKED]
        ]
        question = _("%(operation)s: are you sure?") % {"operation": operation.label}
        context = {
            **self.admin_site.each_context(request),
            "title": operation.label if form else question,
            "form": form,
            "opts": self.opts,
            "media": self.media,
            "operation": operation,
            "action": operation.name,
            "chosen": number_format(len(ids), force_grouping=True),
            "chosen_number": len(ids),
            "allowed": number_format(number, force_grouping=True),
            "allowed_number": number,
            "some": some,
            "more": number - len(some),
            "selected": request.POST.getlist("_selected_action"),
            "across": request.POST.get("select_across", "0"),
            "next": page_to_return_to(request) or request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        page = "form" if form else "confirm"
        return TemplateResponse(request, f"admin/django_jobs/job/{page}.html", context)

    def _first_ids(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        ids = list(queryset.values_list("pk", flat=True)[: MOST_JOBS + 1])
        if len(ids) > MOST_JOBS:
            text = _("More than %d jobs match; only the newest were taken. Repeat for the others.")
            self.message_user(request, text % MOST_JOBS, messages.WARNING)
        return ids[:MOST_JOBS]
