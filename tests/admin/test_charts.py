"""The charts: pure functions, so their SVG is compared as it is."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.admin import chart_axes
from django_jobs.admin.charts import Frame, Mark, Series, bars, lines, run_marks, sparkline
from django_jobs.metrics.summaries import PERIODS

pytestmark = pytest.mark.once

TIMES = ["10:00", "10:01", "10:02"]
DONE = Series("success", "succeeded", [8, 0, 4])
FAILED = Series("failure", "failed", [2, 0, 0])


def shown(value: float) -> str:
    return f"{value:g}"


def framed(times: Sequence[str] = TIMES, **more: Any) -> Frame:
    given = {"ticks": [(1, "10:01")], "axis": chart_axes.counts, "shown": shown}
    return Frame(times=times, nothing="nothing ran", **(given | more))


FRAME = framed()
# Gridlines, the axis and the time below it.
AXES = (
    '<path class="jobs-grid" d="M36 {}H320"/><text class="jobs-axis-text" x="32" y="{}" '
    'text-anchor="end">{}</text>'
)
FOOT = (
    '<path class="jobs-axis" d="M36 112H320"/>\n'
    '<text class="jobs-axis-text" x="178" y="126" text-anchor="middle">10:01</text>\n'
)


def test_bars_golden() -> None:
    frame = framed(links=["a", "b", "c"], past=[2, None, 12], marks=[(1.5, "v2")])
    lines = [AXES.format(*one) for one in (("78.7", "82.7", 4), ("45.3", "49.3", 8), (12, 16, 12))]
    assert str(bars(frame, [DONE, FAILED], "Jobs")) == (
        '<svg class="jobs-chart" role="group" aria-label="Jobs" viewBox="0 0 320 130">\n'
        + "\n".join(lines)
        + f"\n{FOOT}"
        + '<path class="jobs-past" d="M81.3 95.3a2 2 0 0 1 4 0a2 2 0 0 1 -4 0'
        'M270.7 12a2 2 0 0 1 4 0a2 2 0 0 1 -4 0"/>\n\n'
        '<g class="jobs-deploy"><path d="M178 12V112"/><text class="jobs-axis-text" x="178" y="9" '
        'text-anchor="start">v2</text></g>\n'
        '<g class="jobs-moments" aria-hidden="true">\n'
        '<a href="a" tabindex="-1"><rect class="jobs-hit" x="36" y="12" width="94.7" height="100"/>'
        '<rect class="jobs-bar jobs-success" x="45.5" y="45.3" width="75.7" height="66.7"/>'
        '<rect class="jobs-bar jobs-failure" x="45.5" y="28.7" width="75.7" height="16.7"/>'
        "<title>10:00: succeeded 8, failed 2</title></a>\n"
        '<g><rect class="jobs-hit" x="130.7" y="12" width="94.7" height="100"/>'
        "<title>10:01: nothing ran</title></g>\n"
        '<a href="c" tabindex="-1"><rect class="jobs-hit" x="225.3" y="12" width="94.7" '
        'height="100"/>'
        '<rect class="jobs-bar jobs-success" x="234.8" y="78.7" width="75.7" height="33.3"/>'
        "<title>10:02: succeeded 4, failed 0</title></a>\n"
        "</g>\n</svg>"
    )


def test_lines_golden() -> None:
    series = [Series("p50", "half below", [1, None, 2]), Series("p95", "most below", [4, 3, None])]
    svg = str(lines(FRAME, series, "Waits"))
    assert (
        '<path class="jobs-line jobs-p50" d="M81.3 87a2 2 0 0 1 4 0a2 2 0 0 1 -4 0'
        'M270.7 62a2 2 0 0 1 4 0a2 2 0 0 1 -4 0"><title>half below</title></path>\n'
        '<path class="jobs-line jobs-p95" d="M83.3 12L178 37"><title>most below</title></path>\n'
    ) in svg
    assert "<title>10:01: most below 3</title>" in svg
    assert "jobs-past" not in svg


@pytest.mark.parametrize(
    ("axis", "top", "texts"),
    [
        (chart_axes.counts, 1, "1"),
        (chart_axes.counts, 2, "1 2"),
        (chart_axes.counts, 3, "1 2 3"),
        (chart_axes.counts, 74, "20 40 60 80"),
        (chart_axes.counts, 45, "20 40 60"),
        (chart_axes.counts, 100, "25 50 75 100"),
        (chart_axes.counts, 74_000, "20k 40k 60k 80k"),
        (chart_axes.counts, 5e6, "2M 4M 6M"),
        (chart_axes.seconds, 0.0412, "20_ms 40_ms 60_ms"),
        (chart_axes.seconds, 4.7, "2_s 4_s 6_s"),
        (chart_axes.seconds, 9, "2.5_s 5_s 7.5_s 10_s"),
        (chart_axes.seconds, 100, "30_s 1_min 90_s 2_min"),
        (chart_axes.seconds, 4000, "30_min 1_h 90_min"),
        (chart_axes.seconds, 90_000, "12_h 1_d 36_h"),
    ],
)
def test_gridlines_are_three_or_four_round_numbers(axis: Any, top: float, texts: str) -> None:
    assert " ".join(text.replace(" ", "_") for _value, text in axis(top)) == texts


@pytest.mark.parametrize(
    ("zone", "period", "texts"),
    [
        ("UTC", "1h", "21:00 21:10 21:20 21:30 21:40 21:50"),
        ("UTC", "24h", "00:00 04:00 08:00 12:00 16:00 20:00"),
        ("Asia/Kolkata", "24h", "04:00 08:00 12:00 16:00 20:00 00:00"),
        ("UTC", "7d", "Sun_22 Tue_24 Thu_26 Sat_28"),
    ],
)
def test_times_below_a_chart_are_round(zone: str, period: str, texts: str) -> None:
    wanted = PERIODS[period]
    last = datetime.datetime(2026, 11, 28, 21, 50, tzinfo=datetime.UTC)
    last -= datetime.timedelta(seconds=last.timestamp() % wanted.step)
    steps = range(wanted.seconds // wanted.step)
    moments = [last - datetime.timedelta(seconds=wanted.step * back) for back in steps[::-1]]
    with timezone.override(zone):
        ticks = chart_axes.times(moments, wanted.seconds)
    assert " ".join(text.replace(" ", "_") for _index, text in ticks) == texts
    assert 4 <= len(ticks) <= 6


@pytest.mark.parametrize(("last", "shown"), [(55, ["20:50", "21:00"]), (59, ["20:50"])])
def test_times_below_a_chart_do_not_touch(last: int, shown: list[str]) -> None:
    frame = Frame(
        times=[""] * 60, ticks=[(last - 10, "20:50"), (last, "21:00")], axis=chart_axes.counts,
        shown=str, nothing="",
    )  # fmt: skip
    drawn = str(bars(frame, [Series("success", "done", [1] * 60)], "Jobs"))
    assert re.findall(r">(2\d:\d\d)<", drawn) == shown


def test_sparkline_golden() -> None:
    assert str(sparkline([0, 5, 10], "Jobs a minute")) == (
        '<svg class="jobs-sparkline" role="img" aria-label="Jobs a minute" viewBox="0 0 100 20" '
        'width="100" height="20"><title>Jobs a minute</title>'
        '<polyline points="0,19 50,10 100,1"/></svg>'
    )


def test_sparkline_has_gaps_dots_and_a_fixed_scale() -> None:
    drawn = str(sparkline([5, None, 5, 10, None], "Slots", top=20))
    assert re.findall(r'points="([^"]*)"', drawn) == ["0,14.5 0,14.5", "50,14.5 75,10"]


def test_run_marks_golden() -> None:
    marks = [Mark("success", "one"), Mark("strange", "two")]
    assert str(run_marks(marks, "Two runs", room=3)) == (
        '<svg class="jobs-runs" role="img" aria-label="Two runs" viewBox="0 0 24 20" width="24" '
        'height="20"><path class="jobs-run jobs-success" d="M0 0h6v18h-6z" '
        'transform="translate(9 1)"><title>one</title></path>\n'
        '<path class="jobs-run jobs-strange" d="M.5 .5h5v17h-5z" '
        'transform="translate(17 1)"><title>two</title></path></svg>'
    )


def test_charts_without_values_are_empty() -> None:
    assert str(sparkline([], "none")) == str(sparkline([0, 0], "none")) == "–"
    assert str(run_marks([], "none")) == "–"
    for chart in (bars, lines):
        for series in ([], [Series("success", "none", [0, 0, 0])]):
            svg = str(chart(FRAME, series, "Empty"))
            assert "<rect" not in svg
            assert "jobs-grid" not in svg
            assert ">nothing ran</text>" in svg


def test_texts_are_escaped() -> None:
    bad = '"><script>'
    drawn = [
        bars(framed([bad], links=[bad]), [Series("success", bad, [1])], bad),
        lines(framed([bad], marks=[(0, bad)]), [Series("p50", bad, [1])], bad),
        sparkline([1], bad),
        run_marks([Mark("success", bad)], bad),
    ]
    for svg in drawn:
        assert "<script" not in svg
        ElementTree.fromstring(svg)


VALUES = st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=80)


@given(first=VALUES, second=VALUES)
@settings(max_examples=60, derandomize=True)
def test_every_chart_is_well_formed_and_stays_inside(
    first: list[float | None], second: list[float | None]
) -> None:
    size = min(len(first), len(second))
    series = [Series("success", "a", first[:size]), Series("failure", "b", second[:size])]
    for chart in (bars, lines):
        frame = framed([str(place) for place in range(size)], past=first[:size])
        svg = str(chart(frame, series, "Any"))
        ElementTree.fromstring(svg)
        assert "style=" not in svg
        numbers = [float(text) for text in re.findall(r'(?:x|y|width|height)="([-\d.]+)"', svg)]
        # Even the smallest bar has a visible height.
        assert all(-4 <= number <= 400 for number in numbers)


@pytest.mark.parametrize("language", ["de", "zh-hans"])
def test_numbers_are_written_for_svg_in_every_language(language: str, settings: object) -> None:
    from django.utils import translation

    with translation.override(language):
        assert 'y="45.3"' in bars(FRAME, [DONE, FAILED], "Jobs")
