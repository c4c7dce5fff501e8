"""SVG plots: bars of throughput, curves of the distribution of latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from .race import Line, Result

_WIDTH, _LEFT, _RIGHT, _TOP = 860, 230, 120, 56
_COLORS = {"bare": "#8d99ae", "django_jobs": "#0b7a4b", "celery": "#c8553d"}
_OTHERS = "#5b7aa8"
_CURVE_HEIGHT = 360
_POINTS = 300


def bars(result: Result) -> str:
    """Return a bar for each line's result, or an empty text without results."""
    lines = [line for line in result.lines if result.case.figure in line.medians]
    if not lines:
        return ""
    longest = max(line.medians[result.case.figure] for line in lines) or 1.0
    parts = []
    for index, line in enumerate(lines):
        value, y = line.medians[result.case.figure], _TOP + index * 30
        length = (_WIDTH - _LEFT - _RIGHT) * value / longest
        parts += [
            _text(_LEFT - 8, y + 15, line.contestant.label, anchor="end"),
            _rectangle(_LEFT, y, max(1, length), 20, _color(line)),
            _text(_LEFT + length + 6, y + 15, f"{value:,.0f}" if value >= 10 else f"{value:.2f}"),
        ]
    return _svg(result.case.title, _TOP + len(lines) * 30 + 16, parts)


def curves(result: Result) -> str:
    """Return the share of jobs that started within a time, on a logarithmic axis."""
    lines = [line for line in result.lines if line.samples]
    if not lines:
        return ""
    low = math.floor(math.log10(max(0.01, min(line.samples[0] for line in lines))))
    high = math.ceil(math.log10(max(0.1, *(line.samples[-1] for line in lines))))
    left, width = 60, _WIDTH - 60 - 230

    def across(milliseconds: float) -> float:
        return left + width * (math.log10(max(0.01, milliseconds)) - low) / (high - low)

    def down(share: float) -> float:
        return _TOP + _CURVE_HEIGHT * (1 - share)

    parts = []
    for power in range(low, high + 1):
        x = across(10**power)
        parts += [
            _rule(x, down(1), x, down(0)),
            _text(x, down(0) + 18, f"{10**power:g} ms", "middle"),
        ]
    for share in (0, 0.25, 0.5, 0.75, 0.95, 1):
        parts += [
            _rule(left, down(share), left + width, down(share)),
            _text(left - 6, down(share) + 4, f"{share:.0%}", "end"),
        ]
    for index, line in enumerate(lines):
        y = _TOP + 14 + index * 22
        parts += [
            _curve(line, [(across(ms), down(share)) for ms, share in _steps(line.samples)]),
            _rule(left + width + 14, y - 4, left + width + 34, y - 4, _stroke(line)),
            _text(left + width + 40, y, line.contestant.label),
        ]
    return _svg(result.case.title, int(down(0)) + 36, parts)


def _steps(samples: Sequence[float]) -> list[tuple[float, float]]:
    """Return the points of a curve: of many samples every second, third … and the last."""
    steps = [(value, (index + 1) / len(samples)) for index, value in enumerate(samples)]
    each = len(steps) // _POINTS + 1
    return [*steps[:-1:each], steps[-1]]


def _curve(line: Line, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline fill="none" points="{path}" {_stroke(line)}/>'


def _stroke(line: Line) -> str:
    dash = {"mysql": ' stroke-dasharray="7 3"', "sqlite": ' stroke-dasharray="2 3"'}
    return f'stroke="{_color(line)}" stroke-width="2"{dash.get(line.contestant.server.kind, "")}'


def _color(line: Line) -> str:
    return _COLORS.get(line.contestant.system, _OTHERS)


def _rule(x1: float, y1: float, x2: float, y2: float, stroke: str = 'stroke="#ddd"') -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {stroke}/>'


def _rectangle(x: float, y: float, width: float, height: float, color: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">'
    )
    heading = f'<text x="16" y="28" font-size="16" font-weight="600">{escape(title)}</text>'
    ground = _rectangle(0, 0, _WIDTH, height, "#fff")
    return "\n".join([head, ground, heading, *parts, "</svg>\n"])
