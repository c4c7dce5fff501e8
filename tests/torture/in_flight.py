"""``python -m tests.torture.in_flight``: enqueues jobs of every kind that stays in flight a while.

The release that is first on ``PYTHONPATH`` writes the rows, and the ledger knows them. Another
release has to end them: see :mod:`tests.torture.versions`.
"""

from __future__ import annotations

import uuid
from typing import Any

#: By its name, the state in which a row of each kind is seen before the handover.
KINDS = {
    "retried": "RETRY", "asleep": "SCHEDULED", "patient": "WAITING", "add": "WAITING",
    "secret": "SCHEDULED", "unique": "SCHEDULED", "batched": "SCHEDULED", "in_turn": "SCHEDULED",
    "effect": "SCHEDULED", "rated": "SCHEDULED", "quick": "SCHEDULED", "announce": "SCHEDULED",
    "one_at_a_time": "WAITING",
}  # fmt: skip


def states() -> set[tuple[str, str]]:
    """Return the kinds and states of the jobs that have not ended."""
    from django_jobs.models import Job

    live = Job.objects.live().values_list("name", "status").distinct()
    return {(name.rpartition(".")[2], status) for name, status in live.order_by()}


def are_there() -> bool:
    return set(KINDS.items()) <= states()


def release() -> None:
    """Let the jobs go on: the time for which they wait is over."""
    from django.db.models.functions import Now

    from django_jobs.control import jobs
    from django_jobs.models import Job
    from tests.torture import features

    timed = Job.objects.filter(status__in=("SCHEDULED", "RETRY"))
    asleep = timed.filter(name=features.asleep.name)
    jobs.run_now([str(pk) for pk in asleep.values_list("pk", flat=True)])
    timed.update(run_at=Now())


def enqueue() -> None:
    from django_jobs import chain, group
    from tests.torture import features, jobs, ledger
    from tests.torture.ticks import make_schedules

    def later(function: Any, *args: Any, **options: Any) -> Any:
        return function.apply_async(args, countdown=features.HELD, **options)

    name = f"in flight {uuid.uuid4()}"
    add = jobs.add
    results = [
        features.retried.delay(), features.asleep.delay(), features.patient.delay(name),
        later(features.announce, name), later(features.secret, "for two eyes"),
        later(jobs.unique, uuid.uuid4().int % 2**30), later(features.batched, 1),
        later(features.in_turn, 1), later(jobs.effect), later(features.rated),
        later(jobs.quick, 1), *(features.one_at_a_time.delay() for _ in range(6)),
        chain(
            group(add.s(1).set(countdown=features.HELD), add.s(2)), add.s(), add.s(3)
        ).apply_async(),
    ]  # fmt: skip
    for result in results:
        ledger.write("ack", id=str(result.id))
    make_schedules(name, each_second=1)


if __name__ == "__main__":
    import django

    django.setup()
    enqueue()
