"""Fair queues over real worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_jobs.models import Job
from tests.integration import jobs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_one_job_does_not_wait_for_the_backlog_of_another_key(
    runworker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, settings: Any, folder: str,
    pool: str, notes: Callable[[], list[str]],
) -> None:  # fmt: skip
    monkeypatch.setenv("TEST_FAIR_BY", "line")
    settings.DJANGO_JOBS = {"QUEUES": {"imports": {"FAIR_BY": "line"}}}
    for tenant, number in (("A", 150), ("C", 25), ("B", 1)):
        jobs.mark.delay_many([(folder, tenant)] * number, queue="imports")
        jobs.mark.delay_many([(folder, tenant)] * number, queue="plain")
    # One process: two would begin jobs in another order than that of their claims.
    worker = runworker("--burst", "-Q", "imports,plain", "--pool", pool, "-c", "1")
    assert worker.wait() == 0, worker.output()
    assert Job.objects.filter(status="SUCCESS").count() == len(notes()) == 352
    imports = Job.objects.filter(queue="imports").order_by("started_at")
    # A job that begins too late goes back to the queue. By age it would be the last one of 176.
    assert [job.args[1] for job in imports].index("B") < 100
