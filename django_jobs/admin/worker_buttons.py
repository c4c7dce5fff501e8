"""The operations of the workers' admin: each sends a command to the chosen workers."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..control import commands
from ..control.command_table import COMMANDS
from ..metrics import cache
from ..models import Worker
from .auto_refresh import page_to_return_to
from .operations import OperationsAdminMixin


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerOperation:
    """An operation that sends *command*; *audit* is the text of the admin's log, in English."""

    name: str
    label: Any
    description: Any
    command: str
    audit: str

    @property
    def permission(self) -> str:
        return f"{Worker._meta.app_label}.control_worker"


#: The commands that have a button.
OPERATIONS = tuple(
    WorkerOperation(button.action, button.label, button.description, name, button.audit)
    for name, command in COMMANDS.items()
    if (button := command.button)
)


class WorkerButtonsMixin(OperationsAdminMixin):
    """Sends commands to the chosen workers that are alive and run jobs."""

    operations = OPERATIONS

    def perform_operation(
        self, operation: Any, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        workers = [worker for worker in queryset if takes_commands(worker)]
        if operation.command == "shutdown" and workers and "confirmed" not in request.POST:
            return self._ask(operation, request, workers)
        arguments, audit = {}, operation.audit
        if operation.command == "shutdown" and "cold" in request.POST:
            arguments, audit = {"cold": True}, "Shut down at once."
        sent = commands.send(
            operation.command, arguments, workers=[worker.pk for worker in workers],
            by=request.user.get_username(), using=queryset.db,
        )  # fmt: skip
        receivers = {command.worker_id for command in sent}
        if receivers:
            chosen = [worker for worker in workers if worker.pk in receivers]
            user_id: Any = request.user.pk
            LogEntry.objects.log_actions(user_id, chosen, CHANGE, audit)
        self._report(request, len(receivers), queryset.count() - len(workers))
        cache.clear()
        back = page_to_return_to(request)
        return HttpResponseRedirect(back) if back else None

    def _report(self, request: HttpRequest, sent: int, skipped: int) -> None:
        text = ngettext(
            "The command was sent to %d worker.", "The command was sent to %d workers.", sent
        ) % sent  # fmt: skip
        if skipped:
            reason = ngettext(
                "%d was skipped: it is not alive, or runs no jobs.",
                "%d were skipped: they are not alive, or run no jobs.",
                skipped,
            )
            text = f"{text} {reason % skipped}"
        self.message_user(request, text, messages.SUCCESS if sent else messages.WARNING)

    def _ask(
        self, operation: WorkerOperation, request: HttpRequest, workers: list[Worker]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Shut down: are you sure?"),
            "opts": self.opts,
            "media": self.media,
            "action": operation.name,
            "workers": workers,
            "selected": [worker.pk for worker in workers],
            "next": page_to_return_to(request) or request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_jobs/worker/confirm.html", context)


def takes_commands(worker: Worker) -> bool:
    """Say whether *worker*, read by the admin's queryset, is alive and runs jobs."""
    return bool(vars(worker)["is_live"]) and worker.pool != Worker.BEAT
