"""The strip of alerts on the pages of the admin, and their number on its index."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db import Error, connections, transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..conf import get_settings
from ..display.alerts import SEVERITIES, Alert, Remedy, alerts
from ..display.times import Age
from ..metrics.snapshot import Overview, overview
from ..models import Dashboard, Job, Queue, Schedule, Worker
from .badges import elapsed, moment
from .base import may_view
from .operations import Permitted, may_operate
from .queue_buttons import RESUME
from .schedule_buttons import RUN_NOW

_MODELS = {"job": Job, "queue": Queue, "schedule": Schedule, "worker": Worker}
_REMEDIES: dict[Remedy | None, Permitted] = {Remedy.RESUME: RESUME, Remedy.RUN_NOW: RUN_NOW}
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
    operation = _REMEDIES.get(alert.remedy)
    may_mend = may and operation is not None and may_operate(site, model, request, operation)
    page = reverse(f"{site.name}:django_jobs_{alert.model}_changelist") if may else ""
    filters = f"?{urlencode(alert.filters)}" if alert.filters else ""
    return {
        "severity": alert.severity,
        "severity_label": SEVERITIES[alert.severity],
        "text": _text(alert),
        "url": page + filters if may else "",
        "command": alert.command,
        "button": _button(alert, page) if may_mend else None,
    }


def _text(alert: Alert) -> SafeString | str:
    """Return the text, with ages that the script keeps up to date."""
    if not alert.words:
        return alert.text
    shown = {name: conditional_escape(_shown_word(word)) for name, word in alert.words.items()}
    return mark_safe(escape(alert.message) % shown)  # noqa: S308 (each part is escaped)


def _shown_word(word: Any) -> Any:
    if not isinstance(word, Age):
        return word
    return elapsed(word.at) if word.is_duration else moment(word.at)


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
