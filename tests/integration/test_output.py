"""Standard output that is ASCII only, that nobody reads, or that is closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from django_jobs.management.output import Output
from tests.integration import jobs
from tests.waiting import LONG

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


COMMAND = [sys.executable, "manage.py", "runworker", "--burst", "-Q", "default"]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"]),
        "PYTHONIOENCODING": "ascii",
    }


def start(pool: str, **changes: object) -> subprocess.Popen[bytes]:
    options = {"args": [*COMMAND, "-P", pool], "env": environment(), "cwd": ROOT, **changes}
    return subprocess.Popen(**options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.django_db(transaction=True)
def test_ascii_output_ends_neither_worker_nor_job() -> None:
    results = [jobs.print_much.delay() for _ in range(4)]
    process = start("threads", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0, output
    assert [result.get(timeout=1) for result in results] == [1] * 4
    assert b"1 process \\xd7 8 at a time" in output
    assert b"Gr\\xfc\\xdfe \\xd7" in output


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_output_that_nobody_reads_ends_neither_worker_nor_job(pool: str) -> None:
    results = [jobs.print_much.delay() for _ in range(4)]
    reading, writing = os.pipe()
    process = start(pool, stdout=writing, stderr=writing)
    os.close(reading)
    os.close(writing)
    assert process.wait(LONG) == 0
    assert [result.get(timeout=1) for result in results] == [1] * 4
    assert {result.job.crashes for result in results} == {0}


@pytest.mark.django_db(transaction=True)
def test_closed_output_ends_neither_worker_nor_job() -> None:
    result = jobs.print_much.delay()
    process = start("prefork", preexec_fn=lambda: (os.close(1), os.close(2)))
    assert process.wait(LONG) == 0
    assert result.get(timeout=1) == 1


def test_output_that_a_job_closed_takes_text() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(os.fdopen(writing, "w"))
    output._stream.close()
    assert output.write("lost") == 4
    output.flush()
    output.close()


def test_full_disk_loses_text_and_stays_the_output() -> None:
    with Path("/dev/full").open("w") as full:
        output = Output(full)
        output.write("lost")
        output.flush()
        assert Path(f"/proc/self/fd/{output.fileno()}").readlink() == Path("/dev/full")
        # What is left in the buffer would fail when the file is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.django_db(transaction=True)
def test_commands_leave_the_streams_of_their_caller(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    call_command("runbeat", "--once")
    assert (sys.stdout, sys.stderr) == before
    assert "0 schedules were due" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_worker_logs_what_jobs_print(pool: str) -> None:
    result = jobs.print_much.delay()
    process = subprocess.run(
        [*COMMAND, "-P", pool, "--redirect-stdout", "warning"],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        timeout=LONG,
        check=True,
    )
    assert result.get(timeout=1) == 1
    named = f"django_jobs.output [tests.integration.jobs.print_much {result.id}] Gr"
    assert process.stderr.count(named.encode()) == 2
    assert b"Gr" not in process.stdout
