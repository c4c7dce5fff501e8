"""The strip of alerts on the pages of the admin, and their number on its index."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db import Error, connections, transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..conf import get_settings
from ..display.alerts import SEVERITIES, Alert, Remedy, alerts
from ..metrics.snapshot import Overview, overview
from ..models import Dashboard, Job, Queue, Schedule, Worker
from .base import may_view

_MODELS = {"job": Job, "queue": Queue, "schedule": Schedule, "worker": Worker}
# The pages that list the models: the index, and the page of one app.
_INDEXES = ("index", "app_list")


def shown_alerts(
    site: AdminSite, request: HttpRequest, snapshot: Overview, *models: str
) -> list[dict[str, Any]]:
    """Return the alerts of *snapshot* for the template; with *models* only theirs."""
    found = alerts(snapshot)
    return [_shown(site, request, alert) for alert in found if not models or alert.model in models]


def _shown(site: AdminSite, request: HttpRequest, alert: Alert) -> dict[str, Any]:
    model = _MODELS[alert.model]
    may = site.is_registered(model) and may_view(site, model, request)
    page = reverse(f"{site.name}:django_jobs_{alert.model}_changelist") if may else ""
    filters = f"?{urlencode(alert.filters)}" if alert.filters else ""
    return {
        "severity": alert.severity,
        "severity_label": SEVERITIES[alert.severity],
        "text": alert.text,
        "url": page + filters if may else "",
        "command": alert.command,
        "button": _button(alert, page) if may and _may_mend(request, alert) else None,
    }


def _may_mend(request: HttpRequest, alert: Alert) -> bool:
    permissions = {Remedy.RESUME: "pause_queue", Remedy.RUN_NOW: "run_schedule"}
    if alert.remedy is None:
        return False
    return request.user.has_perm(f"{Job._meta.app_label}.{permissions[alert.remedy]}")


def _button(alert: Alert, page: str) -> dict[str, Any]:
    """Return the label, the address and the values of the form of the remedy's button."""
    if alert.remedy == Remedy.RESUME:
        return {"label": _("Resume"), "url": page, "values": {"resume": alert.target}}
    values = {"action": "run_now", "_selected_action": alert.target, "index": "0"}
    return {"label": _("Run now"), "url": page, "values": values}


# --- the index ------------------------------------------------------------------------------------


def badge_index(site: AdminSite) -> None:
    """Show the number of alerts beside the dashboard's name on the index of *site*.

    Django has no hook for the name of a model on the index but the method that lists the apps.
    """
    listed = site.get_app_list
    if getattr(listed, "has_jobs_badge", False):
        return

    def get_app_list(request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps: list[Any] = listed(request, app_label)
        match = request.resolver_match
        if match is not None and match.url_name in _INDEXES:
            _mark_dashboard(apps)
        return apps

    get_app_list.has_jobs_badge = True  # type: ignore[attr-defined]
    site.get_app_list = get_app_list  # type: ignore[method-assign]


def _mark_dashboard(apps: list[Any]) -> None:
    for model in (model for app in apps for model in app["models"]):
        if model.get("model") is Dashboard and (number := _number()):
            label = ngettext("%d alert", "%d alerts", number) % number
            model["name"] = format_html("{} <strong>⚠ {}</strong>", model["name"], label)


def _number() -> int:
    using = get_settings().database
    savepoint = transaction.atomic(using) if connections[using].in_atomic_block else nullcontext()
    try:
        with savepoint:
            return len(alerts(overview(using)))
    except Error:  # the tables are not there yet, and the index has other apps
        return 0
