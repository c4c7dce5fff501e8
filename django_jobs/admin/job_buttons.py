"""The operations of the jobs' admin: it asks first where needed, then performs and reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..display.job_text import arguments_line, short_class
from ..metrics import cache
from . import background
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


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """The jobs that a user chose, and how the operation changes them."""

    #: The id, the status and the class of error of each.
    rows: Sequence[tuple[UUID, str, str]]
    #: The queue of the background job that changes them; empty: the request does.
    queue: str
    #: They are too many for a request, and no live worker would run a background job.
    lacks_worker: bool

    @property
    def ids(self) -> list[UUID]:
        return [pk for pk, _status, _error in self.rows]

    def allowing(self, operation: Operation) -> list[UUID]:
        """Return the jobs whose status allows the operation."""
        return [pk for pk, status, _error in self.rows if status in operation.allowed]


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
        chosen = self._chosen(operation, request, queryset)
        if operation not in _FORMS:
            return self._perform(operation, request, queryset, chosen)
        given = request.POST if "confirmed" in request.POST else None
        form = _FORMS[operation](given, chosen.ids, queryset.db)
        if form.is_valid():
            return self._perform(form.operation, request, queryset, chosen)
        return self._ask(operation, request, queryset, chosen, form)

    def _perform(
        self, operation: Operation, request: HttpRequest, queryset: QuerySet[Any], chosen: Chosen
    ) -> HttpResponse | None:
        asks = operation.destructive or len(chosen.ids) > UNASKED or "ask" in request.POST
        if asks and "confirmed" not in request.POST:
            return self._ask(operation, request, queryset, chosen)
        errors = {pk: error for pk, _status, error in chosen.rows}
        ids, skipped = with_causes(operation, errors, self.get_queryset(request))
        job_id = background.enqueue(operation, ids, skipped, request.user, chosen.queue)
        if job_id is not None:
            return self._enqueued(request, operation, job_id, len(ids))
        if len(ids) > MOST_JOBS:  # the queue of the background job is full
            self._tell_cut(request, MOST_JOBS)
        done, others = perform(operation, ids[:MOST_JOBS], request.user.pk, queryset.db)
        cache.clear()
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, report(operation, done, skipped + others), level)
        is_gone = operation is DELETE and done
        if not is_gone and (next_page := page_to_return_to(request)):
            return HttpResponseRedirect(next_page)
        return None

    def _enqueued(
        self, request: HttpRequest, operation: Operation, job_id: UUID, number: int
    ) -> HttpResponse | None:
        cache.clear()
        text = _("%(operation)s: a background job goes through %(number)s jobs.")
        shown = {"operation": operation.label, "number": number_format(number)}
        self.message_user(request, text % shown, messages.SUCCESS)
        # An own admin class may not show it.
        if not self.get_queryset(request).order_by().filter(pk=job_id).exists():
            return None
        name = f"{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{name}", args=[job_id]))

    def _ask(
        self,
        operation: Operation,
        request: HttpRequest,
        queryset: QuerySet[Any],
        chosen: Chosen,
        form: TargetForm | None = None,
    ) -> HttpResponse:
        allowed = chosen.allowing(operation)
        rows = queryset.filter(pk__in=allowed[:SHOWN_WHEN_ASKED]).order_by("-pk")
        some = [
            (job, arguments_line(job, _LONGEST_ARGUMENTS), short_class(job.error_class))
            for job in rows
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
            "chosen": number_format(len(chosen.ids), force_grouping=True),
            "chosen_number": len(chosen.ids),
            "allowed": number_format(len(allowed), force_grouping=True),
            "allowed_number": len(allowed),
            "some": some,
            "more": len(allowed) - len(some),
            "queue": chosen.queue,
            "lacks_worker": chosen.lacks_worker,
            "selected": request.POST.getlist("_selected_action"),
            "across": request.POST.get("select_across", "0"),
            "next": page_to_return_to(request) or request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        page = "form" if form else "confirm"
        return TemplateResponse(request, f"admin/django_jobs/job/{page}.html", context)

    def _chosen(
        self, operation: Operation, request: HttpRequest, queryset: QuerySet[Any]
    ) -> Chosen:
        rows = list(queryset.values_list("pk", "status", "error_class")[: background.MOST + 1])
        is_many = len(rows) > background.MOST_IN_REQUEST and operation.in_background
        queue = background.queue_of(queryset.db) if is_many else ""
        most = background.MOST if queue else MOST_JOBS
        if len(rows) > most:
            self._tell_cut(request, most)
        return Chosen(rows[:most], queue, lacks_worker=is_many and not queue)

    def _tell_cut(self, request: HttpRequest, most: int) -> None:
        text = _("More than %d jobs match; only the newest were taken. Repeat for the others.")
        self.message_user(request, text % most, messages.WARNING)
