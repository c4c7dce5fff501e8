"""Workers are killed before, in and after each step of jobs."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group

from django_jobs.models import Job, Step
from tests.integration import durable
from tests.integration.with_gevent import WITH_GEVENT
from tests.waiting import LONG


def test_each_effect_of_a_killed_job_is_seen_once(runworker: Any, folder: str) -> None:
    points = list(durable.points())
    Group.objects.bulk_create(
        Group(name=f"row of {point}.{number}") for point in points for number in range(4)
    )
    results = durable.sell.delay_many([(folder, point) for point in points])
    worker = runworker("-c", "2")
    for result in results:
        assert result.get(timeout=LONG) == list(durable.STEPS)
    assert worker.stop() == 0
    for point in points:
        assert Path(folder, f"killed {point}").exists(), point
        done = Path(folder, point).read_text().split()
        # A step that is not atomic may run again, but never after a later one.
        assert list(dict.fromkeys(done)) == list(durable.STEPS), point
        assert done == sorted(done, key=durable.STEPS.index), point
        again = collections.Counter(done) - collections.Counter(durable.STEPS)
        lost = [name for name in durable.STEPS if point == f"at the end of {name}"]
        assert list(again.elements()) == lost, point
        # The rows of the atomic step, of the atomic loop and of the child exist once.
        names = Group.objects.filter(name__startswith=f"{point}: reserve").count()
        rows = Group.objects.filter(name__startswith=f"row of {point}.", name__contains="done")
        packed = Group.objects.filter(name__startswith=f"{point}: packed").count()
        assert (names, rows.count(), packed) == (1, 4, 1), point
    assert set(Step.objects.values_list("state", flat=True)) == {"DONE"}
    assert Step.objects.count() == 6 * len(points)
    assert not Job.objects.exclude(status="SUCCESS").exists()


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "asyncio"])
def test_steps_run_in_every_pool(runworker: Any, pool: str) -> None:
    Group.objects.bulk_create(Group(name=f"{number}") for number in range(3))
    results = [function.delay() for function in (durable.count, durable.count_async) * 3]
    slots = () if pool == "solo" else ("-c", "2")
    # The limits of jobs in other queues are no matter of these pools.
    worker = runworker("-P", pool, *slots, "-Q", "default")
    assert [result.get(timeout=LONG) for result in results] == [3] * 6
    assert worker.stop() == 0
    assert set(Step.objects.values_list("state", flat=True)) == {"DONE"}
    assert Step.objects.count() == 6 * len(results)


@WITH_GEVENT
def test_steps_run_in_greenlets(runworker: Any) -> None:
    plain = [durable.count.apply_async((False,), queue="steps") for _ in range(4)]
    awaits = durable.count.apply_async((True,), queue="steps")
    worker = runworker("-P", "gevent", "-c", "4", "-Q", "steps")
    assert [result.get(timeout=LONG) for result in plain] == [3] * 4
    with pytest.raises(TypeError, match="a gevent pool runs none"):
        awaits.get(timeout=LONG)
    assert worker.stop() == 0
