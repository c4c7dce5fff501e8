"""A snapshot counts the workers that are alive by the database's clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from django_jobs.metrics.snapshot import look
from django_jobs.models import Worker


def test_worker_whose_lease_is_over_runs_nothing(new_worker: Callable[..., Any]) -> None:
    for pool in ("prefork", Worker.BEAT):
        new_worker(60, name=f"live {pool}", pool=pool, slots=2)
        new_worker(-1, name=f"gone {pool}", pool=pool, slots=4)
    found = look("default")
    assert [one.name for one in found.executing] == ["live prefork"]
    assert [one.name for one in found.beats] == ["live beat"]
    assert found.slots == 2
    assert {one.name for one in found.workers if not one.is_live} == {"gone prefork", "gone beat"}


def test_slots_of_a_queue_are_those_of_the_workers_that_serve_it(
    new_worker: Callable[..., Any],
) -> None:
    chance, names = random.Random(3), [f"q{number}" for number in range(8)]
    for number in range(60):
        new_worker(
            60, name=f"w{number}", slots=number, quiet=number % 10 == 0,
            pool=chance.choice(["prefork", "threads", Worker.BEAT]),
            queues=chance.sample(names, chance.randrange(4)),
            exclude_queues=chance.sample(names, chance.randrange(3)),
        )  # fmt: skip
    found = look("default")
    awake = [worker for worker in found.executing if not worker.quiet]
    assert {state.name for state in found.queues} >= set(names)
    for state in found.queues:
        assert state.slots == sum(each.slots for each in awake if each.serves(state.name))
