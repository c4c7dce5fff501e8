"""The torture's own parts: what it does with a failure, and what its checker calls wrong."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.torture import ledger
from tests.torture.__main__ import (
    ALONE,
    DATABASES,
    EACH,
    NOT_FAST,
    PLAIN,
    PLAYED,
    SCENARIOS,
    Played,
    Run,
)
from tests.torture.checker import Evidence, judge, prepare, remove
from tests.torture.mutants import ROOT, planted
from tests.torture.planted import BUGS, Bug
from tests.torture.play import LEFT_OUT
from tests.torture.shrink import shortest
from tests.torture.watcher import processes_of


@pytest.mark.once
def test_only_the_fault_that_counts_is_left() -> None:
    assert shortest(list(range(20)), lambda some: 13 in some, tries=40) == [13]


@pytest.mark.once
def test_tries_are_bounded() -> None:
    tried: list[Any] = []
    shortest(list(range(100)), lambda some: bool(tried.append(some)), tries=3)
    assert len(tried) == 3


RUN = """
import os, signal, subprocess
from tests.torture import watcher
watcher.begin()
subprocess.Popen(["sleep", "600"], start_new_session=True)
print(os.environ[watcher.VARIABLE], flush=True)
signal.pause()
"""


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_that_is_killed_leaves_no_process(until: Any, number: int) -> None:
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        name = run.stdout.readline().strip()
        until(lambda: processes_of(name))
        os.kill(run.pid, number)
    until(lambda: not processes_of(name))


@pytest.mark.once
@pytest.mark.parametrize("name", PLAYED)
def test_each_scenario_can_be_played(name: str) -> None:
    assert callable(importlib.import_module(f"tests.torture.{name}").play)


@pytest.mark.once
@pytest.mark.parametrize("name", ALONE)
def test_each_scenario_of_its_own_is_a_program(name: str) -> None:
    assert callable(importlib.import_module(f"tests.torture.{name}").main)


@pytest.mark.once
def test_fast_run_plays_some_scenarios_on_each_database_and_all_others_on_one() -> None:
    run = Run([], ["sqlite", "mysql"], 1, fast=True)
    played = {kind: list(run._turns(kind)) for kind in run.kinds}
    assert played["sqlite"][: len(EACH)] == played["mysql"][: len(EACH)] == [*EACH]
    rest = [*played["sqlite"][len(EACH) :], *played["mysql"][len(EACH) :]]
    assert sorted(rest) == sorted({*SCENARIOS} - {*EACH, *NOT_FAST})
    # Neither database can play the pooler. The first of them says why.
    assert not set(DATABASES) - {"pooler"} & set(played["sqlite"])
    assert Run([], ["sqlite"], 1, fast=True).left != Run([], ["sqlite"], 2, fast=True).left


@pytest.mark.once
def test_scenarios_without_a_server_are_named() -> None:
    run = Run([], ["sqlite", "postgresql", "mysql"], 1, fast=True)
    list(run._turns("sqlite"))  # the other servers do not start
    assert {line.split()[0] for line in run.not_played()} == set(DATABASES)
    assert all("left out" in line for line in run.not_played())


@pytest.mark.once
@pytest.mark.parametrize(
    ("code", "output", "why"),
    [
        (1, "  lost  1 of 9   <-- WRONG\n  twice  0\n  took  3 s\n", "lost 1 of 9 <-- WRONG"),
        (70, "log\n\nTraceback:\n  line 1\nOSError: gone\n", "Traceback: | line 1 | OSError: gone"),
        (None, "half of it", "half of it"),
    ],
)
def test_failure_is_named_in_one_line(code: int | None, output: str, why: str) -> None:
    run = Run([], ["sqlite"], 7, fast=True)
    run._verdict("kills", "sqlite", Played(0, output))
    run._verdict("disk", "mysql", Played(LEFT_OUT, output))
    assert run.failures == []
    run._verdict("claims", "mysql", Played(code, output))
    (line,) = run.failures
    assert line.startswith("  torture: claims     mysql      FAILED")
    assert line.endswith(f", seed 7 - {why}")


@pytest.mark.once
def test_scenarios_with_names_and_those_of_a_full_run_are_played_on_each_database() -> None:
    for fast in (True, False):
        run = Run(["beats", *PLAIN], ["sqlite", "mysql"], 1, fast=fast)
        assert sorted(run._turns("sqlite")) == sorted(["beats", *PLAIN])
        assert [*run._turns("mysql")] == ["beats"]
    assert {*SCENARIOS} - {*PLAIN} == {*Run([], ["sqlite"], 1, fast=False).each}


@pytest.mark.once
def test_line_that_a_kill_tore_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger"
    monkeypatch.setenv("TORTURE_LEDGER", str(path))
    ledger._file.cache_clear()
    try:
        ledger.write("start", id="a")
        os.write(ledger._file(), b'\n{"t": 12.5, "kind": "sta')
        ledger.write("end", id="b")
    finally:
        os.close(ledger._file())
        ledger._file.cache_clear()
    assert [(line["kind"], line["id"]) for line in ledger.read(path)] == [
        ("start", "a"), ("end", "b"),
    ]  # fmt: skip


@pytest.fixture
def wrong(transactional_db: None, tmp_path: Path) -> Any:
    """Return a function: what the checker calls wrong after these lines and changes."""
    from django_jobs.models import Job
    from tests.jobs import add

    prepare()

    def find(
        statuses: list[str], lines: list[dict[str, Any]], change: Any = None, **given: Any
    ) -> set[str]:
        job_id = add.delay(1).uuid
        for status in statuses:
            Job.objects.filter(pk=job_id).update(status=status)
        if change is not None:
            change(job_id)
        path = tmp_path / "ledger"
        texts = [json.dumps({"t": n, "pid": 1, "id": str(job_id)} | line) for n, line in
                 enumerate(lines)]  # fmt: skip
        path.write_text("\n".join(texts))
        return {line.what for line in judge(Evidence(path), **given) if line.is_wrong}

    yield find
    remove()


ACK, START = {"kind": "ack"}, {"kind": "start"}
END = {"kind": "end", "error": None}
RAN = ["STARTED", "SUCCESS"]
POISON, AGAIN = {"id": "another"}, {"pid": 2}


@pytest.mark.parametrize(
    ("statuses", "lines", "expected"),
    [
        (RAN, [ACK, START, END], set()),
        (RAN, [ACK, {"kind": "ack", "id": "gone"}, START, END], {"I1 lost"}),
        (RAN, [ACK], {"I1 SUCCESS without a body"}),
        (["PENDING"], [ACK], {"I1 not ended"}),
        (["STARTED"], [ACK, START], {"I1 not ended", "I2 stuck"}),
        (RAN, [ACK, START, {"kind": "overlap"}, END], {"I4 overlapping bodies"}),
        (RAN, [ACK, START, END, START, END], {"I4 duplicates"}),
        (RAN, [ACK, START, {"kind": "killed", "victim": 1}, START | {"pid": 2}, END], set()),
        (RAN, [ACK, START, END, {"kind": "crash"}, START, END], set()),
        # Its process ended with the next body, so its outcome was lost.
        (RAN, [ACK, START, END, START | POISON, START | AGAIN, END | AGAIN], set()),
        (
            RAN,
            [ACK, START, END, START | POISON, END | POISON, START | AGAIN, END | AGAIN],
            {"I4 duplicates"},
        ),
        ([*RAN, *RAN], [ACK, START, END], {"I3 ended twice", "I6 ended, then changed"}),
        (["STARTED", "FAILURE"], [ACK, START, END], {"I5 failures without attempt"}),
    ],
)
def test_checker(
    wrong: Any, statuses: list[str], lines: list[dict[str, Any]], expected: set[str]
) -> None:
    assert wrong(statuses, lines) == expected


def test_checker_finds_a_claim_that_was_taken_back(wrong: Any) -> None:
    from django_jobs.models import Job

    def shrink(job_id: Any) -> None:
        for claims in (2, 1):
            Job.objects.filter(pk=job_id).update(claims=claims)

    assert wrong(RAN, [ACK, START, END], change=shrink) == {"I5 claims that shrank"}


def test_checker_finds_a_permit_of_a_job_that_ended(wrong: Any) -> None:
    from django_jobs.models import Permit

    def keep(job_id: Any) -> None:
        Permit.objects.create(key="one at a time", job_id=job_id, claims=1)

    assert wrong(RAN, [ACK, START, END], change=keep) == {"I9 permits left"}


@pytest.mark.parametrize(("status", "times"), [("SUCCESS", 0), ("SUCCESS", 2), ("REVOKED", 1)])
def test_checker_finds_an_effect_without_its_success(wrong: Any, status: str, times: int) -> None:
    from django.db import connection

    from django_jobs.models import Job

    def change(job_id: Any) -> None:
        Job.objects.filter(pk=job_id).update(name="shop.jobs.effect")
        with connection.cursor() as cursor:
            for _ in range(times):
                insert = "INSERT INTO torture_effects (job_id) VALUES (%s)"
                cursor.execute(insert, [str(job_id)])

    found = wrong(["STARTED", status], [ACK, START, END], change=change)
    assert found == {"I12 effects unlike the status"}


def test_checker_takes_a_job_that_was_pruned_for_ended(wrong: Any) -> None:
    from django_jobs.models import Job

    def prune(job_id: Any) -> None:
        Job.objects.filter(pk=job_id).delete()

    assert wrong(RAN, [ACK, START, END], change=prune) == set()


def test_checker_finds_a_job_that_was_deleted_before_its_end(wrong: Any) -> None:
    from django_jobs.models import Job

    def lose(job_id: Any) -> None:
        Job.objects.filter(pk=job_id).delete()

    assert wrong(["STARTED"], [ACK, START, END], change=lose) == {"I1 lost"}


def test_checker_looks_at_exit_codes(wrong: Any) -> None:
    assert wrong(RAN, [ACK, START, END], codes=[0, 1]) == {"I10 exit codes"}


@pytest.mark.once
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_text_of_a_planted_bug_is_in_the_code(bug: Bug) -> None:
    for path, text in planted(bug, ROOT).items():
        assert text != path.read_text()
        compile(text, str(path), "exec")
    assert bug.tests
    for test in bug.tests.split():
        assert Path(ROOT, test.partition("::")[0]).exists()
