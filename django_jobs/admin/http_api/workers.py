"""Workers as JSON, and the commands for them."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from ...control import commands
from ...control.command_table import COMMANDS
from ...define.json_body import Kinds
from ...display import json_rows
from ...display.job_text import with_argument_texts
from ...metrics import cache
from ...models import Command, Job, Worker
from ..base import may_view
from ..operations import PageOperation
from ..stack import shown_answer
from ..worker_buttons import takes_commands
from ..worker_samples import samples_of
from .pages import JsonPagesMixin
from .requests import JsonAction, Refused, texts

MOST_WORKERS = 1_000
_COMMANDS_SHOWN, _LONGEST_ARGUMENTS = 100, 2_000
_COMMAND = ("id", "name", "created_by", "created_at", "done_at")
_NUMBER = (int, float, type(None))
# The kinds of the commands' arguments.
_ARGUMENTS: Kinds = {
    "queue": (str,), "job": (str,), "hard": _NUMBER, "soft": _NUMBER, "number": (int,),
    "most": (int, type(None)), "least": (int, type(None)), "idle_seconds": (int, float),
    "cold": (bool,),
}  # fmt: skip


def _action(name: str) -> JsonAction:
    command = COMMANDS[name]
    # An own admin class knows the name of the button.
    known = command.button.action if command.button else name
    operation = PageOperation(known, f"{Worker._meta.app_label}.control_worker")

    def act(admin: Any, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
        may = admin.has_operation_permission(request, operation)
        if not (may and admin.has_view_permission(request)):
            raise PermissionDenied
        wanted = texts(given, "workers", MOST_WORKERS)
        arguments = {each: value for each, value in given.items() if each != "workers"}
        live = [row for row in admin.get_queryset(request) if takes_commands(row)]
        chosen = [row for row in live if row.name in wanted or str(row.pk) in wanted]
        unknown = sorted({*wanted} - {row.name for row in chosen} - {str(row.pk) for row in chosen})
        if not chosen:
            raise Refused(404, "no live worker has one of these names or ids")
        try:
            sent = commands.send(
                name, arguments, workers=[row.pk for row in chosen],
                by=request.user.get_username(), using=str(chosen[0]._state.db),
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            raise Refused(400, str(error)) from None
        user_id: Any = request.user.pk
        told = {command.worker_id for command in sent}
        rows = [row for row in chosen if row.pk in told]
        audit = f"Sent {name}: {arguments}." if arguments else f"Sent {name}."
        LogEntry.objects.log_actions(user_id, rows, CHANGE, audit)
        cache.clear()
        names = {row.pk: row.name for row in chosen}
        return {"sent": [{"worker": names[one.worker_id], "worker_id": one.worker_id,
                          "command": one.pk} for one in sent], "unknown": unknown}  # fmt: skip

    kinds = {each: _ARGUMENTS[each] for each in command.arguments}
    needed = ("workers", *command.needed)
    return JsonAction(command.help.removesuffix("."), act, {"workers": (list,), **kinds}, needed)


class WorkerJsonMixin(JsonPagesMixin):
    json_actions = {name: _action(name) for name in COMMANDS}

    def json_list(self, request: HttpRequest) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.checked_changelist(request)
        return {
            "workers": [_shown(row) for row in found.result_list],
            "page": found.page_num,
            "pages": found.paginator.num_pages,
        }

    def json_page(self, request: HttpRequest, key: str) -> Any:
        row = self.get_object(request, key)
        if row is None:
            raise Http404("There is no such worker.")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        sent = Command.objects.using(row._state.db).filter(worker_id=row.pk).order_by("-pk")
        return {
            **_shown(row),
            "running": self.json_running(request, row),
            "commands": [
                {**{name: getattr(one, name) for name in _COMMAND},
                 "answer": shown_answer(self.admin_site, one, request)}
                for one in sent[:_COMMANDS_SHOWN]
            ],
        }  # fmt: skip

    def json_running(self, request: HttpRequest, row: Worker) -> list[dict[str, Any]] | None:
        """Return the running jobs, or None for a user who may not see jobs."""
        if not may_view(self.admin_site, Job, request):
            return None
        jobs: Any = Job.objects.using(row._state.db)
        if self.admin_site.is_registered(Job):
            # The jobs' admin decides which rows this user sees.
            seen = self.admin_site.get_model_admin(Job).get_queryset(request)
            jobs = jobs.filter(pk__in=seen.order_by().values("pk"))
        mine = jobs.running().filter(worker_id=row.pk).order_by("started_at")
        shown = with_argument_texts(mine, _LONGEST_ARGUMENTS)[: row.slots + 100]
        return [json_rows.listed(job) for job in shown]


def _shown(row: Worker) -> dict[str, Any]:
    ended = {"stopped_at": row.stopped_at, "lost_at": row.lost_at}
    samples = [one and one._asdict() for one in samples_of(row)]
    is_live = bool(vars(row)["is_live"])
    return {**json_rows.worker(row), **ended, "is_live": is_live, "samples": samples}
