"""A coroutine of the asyncio pool costs one task, no thread and few wakes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async

from django_jobs import job
from django_jobs.define.context import JobContext
from django_jobs.ids import uuid7
from django_jobs.values import Claimed, Outcome
from django_jobs.worker.buffer import JobBuffer
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.pools.base import PoolSetup
from django_jobs.worker.pools.eventloop import EventLoopPool
from django_jobs.worker.pools.loop_calls import Answers, LoopCall
from django_jobs.worker.shared_slots import SharedSlots
from tests.waiting import LONG

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("registered")]

Run = Callable[..., list[Outcome]]


def claimed(function: Any) -> Claimed:
    return Claimed(
        id=uuid7(), name=function.name, args="[]", kwargs="{}", claims=1, retries=0, crashes=0,
        deferrals=0, queue="default", rank=0, headers=None, options=None, root_id=None,
        parent_id=None, group_id=None, has_dependents=False, run_at=None, expires_at=None,
        expired=False, waited=0.0,
    )  # fmt: skip


class Setting:
    """An asyncio pool whose jobs are recorded as soon as one of them asks for it."""

    def __init__(self, slots: int) -> None:
        self.buffer = JobBuffer(self.record, None)
        self.shared_slots = SharedSlots(slots)
        self.pool = EventLoopPool(
            PoolSetup(
                "w",
                WorkerOptions(pool="asyncio", slots=slots),
                self.buffer,
                self.shared_slots,
                {},
                lambda *_: None,
                lambda outcome: True,
            )
        )

    def record(self) -> None:
        for outcome in self.buffer.ended():
            self.buffer.confirmations.answer(outcome, outcome)


@pytest.fixture
def setting() -> Iterator[Setting]:
    setting = Setting(slots=300)
    yield setting
    setting.shared_slots.close()


@pytest.fixture
def run(setting: Setting, until: Any) -> Run:
    """Run jobs of these functions together; return their outcomes."""

    def run(*functions: Any) -> list[Outcome]:
        setting.buffer.put([claimed(function) for function in functions])
        # In a thread of its own: in the main thread a pool sets handlers of the process.
        thread = threading.Thread(target=setting.pool.run, daemon=True)
        thread.start()
        until(lambda: setting.buffer.jobs_done == len(functions) or not thread.is_alive())
        setting.buffer.confirmations.close()
        setting.buffer.closed = True
        setting.pool.wake()
        thread.join(LONG)
        assert not thread.is_alive()
        return setting.buffer.ended()

    return run


def lent_threads() -> set[int | None]:
    return {each.ident for each in threading.enumerate() if each.name.startswith("coroutines")}


# --- tasks and threads ----------------------------------------------------------------------------


def test_coroutine_is_one_task_and_uses_no_thread(run: Run) -> None:
    seen: list[Any] = []

    @job
    async def look() -> None:
        await asyncio.sleep(0)
        seen.append(asyncio.all_tasks() == {asyncio.current_task()})
        seen.append(lent_threads())

    before = lent_threads()
    (outcome,) = run(look)
    assert outcome.status == "SUCCESS"
    assert seen[0] is True
    # Threads of earlier pools may end meanwhile.
    assert seen[1] <= before


def test_hard_limit_costs_a_second_task(run: Run) -> None:
    seen: list[int] = []

    @job(time_limit=60)
    async def look() -> None:
        await asyncio.sleep(0)
        seen.append(len(asyncio.all_tasks()))

    run(look)
    assert seen == [2]


def test_job_gets_one_thread_for_all_its_calls_and_those_of_its_tasks(run: Run) -> None:
    seen: list[Any] = []

    @job
    async def call() -> None:
        seen.append(await sync_to_async(threading.get_ident)())
        task = asyncio.create_task(sync_to_async(threading.get_ident)())
        seen.append(await task)

    run(call, call)
    assert len(seen) == 4
    assert len(set(seen)) == 2


def test_ended_jobs_leave_nothing_behind_in_asgiref(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    # The outcome of a success keeps its variables for the line of a log that takes it.
    caplog.set_level(logging.WARNING, logger="django_jobs.job")

    @job
    async def plain() -> None: ...

    @job
    async def calls() -> None:
        await sync_to_async(int)()

    gc.collect()
    before = len(SyncToAsync.context_to_thread_executor)
    run(*[plain] * 20, *[calls] * 20)
    gc.collect()
    assert len(SyncToAsync.context_to_thread_executor) == before


def test_task_that_outlives_its_job_gets_no_thread_of_another(run: Run) -> None:
    left: list[asyncio.Task[int]] = []
    may_go_on: list[asyncio.Event] = []

    @job
    async def leaves() -> None:
        event = asyncio.Event()

        async def later() -> int:
            await event.wait()
            return await sync_to_async(int)()

        left.append(asyncio.create_task(later()))
        may_go_on.append(event)

    @job
    async def waits() -> str:
        while not may_go_on:
            await asyncio.sleep(0)
        for _ in range(20):  # the other one ends
            await asyncio.sleep(0)
        may_go_on[0].set()
        await asyncio.wait(left)
        return str(left[0].exception())

    outcomes = run(waits, leaves)
    (told,) = [outcome.value for outcome in outcomes if outcome.value]
    assert told.startswith("The job that made this task has ended")


def test_loop_goes_on_with_running_jobs_while_many_wait(run: Run) -> None:
    begun: list[None] = []
    seen: list[int] = []

    @job
    async def watch() -> None:
        for _ in range(2):
            await asyncio.sleep(0)
            seen.append(len(begun))

    @job
    async def short() -> None:
        begun.append(None)

    run(watch, *[short] * 299)
    assert len(begun) == 299
    assert seen[0] < 200
    assert seen[1] < 299


def test_collector_leaves_out_what_was_loaded_and_looks_rarely_while_many_jobs_run(
    run: Run,
) -> None:
    seen: list[Any] = []

    @job
    async def look() -> None:
        seen.append((gc.get_freeze_count() > 1000, gc.get_threshold()[0] >= 300 * 20))

    before = gc.get_threshold(), gc.get_freeze_count()
    run(look)
    assert seen == [(True, True)]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_collector_that_the_project_has_switched_off_stays_off(run: Run) -> None:
    seen: list[int] = []

    @job
    async def look() -> None:
        seen.append(gc.get_threshold()[0])

    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        run(look)
        assert seen == [0]
    finally:
        gc.set_threshold(*before)


# --- wakes --------------------------------------------------------------------------------------


def test_requests_for_a_call_share_one_wake() -> None:
    calls: list[int] = []
    wakes: list[Any] = []

    async def main() -> None:
        call = LoopCall(lambda: calls.append(len(wakes)))
        call.ask()  # it belongs to no loop yet
        call.begin()
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def count(*args: Any, **named: Any) -> Any:
            wakes.append(args)
            return wake(*args, **named)

        loop.call_soon_threadsafe = count  # type: ignore[method-assign]
        for _ in range(5):
            call.ask()
            call.ask_in_loop()
        await asyncio.sleep(0)
        call.ask()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert calls == [1, 2]


def test_request_during_a_call_leads_to_another_call() -> None:
    calls: list[None] = []

    async def main() -> None:
        call = LoopCall(lambda: act())

        def act() -> None:
            calls.append(None)
            if len(calls) == 1:
                call.ask()

        call.begin()
        call.ask()
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert len(calls) == 2


def test_many_records_wake_the_loop_once() -> None:
    wakes: list[Any] = []

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def count(*args: Any, **named: Any) -> Any:
            wakes.append(args)
            return wake(*args, **named)

        answers = Answers()
        answers.begin()
        asked: list[Future[int]] = [Future() for _ in range(20)]
        waiting = [answers.to(each) for each in asked]
        loop.call_soon_threadsafe = count  # type: ignore[method-assign]
        for number, each in enumerate(asked):
            each.set_result(number)
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == list(range(20))
    assert len(wakes) == 1


# --- the end of a body ----------------------------------------------------------------------------


class Noting(JobContext):
    """Its middleware and hooks say what came to them."""

    seen: list[str]


@contextlib.asynccontextmanager
async def noting(running: JobContext) -> AsyncIterator[None]:
    with contextlib.suppress(BaseException):
        yield
    try:
        for _ in range(3):
            await asyncio.sleep(0)
        Noting.seen.append("left")
    except asyncio.CancelledError:
        Noting.seen.append("cancelled")
    task = asyncio.current_task()
    assert task is not None
    Noting.seen.append(f"cancelling {task.cancelling()}")


@contextlib.asynccontextmanager
async def calling(running: JobContext) -> AsyncIterator[None]:
    entered = await sync_to_async(threading.get_ident)()
    yield
    left = await sync_to_async(threading.get_ident)()
    Noting.seen.append("one thread" if entered == left else "two threads")


@pytest.fixture
def seen() -> list[str]:
    Noting.seen = []
    return Noting.seen


def test_cancellation_that_the_body_asked_for_hits_the_body_and_not_what_follows(
    run: Run, settings: Any, seen: list[str]
) -> None:
    settings.DJANGO_JOBS = {"MIDDLEWARE": [f"{__name__}.noting"]}

    @job
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    (outcome,) = run(cancels_itself)
    assert (outcome.status, type(outcome.value)) == ("FAILURE", asyncio.CancelledError)
    assert seen == ["left", "cancelling 0"]


def test_terminate_that_comes_late_does_not_cancel_what_follows_the_body(
    setting: Setting, run: Run, settings: Any, seen: list[str]
) -> None:
    settings.DJANGO_JOBS = {"MIDDLEWARE": [f"{__name__}.noting"]}

    @job
    async def ends() -> int:
        # The call comes to the loop after the body has ended.
        (running,) = setting.pool.contexts.values()
        assert setting.pool.terminate(running.claimed.id, running.claims)
        return 7

    (outcome,) = run(ends)
    assert (outcome.status, outcome.value) == ("SUCCESS", 7)
    assert seen == ["left", "cancelling 0"]


def test_terminate_cancels_the_body_and_not_what_follows_it(
    setting: Setting, run: Run, settings: Any, seen: list[str]
) -> None:
    settings.DJANGO_JOBS = {"MIDDLEWARE": [f"{__name__}.noting"]}

    @job
    async def waits() -> None:
        (running,) = setting.pool.contexts.values()
        assert setting.pool.terminate(running.claimed.id, running.claims)
        await asyncio.Event().wait()

    (outcome,) = run(waits)
    assert outcome.status == "PENDING"  # its row is revoked, so the record would be refused
    assert seen == ["left", "cancelling 0"]


def test_middleware_calls_in_the_thread_of_the_body_also_after_it(
    run: Run, settings: Any, seen: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_JOBS = {"MIDDLEWARE": [f"{__name__}.calling"]}

    @job
    async def body() -> int:
        return await sync_to_async(threading.get_ident)()

    (outcome,) = run(body)
    assert outcome.status == "SUCCESS"
    assert seen == ["one thread"]
    assert caplog.messages == []


def test_defect_in_the_end_of_a_job_ends_the_pool(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any) -> None:
        raise LookupError("a defect")

    @job
    async def plain() -> None: ...

    monkeypatch.setattr(setting.pool, "ended", ended)
    setting.buffer.put([claimed(plain)])
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            setting.pool.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    thread.join(LONG)
    assert [type(error) for error in errors] == [LookupError]
