"""A slot tells listeners of an end after the record; among short jobs it runs on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.utils.functional import SimpleLazyObject

from django_jobs import current_job, job, signals
from django_jobs.define.context import JobContext
from django_jobs.models import Job
from django_jobs.values import Claimed, Outcome
from django_jobs.worker.loop import WorkerLoop
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.pools import base
from django_jobs.worker.pools.base import PoolSetup
from django_jobs.worker.pools.eventloop import EventLoopPool
from django_jobs.worker.pools.threads import ThreadPool
from django_jobs.worker.shared_slots import SharedSlots
from tests.waiting import LONG

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registered", "no_instrumentation"),
]


@pytest.fixture
def loop(new_loop: Callable[..., WorkerLoop]) -> WorkerLoop:
    return new_loop(pool="threads", slots=2)


@pytest.fixture
def shared_slots() -> Iterator[SharedSlots]:
    shared_slots = SharedSlots(2)
    yield shared_slots
    shared_slots.close()


@pytest.fixture
def pool(loop: WorkerLoop, shared_slots: SharedSlots) -> ThreadPool:
    return a_pool(loop, shared_slots)


def a_pool(loop: WorkerLoop, shared_slots: SharedSlots) -> ThreadPool:
    return ThreadPool(
        PoolSetup(
            "w",
            # Only its supervisor enforces hard limits.
            WorkerOptions(pool="prefork", slots=2),
            loop.buffer,
            shared_slots,
            {},
            loop.progress.show,
            lambda outcome: True,
        )
    )


@pytest.fixture
def start(pool: ThreadPool, loop: WorkerLoop) -> Iterator[Callable[..., threading.Thread]]:
    """Run the next job of the buffer in a slot, in a thread of its own."""
    threads = []

    def run(slot: int) -> None:
        job = loop.buffer.take(slot, wait=False)
        assert job is not None
        pool.run_one(slot, job, pool.environment(slot))
        connections.close_all()

    def start(slot: int = 0) -> threading.Thread:
        thread = threading.Thread(target=run, args=(slot,), daemon=True)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    Held.may_end.set()
    loop.buffer.close()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


class Held(JobContext):
    """Its hook says that it runs, and waits until the test lets it end."""

    runs: threading.Event
    may_end: threading.Event

    def on_success(self, *args: Any) -> None:
        Held.runs.set()
        assert Held.may_end.wait(LONG)


@pytest.fixture(autouse=True)
def events() -> None:
    Held.runs, Held.may_end = threading.Event(), threading.Event()


def body() -> int:
    return 1


def has_ended(loop: WorkerLoop, number: int = 1) -> Callable[[], bool]:
    return lambda: loop.buffer.counts()[2] == number


def test_slot_waits_for_the_record_and_for_its_hook(
    loop: WorkerLoop, start: Any, until: Any, shared_slots: SharedSlots
) -> None:
    result = job(base=Held)(body).delay()
    loop.step()
    thread = start()
    until(has_ended(loop))
    assert not Held.runs.is_set()
    # The body has ended, so nothing can stop the job any more.
    assert shared_slots.running() == []
    loop.step()
    assert Held.runs.wait(LONG)
    assert result.status == "SUCCESS"
    assert loop.buffer.counts() == (0, 1, 0)
    Held.may_end.set()
    thread.join(LONG)
    assert loop.buffer.counts() == (0, 0, 0)
    assert loop.buffer.jobs_done == 1


def test_hook_that_runs_long_holds_up_no_other_record_and_no_other_slot(
    loop: WorkerLoop, start: Any, until: Any
) -> None:
    job(base=Held)(body).delay()
    loop.step()
    start(0)
    until(has_ended(loop))
    loop.step()
    assert Held.runs.wait(LONG)

    @job
    def other() -> int:
        return 2

    result = other.delay()
    loop.timer.look()
    loop.queues.read_again()
    loop.step()
    start(1).join(LONG)
    loop.step()
    assert result.status == "SUCCESS"
    assert loop.buffer.counts() == (0, 1, 0)


def test_stop_waits_for_a_hook(loop: WorkerLoop, start: Any, until: Any) -> None:
    job(base=Held)(body).delay()
    loop.step()
    thread = start()
    until(has_ended(loop))
    loop.state.stopping = True
    loop.step()
    assert Held.runs.wait(LONG)
    assert loop.step() is not None
    Held.may_end.set()
    thread.join(LONG)
    assert loop.step() is None


def test_slot_does_not_wait_for_a_loop_that_has_given_up(
    loop: WorkerLoop, start: Any, until: Any
) -> None:
    result = job(base=Held)(body).delay()
    loop.step()
    thread = start()
    until(has_ended(loop))
    loop.buffer.close()
    thread.join(LONG)
    assert not thread.is_alive()
    assert not Held.runs.is_set()
    assert loop.buffer.held() == {(result.uuid, 1)}


def test_end_without_listeners_waits_for_none(loop: WorkerLoop, start: Any) -> None:
    job(body).delay()
    loop.step()
    start().join(LONG)
    assert loop.buffer.counts() == (0, 0, 1)


def test_receiver_of_another_job_function_lets_no_slot_wait(loop: WorkerLoop, start: Any) -> None:
    function = job(body)

    def receive(**named: Any) -> None: ...

    signals.job_success.connect(receive, sender="another.function")
    try:
        function.delay()
        loop.step()
        start().join(LONG)
    finally:
        signals.job_success.disconnect(receive, sender="another.function")
    assert loop.buffer.counts() == (0, 0, 1)


def test_hard_limit_holds_for_the_hooks_anew(
    loop: WorkerLoop, start: Any, until: Any, shared_slots: SharedSlots
) -> None:
    job(base=Held, time_limit=7)(body).delay()
    loop.step()
    start()
    until(has_ended(loop))
    (recorded,) = loop.buffer.ended()
    loop.step()
    assert Held.runs.wait(LONG)
    (entry,) = shared_slots.running()
    assert entry.began >= recorded.ended
    assert entry.deadline == entry.began + 7


def test_time_of_the_hooks_counts_for_what_is_claimed_ahead(
    new_loop: Callable[..., WorkerLoop], shared_slots: SharedSlots, clock: Any
) -> None:
    loop = new_loop(clock=clock, pool="threads", slots=2)
    pool = a_pool(loop, shared_slots)
    job(body).delay_many([(), ()])
    loop.step()
    for slot, hooks_seconds in enumerate([0.0, 9.0]):
        claimed = loop.buffer.take(slot, wait=False)
        assert claimed is not None
        outcome = Outcome(claimed, "SUCCESS", began=clock(), ended=clock())
        pool.ask(slot, outcome)
        clock.advance(hooks_seconds)
        before = loop.buffer.run_seconds
        pool.ended(slot, claimed, outcome)
        newest = 1 / (slot + 2)
        assert loop.buffer.run_seconds == pytest.approx(before + newest * (hooks_seconds - before))


def test_cancellation_does_not_end_the_wait_of_a_coroutine(
    pool: ThreadPool, loop: WorkerLoop, take: Callable[..., list[Claimed]]
) -> None:
    job(body).delay()
    (claimed,) = take()
    outcome = Outcome(claimed, "SUCCESS", began=0.0, ended=0.0)
    eventloop = EventLoopPool(pool.setup)

    async def wait() -> Outcome | None:
        eventloop._answers.begin()
        task = asyncio.create_task(eventloop.confirm_async(0, outcome))
        while not loop.buffer.confirmations:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        loop.buffer.confirmations.answer(outcome, outcome)
        return await task

    assert asyncio.run(wait()) is outcome


# --- short jobs ---------------------------------------------------------------------------------


@pytest.fixture
def works(
    pool: ThreadPool, loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], threading.Thread]]:
    """Run the jobs of the buffer in slot 0, in a thread of its own, until the buffer is closed."""
    # A loaded machine takes longer than that for the first job.
    monkeypatch.setattr(base, "_SHORT_SECONDS", float("inf"))
    threads = []

    def work() -> None:
        pool.work(0, pool.environment(0))
        connections.close_all()

    def start() -> threading.Thread:
        threads.append(threading.Thread(target=work, daemon=True))
        threads[0].start()
        return threads[0]

    yield start
    Held.may_end.set()
    loop.buffer.close()
    threads[0].join(LONG)
    assert not threads[0].is_alive()


@pytest.fixture
def told() -> Iterator[list[tuple[int, str]]]:
    """Each call of job_success: the job's result, and the status of its row."""
    seen: list[tuple[int, str]] = []

    def receive(job_id: str, result: int, **named: Any) -> None:
        seen.append((result, Job.objects.get(pk=job_id).status))

    signals.job_success.connect(receive)
    yield seen
    signals.job_success.disconnect(receive)


@job
def number(value: int) -> int:
    return value


def test_short_jobs_with_listeners_are_recorded_together_and_told_in_their_order(
    loop: WorkerLoop, works: Any, until: Any, told: list[tuple[int, str]]
) -> None:
    number.delay_many([(value,) for value in range(5)])
    loop.buffer.run_seconds = 0.001
    loop.step()
    works()
    # The slot has run all of them and now waits for the record.
    until(lambda: loop.buffer.confirmations.urgent)
    assert [outcome.value for outcome in loop.buffer.ended()] == [0, 1, 2, 3, 4]
    assert told == []
    loop.step()
    until(lambda: loop.buffer.counts() == (0, 0, 0))
    assert told == [(value, "SUCCESS") for value in range(5)]
    assert loop.buffer.jobs_done == 5


def test_slot_is_free_only_after_all_its_ends_are_told_for_their_hooks_may_enqueue(
    loop: WorkerLoop,
    works: Any,
    until: Any,
    told: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    freed_after: list[int] = []
    free = loop.buffer.free

    def noting(slot: int, seconds: float) -> None:
        freed_after.append(len(told))
        free(slot, seconds)

    monkeypatch.setattr(loop.buffer, "free", noting)
    number.delay_many([(value,) for value in range(3)])
    loop.buffer.run_seconds = 0.001
    loop.step()
    works()
    until(lambda: loop.buffer.confirmations.urgent)
    loop.step()
    until(lambda: loop.buffer.counts() == (0, 0, 0))
    assert freed_after == [3]


def test_end_that_is_recorded_is_told_before_the_next_job_begins(
    loop: WorkerLoop, works: Any, until: Any, told: list[tuple[int, str]]
) -> None:
    told_before = threading.Event()
    recorded, second = threading.Event(), threading.Event()

    @job
    def first() -> int:
        return 7

    @job
    def slow() -> int:
        second.set()
        assert recorded.wait(LONG)
        return 8

    @job
    def last() -> int:
        if told[:1] == [(7, "SUCCESS")]:
            told_before.set()
        return 9

    for function in (first, slow, last):
        function.delay()
    loop.buffer.run_seconds = 0.001
    loop.step()
    works()
    assert second.wait(LONG)
    loop.buffer.confirmations.hurry()
    loop.completer.record()
    recorded.set()
    assert told_before.wait(LONG)


def test_ends_that_are_dropped_are_not_told(
    loop: WorkerLoop, works: Any, until: Any, told: list[tuple[int, str]]
) -> None:
    number.delay_many([(1,), (2,)])
    loop.buffer.run_seconds = 0.001
    loop.step()
    works()
    until(lambda: loop.buffer.confirmations.urgent)
    Job.objects.filter(id=loop.buffer.ended()[0].job.id).update(claims=9)
    loop.step()
    until(lambda: loop.buffer.counts() == (0, 0, 0))
    assert told == [(2, "SUCCESS")]


def test_hooks_of_short_jobs_keep_their_slot_and_count_as_its_time(
    loop: WorkerLoop, works: Any, until: Any, shared_slots: SharedSlots
) -> None:
    job(base=Held, time_limit=7)(body).delay()
    number.delay(1)
    loop.buffer.run_seconds = 0.001
    loop.step()
    works()
    until(has_ended(loop, 2))
    assert shared_slots.running() == []
    before = loop.buffer.run_seconds
    loop.step()
    assert Held.runs.wait(LONG)
    assert loop.buffer.counts() == (0, 1, 0)
    (entry,) = shared_slots.running()
    assert entry.deadline == entry.began + 7
    Held.may_end.set()
    until(lambda: loop.buffer.counts() == (0, 0, 0))
    assert shared_slots.running() == []
    assert loop.buffer.run_seconds > before


def test_slot_tells_nothing_of_short_jobs_when_the_loop_has_given_up(
    loop: WorkerLoop, works: Any, until: Any, told: list[tuple[int, str]]
) -> None:
    number.delay_many([(1,), (2,)])
    loop.buffer.run_seconds = 0.001
    loop.step()
    thread = works()
    until(lambda: loop.buffer.confirmations.urgent)
    loop.buffer.close()
    thread.join(LONG)
    assert not thread.is_alive()
    assert told == []


# --- ends that no slot tells of -------------------------------------------------------------------


@pytest.fixture
def failures() -> Iterator[list[tuple[str, str]]]:
    """Each call of job_failure: the class of the exception, and the status of the row."""
    seen: list[tuple[str, str]] = []

    def receive(job_id: str, exception: BaseException, **named: Any) -> None:
        seen.append((type(exception).__name__, Job.objects.get(pk=job_id).status))

    signals.job_failure.connect(receive)
    yield seen
    signals.job_failure.disconnect(receive)


def test_refused_success_that_nobody_awaited_is_told_as_a_failure(
    loop: WorkerLoop, start: Any, failures: list[Any]
) -> None:
    job(body).delay()
    loop.step()
    start().join(LONG)
    (outcome,) = loop.buffer.ended()
    outcome.keep_seconds = 1e30
    loop.step()
    assert failures == []  # a receiver may take long, so the loop leaves it to the chores
    loop.completer.tell_rest()
    assert [status for _kind, status in failures] == ["FAILURE"]
    loop.completer.tell_rest()
    assert len(failures) == 1


def test_error_around_the_body_is_told_of(
    loop: WorkerLoop, start: Any, until: Any, failures: list[Any]
) -> None:
    class Broken(JobContext):
        def __init__(self, *args: Any) -> None:
            raise KeyError("odd")

    job(base=Broken)(body).delay()
    loop.step()
    thread = start()
    until(has_ended(loop))
    assert failures == []
    loop.step()
    thread.join(LONG)
    assert failures == [("KeyError", "FAILURE")]


def test_slot_without_a_next_job_tells_of_its_ends_though_others_wait(
    loop: WorkerLoop, works: Any, until: Any, told: list[tuple[int, str]]
) -> None:
    @job
    def lets_the_lease_end() -> int:
        loop.buffer.lease(until=0.0)
        return 1

    lets_the_lease_end.delay()
    number.delay(2)
    loop.buffer.run_seconds = 0.001
    loop.step()
    works()
    until(lambda: loop.buffer.confirmations.urgent)
    loop.completer.record()
    until(lambda: told == [(1, "SUCCESS")])


def test_silent_log_takes_no_receiver_from_short_jobs(
    loop: WorkerLoop, works: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[Any, ...]] = []

    def receive(job_id: str, status: str, result: int, **named: Any) -> None:
        seen.append((status, result, current_job.request.id == job_id))

    caplog.set_level("WARNING", "django_jobs.job")
    number.delay_many([(1,), (2,)])
    loop.buffer.run_seconds = 0.001
    loop.step()
    signals.job_postrun.connect(receive)
    try:
        works()
        until(lambda: loop.buffer.confirmations.urgent)
        loop.step()
        until(lambda: loop.buffer.counts() == (0, 0, 0))
    finally:
        signals.job_postrun.disconnect(receive)
    assert seen == [("SUCCESS", 1, True), ("SUCCESS", 2, True)]


class Entered(threading.local):
    inside = False


entered = Entered()


@contextlib.contextmanager
def entering(running: JobContext) -> Iterator[None]:
    entered.inside = True
    yield
    entered.inside = False


def test_short_jobs_with_middleware_are_told_inside_it(
    loop: WorkerLoop, works: Any, until: Any, settings: Any
) -> None:
    settings.DJANGO_JOBS = {"MIDDLEWARE": [f"{__name__}.entering"]}
    seen: list[bool] = []

    def receive(**named: Any) -> None:
        seen.append(entered.inside)

    number.delay_many([(1,), (2,)])
    loop.buffer.run_seconds = 0.001
    loop.step()
    signals.job_success.connect(receive)
    try:
        works()
        for _ in range(2):
            until(lambda: loop.buffer.confirmations.urgent)
            loop.completer.record()
        until(lambda: loop.buffer.counts() == (0, 0, 0))
    finally:
        signals.job_success.disconnect(receive)
    assert seen == [True, True]


def test_error_after_the_end_of_a_short_job_leaves_no_slot_waiting(
    loop: WorkerLoop,
    works: Any,
    until: Any,
    told: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keep(outcome: Outcome) -> None:
        monkeypatch.undo()
        raise KeyError("an alarm")

    number.delay_many([(1,), (2,)])
    loop.buffer.run_seconds = 0.001
    loop.step()
    monkeypatch.setattr("django_jobs.run.execute.keep_for_later", keep)
    works()
    until(has_ended(loop, 2))
    loop.completer.record()
    until(lambda: loop.buffer.counts() == (0, 0, 0))
    assert told == [(2, "SUCCESS")]
    assert Job.objects.filter(status="FAILURE").count() == 1


def test_lazy_result_whose_evaluation_fails_keeps_no_other_slot_waiting(
    loop: WorkerLoop, start: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "django_jobs.job")

    @job(ignore_result=True, throws=(KeyError,))
    def lazy() -> Any:
        return SimpleLazyObject(lambda: 1 // 0)

    held = job(base=Held)(body)
    lazy.delay()
    held.delay()
    loop.step()
    Held.may_end.set()
    start(0).join(LONG)
    thread = start(1)
    until(has_ended(loop, 2))
    loop.completer.record()
    thread.join(LONG)
    assert Held.runs.is_set()
    assert "end not told" in caplog.text
    assert "ZeroDivisionError" in caplog.text
