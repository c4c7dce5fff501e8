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

    def find(statuses: list[str], lines: list[dict[str, Any]], **given: Any) -> set[str]:
        job_id = add.delay(1).uuid
        for status in statuses:
            Job.objects.filter(pk=job_id).update(status=status)
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
