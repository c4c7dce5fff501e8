from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from benchmarks import (
    arena,
    herd,
    measure,
    page,
    plots,
    proxy,
    pruning,
    race,
    report,
    schedules,
)
from benchmarks.arena import Contestant, Failed, Pool
from benchmarks.cases import CASES, FIRST, Case
from benchmarks.measure import percentiles
from benchmarks.race import Line, Race, Result
from benchmarks.servers import Server
from tests.waiting import LONG

ROOT = Path(__file__).resolve().parent.parent


class Nowhere(Server):
    kind = "sqlite"
    url = "sqlite://"


HERE = Nowhere()


def contestant(system: str, workers: int = 2) -> Contestant:
    return Contestant(system, HERE, HERE.url, workers)


def result(figure: str = "per_second", **runs: list[dict[str, Any]]) -> Result:
    case = Case("drain", "Drain & more", lambda arena, jobs: {}, figure, {"": 10})
    return Result(case, [Line(contestant(system), 10, found) for system, found in runs.items()])


def of_workers(case: Case, **rates: list[float]) -> Result:
    """Return a result with a line for 1, 2 … workers of each system, and its rate."""
    lines = [
        Line(contestant(system, workers), 10, [{"per_second": rate}])
        for system, found in rates.items()
        for workers, rate in enumerate(found, 1)
    ]
    return Result(case, lines)


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
    assert ours["ratios"]["bare"]["per_second"] > 0
    assert ours["label"] in (tmp_path / "results.rst").read_text()
    assert ours["label"] in done.stdout
    ElementTree.parse(tmp_path / "drain.svg")


def test_percentiles_are_by_nearest_rank() -> None:
    figures = percentiles([float(number) for number in range(100, 0, -1)])
    names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
    assert [figures[name] for name in names] == [50, 90, 95, 99, 100]


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


def test_result_compares_lines_with_as_many_workers() -> None:
    compared = of_workers(CASES[0], django_jobs=[10.0, 30.0], celery=[5.0, 10.0], bare=[20.0])
    one, two, celery = compared.lines[0], compared.lines[1], compared.lines[2]
    assert [compared.ratio(one, "celery"), compared.ratio(two, "celery")] == [2, 3]
    assert [compared.ratio(one, "bare"), compared.ratio(two, "bare")] == [0.5, None]
    assert compared.ratio(celery, "celery") is None
    assert [compared.ratio(one, FIRST), compared.ratio(two, FIRST)] == [None, 3]


def test_result_compares_several_figures() -> None:
    case = dataclasses.replace(CASES[0], figure="p50_ms", also=("p99_ms",), references=("celery",))
    runs = {
        "django_jobs": [{"p50_ms": 2.0, "p99_ms": 9.0}],
        "celery": [{"p50_ms": 4.0, "p99_ms": 3.0}],
    }
    compared = Result(case, [Line(contestant(name), 10, found) for name, found in runs.items()])
    heads, ours = report.table(compared).split("\n")[1], report.table(compared).split("\n")[3]
    assert "p50 ÷ Celery  p99 ÷ Celery" in heads
    assert ours.split()[-2:] == ["0.50", "3.00"]


def test_result_has_medians_of_what_all_runs_measured() -> None:
    compared = result(bare=[{"per_second": 1.0, "worker_cpu_us": 2.0}, {"per_second": 3.0}])
    assert compared.lines[0].medians == {"per_second": 2.0}


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
    assert schedules.half_load(800) == schedules.half_load(800)
    gaps = [after.at - job.at for job, after in itertools.pairwise(schedules.half_load(800))]
    assert statistics.mean(gaps) == pytest.approx(0.01, rel=0.1)
    # Exponential: as wide as its mean.
    assert statistics.stdev(gaps) == pytest.approx(0.01, rel=0.1)
    assert [job.arguments for job in schedules.mix(16)].count((5.0,)) == 2
    assert len(schedules.idle(300)) == 300 + schedules.WARMING


def test_pools_have_slots_and_a_name_that_tells_them() -> None:
    pool = Pool("asyncio", slots=2_000, seconds=0.1)
    taking_part = dataclasses.replace(contestant("django_jobs", 1), pool=pool)
    assert taking_part.label == "django_jobs, sqlite × 1 asyncio, 2,000 slots × 100 ms"
    (command,) = taking_part.commands()
    assert command[2:] == [
        "runworker", "-P", "asyncio", "--processes", "1", "-c", "2000", "-l", "WARNING"
    ]  # fmt: skip


def test_pools_that_are_not_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_offered_pools", lambda: ["prefork", "gevent"])
    monkeypatch.setattr(arena.importlib.util, "find_spec", lambda name: None)
    assert [Pool(name).missing for name in ("prefork", "asyncio", "gevent")] == [
        "",
        "asyncio pool: left out, this django_jobs has none",
        "gevent pool: left out, install gevent to measure it",
    ]
    case = dataclasses.replace(CASES[0], pools=(Pool("asyncio"), Pool("prefork")))
    found = [each.pool.name for each in race.contestants(case, [HERE], ["django_jobs"])]
    assert found == ["prefork"]


def test_pools_are_timed_until_the_last_end() -> None:
    pool = Pool("gevent", slots=500, seconds=1.0)
    figures = measure.until_ended({"per_second": 9_999.0}, pool, 500, 1.25)
    assert figures == {"per_second": 400.0, "seconds": 1.25, "of_ideal": 0.8}
    assert "of_ideal" not in measure.until_ended({}, Pool("asyncio"), 500, 1.25)


def test_prune_compares_claims_that_began_beside_it() -> None:
    claims = [(9.9, 1.0), (10.0, 2.0), (12.0, 3.0), (12.1, 4.0)]
    assert pruning.within(claims, {"began": 10.0, "seconds": 2.0}) == claims[1:3]


def test_herd_takes_off_what_idle_workers_cost() -> None:
    start = herd.Counted(0.0, 10.0, 20.0, 100)
    quiet = herd.Counted(10.0, 11.0, 20.5, 150)
    end = herd.Counted(30.0, 18.0, 31.5, 450)
    # In 20 seconds, the workers alone use 2 and the server 1 second, in 100 transactions.
    assert herd.cost_of_one(start, quiet, end, 10) == pytest.approx([0.5, 1.0, 20.0])


def test_proxy_replaces_the_place_in_a_url() -> None:
    url = "postgresql://postgres:@/jobs?host=/tmp/socket&connect_timeout=5"
    assert proxy.proxied(url, 77) == "postgresql://postgres:@127.0.0.1:77/jobs?connect_timeout=5"
    assert proxy.proxied("redis://host:6379/1", 77) == "redis://127.0.0.1:77/1"


def test_proxy_forwards_in_order_and_to_the_end() -> None:
    sent = os.urandom(1 << 18)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        with proxy.far(address, 0.001) as url:
            far = urlsplit(url)
            with socket.create_connection((far.hostname, far.port), timeout=LONG) as client:
                near, _address = server.accept()
                with near, near.makefile("rb") as received:
                    client.sendall(sent)
                    client.shutdown(socket.SHUT_WR)
                    assert received.read() == sent


def test_page_keeps_the_cases_that_a_run_did_not_measure(tmp_path: Path) -> None:
    drained = result(bare=[{"per_second": 8.0}], django_jobs=[{"per_second": 6.0}])
    waited = result("p50_ms", django_jobs=[{"p50_ms": 3.0}], celery=[{"p50_ms": 2.0}])
    waited.case = dataclasses.replace(waited.case, name="latency", title="Waiting")
    page.write(tmp_path, ["a machine"], [], [waited])
    page.write(tmp_path, ["another machine"], [], [drained])
    measured = json.loads((tmp_path / "cases.json").read_text())
    assert [each["machine"] for each in measured.values()] == [["another machine"], ["a machine"]]
    rows = (tmp_path / "ratios.txt").read_text()
    assert re.findall(r"- (\d.+)", rows) == ["0.75", "1.50"]
    assert rows.index("Drain & more; sqlite × 2") < rows.index("Waiting; sqlite × 2")
    tables = (tmp_path / "tables.txt").read_text()
    assert "a machine." in tables
    assert ".. image:: measured/drain.svg" in tables


def test_curves_of_many_samples_have_some_points_and_the_last() -> None:
    runs = [{"p50_ms": 2.0, "samples_ms": [float(number) for number in range(1, 1_001)]}]
    drawn = plots.curves(result("p50_ms", django_jobs=runs))
    (curve,) = ElementTree.fromstring(drawn).findall("{*}polyline")
    assert len(curve.attrib["points"].split()) == 251


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
