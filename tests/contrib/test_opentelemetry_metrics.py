"""The metrics of jobs, as OpenTelemetry's SDK collects them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from pytest_django import DjangoAssertNumQueries

from django_jobs import chord, job
from django_jobs.contrib.opentelemetry import DjangoJobsInstrumentor, queue_gauges
from django_jobs.exceptions import QueueFull
from django_jobs.metrics import cache, snapshot
from django_jobs.models import Job
from django_jobs.status import Status
from tests import jobs
from tests.contrib.telemetry import Telemetry
from tests.workflows.jobs import add, total

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.once,
    pytest.mark.usefixtures("no_instrumentation"),
]

Drain = Callable[..., Any]
SENT = "messaging.client.sent.messages"
SEND_SECONDS = "messaging.client.operation.duration"
CONSUMED = "messaging.client.consumed.messages"
PROCESS_SECONDS = "messaging.process.duration"


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.shutdown()


def of(operation: str, name: str = "", error: str = "", queue: str = "default") -> dict[str, str]:
    every = {
        "messaging.system": "django_jobs",
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
        "django_jobs.job.name": name,
        "error.type": error,
    }
    return {key: value for key, value in every.items() if value}


def counted(telemetry: Telemetry, name: str) -> list[tuple[dict[str, Any], Any]]:
    """Return the attributes of each point, with its value or its count."""
    points = telemetry.points(name)
    found = [(dict(one.attributes), getattr(one, "value", getattr(one, "count", 0)))
             for one in points]  # fmt: skip
    return sorted(found, key=str)


@job(max_retries=0)
def refuse() -> None:
    raise LookupError("no")


def test_enqueues_and_attempts_are_counted_and_measured(telemetry: Telemetry, drain: Drain) -> None:
    telemetry.instrument()
    jobs.add.delay_many([(1,), (2,)])
    refuse.delay()
    chord([add.s(1), add.s(2)], total.s()).delay()
    drain()
    names = {"tests.jobs.add": 2, add.name: 2, refuse.name: 1, total.name: 1}
    errors = {refuse.name: "builtins.LookupError"}
    assert counted(telemetry, SENT) == sorted(
        [(of("send", name), number) for name, number in names.items()], key=str
    )
    assert counted(telemetry, CONSUMED) == sorted(
        [(of("process", name), number) for name, number in names.items()], key=str
    )
    assert counted(telemetry, SEND_SECONDS) == [(of("send"), 3)]
    assert counted(telemetry, PROCESS_SECONDS) == sorted(
        [(of("process", name, errors.get(name, "")), number) for name, number in names.items()],
        key=str,
    )


def test_enqueue_that_fails_is_counted_with_its_error(telemetry: Telemetry, settings: Any) -> None:
    telemetry.instrument()
    settings.DJANGO_JOBS = {"QUEUES": {"mail": {"MAX_PENDING": 0}}}
    with pytest.raises(QueueFull):
        refuse.apply_async(queue="mail")
    error = "django_jobs.exceptions.QueueFull"
    assert counted(telemetry, SENT) == [(of("send", refuse.name, error, "mail"), 1)]
    assert counted(telemetry, SEND_SECONDS) == [(of("send", "", error, "mail"), 1)]


def test_call_that_finds_a_live_job_sends_nothing(telemetry: Telemetry, registered: Any) -> None:
    telemetry.instrument()
    once = job(name="once", unique=True)(no_op)
    for _ in range(3):
        once.delay()
    assert counted(telemetry, SENT) == [(of("send", "once"), 1)]
    assert counted(telemetry, SEND_SECONDS) == [(of("send"), 3)]


def no_op() -> None:
    pass


def test_names_and_units_are_those_of_the_semantic_conventions(
    telemetry: Telemetry, drain: Drain
) -> None:
    telemetry.instrument(queue_metrics=True)
    jobs.add.delay(1)
    jobs.add.delay(1)
    drain(limit=1)
    units = {name: metric.unit for name, metric in telemetry.metrics().items()}
    assert units == {
        SENT: "{message}",
        CONSUMED: "{message}",
        SEND_SECONDS: "s",
        PROCESS_SECONDS: "s",
        "django_jobs.queue.depth": "{job}",
        "django_jobs.queue.oldest_age": "s",
    }
    known = vars(messaging_metrics).values()
    assert {SENT, CONSUMED, SEND_SECONDS, PROCESS_SECONDS} <= {str(value) for value in known}


# --- queues -------------------------------------------------------------------------------------


def test_queues_are_measured_when_asked(telemetry: Telemetry) -> None:
    telemetry.instrument(queue_metrics=True)
    jobs.add.delay_many([(1,), (2,)], queue="mail")
    row = Job.objects.filter(queue="mail").earliest("id")
    assert row.ready_at is not None
    Job.objects.filter(pk=row.pk).update(ready_at=row.ready_at.replace(year=2020))
    attributes = {"messaging.system": "django_jobs", "messaging.destination.name": "mail"}
    depth = {dict(point.attributes)["messaging.destination.name"]: point
             for point in telemetry.points("django_jobs.queue.depth")}  # fmt: skip
    assert dict(depth["mail"].attributes) == attributes
    assert (depth["mail"].value, depth["default"].value) == (2, 0)
    ages = {point.attributes["messaging.destination.name"]: point.value
            for point in telemetry.points("django_jobs.queue.oldest_age")}  # fmt: skip
    assert ages["mail"] > 86_400 * 365
    assert ages["default"] == 0
    assert row.status == Status.PENDING


def test_collecting_reads_nothing_unless_asked(
    telemetry: Telemetry, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    telemetry.instrument()
    jobs.add.delay(1)
    with django_assert_num_queries(0):
        assert SENT in telemetry.metrics()


@pytest.mark.usefixtures("overview_kept")
def test_both_gauges_share_a_snapshot_and_end_with_uninstrument(
    telemetry: Telemetry, django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: Any
) -> None:
    looks: list[str] = []
    look = snapshot.look
    monkeypatch.setattr(snapshot, "look", lambda using: looks.append(using) or look(using))
    telemetry.instrument(queue_metrics=True)
    assert "django_jobs.queue.depth" in telemetry.metrics()
    assert looks == ["default"]
    cache.clear()
    DjangoJobsInstrumentor().uninstrument()
    with django_assert_num_queries(0):
        assert "django_jobs.queue.depth" not in telemetry.metrics()


def test_queues_are_left_out_while_the_database_is_away(
    telemetry: Telemetry, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> list[str]:
        raise OperationalError("password=hunter2!")

    telemetry.instrument(queue_metrics=True)
    monkeypatch.setattr("django_jobs.define.routing.databases", refused)
    jobs.add.delay(1)
    assert SENT in telemetry.metrics()
    assert [record.message for record in caplog.records] == [
        "queues not measured error=OperationalError"
    ] * 2
    assert queue_gauges.__name__.endswith("queue_gauges")
