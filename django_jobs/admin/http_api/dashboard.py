"""The dashboard as JSON. A user gets the parts whose pages the user may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from ...conf import get_settings
from ...display import json_rows
from ...display.alerts import alerts
from ...display.failure_groups import failure_groups
from ...metrics.snapshot import Overview, overview, recent_statistics
from ...metrics.summaries import PERIODS
from ...models import Job, Queue, Schedule, Worker
from ..base import may_view
from .pages import JsonPagesMixin
from .requests import Refused


class DashboardJsonMixin(JsonPagesMixin):
    def json_list(self, request: HttpRequest) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        window = request.GET.get("window") or "1h"
        if window not in PERIODS:
            raise Refused(400, f"window must be one of {', '.join(PERIODS)}")
        using = get_settings().database
        snapshot, numbers = overview(using), recent_statistics(window, using)
        parts: dict[str, tuple[Any, Callable[[], Any]]] = {
            "queues": (Queue, lambda: _queues(snapshot)),
            "failures": (Job, lambda: _failures(using)),
            "workers": (Worker, lambda: _workers(snapshot, using)),
            "schedules": (Schedule, lambda: [*map(json_rows.schedule, snapshot.schedules)]),
        }
        return {
            "at": snapshot.at,
            "statuses": {
                status.value: json_rows.counted(count)
                for status, count in snapshot.statuses.items()
            },
            "slots": snapshot.slots,
            "lacks_beat": snapshot.lacks_beat,
            "alerts": [each.text for each in alerts(snapshot)],
            "waiting": {
                kind.value: json_rows.counted(count) for kind, count in snapshot.waiting.items()
            },
            "statistics": json_rows.statistics(numbers),
            **{
                name: part() if may_view(self.admin_site, model, request) else None
                for name, (model, part) in parts.items()
            },
        }


def _workers(snapshot: Overview, using: str) -> list[dict[str, Any]]:
    # The snapshot's rows lack some columns.
    rows = Worker.objects.using(using).in_bulk([one.pk for one in snapshot.workers])
    return [json_rows.worker(rows[one.pk]) for one in snapshot.workers if one.pk in rows]


def _failures(using: str) -> list[dict[str, Any]]:
    return [json_rows.failure_group(each) for each in failure_groups(using).groups]


def _queues(snapshot: Overview) -> list[dict[str, Any]]:
    return [json_rows.queue(state, snapshot.executing) for state in snapshot.queues]
