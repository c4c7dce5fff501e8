"""Tables in reStructuredText, JSON and plots of the results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import plots
from .cases import FIRST, Case
from .race import Line, Result

HEADINGS = {
    "per_second": "per second",
    "enqueued_per_second": "enqueued per second",
    "of_ideal": "÷ ideal",
    "per_second_near": "beside the server",
    "of_near": "÷ beside",
    "per_second_empty": "in an empty table",
    "of_empty": "÷ empty",
    "per_second_alone": "without claims beside",
    "claim_p50_ms": "claim p50 ms",
    "claim_p99_ms": "claim p99 ms",
    "claim_p99_ms_before": "claim p99 ms before",
    "times_before": "÷ before",
    "worker_cpu_us": "worker CPU, µs a job",
    "server_cpu_us": "server CPU, µs a job",
    "seconds": "first claim to last end, s",
    "transactions_a_job": "transactions a job",
    "connections": "connections",
    "connections_a_process": "for each process",
    "p99_ms_first_tenth": "p99 ms, first tenth",
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "cpu_percent": "CPU, % of a core",
    "statements_per_second": "transactions/s",
    "rss_mb": "RSS, MB",
    "uss_mb": "USS, MB",
    "pss_mb": "Pss, MB a process",
    "above_django_mb": "RSS above Django's, MB",
}

_REFERENCES = {
    "bare": "bare SQL",
    "celery": "Celery",
    FIRST: "first line",
    "django_jobs": "django_jobs",
}


def table(result: Result) -> str:
    """Return one case as a table: the medians, and each line's figures ÷ those of others."""
    names = [name for name in HEADINGS if any(name in line.medians for line in result.lines)]
    compared = [each for each in _comparisons(result.case) if _has(result, *each)]
    several = len(result.case.compared) > 1
    heads = ["system", *(HEADINGS[name] for name in names)]
    for reference, figure in compared:
        what = f"{HEADINGS[figure].partition(',')[0].removesuffix(' ms')} " if several else ""
        heads.append(f"{what}÷ {_REFERENCES[reference]}")
    rows = [
        [
            line.contestant.label + (" FAILED" if line.failure else ""),
            *(number(line.medians.get(name)) for name in names),
            *(number(result.ratio(line, *each)) for each in compared),
        ]
        for line in result.lines
    ]
    return grid(heads, rows)


def _comparisons(case: Case) -> list[tuple[str, str]]:
    return [(reference, figure) for reference in case.references for figure in case.compared]


def _has(result: Result, reference: str, figure: str) -> bool:
    return any(result.ratio(line, reference, figure) is not None for line in result.lines)


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a reStructuredText "simple table"."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        rest = [cell.rjust(width) for cell, width in others]
        return "  ".join([first[0].ljust(first[1]), *rest]).rstrip()

    return "\n".join([rule, line(heads), rule, *map(line, rows), rule])


def number(value: float | None) -> str:
    """Return *value* with three digits, or with all digits before the point."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(
    folder: Path, machine: Sequence[str], left_out: Sequence[str], results: Sequence[Result]
) -> None:
    """Write ``results.rst``, ``results.json`` and the plots into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    text = ["Benchmarks", "==========", "", *(f"- {fact}" for fact in [*machine, *left_out])]
    for result in results:
        text += ["", result.case.title, "-" * len(result.case.title), "", table(result)]
        text += [f"\n{line.contestant.label} failed: {line.failure}" for line in result.failures]
    (folder / "results.rst").write_text("\n".join(text) + "\n", encoding="utf-8")
    found = {
        "machine": list(machine),
        "left_out": list(left_out),
        "cases": [data(result) for result in results],
    }
    (folder / "results.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    for result in results:
        if drawn := plot(result):
            (folder / f"{result.case.name}.svg").write_text(drawn, encoding="utf-8")


def plot(result: Result) -> str:
    """Return the curves of a case that has samples, else its bars."""
    has_samples = any(line.samples for line in result.lines)
    return (plots.curves if has_samples and not result.case.bars else plots.bars)(result)


def data(result: Result, *, runs: bool = True) -> dict[str, Any]:
    """Return a case as JSON values; without *runs*, only their medians."""
    return {
        "name": result.case.name,
        "title": result.case.title,
        "compared": list(result.case.compared),
        "lines": [
            {
                "label": line.contestant.label,
                "system": line.contestant.system,
                "server": line.contestant.server.kind,
                "workers": line.contestant.workers,
                "pool": str(line.contestant.pool),
                "jobs": line.jobs,
                "medians": line.medians,
                "ratios": _ratios(result, line),
                "runs": [_rounded(run) for run in line.runs if runs],
                "failure": line.failure,
            }
            for line in result.lines
        ],
    }


def _ratios(result: Result, line: Line) -> dict[str, dict[str, float | None]]:
    ratios: dict[str, dict[str, float | None]] = {}
    for reference, figure in _comparisons(result.case):
        ratios.setdefault(reference, {})[figure] = result.ratio(line, reference, figure)
    return ratios


def _rounded(run: dict[str, Any]) -> dict[str, Any]:
    samples = run.get("samples_ms")
    return run if samples is None else {**run, "samples_ms": [round(each, 3) for each in samples]}
