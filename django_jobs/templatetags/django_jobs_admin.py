"""Template tags for the pages of the admin."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import django
from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ..admin.alert_strip import shown_alerts
from ..conf import get_settings
from ..metrics.snapshot import earlier_overview

register = template.Library()


@register.simple_tag
def age_texts() -> str:
    """Return as JSON how the script writes ages and durations, and this host's time in seconds.

    They are the texts of :mod:`django_jobs.display.times`.
    """
    texts = {
        "now": _("now"), "ago": _("%s ago"), "in": _("in %s"),
        "ages": [[86_400, _("%d d")], [3600, _("%d h")], [60, _("%d min")], [1, _("%d s")]],
        "durations": [
            [86_400, 3600, _("%(days)d d %(hours)d h")],
            [3600, 60, _("%(hours)d h %(minutes)d min")],
            [60, 1, _("%(minutes)d min %(seconds)d s")],
            [0, 1, _("%d s")],
        ],
        "at": time.time(),
    }  # fmt: skip
    return json.dumps(texts, ensure_ascii=False)


@register.simple_tag(takes_context=True)
def breadcrumbs(context: Any) -> SafeString:
    """Return the way from the index to the page, over the app and the list of the model."""
    site, opts, title = context["request"].current_app or "admin", context["opts"], context["title"]
    label = opts.app_label
    steps = [
        (reverse(f"{site}:index"), _("Home")),
        (reverse(f"{site}:app_list", args=[label]), opts.app_config.verbose_name),
    ]
    if title != (name := capfirst(opts.verbose_name_plural)):
        steps.append((reverse(f"{site}:{label}_{opts.model_name}_changelist"), name))
    if django.VERSION >= (6, 1):
        links = format_html_join("", '<li><a href="{}">{}</a></li>', steps)
        last = format_html('<li aria-current="page">{}</li>', title)
        return format_html('<ol class="breadcrumbs">{}{}</ol>', links, last)
    links = format_html_join(" › ", '<a href="{}">{}</a>', steps)
    return format_html('<div class="breadcrumbs">{} › {}</div>', links, title)


@register.inclusion_tag("admin/django_jobs/alerts.html", takes_context=True)
def jobs_alerts(context: template.Context) -> dict[str, Any]:
    """Show the alerts, of the list's own model only unless it is the list of jobs."""
    request, site = context["request"], context["cl"].model_admin.admin_site
    model = context["cl"].opts.model_name
    chosen = () if model == "job" else (model,)
    snapshot = earlier_overview(get_settings().database, model)
    return {
        "alerts": shown_alerts(site, request, snapshot, *chosen),
        "request": request,
        "csrf_token": context.get("csrf_token"),
    }


@register.inclusion_tag("admin/django_jobs/keys.html", takes_context=True)
def jobs_keys(context: template.Context) -> dict[str, Any]:
    """Show the help of the keys, and the pages that they lead to, in an element for the script."""
    site = getattr(context["request"], "current_app", None) or "admin"
    pages = {"d": "dashboard", "j": "job", "q": "queue"}
    found = []
    for key, model in pages.items():
        with suppress(NoReverseMatch):  # a project may have unregistered it
            found.append((key, reverse(f"{site}:django_jobs_{model}_changelist")))
    return {"keys_pages": found}
