"""The page with the stack of a running job."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..control.stacks import stack
from ..models import Job
from ..status import Status
from .base import _Mixed

_VIEW = f"{Job._meta.app_label}.view_stack"
# Seconds for which a request waits for the worker's answer.
_SECONDS = 3.0


class StackMixin(_Mixed):
    """Adds the page to the jobs' admin."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_stack"
        view = self.admin_site.admin_view(self.stack_view)
        # The worker sees the command after the commit only.
        alone = transaction.non_atomic_requests(using=get_settings().database)(view)
        return [path("<path:object_id>/stack/", alone, name=name), *super().get_urls()]

    def stack_url(self, request: HttpRequest, job: Job) -> str:
        """Return the address of the page; empty where the job has no stack or the user no right."""
        if job.status != Status.STARTED or not request.user.has_perm(_VIEW):
            return ""
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_stack"
        return reverse(name, args=[job.pk])

    def stack_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not (request.user.has_perm(_VIEW) and self.has_view_permission(request)):
            raise PermissionDenied
        if request.method != "POST":  # it sends a command
            return HttpResponseNotAllowed(["POST"])
        job = self.get_object(request, object_id)
        if job is None:
            raise Http404
        page = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        back = reverse(page, args=[job.pk])
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
