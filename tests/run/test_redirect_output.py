"""What jobs print becomes log lines that name the job."""

# ruff: noqa: T201

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from django_jobs import job
from django_jobs.log import JobFilter
from django_jobs.models import Worker
from django_jobs.run.redirect_output import LONGEST, redirected
from tests import jobs
from tests.worker.test_isolation import run_pool

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registered"),
]

Lines = list[tuple[str, str, str]]


@pytest.fixture
def lines() -> Any:
    """(level, job's name, text) of what was printed, and nothing of it goes to stdout."""
    found: Lines = []

    class Keep(logging.Handler):
        def emit(self, record: Any) -> None:
            found.append((record.levelname, record.job_name, record.getMessage()))

    handler = Keep()
    handler.addFilter(JobFilter())
    logger = logging.getLogger("django_jobs.output")
    logger.addHandler(handler)
    logger.setLevel("DEBUG")
    yield found
    logger.removeHandler(handler)
    logger.setLevel("NOTSET")


@pytest.fixture
def work_printing(work: Callable[..., Any]) -> Callable[[], None]:
    def work_printing() -> None:
        with redirected("WARNING"):
            work()

    return work_printing


def body_of(function: Callable[[], None], name: str = "tests.printed") -> None:
    job(name=name, max_retries=0)(function).delay()


def printing(text: str) -> Callable[[], None]:
    def body() -> None:
        print(text)

    return body


def texts(lines: Lines) -> list[str]:
    return [text for _level, _name, text in lines]


def test_line_is_logged_with_its_job(
    lines: Lines, work_printing: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        print("adding", 1, "and", 2)
        print("to stderr", file=sys.stderr)

    body_of(body)
    work_printing()
    assert lines == [
        ("WARNING", "tests.printed", "adding 1 and 2"),
        ("WARNING", "tests.printed", "to stderr"),
    ]
    assert capsys.readouterr() == ("", "")


def test_without_the_option_print_writes_as_it_is(
    lines: Lines, work: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    body_of(printing("raw"))
    with redirected(None):
        work()
    assert lines == []
    assert capsys.readouterr().out == "raw\n"


def test_others_than_jobs_write_as_they_did(
    lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    with redirected("INFO"):
        print("a worker's own line")
    assert lines == []
    assert capsys.readouterr().out == "a worker's own line\n"


def test_lines_are_made_of_parts(lines: Lines, work_printing: Callable[[], None]) -> None:
    def body() -> None:
        print("a", end="")
        print("b", end="", file=sys.stderr)
        print("c\n\n  \nd", end="", flush=True)
        sys.stdout.writelines(["e\n", "f\r\n"])

    body_of(body)
    work_printing()
    assert texts(lines) == ["ac", "de", "f", "b"]


@pytest.mark.parametrize("fails", [False, True])
def test_line_without_an_end_is_logged_before_the_end_of_the_attempt(
    lines: Lines,
    work_printing: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    fails: bool,
) -> None:
    def body() -> None:
        print("50 %", end="")
        if fails:
            raise ValueError("no")

    caplog.set_level("INFO", "django_jobs")
    body_of(body)
    work_printing()
    assert lines == [("WARNING", "tests.printed", "50 %")]
    mine = [r.name for r in caplog.records if r.name in ("django_jobs.output", "django_jobs.job")]
    assert mine[:2] == ["django_jobs.output", "django_jobs.job"]


def test_progress_bar_is_one_line(lines: Lines, work_printing: Callable[[], None]) -> None:
    def body() -> None:
        for done in range(3):
            print(f"\r{done}", end="")
        print()
        for done in range(3):
            print(f"{done} of 2", end="\r")
        print()

    body_of(body)
    work_printing()
    assert texts(lines) == ["2", "2 of 2"]


def test_text_without_an_end_does_not_grow_for_ever(
    lines: Lines, work_printing: Callable[[], None]
) -> None:
    def body() -> None:
        for _ in range(3):
            print("x" * LONGEST, end="")

    body_of(body)
    work_printing()
    assert [len(text) for text in texts(lines)] == [2 * LONGEST, LONGEST]


def test_handler_that_writes_to_stderr_does_not_hear_itself(
    lines: Lines, work_printing: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[Any] = []

    class Echo(logging.Handler):
        def emit(self, record: Any) -> None:
            heard.append(record)
            if len(heard) < 5:  # or it would end only with the stack
                print("echo of", record.getMessage(), file=sys.stderr)

    handler = Echo()
    logging.getLogger("django_jobs.output").addHandler(handler)
    try:
        body_of(printing("once"))
        work_printing()
    finally:
        logging.getLogger("django_jobs.output").removeHandler(handler)
    assert texts(lines) == ["once"]
    assert capsys.readouterr().err == "echo of once\n"


def test_handler_that_raises_ends_no_job(
    work_printing: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: Any) -> None:
            raise ValueError("broken handler")

    handler = Broken()
    logging.getLogger("django_jobs.output").addHandler(handler)
    try:
        result = jobs.add.delay(1, 2)
        body_of(printing("lost"))
        work_printing()
    finally:
        logging.getLogger("django_jobs.output").removeHandler(handler)
    assert result.get(timeout=1) == 3
    assert "broken handler" in capsys.readouterr().err


def test_threads_of_a_job_are_told_apart(lines: Lines, work_printing: Callable[[], None]) -> None:
    turn = threading.Barrier(2)

    def say(name: str) -> None:
        print(f"{name} begins, ", end="")
        turn.wait()
        print(f"{name} ends")

    async def body() -> None:
        await asyncio.gather(asyncio.to_thread(say, "one"), asyncio.to_thread(say, "two"))

    body_of(body)  # type: ignore[arg-type]
    work_printing()
    assert sorted(texts(lines)) == ["one begins, one ends", "two begins, two ends"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
@pytest.mark.parametrize("coroutine", [False, True])
def test_each_pool_tells_the_jobs_apart(
    lines: Lines, worker: Worker, take: Callable[..., Any], pool: str, coroutine: bool
) -> None:
    slots = 2 if pool in ("threads", "asyncio") else 1
    turn = threading.Barrier(slots)

    def say(name: str) -> None:
        print(f"{name} begins, ", end="")
        turn.wait()
        print(f"{name} ends")

    for name in ("tests.printed.one", "tests.printed.two"):

        def plain(name: str = name) -> None:
            say(name)

        async def in_a_thread(name: str = name) -> None:
            await sync_to_async(say)(name)

        body_of(in_a_thread if coroutine else plain, name)  # type: ignore[arg-type]
    with redirected("INFO"):
        run_pool(worker, pool, take(), slots)
    assert sorted(lines) == [
        ("INFO", name, f"{name} begins, {name} ends")
        for name in ("tests.printed.one", "tests.printed.two")
    ]


def test_stdout_that_a_job_replaced_is_the_log_again(
    lines: Lines, worker: Worker, take: Callable[..., Any]
) -> None:
    def replace() -> None:
        sys.stdout = sys.stderr = None  # type: ignore[assignment]

    body_of(replace, "tests.printed.replace")
    body_of(printing("still here"), "tests.printed.next")
    with redirected("INFO"):
        run_pool(worker, "prefork", take())
    assert lines == [("INFO", "tests.printed.next", "still here")]
