from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..conf import get_settings
from ..control import queues
from ..define.option_problems import queue_problems
from ..define.routing import database_of
from ..limits.overrides import renew_times
from ..metrics import cache
from ..metrics.capped_count import capped_count
from ..metrics.snapshot import overview
from ..models import Job, Queue
from .alert_strip import shown_alerts
from .auto_refresh import (
    CHART_SCRIPT,
    COPY_SCRIPT,
    REFRESH_SCRIPT,
    page_or_parts,
    page_to_return_to,
)
from .badges import moment
from .base import ModelAdmin, ReadOnlyAdminMixin, may_view
from .http_api.queues import QueueJsonMixin
from .operations import OperationsAdminMixin
from .queue_buttons import OPERATIONS
from .queue_form import QueueForm
from .queue_rows import queue_context, queue_rows

_FOLDER = "admin/django_jobs/queue"


class QueueAdminMixin(QueueJsonMixin, OperationsAdminMixin, ReadOnlyAdminMixin):
    """All queues, with or without a row: their open jobs and limits, and buttons to pause them."""

    form = QueueForm
    fields = ("name", "concurrency", "rate_limit", "target_seconds", "paused_since",
                   "paused_by")  # fmt: skip
    readonly_fields = ("paused_since", "paused_by")
    search_fields = ()
    ordering = ("name",)

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
        js = (REFRESH_SCRIPT, COPY_SCRIPT, CHART_SCRIPT)

    @admin.display(description=gettext_lazy("paused since"))
    def paused_since(self, queue: Queue) -> SafeString:
        return moment(queue.paused_at, precise=True)

    # --- permissions ----------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "add_queue")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "change_queue")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "delete_queue")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj is None else ("name", *self.readonly_fields)

    def _may(self, request: HttpRequest, permission: str) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{permission}")

    def _may_on_pages(self, request: HttpRequest) -> dict[str, bool]:
        return {
            "view_job": may_view(self.admin_site, Job, request),
            "add_queue": self.has_add_permission(request),
            **{each.name: self.has_operation_permission(request, each) for each in OPERATIONS},
        }

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        # Another user may have paused the queue since the form was opened.
        own = ["concurrency", "rate_limit", "target_seconds"] if change else None
        using = get_settings().database
        obj.save(using=using, update_fields=own)
        if "rate_limit" in form.changed_data:
            renew_times(obj.name, using)
        cache.clear()

    def delete_model(self, request: HttpRequest, obj: Queue) -> None:
        name, using = obj.name, get_settings().database
        obj.delete(using=using)
        renew_times(name, using)
        cache.clear()

    # --- the list -------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        if request.method == "POST":
            return self._handle_button(request)
        using = get_settings().database
        rows = queue_rows(using, self.admin_site)
        context = {
            **self._page(request, capfirst(self.opts.verbose_name_plural)),
            "alerts": shown_alerts(self.admin_site, request, overview(using), "queue", "worker"),
            "queues": [row for row in rows if not row["is_idle"]],
            "idle_queues": [row for row in rows if row["is_idle"]],
            "may": self._may_on_pages(request),
            **(extra_context or {}),
        }
        return page_or_parts(request, f"{_FOLDER}/page.html", f"{_FOLDER}/parts.html", context)

    def queue_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Show one queue: its numbers, its charts, and its jobs by status."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        name, using = unquote(name), get_settings().database
        row = next((row for row in queue_rows(using, self.admin_site) if row["name"] == name), None)
        if row is None:
            raise Http404("There is no such queue.")
        context = {
            **self._page(request, name),
            "name": name,
            "queue": row,
            "queues": [row],
            "may": self._may_on_pages(request),
            **queue_context(name, request.GET.get("window", ""), using, self.admin_site),
        }
        return page_or_parts(request, f"{_FOLDER}/one.html", f"{_FOLDER}/one_parts.html", context)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_page"
        view = self.admin_site.admin_view(self.queue_view)
        return [path("<path:name>/page/", view, name=name), *super().get_urls()]

    def _page(self, request: HttpRequest, title: Any) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
        }

    # --- actions --------------------------------------------------------------------------------

    def _handle_button(self, request: HttpRequest) -> HttpResponse:
        for operation in OPERATIONS:
            if name := request.POST.get(operation.name):
                if not self.has_operation_permission(request, operation):
                    raise PermissionDenied
                if problems := queue_problems(name):
                    self.message_user(request, problems[0], messages.ERROR)
                    return self._back(request)
                response: HttpResponse = getattr(self, f"_{operation.name}")(request, name)
                return response
        return HttpResponseRedirect(request.path)

    def _pause(self, request: HttpRequest, name: str) -> HttpResponse:
        try:
            paused = queues.pause_queue(name, by=request.user.get_username())
        except ValueError as error:
            self.message_user(request, str(error), messages.ERROR)
            return self._back(request)
        text = _("Queue “%s” is paused: no worker claims its jobs.")
        return self._done(request, name, text, "Paused." if paused else "")

    def _resume(self, request: HttpRequest, name: str) -> HttpResponse:
        resumed = queues.resume_queue(name)
        text = _("Queue “%s” is no longer paused.")
        return self._done(request, name, text, "Resumed." if resumed else "")

    def _clear(self, request: HttpRequest, name: str) -> HttpResponse:
        using = database_of(name)
        if "confirmed" not in request.POST:
            jobs: Any = Job.objects.using(using)
            ready = capped_count(jobs.ready().filter(queue=name))
            page = self._page(request, _("Clear the ready jobs?"))
            context = {
                **page,
                "queue": name,
                "ready": str(ready),
                "ready_number": int(ready),
                "next": page_to_return_to(request) or request.path,
            }
            return TemplateResponse(request, f"{_FOLDER}/clear.html", context)
        deleted = queues.clear_queue(name, using=using)
        text = ngettext(
            "%(number)d ready job of queue “%%s” was deleted.",
            "%(number)d ready jobs of queue “%%s” were deleted.",
            deleted,
        )
        audit = f"Cleared: {deleted} ready jobs were deleted." if deleted else ""
        return self._done(request, name, text % {"number": deleted}, audit)

    def _done(self, request: HttpRequest, name: str, text: str, audit: str) -> HttpResponse:
        if audit:
            user_id: Any = request.user.pk
            LogEntry.objects.log_actions(user_id, [Queue(name=name)], CHANGE, audit)
            cache.clear()
        self.message_user(request, text % name, messages.SUCCESS)
        return self._back(request)

    def _back(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(page_to_return_to(request) or request.path)


class QueueAdmin(QueueAdminMixin, ModelAdmin):
    pass
