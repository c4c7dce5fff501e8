"""Observers hear of the ends of jobs and of processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobs import job
from django_jobs.define import observers
from django_jobs.define.observers import Observer
from django_jobs.values import Outcome
from django_jobs.worker.fork import fork
from django_jobs.worker.reload import Reload
from tests import jobs

pytestmark = pytest.mark.once


class Noting(Observer):
    """Notes in a file, which a forked process shares, and the ends in a list."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ends: list[tuple[str, str, bool]] = []

    def ended(self, outcome: Outcome, expected: bool) -> None:
        self.ends.append((outcome.job.name, str(outcome.status), expected))

    def process_begins(self) -> None:
        self.note("begins")

    def process_ends(self) -> None:
        self.note("ends")

    def note(self, word: str) -> None:
        with self.file.open("a") as file:
            print(word, file=file)


@pytest.fixture
def noting(tmp_path: Path) -> Iterator[Noting]:
    noting = Noting(tmp_path / "notes")
    observers.register(noting)
    yield noting
    observers.unregister(noting)


@pytest.mark.django_db
@pytest.mark.usefixtures("registered")
def test_observer_hears_of_each_end(noting: Noting, run: Callable[..., Outcome]) -> None:
    @job(name="observers.expected", throws=[KeyError], max_retries=0)
    def expected() -> None:
        raise KeyError("x")

    for function in (jobs.fail, expected):
        run(function)
    run(jobs.add, 1)
    assert noting.ends == [
        (jobs.fail.name, "FAILURE", False),
        (expected.name, "FAILURE", True),
        (jobs.add.name, "SUCCESS", False),
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_observer_hears_of_forked_processes(noting: Noting) -> None:
    pid = fork(lambda: 0, [])
    assert os.waitpid(pid, 0) == (pid, 0)
    assert noting.file.read_text().split() == ["begins", "ends"]


def test_observer_hears_that_another_program_begins(
    noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execv(*command: Any) -> None:
        noting.note("another program")

    monkeypatch.setattr(os, "execv", execv)
    Reload(is_program=True).start_over()
    assert noting.file.read_text().splitlines() == ["ends", "another program"]
