"""The rows of the list of queues, and the parts of one queue's page."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..display.times import duration
from ..metrics.flow import Flow, flows
from ..metrics.history import marks, statistics
from ..metrics.open_jobs import QueueState
from ..metrics.snapshot import overview, recent_statistics
from ..metrics.summaries import PERIODS, Activity
from ..status import Status
from .badges import elapsed, moment, paused_badge
from .chart_data import drawn, function_row, spark, windows


def queue_rows(using: str, site: AdminSite) -> list[dict[str, Any]]:
    """Return the cells of all queues as text; those with the most ready jobs first."""
    activities = {one.name: one for one in recent_statistics("24h", using).queues}
    flow = flows(using)
    states = sorted(overview(using).queues, key=busy_first)
    return [
        _row(state, activities.get(state.name), flow.get(state.name, Flow()), site)
        for state in states
    ]


def busy_first(state: QueueState) -> tuple[Any, ...]:
    """Return the key by which queues are sorted."""
    return state.is_idle, -int(state.ready), -state.running, -state.waiting, state.name


def _row(
    queue: QueueState, activity: Activity | None, flow: Flow, site: AdminSite
) -> dict[str, Any]:
    row, coded = queue.row, get_settings().queues.get(queue.name, {})
    limit = (row.concurrency if row else None) or coded.get("CONCURRENCY") or queue.slots
    rate = (row.rate_limit if row else "") or coded.get("RATE_LIMIT") or "–"
    return {
        "name": queue.name,
        "url": reverse(f"{site.name}:django_jobs_queue_page", args=[quote(queue.name)]),
        "row": row,
        "is_idle": queue.is_idle,
        "ready": str(queue.ready),
        "waiting": number_format(queue.waiting),
        "running": f"{number_format(queue.running)}/{number_format(limit)}",
        "timed": number_format(queue.timed),
        "oldest": elapsed(queue.oldest) if queue.oldest else "–",
        "flow": f"{_rate(flow.inflow)} / {_rate(flow.outflow)}",
        "empty": _time_to_empty(queue, flow),
        "rate_limit": str(rate),
        "failed": number_format(activity.failed if activity else 0),
        "sparkline": spark(activity),
        "badge": paused_badge() if queue.is_paused else "",
        "paused_since": moment(row.paused_at) if row else "",
        "paused_by": row.paused_by if row else "",
    }


def _rate(number: float) -> str:
    return number_format(round(number, 1 if number < 10 else 0), 1 if 0 < number < 10 else 0)


def _time_to_empty(queue: QueueState, flow: Flow) -> str:
    if not queue.ready:
        return "–"
    seconds = flow.seconds_to_empty(queue.ready)
    if seconds is None:
        return _("grows") if flow.inflow > flow.outflow else _("never")
    text = duration(datetime.timedelta(seconds=seconds))
    return f"> {text}" if queue.ready.capped else text


def queue_context(name: str, window: str, using: str, site: AdminSite) -> dict[str, Any]:
    """Return the context of a queue's page for a window of time."""
    window = window if window in PERIODS else "1h"
    numbers = statistics(window, using, queue=name)
    listed = reverse(f"{site.name}:django_jobs_job_changelist")

    def address(**filters: str) -> str:
        return f"{listed}?{urlencode({'queue': name, **filters})}"

    def ended(start: int, end: int) -> str:
        return address(ended=f"{start}-{end}")

    return {
        "windows": windows(window),
        "charts": drawn(numbers, ended, marks(numbers.period.seconds, using)),
        "functions": [
            {**function_row(one), "url": address(name=one.name)} for one in numbers.functions[:20]
        ],
        "statuses": [{"label": each.label, "url": address(status=each)} for each in Status],
    }
