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
    pool: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("TEST_FAIR_BY", "line")
    settings.DJANGO_JOBS = {"QUEUES": {"imports": {"FAIR_BY": "line"}}}
    for tenant, number in (("A", 300), ("C", 50), ("B", 1)):
        jobs.mark.delay_many([(folder, tenant)] * number, queue="imports")
        jobs.mark.delay_many([(folder, tenant)] * number, queue="plain")
    worker = runworker("--burst", "-Q", "imports,plain", "-c", "2", "--pool", pool)
    assert worker.wait() == 0, worker.output()
    assert Job.objects.filter(status="SUCCESS", claims=1).count() == 702
    imports = Job.objects.filter(queue="imports").order_by("started_at")
    assert [job.args[1] for job in imports].index("B") < 100
