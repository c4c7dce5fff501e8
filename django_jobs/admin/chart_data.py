"""Charts and table rows of a window of time, from measurements and never from the jobs."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Sequence
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..display.times import duration
from ..metrics.summaries import DAY, HOUR, PERIODS, Activity, Spread, Statistics
from . import chart_axes, charts

#: Takes two Unix times.
Link = Callable[[int, int], str]

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
    #: The legend of the faint line; empty without one.
    before: str

    @property
    def body(self) -> SafeString:
        """The rows of the table. A template takes thrice as long for its hundreds of cells."""
        cells = '<td class="jobs-number">{}</td>' * (len(self.heads) - 1)
        return format_html_join("", f'<tr><th scope="row">{{}}</th>{cells}</tr>', self.rows)


def drawn(
    numbers: Statistics, link: Link | None = None, marks: Sequence[tuple[float, str]] = ()
) -> list[Chart]:
    """Return the charts: the ended jobs, their wait and their run time.

    *link* returns the address of the jobs that ended between two Unix times. *marks* are Unix times
    and their texts.
    """
    points, period, before = numbers.points, numbers.period, _before(numbers.period.seconds)
    starts = [int(_unix(point.starts_at)) for point in points]
    frame = charts.Frame(
        times=[_time(point.starts_at, period.seconds) for point in points],
        ticks=chart_axes.times([point.starts_at for point in points], period.seconds),
        axis=chart_axes.counts,
        # Cached, as a tooltip and a cell of the table show each value.
        shown=functools.cache(number_format),
        nothing=_("nothing ran"),
        links=[link(start, start + period.step) for start in starts] if link else (),
        past=numbers.previous.ended,
        marks=[((at - starts[0]) / period.step, text) for at, text in marks if at >= starts[0]],
    )
    ended = [
        charts.Series("success", _("succeeded"), [point.succeeded for point in points]),
        charts.Series("failure", _("failed"), [point.failed for point in points]),
        charts.Series("retry", _("retried"), [point.retried for point in points]),
    ]
    titles = {HOUR: _("Jobs per minute"), DAY: _("Jobs per ten minutes")}
    title = titles.get(period.seconds, _("Jobs per hour"))
    times = dataclasses.replace(frame, axis=chart_axes.seconds, shown=functools.cache(seconds))
    waits = dataclasses.replace(times, past=numbers.previous.wait_p95)
    runs = dataclasses.replace(times, past=numbers.previous.run_p95)
    p95 = f"p95 {before}"
    return [
        chart("ended", title, frame, ended, charts.bars, before),
        _spreads("wait", _("Wait"), waits, [point.wait for point in points], p95),
        _spreads("run", _("Run time"), runs, [point.run for point in points], p95),
    ]


def windows(chosen: str) -> list[dict[str, Any]]:
    """Return the links to the windows of time."""
    labels = {"1h": _("1 h"), "24h": _("24 h"), "7d": _("7 d")}
    return [{"name": name, "label": labels[name], "selected": name == chosen} for name in PERIODS]


def change(now: float, before: float) -> str:
    """Return how a number differs from that of the period before, as ``▲ 12 %``; "" if it can't."""
    if not before:
        return ""
    part = (now - before) / before
    if abs(part) < 0.005:
        return "="
    return f"{'▲' if part > 0 else '▼'} {percent(abs(part))}"


def compared_with(window_seconds: int) -> str:
    """Return the text of the period that :func:`change` compares a window with."""
    return _("compared with %s") % _before(window_seconds)


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


def _spreads(
    key: str, title: str, frame: charts.Frame, spreads: Sequence[Spread], before: str
) -> Chart:
    series = [
        charts.Series("p50", "p50", [spread.p50 for spread in spreads]),
        charts.Series("p95", "p95", [spread.p95 for spread in spreads]),
        charts.Series("p99", "p99", [spread.p99 for spread in spreads]),
    ]
    return chart(key, title, frame, series, charts.lines, before)


def chart(
    key: str, title: str, frame: charts.Frame, series: Sequence[charts.Series], draw: Any,
    before: str,
) -> Chart:  # fmt: skip
    """Return the drawing of *draw* with its table; *before* is the legend of the faint line."""
    links = frame.links or [""] * len(frame.times)
    rows = [
        [_linked(time, link), *(_NONE if each is None else frame.shown(each) for each in values)]
        for time, link, *values in zip(
            frame.times, links, *(one.values for one in series), strict=True
        )
        if any(values)
    ]
    return Chart(
        key=key,
        title=title,
        svg=draw(frame, series, title),
        heads=[_("Time"), *(one.label for one in series)],
        rows=rows[::-1],
        legend=[(one.kind, one.label) for one in series],
        before=before if any(frame.past) else "",
    )


def _linked(time: str, link: str) -> str:
    return format_html('<a href="{}">{}</a>', link, time) if link else time


def _before(window_seconds: int) -> str:
    names = {HOUR: _("the hour before"), DAY: _("the day before")}
    return names.get(window_seconds, _("the week before"))


def _unix(moment: datetime.datetime) -> float:
    return (moment if timezone.is_aware(moment) else timezone.make_aware(moment)).timestamp()


def _time(moment: datetime.datetime, window_seconds: int) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return date_format(local, "H:i" if window_seconds <= DAY else "D H:i")
