"""Windows has no fork and few signals: the package can be imported there, and workers refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import LONG

pytestmark = pytest.mark.once


def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.without_posix", *arguments],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "testproject.settings"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def test_check_works_without_posix() -> None:
    process = manage("check")
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("command", ["runworker", "jobs worker", "runworker --pool solo"])
def test_worker_says_that_windows_cannot_run_it(command: str) -> None:
    process = manage(*command.split())
    assert process.returncode == 1
    assert process.stderr.startswith("CommandError: A worker needs a system that can fork")
    assert "so no pool works there, solo neither" in process.stderr
