from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ..api.job import JobFunction
from ..conf import get_settings
from ..define import registry
from ..define.hidden_arguments import rules_of
from ..define.options import JobOptions
from ..define.routing import database_of
from ..define.sensitive import shown_arguments
from ..exceptions import JobsError
from ..limits.overrides import limits_of
from ..metrics.history import statistics
from ..metrics.snapshot import recent_statistics
from ..metrics.step_numbers import step_numbers
from ..metrics.summaries import PERIODS
from ..models import Function, Job, Queue, Schedule
from ..status import Status
from .base import ModelAdmin, ReadOnlyAdminMixin, may_add, may_view
from .chart_data import drawn, function_row, windows
from .enqueue_form import EnqueueForm
from .function_page import errors, folded, histogram, runs
from .http_api.functions import FunctionJsonMixin, enqueue_logged
from .job_actions import COPY, RETRY
from .limits_form import BUTTON, LimitsForm
from .operations import may_operate
from .run_history import runs_of_function, runs_svg
from .steps import step_row

_WINDOW = "24h"
#: The permission to set the limits of a job function, as of a queue.
_LIMIT = f"{Queue._meta.app_label}.change_queue"
_PAYLOAD = frozenset({"args", "kwargs", "headers", "options"})
_FOLDER = "admin/django_jobs/function"


class FunctionAdminMixin(FunctionJsonMixin, ReadOnlyAdminMixin):
    """The registered job functions: their options, their statistics, and a form to enqueue one."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap = self.admin_site.admin_view
        return self.with_json([
            path("", wrap(self.changelist_view), name=f"{name}_changelist"),
            path("<path:function_name>/", wrap(self.function_view), name=f"{name}_change"),
        ])  # fmt: skip

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        numbers = {one.name: one for one in recent_statistics(_WINDOW).functions}
        rows = [
            {
                "name": function.name,
                "url": self._page_of(function.name),
                "queue": function.options.queue or get_settings().default_queue,
                "options": _changed(function.options),
                "statistics": function_row(numbers[function.name])
                if function.name in numbers
                else {},
            }
            for function in registry.every()
        ]
        context = {**self._context(request), "functions": rows, **(extra_context or {})}
        return TemplateResponse(request, f"{_FOLDER}/page.html", context)

    def function_view(self, request: HttpRequest, function_name: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        function = registry.find(function_name)
        if function is None:
            raise Http404(registry.missing(function_name))
        is_internal = function.name in registry.INTERNAL
        may_enqueue = request.user.has_perm(COPY.permission) and not is_internal
        if request.method == "POST":
            needed = request.user.has_perm(_LIMIT) if BUTTON in request.POST else may_enqueue
            if not needed:
                raise PermissionDenied
        using = database_of(function.options.queue or "")
        enqueues = request.method == "POST" and BUTTON not in request.POST
        limits = LimitsForm(function, request.POST if BUTTON in request.POST else None, using)
        form = EnqueueForm(function, request.POST if enqueues else None)
        if enqueues and form.is_valid():
            answer = self._enqueue(request, form)
            if answer is not None:
                return answer
        if limits.is_bound and limits.is_valid() and limits.save():
            return self._limits_set(request, function.name)
        context = {
            **self._context(request),
            **self.shown_function(request, function, using),
            "limits": limits if request.user.has_perm(_LIMIT) else None,
            "limits_button": BUTTON,
            "form": form if may_enqueue else None,
        }
        return TemplateResponse(request, f"{_FOLDER}/function.html", context)

    def shown_function(
        self, request: HttpRequest, function: JobFunction[..., Any, Any], using: str
    ) -> dict[str, Any]:
        """Return the context of a job function's page, without its forms."""
        window = request.GET.get("window", "")
        window = window if window in PERIODS else _WINDOW
        numbers = statistics(window, using, function.name)
        activity = next(iter(numbers.functions), None)
        newest = runs_of_function(function.name, using)
        may = {
            "view_job": may_view(self.admin_site, Job, request),
            "add_schedule": may_add(self.admin_site, Schedule, request)
            and function.name not in registry.INTERNAL,
        }
        may["retry_job"] = may_operate(self.admin_site, Job, request, RETRY)
        return {
            "title": function.name,
            "signature": f"{function.name.rpartition('.')[2]}{function.shown_signature}",
            "doc": inspect.getdoc(function.__wrapped__) or "",
            **folded(_limited(function, using)),
            "tiles": self._tiles(function.name, function_row(activity) if activity else {}),
            "windows": windows(window),
            "charts": [*drawn(numbers), *filter(None, [histogram(numbers)])],
            "errors": errors(function.name, self._url("job_changelist"), using),
            "may": may,
            "runs": runs_svg(newest, room=len(newest)),
            "tables": runs(function.name, newest, using, functools.partial(self._url, "job_change"))
            if newest and may["view_job"]
            else [],
            "schedule_url": f"{self._url('schedule_add')}?{urlencode({'job_name': function.name})}",
            "steps": [step_row(one) for one in step_numbers(function.name, using)],
        }

    def _tiles(self, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        jobs = f"{self._url('job_changelist')}?{urlencode({'name': name})}"
        labels = {
            "runs": _("Runs"), "failed": _("Failed"), "wait_p95": _("Wait p95"),
            "run_p50": _("Run p50"), "run_p95": _("Run p95"), "longest": _("Longest"),
        }  # fmt: skip
        return [
            {
                "label": label,
                "value": values.get(key) or "–",
                "url": f"{jobs}&status={Status.FAILURE}" if key == "failed" else jobs,
            }
            for key, label in labels.items()
        ]

    def _enqueue(self, request: HttpRequest, form: EnqueueForm) -> HttpResponse | None:
        """Enqueue the call; return None when it is refused, and the form shows the reason."""
        args, kwargs = form.call()
        try:
            result = enqueue_logged(form.function, args, kwargs, form.options, request.user.pk)
        except (DatabaseError, InterfaceError):
            raise
        except Exception as error:  # the function's own unique_key may raise anything
            hidden = shown_arguments(rules_of(form.function.name), args, kwargs)
            form.add_error(None, hidden.text(_message(error)))
            return None
        self.message_user(request, _("A job was enqueued."), messages.SUCCESS)
        if may_view(self.admin_site, Job, request) and not get_settings().eager:
            return HttpResponseRedirect(self._url("job_change", result.id))
        return HttpResponseRedirect(request.path)

    def _limits_set(self, request: HttpRequest, name: str) -> HttpResponse:
        user_id: Any = request.user.pk
        LogEntry.objects.log_actions(user_id, [Function(pk=name)], CHANGE, "Set the limits.")
        self.message_user(request, _("The limits were set."), messages.SUCCESS)
        return HttpResponseRedirect(request.get_full_path())

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        request.current_app = self.admin_site.name
        return {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
        }

    def _page_of(self, name: str) -> str:
        return self._url("function_change", name)

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{name}", args=args)


class FunctionAdmin(FunctionAdminMixin, ModelAdmin):
    pass


def _message(error: Exception) -> str:
    """Return an error's message; for an error that enqueuing does not raise, after its class."""
    is_ours = isinstance(error, (TypeError, ValueError, JobsError))
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


def _all(options: JobOptions) -> list[dict[str, Any]]:
    """Return each option with its value, and whether the code sets it."""
    default = JobOptions()
    return [
        {
            "name": field.name,
            "value": _shown(getattr(options, field.name)),
            "is_set": getattr(options, field.name) != getattr(default, field.name),
        }
        for field in dataclasses.fields(options)
        if field.name != "name"
    ]


def _limited(function: JobFunction[..., Any, Any], using: str) -> list[dict[str, Any]]:
    """Return the options, with the operators' limits in place of the code's."""
    shown = {one["name"]: one for one in _all(function.options)}
    for digest, row in limits_of([function.name], using=using)[function.name]:
        for name in ("concurrency", "rate_limit"):
            if value := getattr(row, name):
                label = f"{name} #{digest}" if digest else name
                shown[label] = {"name": label, "value": str(value), "by_operator": True}
    return list(shown.values())


def _changed(options: JobOptions) -> str:
    """Return the options that the code sets, except the queue, as in a call."""
    found = [one for one in _all(options) if one["is_set"] and one["name"] != "queue"]
    return ", ".join(f"{one['name']}={one['value']}" for one in found)


def _shown(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_shown, value))})"
    if callable(value):
        name: str = getattr(value, "__qualname__", type(value).__name__)
        return name
    if isinstance(value, Mapping):  # a schedule, whose arguments may be secret
        return repr({key: item for key, item in value.items() if key not in _PAYLOAD})
    return repr(value)
