"""The page with the stack of a running job."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db import transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..control.stacks import stack
from ..models import Command, Job
from ..status import Status
from .operations import PageOperation, RowPagesMixin, is_permitted

STACK = PageOperation("stack", f"{Job._meta.app_label}.view_stack")
# Seconds for which a request waits for the worker's answer.
_SECONDS = 3.0


def shown_answer(site: AdminSite, command: Command, request: HttpRequest) -> Any:
    """Return a worker's answer, or None if this user may not see the stack."""
    is_hidden = command.name == "stack" and not is_permitted(site, Job, request, STACK)
    return None if is_hidden else command.answer


class StackMixin(RowPagesMixin):
    """Adds the page to the jobs' admin."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_stack"
        view = self.admin_site.admin_view(self.stack_view)
        # The worker sees the command after the commit only.
        alone = transaction.non_atomic_requests(using=get_settings().database)(view)
        return [path("<path:object_id>/stack/", alone, name=name), *super().get_urls()]

    def stack_url(self, request: HttpRequest, job: Job) -> str:
        """Return the address of the page; empty where the job has no stack or the user no right."""
        if job.status != Status.STARTED or not self.has_operation_permission(request, STACK):
            return ""
        return self.row_url("stack", job.pk)

    def stack_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.permitted_row(request, object_id, STACK)
        if request.method != "POST":  # it sends a command
            return HttpResponseNotAllowed(["POST"])
        back = self.row_url("change", job.pk)
        by, using = request.user.get_username(), str(job._state.db)
        try:
            found = stack(job.pk, timeout=_SECONDS, by=by, using=using)
        except ValueError:
            self.message_user(request, _("The job does not run any more."), messages.WARNING)
            return HttpResponseRedirect(back)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": _("Stack of %s") % job.name,
            "opts": self.opts,
            "media": self.media,
            "job": job,
            "stack": found,
            "next": back,
        }
        return TemplateResponse(request, "admin/django_jobs/job/stack.html", context)
