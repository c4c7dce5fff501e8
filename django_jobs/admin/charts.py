"""Charts as SVG text: pure functions of their values.

They use classes and presentation attributes only. So a strict content security policy allows them,
and both themes of the admin colour them. Colour is never the only difference between series: bars
are hatched or hollow, lines are dashed, marks differ in shape, and each has a tooltip. The script
``charts.js`` shows the tooltips also by touch and by keyboard.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from .chart_axes import Line, apart

_WIDTH, _HEIGHT = 320, 130
# Margins for the values, on the left, and for the times, below.
_LEFT, _TOP, _BOTTOM = 36, 12, 18
_BASE = _HEIGHT - _BOTTOM
_PLOT = _BASE - _TOP
_DOT = 2

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
_GROUP: tuple[SafeString, SafeString] = mark_safe("<g>"), mark_safe("</g>")
_END_OF_LINK: SafeString = mark_safe("</a>")


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
class Frame:
    """A chart without its series: axes, texts, links, marks and the values of the period before."""

    #: The moment of each value, for its tooltip.
    times: Sequence[str]
    #: Some of their indexes, and the texts below the chart.
    ticks: Sequence[tuple[int, str]]
    #: Takes the greatest value; returns the gridlines, the last one at this value or above.
    axis: Callable[[float], Sequence[Line]]
    #: Writes a value for a tooltip.
    shown: Callable[[float], str]
    #: The text in the middle of a chart without values, and in the tooltips of moments without one.
    nothing: str
    #: The address of each moment's bar, if it leads to one.
    links: Sequence[str] = ()
    #: The values of the period before, for a faint line.
    past: Sequence[float | None] = ()
    #: Vertical lines: where they are, as an index with a fraction, and their texts.
    marks: Sequence[tuple[float, str]] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """One run: its *kind* (``success``, ``failure``, …) and its tooltip."""

    kind: str
    title: str


def bars(frame: Frame, series: Sequence[Series], label: str) -> SafeString:
    """Return a stacked bar of the *series* for each moment."""
    tops = [sum(_numbers(column)) for column in _columns(series)]
    scale = _Scale(frame, max([*tops, *_numbers(frame.past)], default=0))
    if not any(tops):
        return _empty(frame, scale, label)
    drawn = [_stack(column, series, index, scale) for index, column in enumerate(_columns(series))]
    return _chart(frame, scale, label, mark_safe(""), _hits(frame, series, scale, drawn))


def lines(frame: Frame, series: Sequence[Series], label: str) -> SafeString:
    """Return a line for each of the *series*, with a gap where a value is None."""
    values = [value for one in series for value in _numbers(one.values)]
    scale = _Scale(frame, max([*values, *_numbers(frame.past)], default=0))
    if not any(values):
        return _empty(frame, scale, label)
    paths = format_html_join(
        "\n",
        '<path class="jobs-line jobs-{}" d="{}"><title>{}</title></path>',
        ((one.kind, _path(one.values, scale), one.label) for one in series),
    )
    drawn = [mark_safe("")] * len(frame.times)
    return _chart(frame, scale, label, paths, _hits(frame, series, scale, drawn))


def sparkline(values: Sequence[float | None], label: str, top: float = 0) -> SafeString:
    """Return a line of *values* as small as a word, with a gap where a value is None.

    *top* is the value of its upper end, by default the greatest one.
    """
    if not any(values):
        return _NOTHING
    top, step = max(top, *_numbers(values)), _SPARK_WIDTH / max(len(values) - 1, 1)
    lines: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        y = _SPARK_HEIGHT - 1 - value / top * (_SPARK_HEIGHT - 2)
        lines[-1].append(f"{_n(index * step)},{_n(y)}")
    # A line to its own point is a dot.
    points = ((" ".join(one * 2 if len(one) == 1 else one),) for one in lines if one)
    return format_html(
        '<svg class="jobs-sparkline" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" '
        'height="{}"><title>{}</title>{}</svg>',
        label, _SPARK_WIDTH, _SPARK_HEIGHT, _SPARK_WIDTH, _SPARK_HEIGHT, label,
        format_html_join("", '<polyline points="{}"/>', points),
    )  # fmt: skip


def run_marks(marks: Sequence[Mark], label: str, room: int = 20) -> SafeString:
    """Return *marks*, the oldest first, right-aligned in the width of *room* marks."""
    if not marks:
        return _NOTHING
    first = max(0, room - len(marks))
    drawn = format_html_join(
        "\n",
        '<path class="jobs-run jobs-{}" d="{}" transform="translate({} 1)">'
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


class _Scale:
    """The places of values and moments in a chart."""

    def __init__(self, frame: Frame, top: float) -> None:
        self.grid = frame.axis(top) if top else []
        self._full = self.grid[-1][0] if self.grid else 1.0
        self.step = (_WIDTH - _LEFT) / max(len(frame.times), 1)

    def x(self, index: float) -> float:
        return _LEFT + index * self.step

    def y(self, value: float) -> float:
        return _BASE - self.height(value)

    def height(self, value: float) -> float:
        return value / self._full * _PLOT


def _chart(
    frame: Frame, scale: _Scale, label: str, below: SafeString, columns: SafeString
) -> SafeString:
    grid = format_html_join(
        "\n",
        '<path class="jobs-grid" d="M{} {}H{}"/><text class="jobs-axis-text" x="{}" y="{}" '
        'text-anchor="end">{}</text>',
        (
            (_LEFT, _n(scale.y(value)), _WIDTH, _LEFT - 4, _n(scale.y(value) + 4), text)
            for value, text in scale.grid
        ),
    )
    # The last text moves left, into the chart.
    places = ((min(scale.x(index + 0.5), _WIDTH - 16), text) for index, text in frame.ticks)
    ticks = format_html_join(
        "\n",
        '<text class="jobs-axis-text" x="{}" y="{}" text-anchor="middle">{}</text>',
        ((_n(x), _HEIGHT - 4, text) for x, text in apart(places)),
    )
    marks = format_html_join(
        "\n",
        '<g class="jobs-deploy"><path d="M{0} {1}V{2}"/><text class="jobs-axis-text" x="{0}" '
        'y="9" text-anchor="{3}">{4}</text></g>',
        (
            (_n(scale.x(index)), _TOP, _BASE, "end" if index > len(frame.times) / 2 else "start",
             text)
            for index, text in frame.marks
        ),
    )  # fmt: skip
    past = mark_safe("")
    if any(_numbers(frame.past)):
        past = format_html('<path class="jobs-past" d="{}"/>', _path(frame.past, scale))
    return format_html(
        '<svg class="jobs-chart" role="group" aria-label="{}" viewBox="0 0 {} {}">\n'
        '{}\n<path class="jobs-axis" d="M{} {}H{}"/>\n{}\n{}\n{}\n{}\n'
        '<g class="jobs-moments" aria-hidden="true">\n{}\n</g>\n</svg>',
        label, _WIDTH, _HEIGHT, grid, _LEFT, _BASE, _WIDTH, ticks, past, below, marks, columns,
    )  # fmt: skip


def _empty(frame: Frame, scale: _Scale, label: str) -> SafeString:
    middle = (_LEFT + _WIDTH) // 2
    note = format_html(
        '<text class="jobs-axis-text" x="{}" y="{}" text-anchor="middle">{}</text>',
        middle, _TOP + _PLOT // 2, frame.nothing,
    )  # fmt: skip
    return _chart(frame, scale, label, note, mark_safe(""))


def _hits(
    frame: Frame, series: Sequence[Series], scale: _Scale, drawn: Sequence[SafeString]
) -> SafeString:
    """Return the *drawn* shapes of each moment with a tooltip and a link.

    An invisible rectangle shows the tooltip wherever the pointer is.
    """
    rows = []
    for index, column in enumerate(_columns(series)):
        head, tail = _GROUP
        if frame.links and any(column):
            head = format_html('<a href="{}" tabindex="-1">', frame.links[index])
            tail = _END_OF_LINK
        tooltip = _tooltip(frame, index, series, column)
        rows.append((head, _n(scale.x(index)), drawn[index], tooltip, tail))
    # A page has hundreds of rectangles: the template holds the numbers that they share.
    place = f'y="{_TOP}" width="{_n(scale.step)}" height="{_PLOT}"'
    row = f'{{}}<rect class="jobs-hit" x="{{}}" {place}/>{{}}<title>{{}}</title>{{}}'
    return format_html_join("\n", row, rows)


def _stack(
    column: Sequence[float | None], series: Sequence[Series], index: int, scale: _Scale
) -> SafeString:
    foot, rows = float(_BASE), []
    for one, value in zip(series, column, strict=True):
        if value:
            # A single failure among thousands must be visible.
            height = max(1.5, scale.height(value))
            foot -= height
            x, width = scale.x(index) + scale.step * 0.1, scale.step * 0.8
            rows.append((one.kind, _n(x), _n(foot), _n(width), _n(height)))
    return format_html_join(
        "", '<rect class="jobs-bar jobs-{}" x="{}" y="{}" width="{}" height="{}"/>', rows
    )


def _path(values: Sequence[float | None], scale: _Scale) -> str:
    """Return a path through *values*. A value without neighbours is a dot."""
    parts = []
    for index, value in enumerate(values):
        if value is None:
            continue
        x, y = scale.x(index + 0.5), scale.y(value)
        if index and values[index - 1] is not None:
            parts.append(f"L{_n(x)} {_n(y)}")
        elif index + 1 < len(values) and values[index + 1] is not None:
            parts.append(f"M{_n(x)} {_n(y)}")
        else:
            half = f"a{_DOT} {_DOT} 0 0 1"
            parts.append(f"M{_n(x - _DOT)} {_n(y)}{half} {2 * _DOT} 0{half} -{2 * _DOT} 0")
    return "".join(parts)


def _tooltip(
    frame: Frame, index: int, series: Sequence[Series], column: Sequence[float | None]
) -> str:
    parts = [
        f"{one.label} {frame.shown(value)}"
        for one, value in zip(series, column, strict=True)
        if value is not None
    ]
    text = ", ".join(parts) if any(column) else frame.nothing
    return f"{frame.times[index]}: {text}"


def _columns(series: Sequence[Series]) -> Iterator[tuple[float | None, ...]]:
    return zip(*(one.values for one in series), strict=True)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _n(value: float) -> SafeString:
    # The template engine would localize it: 1,5 in German.
    return SafeString(f"{value:.1f}".removesuffix(".0"))
