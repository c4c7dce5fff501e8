"""Workers tell where a running job is, without a value of its variables; gevent does not."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command

from django_jobs.control import stack
from tests.integration import jobs
from tests.integration.test_pools import pool_queues


@pytest.mark.parametrize(
    ("flags", "function", "innermost"),
    [
        (("-P", "prefork", "-c", "1"), jobs.hold, "wait_for"),
        (("-P", "solo"), jobs.hold, "wait_for"),
        (("-P", "threads", "-c", "2"), jobs.hold, "wait_for"),
        (("-P", "asyncio", "-c", "2"), jobs.hold, "wait_for"),
        (("-P", "asyncio", "-c", "2"), jobs.hold_async, "hold_async"),
    ],
    ids=["prefork", "solo", "threads", "plain", "coroutine"],
)
def test_stack_of_a_running_job(
    flags: tuple[str, ...], function: Any, innermost: str, runworker: Any, until: Any, folder: Any,
    notes: Any, capsys: Any,
) -> None:  # fmt: skip
    runworker(*flags, *pool_queues(flags[1:]))
    result = function.delay(folder)
    until(notes)
    found = stack(result.id, timeout=60)
    assert found.problem == ""
    names = [name for _file, _line, name in found.frames]
    assert innermost in names
    assert names[0] == function.__wrapped__.__name__  # nothing of the worker is before the body
    assert str(folder) not in str(found.frames)
    call_command("jobs", "stack", result.id, "--timeout", "60")
    assert f"in {innermost}" in capsys.readouterr().out
