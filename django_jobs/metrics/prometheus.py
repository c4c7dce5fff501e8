"""Metrics for Prometheus: counters from measurements, gauges from the open rows.

Needs ``prometheus-client``: ``pip install django-background-jobs[prometheus]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from ..define.routing import databases
from ..models import Worker
from ..models.histogram import BOUNDS, Tally
from ..status import ENDED, Status
from .collector import Series
from .history import totals
from .open_jobs import QueueState
from .snapshot import Overview, overview
from .waiting import COUNTED

_LABELS = ("name", "queue")
_COUNTERS = {
    "sent": "Jobs that a worker claimed for the first time, or that were revoked before",
    "started": "Attempts that ran, counted at their end",
    "succeeded": "Jobs that ended SUCCESS",
    "retried": "Attempts that failed and are retried",
    "revoked": "Jobs that ended REVOKED, also those that expired",
    "rescued": "Attempts whose worker process died or was killed",
}
#: Upper bounds of the buckets as Prometheus writes them.
_BOUNDS = (*(str(bound) for bound in BOUNDS), "+Inf")


class JobsCollector(Collector):
    """The metrics of all databases with jobs; register it in a ``CollectorRegistry``."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering it reads no database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; it takes about ten statements for each database."""
        tallies: dict[Series, Tally] = {}
        for using in databases():
            for key, tally in totals(using).items():
                tallies.setdefault(key, Tally()).add(tally)
        yield from _counters(tallies)
        yield from _histograms(tallies)
        yield from _steps(tallies)
        looks = [overview(using) for using in databases()]
        yield from _queues(looks)
        yield _waiting(looks)
        yield from _workers(looks)


def _counters(tallies: dict[Series, Tally]) -> Iterator[Metric]:
    for column, documentation in _COUNTERS.items():
        family = CounterMetricFamily(f"django_jobs_job_{column}", documentation, labels=_LABELS)
        for (queue, name), tally in tallies.items():
            family.add_metric((name, queue), getattr(tally, column))
        yield family
    failed = CounterMetricFamily(
        "django_jobs_job_failed", "Jobs that ended FAILURE", labels=(*_LABELS, "exception")
    )
    for (queue, name), tally in tallies.items():
        for error_class, errors in tally.errors.items():
            failed.add_metric((name, queue, error_class), errors.count)
    yield failed


def _histograms(tallies: dict[Series, Tally]) -> Iterator[Metric]:
    run = HistogramMetricFamily(
        "django_jobs_job_runtime_seconds", "Seconds that attempts ran", labels=_LABELS
    )
    wait = HistogramMetricFamily(
        "django_jobs_job_wait_seconds",
        "Seconds that attempts were ready before they started",
        labels=_LABELS,
    )
    for (queue, name), tally in tallies.items():
        run.add_metric((name, queue), _buckets(tally.runs), tally.run_seconds)
        wait.add_metric((name, queue), _buckets(tally.waits), tally.wait_seconds)
    yield from (run, wait)


def _steps(tallies: dict[Series, Tally]) -> Iterator[Metric]:
    calls = CounterMetricFamily(
        "django_jobs_step_calls", "Calls of steps, by how they ended",
        labels=(*_LABELS, "step", "outcome"),
    )  # fmt: skip
    # No histogram: it would be as many series for each step as for a job function.
    seconds = SummaryMetricFamily(
        "django_jobs_step_runtime_seconds", "Seconds that calls of steps took",
        labels=(*_LABELS, "step"),
    )  # fmt: skip
    for (queue, name), tally in tallies.items():
        for function, steps in tally.steps.items():
            counts = {"done": steps.done, "failed": steps.failed, "retried": steps.retried}
            for outcome, count in counts.items():
                calls.add_metric((name, queue, function, outcome), count)
            seconds.add_metric((name, queue, function), sum(counts.values()), steps.seconds)
    yield from (calls, seconds)


def _buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    return list(zip(_BOUNDS, map(float, accumulate(counts)), strict=True))


def _queues(looks: Sequence[Overview]) -> Iterator[Metric]:
    length = _gauge("queue_length", "Ready jobs, at most 10000", ["queue"])
    oldest = _gauge("queue_oldest_seconds", "Age of the oldest ready job", ["queue"])
    running = _gauge("queue_running", "Running jobs", ["queue"])
    slots = _gauge("queue_slots", "Slots of live workers that serve the queue", ["queue"])
    target = _gauge("queue_target_seconds", "The longest acceptable wait, if it is set", ["queue"])
    paused = _gauge("queue_paused", "1 while the queue is paused", ["queue"])
    # A queue that moved to another database may have jobs in both.
    found: dict[str, list[QueueState]] = {}
    for queue in (queue for look in looks for queue in look.queues):
        found.setdefault(queue.name, []).append(queue)
    for name, states in found.items():
        length.add_metric([name], sum(state.ready for state in states))
        oldest.add_metric([name], max(state.oldest_seconds for state in states))
        running.add_metric([name], sum(state.running for state in states))
        slots.add_metric([name], sum(state.slots for state in states))
        targets = [state.row.target_seconds for state in states if state.row]
        if wanted := [seconds for seconds in targets if seconds is not None]:
            target.add_metric([name], min(wanted))
        paused.add_metric([name], any(state.is_paused for state in states))
    jobs = _gauge("jobs", "Jobs that have not ended, at most 10000", ["status"])
    for status in Status:
        if status not in ENDED:
            jobs.add_metric([status.value], sum(look.statuses[status] for look in looks))
    yield from (length, oldest, target, running, slots, paused, jobs)


def _waiting(looks: Sequence[Overview]) -> Metric:
    waiting = _gauge("waiting", "Jobs that wait, by what for, at most 10000", ["reason"])
    for kind in COUNTED:
        waiting.add_metric([kind.value], sum(look.waiting[kind] for look in looks))
    return waiting


def _workers(looks: Sequence[Overview]) -> Iterator[Metric]:
    workers = [worker for look in looks for worker in look.executing]
    yield _gauge("active_workers", "Live worker processes", value=len(workers))
    yield _gauge("slots", "Slots of live workers", value=sum(one.slots for one in workers))
    yield _gauge(
        "busy_slots",
        "Slots that ran a job at the last heartbeat",
        value=sum(w.busy for w in workers),
    )
    # Rows of workers are kept for a day.
    lost = sum(Worker.objects.using(using).exclude(lost_at=None).count() for using in databases())
    yield _gauge(
        "lost_workers", "Worker processes that died or lost their lease in a day", value=lost
    )
    beats = sum(len(look.beats) for look in looks)
    yield _gauge("active_beats", "Live processes that fire schedules", value=beats)
    lacking = any(look.lacks_beat for look in looks)
    yield _gauge("beat_missing", "1 while schedules are enabled and no beat runs", value=lacking)
    late = [
        (look.at - schedule.next_run_at).total_seconds()
        for look in looks
        for schedule in look.schedules
        if schedule.next_run_at is not None
    ]
    yield _gauge(
        "beat_lag_seconds", "How late the most overdue schedule is", value=max([0.0, *late])
    )


def _gauge(
    name: str, documentation: str, labels: Sequence[str] | None = None, value: float | None = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"django_jobs_{name}", documentation, value=value, labels=labels)
