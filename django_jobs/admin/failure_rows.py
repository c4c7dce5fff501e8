"""The rows of failures on the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..display.failure_groups import FailureGroup, failure_groups
from ..display.job_text import short_class
from ..models.histogram import OTHERS
from ..status import Status
from .badges import moment
from .chart_data import percent
from .charts import sparkline

_FAILURES_SHOWN, _MOST_FAILURES = 10, 100


def failure_rows(
    using: str, most: bool, jobs: Callable[..., str], page: Callable[[UUID], str]
) -> dict[str, Any]:
    """Return the rows of the first groups of failures, and the number of those that *most* adds.

    *jobs* returns the address of the job list with filters, *page* that of a job.
    """
    found = failure_groups(using)
    every = sum(group.day for group in found.groups)
    groups = found.groups[:_MOST_FAILURES]
    shown = groups if most else groups[:_FAILURES_SHOWN]
    rows = [_row(group, every, found.is_capped, jobs, page) for group in shown]
    return {"failures": rows, "failures_left": len(groups) - len(shown)}


def _row(
    group: FailureGroup, every: int, is_capped: bool, jobs: Callable[..., str],
    page: Callable[[UUID], str],
) -> dict[str, Any]:  # fmt: skip
    """Return the cells of a group.

    *every* is the number of all failures of the day. With *is_capped* not all failed jobs were
    counted.
    """
    filters = {"status": Status.FAILURE, "name": group.name}
    if group.error_class not in ("", OTHERS):
        filters["error"] = group.error_class
    return {
        "name": group.name,
        "error": short_class(group.error_class) if group.error_class else _("revoked"),
        "hour": number_format(group.hour),
        "day": number_format(group.day),
        "week": number_format(group.week),
        "share": percent(group.day / every) if every else "–",
        "sparkline": sparkline(
            group.by_step,
            ngettext("%s failure in 7 days", "%s failures in 7 days", group.week)
            % number_format(group.week),
        ),
        "first_seen": moment(group.first_seen),
        "last_seen": moment(group.last_seen),
        "consequences": _consequences(group.consequences),
        "sample": page(group.sample) if group.sample else "",
        "url": jobs(**filters),
        "left": f"{number_format(group.left)}{'+' if is_capped else ''}",
        "is_retriable": group.left > 0 or is_capped,
    }


def _consequences(number: int) -> str:
    text = ngettext("%s failed with it", "%s failed with them", number)
    return text % number_format(number) if number else ""
