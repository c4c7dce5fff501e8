"""Instrumentation hears of the ends of jobs and of processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobs import JobContext, job
from django_jobs.define import instrumentation
from django_jobs.define.instrumentation import Instrumentation
from django_jobs.values import Outcome
from django_jobs.worker.fork import fork
from django_jobs.worker.reload import Reload
from tests import jobs

pytestmark = pytest.mark.once


LEFT: list[str] = []


@contextlib.contextmanager
def left(context: JobContext) -> Iterator[None]:
    try:
        yield
    finally:
        assert context.outcome is not None
        LEFT.append(context.outcome.status)


class Noting(Instrumentation):
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
    instrumentation.register(noting)
    yield noting
    instrumentation.unregister(noting)


@pytest.mark.django_db
@pytest.mark.usefixtures("registered")
def test_instrumentation_hears_of_each_end(noting: Noting, run: Callable[..., Outcome]) -> None:
    @job(name="tests.expected_end", throws=[KeyError], max_retries=0)
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


class Broken(Instrumentation):
    def ended(self, outcome: Outcome, expected: bool) -> None:
        raise LookupError("no secret may stand here")


@pytest.mark.django_db
def test_error_while_an_end_is_told_is_logged_and_the_middleware_is_left(
    run: Callable[..., Outcome], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_JOBS = {**settings.DJANGO_JOBS, "MIDDLEWARE": [f"{__name__}.left"]}
    LEFT.clear()
    broken = Broken()
    instrumentation.register(broken)
    try:
        run(jobs.fail)
    finally:
        instrumentation.unregister(broken)
    assert LEFT == ["FAILURE"]
    assert "error=LookupError" in caplog.text
    assert "no secret" not in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_instrumentation_hears_of_forked_processes(noting: Noting) -> None:
    pid = fork(lambda: 0, [])
    assert os.waitpid(pid, 0) == (pid, 0)
    assert noting.file.read_text().split() == ["begins", "ends"]


def test_instrumentation_hears_that_another_program_begins(
    noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execv(*command: Any) -> None:
        noting.note("another program")

    monkeypatch.setattr(os, "execv", execv)
    Reload(is_program=True).start_over()
    assert noting.file.read_text().splitlines() == ["ends", "another program"]
