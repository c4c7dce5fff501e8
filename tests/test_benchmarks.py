from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import plots, report, schedules
from benchmarks.arena import Contestant, Failed
from benchmarks.cases import CASES, Case
from benchmarks.measure import percentiles
from benchmarks.race import Line, Race, Result
from benchmarks.servers import Server
from tests.waiting import LONG

ROOT = Path(__file__).resolve().parent.parent


class Nowhere(Server):
    kind = "sqlite"
    url = "sqlite://"


HERE = Nowhere()


def contestant(system: str) -> Contestant:
    return Contestant(system, HERE, HERE.url)


def result(figure: str = "per_second", **runs: list[dict[str, Any]]) -> Result:
    case = Case("drain", "Drain & more", lambda arena, jobs: {}, figure, {"": 10})
    return Result(case, [Line(contestant(system), 10, found) for system, found in runs.items()])


def test_benchmarks_of_this_database_give_table_json_and_plot(tmp_path: Path, vendor: str) -> None:
    url = os.environ.get("DATABASE_URL", "")
    chosen = [f"--databases={vendor}", "--systems=bare,django_jobs", "--cases=drain"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "--jobs=200",
            "--runs=1",
            *chosen,
            f"--out={tmp_path}",
        ],
        env={**os.environ, "POSTGRESQL_URL": url, "MYSQL_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "results.json").read_text())
    bare, ours = measured["cases"][0]["lines"]
    assert (bare["system"], ours["system"]) == ("bare", "django_jobs")
    assert ours["jobs"] == 200
    assert ours["medians"]["per_second"] > 0
    assert ours["ratio_to_bare"] > 0
    assert ours["label"] in (tmp_path / "results.rst").read_text()
    assert ours["label"] in done.stdout
    ElementTree.parse(tmp_path / "drain.svg")


def test_percentiles_are_by_nearest_rank() -> None:
    figures = percentiles([float(number) for number in range(100, 0, -1)])
    assert [figures[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")] == [50, 95, 99, 100]


def test_percentiles_of_nothing_fail() -> None:
    with pytest.raises(Failed, match="no job was measured"):
        percentiles([])


def test_result_compares_medians() -> None:
    runs = [{"per_second": 30.0}, {"per_second": 20.0}, {"per_second": 1.0}]
    compared = result(bare=[{"per_second": 40.0}], django_jobs=runs, celery=[{"per_second": 2.0}])
    ours = compared.lines[1]
    assert compared.ratio(ours, "bare") == 0.5
    assert compared.ratio(ours, "celery") == 10
    assert compared.ratio(ours, "django_jobs") is None


def test_race_goes_on_when_one_fails(tmp_path: Path) -> None:
    def measure(arena: Any, jobs: int) -> dict[str, float]:
        if arena.contestant.system == "bare":
            raise Failed("it broke")
        return {"per_second": float(jobs)}

    case = Case("drain", "Drain", measure, "per_second", {"": 10})
    taking_part = [contestant("bare"), contestant("django_jobs")]
    raced = Race(case, taking_part, tmp_path, jobs=None).run(3, quick=False)
    assert [len(line.runs) for line in raced.lines] == [0, 3]
    assert [line.failure for line in raced.failures] == ["it broke"]
    assert "bare SQL, sqlite × 2 FAILED" in report.table(raced)


def test_table_is_restructuredtext() -> None:
    lines = report.grid(["system", "per second"], [["ours", "20,000"], ["Celery", "800"]])
    assert lines.split("\n") == [
        "======  ==========",
        "system  per second",
        "======  ==========",
        "ours        20,000",
        "Celery         800",
        "======  ==========",
    ]


def test_plots_are_svg_with_a_shape_for_each_system() -> None:
    drawn = plots.bars(result(bare=[{"per_second": 4.0}], celery=[{"per_second": 2.0}]))
    assert len(ElementTree.fromstring(drawn).findall("{*}rect")) == 1 + 2
    runs = [{"p50_ms": 2.0, "samples_ms": [1.0, 2.0, 30.0]}]
    drawn = plots.curves(result("p50_ms", django_jobs=runs))
    (curve,) = ElementTree.fromstring(drawn).findall("{*}polyline")
    assert len(curve.attrib["points"].split()) == 3


def test_schedules_send_the_same_at_each_call() -> None:
    assert schedules.mix(16) == schedules.mix(16)
    assert [job.arguments for job in schedules.mix(16)].count((5.0,)) == 2
    assert len(schedules.idle(300)) == 300 + schedules.WARMING


def test_benchmarks_of_nothing_are_an_error(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MYSQL_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--databases=mysql", f"--out={tmp_path}"],
        env={**environment, "REDIS_URL": "redis://127.0.0.1:1/0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
    )
    assert done.returncode == 2
    assert "set MYSQL_URL" in done.stdout


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
