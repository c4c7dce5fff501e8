"""The torture's own parts: what it does with a failure, and what its checker calls wrong."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.torture.__main__ import ALONE, PLAYED, SHORTEST
from tests.torture.checker import Evidence, judge, prepare, remove
from tests.torture.mutants import ROOT, planted
from tests.torture.planted import BUGS, Bug
from tests.torture.shrink import shortest


@pytest.mark.once
def test_only_the_fault_that_counts_is_left() -> None:
    assert shortest(list(range(20)), lambda some: 13 in some, tries=40) == [13]


@pytest.mark.once
def test_tries_are_bounded() -> None:
    tried: list[Any] = []
    shortest(list(range(100)), lambda some: bool(tried.append(some)), tries=3)
    assert len(tried) == 3


@pytest.mark.once
@pytest.mark.parametrize("name", PLAYED)
def test_each_scenario_can_be_played(name: str) -> None:
    assert callable(importlib.import_module(f"tests.torture.{name}").play)


@pytest.mark.once
@pytest.mark.parametrize("name", ALONE)
def test_each_scenario_of_its_own_is_a_program(name: str) -> None:
    assert callable(importlib.import_module(f"tests.torture.{name}").main)


@pytest.mark.once
def test_shortest_form_has_scenarios_that_exist() -> None:
    assert set(SHORTEST) <= set(PLAYED)


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
RUN = ["STARTED", "SUCCESS"]


@pytest.mark.parametrize(
    ("statuses", "lines", "expected"),
    [
        (RUN, [ACK, START, END], set()),
        (RUN, [ACK, {"kind": "ack", "id": "gone"}, START, END], {"I1 lost"}),
        (RUN, [ACK], {"I1 SUCCESS without a body"}),
        (["PENDING"], [ACK], {"I1 not ended"}),
        (["STARTED"], [ACK, START], {"I1 not ended", "I2 stuck"}),
        (RUN, [ACK, START, {"kind": "overlap"}, END], {"I4 overlapping bodies"}),
        (RUN, [ACK, START, END, START, END], {"I4 duplicates"}),
        (RUN, [ACK, START, {"kind": "killed", "victim": 1}, START | {"pid": 2}, END], set()),
        (RUN, [ACK, START, END, {"kind": "crash"}, START, END], set()),
        ([*RUN, *RUN], [ACK, START, END], {"I3 ended twice", "I6 ended, then changed"}),
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

    assert wrong(RUN, [ACK, START, END], change=shrink) == {"I5 claims that shrank"}


def test_checker_finds_a_permit_of_a_job_that_ended(wrong: Any) -> None:
    from django_jobs.models import Permit

    def keep(job_id: Any) -> None:
        Permit.objects.create(key="one at a time", job_id=job_id, claims=1)

    assert wrong(RUN, [ACK, START, END], change=keep) == {"I9 permits left"}


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

    assert wrong(RUN, [ACK, START, END], change=prune) == set()


def test_checker_finds_a_job_that_was_deleted_before_its_end(wrong: Any) -> None:
    from django_jobs.models import Job

    def lose(job_id: Any) -> None:
        Job.objects.filter(pk=job_id).delete()

    assert wrong(["STARTED"], [ACK, START, END], change=lose) == {"I1 lost"}


def test_checker_looks_at_exit_codes(wrong: Any) -> None:
    assert wrong(RUN, [ACK, START, END], codes=[0, 1]) == {"I10 exit codes"}


@pytest.mark.once
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_text_of_a_planted_bug_is_in_the_code(bug: Bug) -> None:
    for path, text in planted(bug, ROOT).items():
        assert text != path.read_text()
        compile(text, str(path), "exec")
    assert bug.tests
    for test in bug.tests.split():
        assert Path(ROOT, test.partition("::")[0]).exists()
