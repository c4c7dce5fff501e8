"""The page that edits a job which no worker has claimed."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from ..control.editing import edit
from ..define import registry
from ..exceptions import EncryptionError, JobsError
from ..metrics import cache
from ..models import Job
from ..status import QUEUED
from .edit_form import EditForm
from .operations import PageOperation, RowPagesMixin

EDIT = PageOperation("edit", f"{Job._meta.app_label}.edit_job")


class EditJobMixin(RowPagesMixin):
    """Adds the page to the jobs' admin."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_edit"
        view = self.admin_site.admin_view(self.edit_view)
        return [path("<path:object_id>/edit/", view, name=name), *super().get_urls()]

    def edit_url(self, request: HttpRequest, job: Job) -> str:
        """Return the address of the page; empty where the job or the user allows no edit."""
        may = self.has_operation_permission(request, EDIT) and job.name not in registry.INTERNAL
        if job.status not in QUEUED or not may:
            return ""
        return self.row_url("edit", job.pk)

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.permitted_row(request, object_id, EDIT)
        job = Job.objects.using(job._state.db).get(pk=job.pk)  # with the large columns
        back = self.row_url("change", job.pk)
        if problem := _problem(job):
            self.message_user(request, problem, messages.ERROR)
            return HttpResponseRedirect(back)
        function = registry.get(job.name)
        try:
            form = EditForm(function, job, request.POST if request.method == "POST" else None)
        except (EncryptionError, TypeError):
            self.message_user(
                request, _("The arguments of this job cannot be read."), messages.ERROR
            )
            return HttpResponseRedirect(back)
        if request.method == "POST" and form.is_valid() and self._edit(request, job, form):
            return HttpResponseRedirect(back)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": _("Edit %s") % job.name,
            "opts": self.opts,
            "media": self.media,
            "job": job,
            "form": form,
            "next": back,
        }
        return TemplateResponse(request, "admin/django_jobs/job/edit.html", context)

    def _edit(self, request: HttpRequest, job: Job, form: EditForm) -> bool:
        """Change the job; return false when that is refused, and the form shows the reason."""
        user_id: Any = request.user.pk

        def note(changed: Job, text: str) -> None:
            LogEntry.objects.log_actions(user_id, [changed], CHANGE, f"Edited: {text}.")

        call = form.edited_call()
        args, kwargs = call or (None, None)
        given = form.cleaned_data
        eta: datetime.datetime | None = given["run_at"]
        try:
            text = edit(
                job.pk, args=args, kwargs=kwargs, eta=eta, using=str(job._state.db), note=note,
                queue=None if given["queue"] == job.queue else given["queue"],
                priority=None if given["priority"] == job.priority else given["priority"],
            )  # fmt: skip
        except (DatabaseError, InterfaceError):
            raise
        except (ValueError, TypeError, JobsError) as error:
            form.add_error(None, form.without_secrets(str(error)))
            return False
        cache.clear()
        changed = _("The job was changed: %s.") % text if text else _("Nothing was changed.")
        self.message_user(request, changed, messages.SUCCESS if text else messages.WARNING)
        return True


def _problem(job: Job) -> str:
    if job.status not in QUEUED:
        return _("A worker has claimed this job, or it has ended: it cannot be edited.")
    if job.name in registry.INTERNAL:
        return _("Only django_jobs enqueues this job function. Move the job instead.")
    if registry.find(job.name) is None:
        return _("This process does not know the job function %s.") % job.name
    return ""
