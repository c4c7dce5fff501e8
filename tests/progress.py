"""A pytest plugin that tells another process how far a suite is: ``-p tests.progress``.

It writes one JSON object a line to the file descriptor that ``PROGRESS_FD`` names.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

LONGEST_WHY = 300
# No process that a test starts should take the descriptor for its own.
_descriptor = int(os.environ.pop("PROGRESS_FD"))


def pytest_collection_finish(session: pytest.Session) -> None:
    tell(total=len(session.items))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    tell_outcome(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    tell_outcome(report)
    if report.when == "call" and not report.skipped:
        tell(ran=report.nodeid)
    elif report.when == "teardown":
        tell(done=report.nodeid)


def tell_outcome(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.failed:
        tell(failed=report.nodeid, why=short(report))
    elif report.skipped and isinstance(report.longrepr, tuple):
        tell(skipped=report.nodeid, why=report.longrepr[2].removeprefix("Skipped: "))


def short(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the first line of what went wrong, and where when it was not the test itself."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else report.longreprtext.strip().rpartition("\n")[2]
    first = text.partition("\n")[0][:LONGEST_WHY]
    when = "collection" if isinstance(report, pytest.CollectReport) else report.when
    return first if when == "call" else f"{when}: {first}"


def tell(**event: Any) -> None:
    os.write(_descriptor, json.dumps(event).encode() + b"\n")
