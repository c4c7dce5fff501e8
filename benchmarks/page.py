"""The figures of the documentation: ``docs/measured/``, which ``docs/benchmarks.rst`` includes.

A run replaces the cases that it measured. The others stay, with the day and machine of their run.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import report
from .arena import ROOT
from .cases import CASES
from .peer_race import CASE as PEERS
from .race import Result

FOLDER = ROOT / "docs" / "measured"
_ORDER = [case.name for case in (*CASES, PEERS)]
_INDENT = "   "

Measured = dict[str, dict[str, Any]]


def write(
    folder: Path, machine: Sequence[str], left_out: Sequence[str], results: Sequence[Result]
) -> None:
    """Merge *results* into the figures of *folder*, and write what the page includes."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "cases.json"
    measured: Measured = json.loads(store.read_text()) if store.exists() else {}
    for result in results:
        measured[result.case.name] = {
            **report.data(result, runs=False),
            "day": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "machine": list(machine),
            "left_out": list(left_out),
            "table": report.table(result),
        }
        if drawn := report.plot(result):
            (folder / f"{result.case.name}.svg").write_text(drawn, encoding="utf-8")
    measured = {name: measured[name] for name in _ORDER if name in measured}
    store.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    peers = measured.get(PEERS.name, {"lines": []})
    texts = {
        "ratios": ratios(measured),
        "peers": peer_ratios(peers),
        "tables": "\n".join(section(name, each, folder) for name, each in measured.items()),
    }
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")


def ratios(measured: Measured) -> str:
    """Return a table of django_jobs's figures ÷ those of bare SQL and of Celery."""
    rows = list(_ratio_rows(measured))
    heads = ["", "figure, and which is better", "÷ bare SQL", "÷ Celery"]
    return _list_table(heads, rows, "50 20 12 12") if rows else ""


def _ratio_rows(measured: Measured) -> Iterator[list[str]]:
    for case in measured.values():
        for line in case["lines"]:
            for figure in case["compared"]:
                found = [line["ratios"].get(name, {}).get(figure) for name in ("bare", "celery")]
                if line["system"] == "django_jobs" and any(found):
                    what = f"{case['title']}; {line['label'].partition(', ')[2]}"
                    heading = f"{report.HEADINGS[figure]}, {_better(figure)}"
                    yield [what, heading, *map(report.number, found)]


def peer_ratios(case: dict[str, Any]) -> str:
    """Return a table of the peers' figures ÷ those of django_jobs."""
    rows = []
    for line in case["lines"]:
        found = line["ratios"].get("django_jobs", {})
        if line["failure"] or any(found.values()):
            rows.append(
                [line["label"], *(report.number(found.get(each)) for each in case["compared"])]
            )
    if not rows:
        return ""
    heads = [
        "÷ django_jobs",
        *(f"{report.HEADINGS[each]} ({_better(each)} is better)" for each in case["compared"]),
    ]
    return _list_table(heads, rows, "46 14 14 14")


def _better(figure: str) -> str:
    return "more" if "per_second" in figure or figure.startswith("of_") else "less"


def section(name: str, case: dict[str, Any], folder: Path) -> str:
    """Return one case: its table, what failed or was left out, the plot, day and machine."""
    lines = [case["title"], "~" * len(case["title"]), "", case["table"], ""]
    lines += [
        f"* {line['label']} failed: ``{_first_line(line['failure'])}``"
        for line in case["lines"]
        if line["failure"]
    ]
    if name == PEERS.name:
        lines += [f"* {reason}" for reason in case["left_out"]]
    if (folder / f"{name}.svg").exists():
        lines += ["", f".. image:: measured/{name}.svg", f"{_INDENT}:alt: {case['title']}"]
    lines += ["", f"{case['day']}; " + "; ".join(case["machine"]) + ".", ""]
    return "\n".join(lines)


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0].replace("`", "'")


def _list_table(heads: Sequence[str], rows: Sequence[Sequence[str]], widths: str) -> str:
    lines = [".. list-table::", f"{_INDENT}:header-rows: 1", f"{_INDENT}:widths: {widths}", ""]
    for row in (heads, *rows):
        for index, cell in enumerate(row):
            lines.append(f"{_INDENT}{'*' if index == 0 else ' '} - {cell}".rstrip())
    return "\n".join(lines)
