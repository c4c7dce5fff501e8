"""``get(timeout=…)`` whose time is over says which status the job has, and what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models import F
from django.utils import timezone

from django_jobs import chain, group
from django_jobs.api.result import AsyncResult
from django_jobs.api.waiting_text import clock_time
from django_jobs.control import pause_queue
from django_jobs.db import clock
from django_jobs.exceptions import ResultTimeout
from django_jobs.models import Job, Queue, Worker
from tests import jobs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registered"),
]


def timed_out(result: Any) -> str:
    with pytest.raises(ResultTimeout) as caught:
        result.get(timeout=0)
    return str(caught.value)


def alive(name: str = "w", **fields: Any) -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        name=name, hostname="h", pid=1, slots=2, started_at=now, heartbeat_at=now,
        lease_until=clock("default", 60), **{"pool": "solo", **fields},
    )  # fmt: skip


def test_pending_job_that_no_worker_serves() -> None:
    result = jobs.add.apply_async((1,), queue="mail")
    alive(queues=["default"])
    alive(pool=Worker.BEAT)
    assert timed_out(result) == (
        f"Job {result.id} had not ended after 0 s. It is PENDING: no live worker serves queue "
        "“mail” (runworker -Q mail)."
    )


def test_reason_of_a_pending_job_with_quiet_or_busy_workers() -> None:
    result = jobs.add.delay(1)
    worker = alive(quiet=True)
    assert "It is PENDING: the workers of queue “default” are quiet." in timed_out(result)
    Worker.objects.filter(pk=worker.pk).update(quiet=False, busy=1)
    assert timed_out(result).endswith(
        "It is PENDING: a worker claims it next, 1 of 2 slots of queue “default” are busy."
    )


def test_pending_job_of_a_paused_queue() -> None:
    result = jobs.add.delay(1)
    alive()
    pause_queue("default")
    assert "It is PENDING: queue “default” is paused since " in timed_out(result)


def test_scheduled_job_says_when() -> None:
    result = jobs.add.apply_async((1,), countdown=60)
    job = Job.objects.get()
    assert f"It is SCHEDULED: it is to run at {clock_time(job.run_at)}." in timed_out(result)
    Job.objects.update(run_at=clock("default", -5))
    assert "It is SCHEDULED: no live worker serves queue “default”" in timed_out(result)


def test_job_that_is_tried_again_says_after_what() -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status="RETRY", run_at=clock("default", 30), error_class="app.Down")
    at = clock_time(Job.objects.get().run_at)
    assert f"It is RETRY: it runs again at {at}, after app.Down." in timed_out(result)


def test_deferred_job_says_why() -> None:
    result = jobs.add.delay(1)
    Job.objects.update(
        status="SCHEDULED", run_at=clock("default", 30), deferrals=1,
        error_class="django_jobs.exceptions.UnknownJob", error_message="No job function is so.",
    )  # fmt: skip
    assert timed_out(result).endswith("It is SCHEDULED: No job function is so.")


def test_reason_of_a_running_job_names_its_worker() -> None:
    result = jobs.add.delay(1)
    Job.objects.update(status="STARTED", worker_id=alive("web1-0").pk, started_at=F("enqueued_at"))
    assert "It is STARTED: worker web1-0 has run it for " in timed_out(result)
    Worker.objects.all().delete()
    assert "It is STARTED: a worker whose row is gone has run it for " in timed_out(result)


def test_reason_of_a_waiting_job_names_its_parents_or_limit() -> None:
    result = chain(jobs.add.s(1), jobs.add.s(2)).apply_async()
    assert "It is WAITING: 1 job that it depends on has not ended: tests.jobs.add." in timed_out(
        result
    )
    Queue.objects.create(name="slow", concurrency=1)
    limited = jobs.add.apply_async((1,), queue="slow")
    Job.objects.filter(pk=limited.uuid).update(status="WAITING", waiting_for="queue:slow")
    assert (
        "It is WAITING: concurrency limit 1 of queue “slow” is reached: place 1 in line."
    ) in timed_out(limited)


def test_reason_of_a_handle_by_id_and_of_a_deleted_row() -> None:
    result = jobs.add.delay(1)
    by_hand: AsyncResult[Any] = AsyncResult(result.id)
    assert "It is PENDING: no live worker" in timed_out(by_hand)
    assert by_hand._why_open().startswith("It is PENDING")
    Job.objects.all().delete()
    assert by_hand._why_open() == "Its row was deleted."


def test_timeout_of_a_group_names_its_first_open_job() -> None:
    results = group(jobs.add.s(n) for n in range(3)).apply_async()
    Job.objects.filter(pk=results.jobs[0].uuid).update(status="SUCCESS", result=1)
    wanted = (
        f"2 of 3 jobs had not ended after 0 s. The first of them is {results.jobs[1].id}. It is "
        "PENDING: no live worker serves queue “default” (runworker -Q default)."
    )
    assert timed_out(results) == wanted
    with pytest.raises(ResultTimeout, match="2 of 3 jobs"):
        list(results.iterate(timeout=0))


@pytest.mark.parametrize("make", [jobs.add.delay, lambda n: group(jobs.add.s(n)).apply_async()])
def test_asynchronous_waits_say_it_too(make: Callable[[int], Any]) -> None:
    result = make(1)

    async def wait() -> None:
        try:
            await result.aget(timeout=0)
        finally:
            await sync_to_async(connections.close_all)()

    # A query in the event loop would raise SynchronousOnlyOperation.
    with pytest.raises(ResultTimeout, match="It is PENDING: no live worker serves"):
        asyncio.run(wait())
