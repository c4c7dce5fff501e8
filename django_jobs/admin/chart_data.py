"""Charts and table rows of a window of time, from measurements and never from the jobs."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..display.times import duration
from ..metrics.summaries import DAY, HOUR, Activity, Spread, Statistics
from . import charts

_FUNCTIONS_SHOWN = 10
_NONE = "–"


@dataclasses.dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and the same numbers as a table."""

    key: str
    title: str
    svg: SafeString
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    #: The class and the label of each line or bar, in the order of the heads.
    legend: Sequence[tuple[str, str]]


def drawn(numbers: Statistics) -> list[Chart]:
    """Return the charts: the ended jobs, their wait and their run time."""
    points = numbers.points
    times = [_time(point.starts_at, numbers.period.seconds) for point in points]
    ended = [
        charts.Series("success", _("succeeded"), [point.succeeded for point in points]),
        charts.Series("failure", _("failed"), [point.failed for point in points]),
        charts.Series("retry", _("retried"), [point.retried for point in points]),
    ]
    titles = {HOUR: _("Jobs per minute"), DAY: _("Jobs per ten minutes")}
    title = titles.get(numbers.period.seconds, _("Jobs per hour"))
    return [
        _chart("ended", title, times, ended, charts.bars, number_format),
        _spreads("wait", _("Wait"), times, [point.wait for point in points]),
        _spreads("run", _("Run time"), times, [point.run for point in points]),
    ]


def busiest(numbers: Statistics) -> list[dict[str, Any]]:
    """Return the rows of the job functions with the most run time."""
    return [function_row(one) for one in numbers.functions[:_FUNCTIONS_SHOWN]]


def function_row(activity: Activity) -> dict[str, Any]:
    """Return the statistics of a job function in a window, as text."""
    return {
        "name": activity.name,
        "runs": number_format(activity.started),
        "failed": share(activity),
        "wait_p95": seconds(activity.wait.p95),
        "run_p50": seconds(activity.run.p50),
        "run_p95": seconds(activity.run.p95),
        "longest": seconds(activity.run.longest),
        "total": seconds(activity.run_seconds),
        "sparkline": spark(activity),
    }


def spark(activity: Activity | None) -> SafeString | str:
    """Return a sparkline of the ended jobs per step."""
    if activity is None:
        return _NONE
    ended = sum(activity.ended_by_step)
    label = ngettext("%s job ended", "%s jobs ended", ended) % number_format(ended)
    return charts.sparkline(activity.ended_by_step, label)


def share(activity: Activity) -> str:
    """Return the share of failed jobs, as ``0.4 %``."""
    return percent(activity.failed_share)


def percent(part: float) -> str:
    """Return a share of 0 to 1, as ``0.4 %``."""
    value = 100 * part
    digits = 1 if 0 < value < 10 else 0
    # number_format truncates, so the value is rounded first.
    return f"{number_format(round(value, digits), digits)} %"


def seconds(value: float | None) -> str:
    return _NONE if value is None else duration(datetime.timedelta(seconds=value))


def _spreads(key: str, title: str, times: Sequence[str], spreads: Sequence[Spread]) -> Chart:
    series = [
        charts.Series("p50", "p50", [spread.p50 for spread in spreads]),
        charts.Series("p95", "p95", [spread.p95 for spread in spreads]),
        charts.Series("p99", "p99", [spread.p99 for spread in spreads]),
    ]
    return _chart(key, title, times, series, charts.lines, seconds)


def _chart(
    key: str, title: str, times: Sequence[str], series: Sequence[charts.Series], draw: Any,
    shown: Any,
) -> Chart:  # fmt: skip
    rows = [
        [time, *(_NONE if value is None else shown(value) for value in values)]
        for time, *values in zip(times, *(one.values for one in series), strict=True)
        if any(values)
    ]
    return Chart(
        key=key,
        title=title,
        svg=draw(times, series, title, shown),
        heads=[_("Time"), *(one.label for one in series)],
        rows=rows[::-1],
        legend=[(one.kind, one.label) for one in series],
    )


def _time(moment: datetime.datetime, window_seconds: int) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return date_format(local, "H:i" if window_seconds <= DAY else "D H:i")
