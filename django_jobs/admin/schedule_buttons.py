"""The operations of the schedules' admin: enable, disable, skip the next run, run now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext

from ..conf import get_settings
from ..control import schedules
from ..define.sensitive import shown_schedule
from ..models import Job, Schedule
from .base import linked, may_view, page_on
from .operations import OperationsAdminMixin

Run = Callable[..., Collection[int]]


@dataclasses.dataclass(frozen=True, slots=True)
class ScheduleOperation:
    """An operation on schedules; *audit* is the text of the admin's log, in English."""

    name: str
    label: Any
    description: Any
    #: The verb of the permission: ``change`` or ``run``.
    verb: str
    #: It is for enabled schedules, for disabled ones, or for both.
    enabled: tuple[bool, ...]
    audit: str
    #: Takes ids and a database's alias, returns the ids of the changed schedules; None: run now.
    run: Run | None = None

    @property
    def permission(self) -> str:
        return f"{Schedule._meta.app_label}.{self.verb}_schedule"


RUN_NOW = ScheduleOperation(
    "run_now", gettext_lazy("Run now"), gettext_lazy("Run selected schedules now"), "run",
    (True, False), "Run now.",
)  # fmt: skip
OPERATIONS = (
    ScheduleOperation(
        "enable_schedules", gettext_lazy("Enable"), gettext_lazy("Enable selected schedules"),
        "change", (False,), "Enabled.", schedules.enable,
    ),
    ScheduleOperation(
        "disable_schedules", gettext_lazy("Disable"), gettext_lazy("Disable selected schedules"),
        "change", (True,), "Disabled.", schedules.disable,
    ),
    ScheduleOperation(
        "skip_next", gettext_lazy("Skip next"),
        gettext_lazy("Skip next run of selected schedules"), "change",
        (True,), "Skipped the next run.", schedules.skip_next,
    ),
    RUN_NOW,
)  # fmt: skip


class ScheduleButtonsMixin(OperationsAdminMixin):
    """Performs the operations of :data:`OPERATIONS` on the chosen schedules."""

    operations = OPERATIONS

    def has_operation_permission(self, request: HttpRequest, operation: Any) -> bool:
        if operation.verb == "change":
            return self.has_change_permission(request)
        return super().has_operation_permission(request, operation)

    def perform_operation(
        self, operation: Any, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        using = get_settings().database
        selected = list(queryset)
        chosen = [schedule for schedule in selected if schedule.enabled in operation.enabled]
        jobs: list[tuple[UUID, str]] = []
        run = operation.run or self._run_each(request, jobs)
        with transaction.atomic(using):
            done = run([schedule.pk for schedule in chosen], using=using)
            if done:
                changed = [schedule for schedule in chosen if schedule.pk in done]
                user_id: Any = request.user.pk
                LogEntry.objects.log_actions(user_id, changed, CHANGE, operation.audit)
        number = len(done)
        text = ngettext("%d schedule was changed.", "%d schedules were changed.", number) % number
        if skipped := len(selected) - len(chosen):
            text = f"{text} {_skipped(operation, skipped)}"
        if jobs:
            text = ngettext("%d job was enqueued:", "%d jobs were enqueued:", len(jobs)) % len(jobs)
            text = format_html("{} {}", text, self._links(request, jobs))
        self.message_user(request, text, messages.SUCCESS if done else messages.WARNING)
        page = request.POST.get("from_schedule", "")
        if page.isascii() and page.isdecimal():
            return HttpResponseRedirect(page_on(self.admin_site, self.model, "change", page))
        return None

    def _links(self, request: HttpRequest, jobs: Collection[tuple[UUID, str]]) -> SafeString:
        site = self.admin_site
        may = may_view(site, Job, request)
        links = (
            (linked(page_on(site, Job, "change", pk) if may else "", name),) for pk, name in jobs
        )
        return format_html_join(", ", "{}", links)

    def _run_each(self, request: HttpRequest, jobs: list[tuple[UUID, str]]) -> Run:
        def run(ids: Collection[int], *, using: str) -> list[int]:
            done = []
            for schedule in Schedule.objects.using(using).filter(pk__in=ids):
                try:
                    jobs.append((schedules.run_now(schedule, using=using), schedule.job_name))
                    done.append(schedule.pk)
                except Exception as error:  # each is in a transaction of its own
                    why = shown_schedule(schedule).text(str(error))
                    text = f"{schedule}: {type(error).__name__}: {why}"
                    self.message_user(request, text, messages.ERROR)
            return done

        return run


def _skipped(operation: ScheduleOperation, number: int) -> str:
    if operation.enabled == (True,):
        text = ngettext("%d is disabled.", "%d are disabled.", number)
    else:
        text = ngettext("%d is enabled already.", "%d are enabled already.", number)
    return text % number
