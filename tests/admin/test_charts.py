"""The charts: pure functions, so their SVG is compared as it is."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.admin.charts import Mark, Series, bars, lines, run_marks, sparkline

TIMES = ["10:00", "10:01", "10:02"]
DONE = Series("success", "succeeded", [8, 0, 4])
FAILED = Series("failure", "failed", [2, 0, 0])


def shown(value: float) -> str:
    return f"{value:g}"


def test_bars_golden() -> None:
    assert str(bars(TIMES, [DONE, FAILED], "Jobs", shown)) == (
        '<svg class="jobs-chart" role="img" aria-label="Jobs" viewBox="0 0 400 120">\n'
        '<line class="jobs-axis" x1="0" y1="102" x2="400" y2="102"/>\n'
        '<text class="jobs-axis-text" x="0" y="11">10</text>\n'
        '<text class="jobs-axis-text" x="0" y="116">10:00</text>\n'
        '<text class="jobs-axis-text" x="400" y="116" text-anchor="end">10:02</text>\n'
        "<g>"
        '<rect class="jobs-bar jobs-success" x="13.3" y="33.2" width="106.7" height="68.8"/>'
        '<rect class="jobs-bar jobs-failure" x="13.3" y="16" width="106.7" height="17.2"/>'
        "<title>10:00: succeeded 8, failed 2</title></g>\n"
        "<g>"
        '<rect class="jobs-bar jobs-success" x="280" y="67.6" width="106.7" height="34.4"/>'
        "<title>10:02: succeeded 4, failed 0</title></g>\n"
        "</svg>"
    )


def test_lines_golden() -> None:
    series = [Series("p50", "half below", [1, None, 2]), Series("p95", "most below", [4, None, 2])]
    assert str(lines(TIMES, series, "Waits", shown)) == (
        '<svg class="jobs-chart" role="img" aria-label="Waits" viewBox="0 0 400 120">\n'
        '<line class="jobs-axis" x1="0" y1="102" x2="400" y2="102"/>\n'
        '<text class="jobs-axis-text" x="0" y="11">4</text>\n'
        '<text class="jobs-axis-text" x="0" y="116">10:00</text>\n'
        '<text class="jobs-axis-text" x="400" y="116" text-anchor="end">10:02</text>\n'
        '<path class="jobs-line jobs-p50" d="M66.7 80.5h.1M333.3 59h.1">'
        "<title>half below</title></path>\n"
        '<path class="jobs-line jobs-p95" d="M66.7 16h.1M333.3 59h.1">'
        "<title>most below</title></path>\n"
        '<rect class="jobs-hit" x="0" y="0" width="133.3" height="120">'
        "<title>10:00: half below 1, most below 4</title></rect>\n"
        '<rect class="jobs-hit" x="266.7" y="0" width="133.3" height="120">'
        "<title>10:02: half below 2, most below 2</title></rect>\n"
        "</svg>"
    )


def test_sparkline_golden() -> None:
    assert str(sparkline([0, 5, 10], "Jobs a minute")) == (
        '<svg class="jobs-sparkline" role="img" aria-label="Jobs a minute" viewBox="0 0 100 20" '
        'width="100" height="20"><title>Jobs a minute</title>'
        '<polyline points="0,19 50,10 100,1"/></svg>'
    )


def test_run_marks_golden() -> None:
    marks = [Mark("success", "one"), Mark("strange", "two")]
    assert str(run_marks(marks, "Two runs", room=3)) == (
        '<svg class="jobs-runs" role="img" aria-label="Two runs" viewBox="0 0 24 20" width="24" '
        'height="20"><path class="jobs-run jobs-run-success" d="M0 0h6v18h-6z" '
        'transform="translate(9 1)"><title>one</title></path>\n'
        '<path class="jobs-run jobs-run-strange" d="M.5 .5h5v17h-5z" '
        'transform="translate(17 1)"><title>two</title></path></svg>'
    )


def test_charts_without_values_are_empty() -> None:
    assert str(sparkline([], "none")) == str(sparkline([0, 0], "none")) == "–"
    assert str(run_marks([], "none")) == "–"
    for chart in (bars, lines):
        for series in ([], [Series("success", "none", [0, 0, 0])]):
            svg = str(chart(TIMES, series, "Empty", shown))
            assert "<rect" not in svg
            assert "<path" not in svg


def test_texts_are_escaped() -> None:
    bad = '"><script>'
    drawn = [
        bars([bad], [Series("success", bad, [1])], bad, shown),
        lines([bad], [Series("p50", bad, [1])], bad, shown),
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
        svg = str(chart([str(place) for place in range(size)], series, "Any", shown))
        ElementTree.fromstring(svg)
        assert "style=" not in svg
        numbers = [float(text) for text in re.findall(r'(?:x|y|width|height)="([-\d.]+)"', svg)]
        # Even the smallest bar has a visible height.
        assert all(-4 <= number <= 400 for number in numbers)


@pytest.mark.parametrize("language", ["de", "zh-hans"])
def test_numbers_are_written_for_svg_in_every_language(language: str, settings: object) -> None:
    from django.utils import translation

    with translation.override(language):
        assert 'y="33.2"' in bars(TIMES, [DONE, FAILED], "Jobs", shown)
