"""Charts as SVG text: pure functions of their values.

They use classes and presentation attributes only. So a strict content security policy allows them,
and both themes of the admin colour them. Colour is never the only difference between series: bars
are hatched or hollow, lines are dashed, marks differ in shape, and each has a tooltip.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

_WIDTH, _HEIGHT = 400, 120
# Margins for the highest value, above, and for the times, below.
_TOP, _BOTTOM = 16, 18
_PLOT = _HEIGHT - _TOP - _BOTTOM

_SPARK_WIDTH, _SPARK_HEIGHT = 100, 20
_MARK_STEP, _MARK_HEIGHT = 8, 18

# The path of each kind of mark, in a box of 6 × 18: full, crossed out, half; else hollow.
_SHAPES = {
    "success": "M0 0h6v18h-6z",
    "failure": "M0 0h6v18h-6zM0 18L6 0M0 0L6 18",
    "revoked": "M0 12h6v6h-6z",
}
_HOLLOW = "M.5 .5h5v17h-5z"
_NOTHING: SafeString = mark_safe("–")


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """One value per moment, or None.

    *kind* is a class of ``admin.css``: ``success``, ``failure``, ``retry``, ``p50``,
    ``p95`` or ``p99``.
    """

    kind: str
    label: str
    values: Sequence[float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """One run: its *kind* (``success``, ``failure``, …) and its tooltip."""

    kind: str
    title: str


def bars(
    times: Sequence[str], series: Sequence[Series], label: str, shown: Callable[[float], str]
) -> SafeString:
    """Return a stacked bar of the *series* for each of *times*."""
    top = max((sum(_numbers(column)) for column in _columns(series)), default=0)
    if not top:
        return _chart(label, times, "", mark_safe(""))
    step = _WIDTH / len(times)
    drawn = format_html_join(
        "\n",
        "<g>{}<title>{}</title></g>",
        (
            (_stack(column, series, index * step, step, top), _tooltip(time, series, column, shown))
            for index, (time, column) in enumerate(zip(times, _columns(series), strict=True))
            if any(column)
        ),
    )
    return _chart(label, times, shown(top), drawn)


def lines(
    times: Sequence[str], series: Sequence[Series], label: str, shown: Callable[[float], str]
) -> SafeString:
    """Return a line for each of the *series*, with a gap where a value is None."""
    top = max((value for one in series for value in _numbers(one.values)), default=0)
    if not top:
        return _chart(label, times, "", mark_safe(""))
    step = _WIDTH / len(times)
    paths = format_html_join(
        "\n",
        '<path class="jobs-line jobs-{}" d="{}"><title>{}</title></path>',
        ((one.kind, _path(one.values, step, top), one.label) for one in series),
    )
    # Invisible columns over the lines show a tooltip wherever the pointer is.
    columns = format_html_join(
        "\n",
        '<rect class="jobs-hit" x="{}" y="0" width="{}" height="{}"><title>{}</title></rect>',
        (
            (_n(index * step), _n(step), _HEIGHT, _tooltip(time, series, column, shown))
            for index, (time, column) in enumerate(zip(times, _columns(series), strict=True))
            if any(value is not None for value in column)
        ),
    )
    return _chart(label, times, shown(top), format_html("{}\n{}", paths, columns))


def sparkline(values: Sequence[float], label: str) -> SafeString:
    """Return a line of *values* as small as a word."""
    if not any(values):
        return _NOTHING
    top, step = max(values), _SPARK_WIDTH / max(len(values) - 1, 1)
    points = " ".join(
        f"{_n(index * step)},{_n(_SPARK_HEIGHT - 1 - value / top * (_SPARK_HEIGHT - 2))}"
        for index, value in enumerate(values)
    )
    return format_html(
        '<svg class="jobs-sparkline" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" '
        'height="{}"><title>{}</title><polyline points="{}"/></svg>',
        label, _SPARK_WIDTH, _SPARK_HEIGHT, _SPARK_WIDTH, _SPARK_HEIGHT, label, points,
    )  # fmt: skip


def run_marks(marks: Sequence[Mark], label: str, room: int = 20) -> SafeString:
    """Return *marks*, the oldest first, right-aligned in the width of *room* marks."""
    if not marks:
        return _NOTHING
    first = max(0, room - len(marks))
    drawn = format_html_join(
        "\n",
        '<path class="jobs-run jobs-run-{}" d="{}" transform="translate({} 1)">'
        "<title>{}</title></path>",
        (
            (mark.kind, _SHAPES.get(mark.kind, _HOLLOW), (first + index) * _MARK_STEP + 1,
             mark.title)
            for index, mark in enumerate(marks)
        ),
    )  # fmt: skip
    width = max(room, len(marks)) * _MARK_STEP
    return format_html(
        '<svg class="jobs-runs" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" '
        'height="{}">{}</svg>',
        label, width, _MARK_HEIGHT + 2, width, _MARK_HEIGHT + 2, drawn,
    )  # fmt: skip


def _chart(label: str, times: Sequence[str], highest: str, drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="jobs-chart" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">\n'
        '<line class="jobs-axis" x1="0" y1="{base}" x2="{width}" y2="{base}"/>\n'
        '<text class="jobs-axis-text" x="0" y="11">{highest}</text>\n'
        '<text class="jobs-axis-text" x="0" y="{foot}">{first}</text>\n'
        '<text class="jobs-axis-text" x="{width}" y="{foot}" text-anchor="end">{last}</text>\n'
        "{drawn}\n</svg>",
        label=label,
        width=_WIDTH,
        height=_HEIGHT,
        base=_HEIGHT - _BOTTOM,
        foot=_HEIGHT - 4,
        highest=highest,
        first=times[0] if times else "",
        last=times[-1] if times else "",
        drawn=drawn,
    )


def _stack(
    column: Sequence[float | None], series: Sequence[Series], x: float, step: float, top: float
) -> SafeString:
    foot, rows = float(_HEIGHT - _BOTTOM), []
    for one, value in zip(series, column, strict=True):
        if value:
            # A single failure among thousands must be visible.
            height = max(1.5, value / top * _PLOT)
            foot -= height
            rows.append((one.kind, _n(x + step * 0.1), _n(foot), _n(step * 0.8), _n(height)))
    return format_html_join(
        "", '<rect class="jobs-bar jobs-{}" x="{}" y="{}" width="{}" height="{}"/>', rows
    )


def _path(values: Sequence[float | None], step: float, top: float) -> str:
    parts, drawing = [], False
    for index, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        x, y = _n((index + 0.5) * step), _n(_HEIGHT - _BOTTOM - value / top * _PLOT)
        parts.append(f"L{x} {y}" if drawing else f"M{x} {y}h.1")
        drawing = True
    return "".join(parts)


def _tooltip(
    time: str, series: Sequence[Series], column: Sequence[float | None],
    shown: Callable[[float], str],
) -> str:  # fmt: skip
    parts = [
        f"{one.label} {shown(value)}"
        for one, value in zip(series, column, strict=True)
        if value is not None
    ]
    return f"{time}: {', '.join(parts)}"


def _columns(series: Sequence[Series]) -> Iterator[tuple[float | None, ...]]:
    return zip(*(one.values for one in series), strict=True)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _n(value: float) -> str:
    # The template engine would localize it: 1,5 in German.
    return f"{value:.1f}".removesuffix(".0")
