"""What real workers count."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from django_jobs.metrics.history import failures, statistics, totals
from django_jobs.models import Job, Measurement
from django_jobs.models.histogram import Tally
from tests.integration import jobs


def counted() -> dict[str, Tally]:
    return {name.rpartition(".")[2]: tally for (_queue, name), tally in totals().items()}


def statuses() -> Counter[str]:
    return Counter(Job.objects.values_list("status", flat=True))


def test_counts_of_workers_that_stop_are_exact(runworker, until, folder):
    worker = runworker("-c", "2")
    jobs.mark.delay_many([(folder, number) for number in range(200)])
    jobs.fail_twice.delay(folder)
    atomic = jobs.write_and_hold.delay(folder, "atomic")
    Path(folder, "go").touch()
    jobs.show_nonsense.delay()
    until(lambda: statuses() == {"SUCCESS": 202, "FAILURE": 1})
    assert atomic.status == "SUCCESS"
    assert worker.stop() == 0, worker.output()
    found = counted()
    assert (found["mark"].sent, found["mark"].succeeded, found["mark"].started) == (200, 200, 200)
    flaky = found["fail_twice"]
    assert (flaky.sent, flaky.retried, flaky.succeeded, flaky.started) == (1, 2, 1, 3)
    assert (found["write_and_hold"].succeeded, found["write_and_hold"].sent) == (1, 1)
    assert (found["show_nonsense"].failed, found["show_nonsense"].succeeded) == (1, 0)
    assert all(tally.run_seconds >= 0 < tally.wait_seconds for tally in found.values())
    assert statistics().total.succeeded == 202


def test_crashes_are_counted_by_who_survives(runworker, until, folder):
    worker = runworker("-c", "1")
    result = jobs.die.delay(folder)
    until(lambda: result.status == "FAILURE")
    assert worker.stop() == 0, worker.output()
    assert (counted()["die"].rescued, counted()["die"].failed) == (3, 1)
    (failure,) = failures()
    assert failure.error_class == "django_jobs.exceptions.WorkerLost"
    assert failure.sample_id == result.id
    assert Measurement.objects.filter(seconds=60).exists()
