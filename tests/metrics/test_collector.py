"""From the end of an attempt to a row, and from rows to statistics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from pytest_django import DjangoAssertNumQueries

from django_jobs import Snooze, job
from django_jobs.control import revoke
from django_jobs.db import unix_time
from django_jobs.maintenance import rescue, rollup
from django_jobs.metrics import cache
from django_jobs.metrics import collector as collecting
from django_jobs.metrics.collector import Collector
from django_jobs.metrics.history import failures, statistics
from django_jobs.models import Job, Measurement, Worker
from django_jobs.models.histogram import COUNTS, Errors, Tally, percentile
from django_jobs.run.execute import Environment, execute
from django_jobs.run.record import record
from django_jobs.values import Claimed
from tests import jobs
from tests.worker.parts import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]

Take = Callable[..., list[Claimed]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Collector:
    collector = Collector(clock)
    collector.synchronize("default")
    return collector


@pytest.fixture
def work(worker: Worker, take: Take, collector: Collector) -> Callable[..., None]:
    """Claim, execute, record and count, as a worker does."""

    def work(queues: tuple[str, ...] = ("default", "mail")) -> None:
        claimed = take(queues=queues)
        collector.claimed(claimed)
        outcomes = [execute(job, Environment(worker_name="w")) for job in claimed]
        collector.ended(record(worker.pk, outcomes, "default"))

    return work


@pytest.fixture
def now() -> int:
    return int(unix_time("default"))


@pytest.fixture
def standing(now: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The time at which the clock of the statistics stands: a minute may begin in a test."""
    monkeypatch.setattr(cache, "unix_time", lambda using: float(now))
    return now


def append(starts_at: int, seconds: int = 60, queue: str = "default", name: str = "f",
           in_total: bool = False, **numbers: Any) -> Measurement:  # fmt: skip
    row = Measurement(
        starts_at=starts_at, seconds=seconds, queue=queue, name=name, in_total=in_total
    )
    row.tally = Tally(**numbers)
    row.save()
    return row


def total_of(**filters: Any) -> Tally:
    total = Tally()
    for row in Measurement.objects.filter(**filters):
        total.add(row.tally)
    return total


# --- counting -----------------------------------------------------------------------------------


def test_counts_of_mixed_outcomes_are_exact(
    work: Callable[..., None], collector: Collector
) -> None:
    @job(max_retries=1, autoretry_for=(OSError,), retry_backoff=False, default_retry_delay=0)
    def flaky() -> None:
        raise OSError("again")

    @job
    def snoozes() -> None:
        raise Snooze(60)

    jobs.add.delay_many([(number,) for number in range(20)])
    jobs.send.delay(1)
    failed = [jobs.fail.delay() for _ in range(3)]
    flaky.delay()
    snoozes.delay()
    expired = jobs.echo.apply_async(expires=3600)
    Job.objects.filter(pk=expired.id).update(expires_at="2020-01-01T00:00:00+00:00")
    work()
    Job.objects.filter(status="RETRY").update(status="PENDING")
    work()
    collector.flush("default")
    found = {row.name.rpartition(".")[2]: row for row in Measurement.objects.all()}

    def counts(name: str) -> tuple[int, ...]:
        row = found[name]
        return (row.sent, row.tally.started, row.succeeded, row.failed, row.retried, row.revoked)

    assert counts("add") == (20, 20, 20, 0, 0, 0)
    assert counts("send") == (1, 1, 1, 0, 0, 0)
    assert counts("fail") == (3, 3, 0, 3, 0, 0)
    assert counts("flaky") == (1, 2, 0, 1, 1, 0)
    assert counts("snoozes") == (1, 1, 0, 0, 0, 0)
    assert counts("echo") == (1, 0, 0, 0, 0, 1)
    assert len(found) == 6
    assert found["send"].queue == "mail"
    ((error_class, errors),) = found["fail"].tally.errors.items()
    assert (error_class, errors.count) == ("builtins.ValueError", 3)
    assert errors.sample in {str(result.id) for result in failed}
    assert abs(errors.last - unix_time("default")) < 60


def test_wait_is_the_time_since_the_job_was_ready(
    work: Callable[..., None], collector: Collector
) -> None:
    @job
    def quick() -> None: ...

    quick.delay()
    aged(seconds=50)
    work()
    collector.flush("default")
    row = Measurement.objects.get()
    assert 49 < row.wait_seconds < 100
    assert row.tally.waits[20] == 1  # 45 … 65 s
    assert row.run_seconds < 20


def aged(seconds: int) -> None:
    """Let the jobs be ready since so long."""
    ready_at = connection.ops.quote_name("ready_at")
    change = {
        "postgresql": f"{ready_at} - interval '{seconds} seconds'",
        "mysql": f"{ready_at} - INTERVAL {seconds} SECOND",
        "sqlite": f"strftime('%Y-%m-%d %H:%M:%f', {ready_at}, '-{seconds} seconds')",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE django_jobs_job SET ready_at = {change}")


def test_an_outcome_that_did_not_count_is_not_counted(
    worker: Worker, take: Take, collector: Collector
) -> None:
    jobs.add.delay(1)
    (claimed,) = take()
    Job.objects.update(claims=7)
    outcome = execute(claimed, Environment())
    collector.ended(record(worker.pk, [outcome], "default"))
    collector.flush("default")
    assert not Measurement.objects.exists()


def test_flush_is_one_insert_and_nothing_where_nothing_was_counted(
    work: Callable[..., None],
    collector: Collector,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    jobs.add.delay(1)
    jobs.send.delay(1)
    work()
    with django_assert_num_queries(2):  # the database's clock, and the rows
        collector.flush("default")
    assert Measurement.objects.count() == 2
    with django_assert_num_queries(0):
        collector.flush("default")


def test_what_could_not_be_written_is_kept(
    work: Callable[..., None], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("gone")

    jobs.add.delay_many([(1,), (2,)])
    work()
    with monkeypatch.context() as patch:
        patch.setattr(collecting, "append", away)
        with pytest.raises(OperationalError):
            collector.flush("default")
    jobs.add.delay(3)
    work()
    collector.flush("default")
    assert total_of().succeeded == total_of().started == 3


def test_what_is_being_counted_is_not_taken_half(
    take: Take, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread that takes the counts, to write them, waits for the one that counts."""
    jobs.add.delay(1)
    outcomes = [execute(each, Environment()) for each in take()]
    taken: list[Any] = []
    taker = threading.Thread(target=lambda: taken.append(collector.drain()))
    count = collecting._count

    def interrupted(*args: Any) -> None:
        taker.start()
        taker.join(0.1)
        assert taker.is_alive()
        count(*args)

    monkeypatch.setattr(collecting, "_count", interrupted)
    collector.ended(outcomes)
    taker.join()
    ((tally,),) = [tallies.values() for tallies in taken[0].values()]
    assert (tally.succeeded, tally.started) == (1, 1)


def test_minute_is_that_of_the_databases_clock(
    work: Callable[..., None], collector: Collector, clock: Clock, now: int
) -> None:
    clock.advance(-3600)
    jobs.add.delay(1)
    work()
    clock.advance(3600)
    jobs.add.delay(1)
    work()
    collector.flush("default")
    early, late = Measurement.objects.order_by("starts_at").values_list("starts_at", flat=True)
    assert early % 60 == late % 60 == 0
    assert 0 <= late - now // 60 * 60 <= 60
    assert 3540 <= late - early <= 3660


def test_databases_clock_is_near_this_hosts() -> None:
    assert abs(unix_time("default") - time.time()) < 60


def test_revoked_in_the_queue_is_counted_there() -> None:
    results = [jobs.add.delay(1), jobs.add.delay(2), jobs.send.delay(3)]
    Job.objects.filter(pk=results[1].id).update(claims=2)
    revoke([result.id for result in results])
    found = {row.queue: row.tally for row in Measurement.objects.all()}
    assert (found["default"].sent, found["default"].revoked) == (1, 2)
    assert (found["mail"].sent, found["mail"].revoked) == (1, 1)


def test_rescuing_worker_counts_the_rescue(
    take: Take, new_worker: Callable[..., Worker], settings: Any
) -> None:
    settings.DJANGO_JOBS = {"MAX_CRASHES": 1}
    dead = new_worker()
    jobs.add.delay(1)
    take(by=dead)
    Worker.objects.update(lease_until="2020-01-01T00:00:00+00:00")
    rescue.run_once("default")
    tally = total_of()
    assert (tally.rescued, tally.failed, tally.started) == (1, 1, 0)
    assert list(tally.errors) == ["django_jobs.exceptions.WorkerLost"]


# --- rolling up ---------------------------------------------------------------------------------


HOLDER = uuid4()


def roll_up() -> None:
    while rollup.run_once("default", HOLDER):
        pass


@pytest.mark.parametrize("age", [120, 5_000, 100_000])
def test_rollup_keeps_every_number(now: int, age: int) -> None:
    for minute in range(30):
        for worker in range(3):
            append(
                (now - age) // 60 * 60 - 60 * minute,
                name=f"f{minute % 2}",
                succeeded=10,
                failed=worker,
                sent=1,
                run_seconds=1.0,
                longest_run_seconds=float(minute),
                runs=[1] * 26,
                waits=[0, 5] + [0] * 24,
            )
    before = {name: total_of(name=name) for name in ("f0", "f1")}
    roll_up()
    for name, tally in before.items():
        assert total_of(name=name, seconds__gt=0) == tally
        assert total_of(name=name, seconds=0) == tally
    rows = Measurement.objects.filter(seconds__gt=0)
    expected = {120: 30, 5_000: 30 // 10 * 2, 100_000: 2}[age]
    assert expected <= rows.count() <= expected + 4
    assert all(row.starts_at % row.seconds == 0 for row in rows)


def test_rollup_leaves_fresh_rows(now: int) -> None:
    append(now // 60 * 60, succeeded=1)
    roll_up()
    assert Measurement.objects.get().in_total is False


def test_total_grows_with_what_comes_late_and_outlives_the_rows(now: int) -> None:
    append(now - 200, succeeded=1)
    roll_up()
    append(now - 16 * 86_400, succeeded=2)
    append(now - 3_000, succeeded=4, queue="mail")
    roll_up()
    roll_up()
    assert total_of(seconds=0, queue="default").succeeded == 3
    assert total_of(seconds=0, queue="mail").succeeded == 4
    assert Measurement.objects.filter(seconds=0).count() == 2
    assert total_of(seconds__gt=0).succeeded == 5  # those of sixteen days ago are gone


def test_rollup_works_in_batches(now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "BATCH", 10)
    for _ in range(25):
        append(now // 60 * 60 - 300, succeeded=1)
    assert rollup.run_once("default", HOLDER)
    roll_up()
    assert total_of(seconds__gt=0).succeeded == total_of(seconds=0).succeeded == 25


def test_rollup_is_one_processes_work(now: int) -> None:
    append(now - 600, succeeded=1)
    rollup.run_once("default", uuid4())
    append(now - 600, succeeded=1)
    assert rollup.run_once("default", uuid4()) is False
    assert Measurement.objects.filter(in_total=False).count() == 1


# --- statistics ---------------------------------------------------------------------------------


def test_statistics_of_what_ran(work: Callable[..., None], collector: Collector) -> None:
    jobs.add.delay_many([(1,), (2,), (3,)])
    jobs.fail.delay()
    jobs.send.delay(1)
    work()
    collector.flush("default")
    found = statistics("1h")
    assert len(found.points) == 60
    assert sum(point.succeeded for point in found.points[-2:]) == 4
    assert sum(point.failed for point in found.points[-2:]) == 1
    assert {each.name: each.succeeded for each in found.functions} == {
        "tests.jobs.add": 3,
        "tests.jobs.fail": 0,
        "tests.jobs.send": 1,
    }
    assert [(each.name, each.started) for each in found.queues] == [("default", 4), ("mail", 1)]
    assert (found.total.succeeded, found.total.failed, found.total.failed_share) == (4, 1, 0.2)
    assert sum(found.total.ended_by_step) == sum(found.queues[0].ended_by_step) + 1 == 5
    assert found.total.run.longest is not None
    assert found.total.wait.p50 is not None


@pytest.mark.parametrize(("window", "steps"), [("1h", 60), ("24h", 144), ("7d", 168)])
def test_period_is_complete_before_and_after_the_rollup(
    window: str, steps: int, standing: int
) -> None:
    length = {"1h": 3_600, "24h": 86_400, "7d": 604_800}[window]
    for place in range(50):
        append((standing - place * (length // 50)) // 60 * 60, succeeded=1, runs=[1] + [0] * 25)
    append(standing - length - 3_700, succeeded=100)
    before = statistics(window)
    roll_up()
    after = statistics(window)
    assert len(before.points) == steps
    assert before.points == after.points
    assert before.total == after.total
    assert 49 <= before.total.succeeded <= 50


@pytest.fixture
def varied(standing: int, vendor: str) -> list[Measurement]:
    """Return rows of two weeks, in which no two numbers of a column are alike."""
    if vendor == "mysql":  # as short as on MySQL
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION group_concat_max_len = 1024")
    lengths, names = (60, 60, 60, 3_600, Measurement.TOTAL), ("f", "F", "shop.send")
    rows = []
    for place in range(300):
        seconds = lengths[place % len(lengths)]
        starts_at = (standing - place * place * 13) // max(seconds, 60) * max(seconds, 60)
        errors = {
            f"shop.Error{kind}": Errors(place % 3 + 1, starts_at + kind, str(uuid4()))
            for kind in range(place % 4)
        }
        counts = dict(zip(COUNTS, range(place, 6 * place + 6, place + 1), strict=False))
        times = {"wait_seconds": place / 4, "run_seconds": place / 8, "longest_run_seconds": place}
        edges = {"shortest_run_seconds": place / 2, "shortest_wait_seconds": place / 3,
                 "longest_wait_seconds": place * 2}  # fmt: skip
        tally = Tally(
            **counts, **times, **(edges if place % 7 else {}), errors=errors,
            waits=[place] * (place % 20) + [0] * 26, runs=[0] * (place % 15) + [1] * 26,
        )  # fmt: skip
        tally.waits, tally.runs = tally.waits[:26], tally.runs[:26]
        queue = ("a", "A", "b")[place % 8 % 3]
        row = Measurement(
            starts_at=starts_at, seconds=seconds, queue=queue, name=names[place % 3]
        )  # fmt: skip
        row.tally = tally
        row.save()
        rows.append(row)
    return [row for row in rows if row.seconds]


def brute(rows: Iterable[Measurement]) -> dict[str, Any]:
    """Return what an activity must have, from each row in turn."""
    whole = Tally()
    for row in rows:
        whole.add(row.tally)
    return {
        "started": whole.started, "succeeded": whole.succeeded, "failed": whole.failed,
        "retried": whole.retried, "revoked": whole.revoked, "rescued": whole.rescued,
        "run_seconds": pytest.approx(whole.run_seconds), "run_counts": tuple(whole.runs),
        "wait_p95": percentile(whole.waits, 0.95, whole.longest_wait_seconds,
                               whole.shortest_wait_seconds),
        "run_p50": percentile(whole.runs, 0.5, whole.longest_run_seconds,
                              whole.shortest_run_seconds),
        "mean": pytest.approx(whole.wait_seconds / (sum(whole.waits) or 1)),
    }  # fmt: skip


def told(activity: Any) -> dict[str, Any]:
    names = ("started", "succeeded", "failed", "retried", "revoked", "rescued", "run_seconds")
    return {
        **{name: getattr(activity, name) for name in names}, "run_counts": activity.run_counts,
        "wait_p95": activity.wait.p95, "run_p50": activity.run.p50,
        "mean": activity.wait.mean or 0,
    }  # fmt: skip


@pytest.mark.parametrize("window", ["1h", "24h", "7d"])
def test_statistics_are_the_sums_of_the_rows(window: str, varied: list[Measurement]) -> None:
    found = statistics(window)
    start = found.points[0].starts_at.timestamp()
    rows = [row for row in varied if row.starts_at >= start]
    before = [row for row in varied if start - found.period.seconds <= row.starts_at < start]
    assert told(found.total) == brute(rows)
    assert told(found.previous.total) == brute(before)
    assert {one.name for one in found.functions} == {row.name for row in rows}
    assert {one.name for one in found.queues} == {row.queue for row in rows}
    for one in found.functions:
        assert told(one) == brute(row for row in rows if row.name == one.name)
    for one in found.queues:
        assert told(one) == brute(row for row in rows if row.queue == one.name)
        assert told(statistics(window, queue=one.name).total) == told(one)
    ended = [0] * len(found.points)
    for row in rows:
        step = int(row.starts_at - start) // found.period.step
        ended[min(step, len(ended) - 1)] += row.succeeded + row.failed
    assert list(found.total.ended_by_step) == ended
    assert [point.succeeded + point.failed for point in found.points] == ended
    assert [*map(sum, zip(*(one.ended_by_step for one in found.queues), strict=True))] == ended


def test_failures_are_the_sums_of_the_rows(varied: list[Measurement], standing: int) -> None:
    wanted: dict[tuple[str, str], list[Any]] = {}
    # Rows of a minute and of an hour can begin at the same time: any of their jobs is a sample.
    samples: dict[tuple[str, str, int], set[str]] = {}
    for row in varied:
        for kind, (count, last, sample) in row.errors.items():
            if row.starts_at < standing - 604_800 or not row.failed:
                continue
            samples.setdefault((row.name, kind, last), set()).add(sample)
            one = wanted.setdefault((row.name, kind), [0, 0, 0, row.starts_at, 0])
            for place, age in enumerate((3_600, 86_400, 604_800)):
                one[place] += count if row.starts_at >= standing - age else 0
            one[3] = min(one[3], row.starts_at)
            one[4] = max(one[4], last)
    found = {
        (one.name, one.error_class): [
            one.hour, one.day, one.week, int(one.first_seen.timestamp()),
            int(one.last_seen.timestamp()),
        ]
        for one in failures()
    }  # fmt: skip
    assert found == wanted
    for one in failures():
        last = int(one.last_seen.timestamp())
        assert str(one.sample_id) in samples[one.name, one.error_class, last]
    assert {sum(one.by_step) for one in failures()} <= {one[2] for one in wanted.values()}


def test_statistics_without_a_row() -> None:
    found = statistics("24h")
    assert found.total.succeeded == 0
    assert found.total.wait.p50 is None
    assert found.total.failed_share == 0
    assert found.functions == found.queues == ()


def test_statistics_is_one_statement_beside_that_of_the_clock(
    now: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for minute in range(20):
        append(now - 60 * minute, succeeded=1)
    with django_assert_num_queries(2):
        statistics("7d")
    with django_assert_num_queries(1):
        failures()


def test_failures_by_function_and_error(
    now: int, work: Callable[..., None], collector: Collector
) -> None:
    result = jobs.fail.delay()
    work()
    collector.flush("default")
    old = str(uuid4())
    for age in (7_200, 200_000):
        errors = {"builtins.ValueError": Errors(2, now - age, old)}
        append(now - age, name="tests.jobs.fail", failed=2, errors=errors)
    (found,) = failures()
    assert (found.name, found.error_class) == ("tests.jobs.fail", "builtins.ValueError")
    assert (found.hour, found.day, found.week) == (1, 3, 5)
    assert found.sample_id == result.id
    roll_up()
    (rolled,) = failures()
    assert (rolled.hour, rolled.day, rolled.week) == (1, 3, 5)


@pytest.mark.parametrize("seconds", [0.001, 5.0, 90.5, 400.0, 30 * 86_400.0])
def test_statistics_of_a_function_that_always_takes_as_long_are_exact(
    now: int, seconds: float
) -> None:
    for minute in range(3):
        tally = Tally()
        tally.measure([seconds / 2] * 10, [seconds] * 10)
        collecting.append({now // 60 * 60 - minute * 60: {("default", "f"): tally}}, "default")
    append(now // 60 * 60, sent=1)  # one that did not run
    rollup.run_once("default", uuid4())
    run, wait = statistics().total.run, statistics().total.wait
    assert [run.p50, run.p95, run.p99, run.longest] == pytest.approx([seconds] * 4)
    assert [wait.p50, wait.p95, wait.p99, wait.longest] == pytest.approx([seconds / 2] * 4)
