"""A job wakes one thread of a pool, and the last to fall asleep is the first to wake."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobs.ids import uuid7
from django_jobs.values import Claimed
from django_jobs.worker.buffer import JobBuffer
from tests.waiting import LONG

from .parts import a_buffer

pytestmark = pytest.mark.once


def a_job() -> Claimed:
    return Claimed(
        id=uuid7(), name="job", args="[]", kwargs="{}", claims=1, retries=0, crashes=0,
        deferrals=0, queue="default", rank=0, headers=None, options=None, root_id=None,
        parent_id=None, group_id=None, has_dependents=False, run_at=None, expires_at=None,
        expired=False, waited=0.0,
    )  # fmt: skip


@pytest.fixture
def buffer() -> JobBuffer:
    return a_buffer()


@pytest.fixture
def took(buffer: JobBuffer, until: Any) -> Iterator[list[int]]:
    """Five slots sleep, slot 4 fell asleep last; the list is of those that took a job."""
    took: list[int] = []

    def slot_of(slot: int) -> Callable[[], None]:
        def run() -> None:
            while buffer.take(slot) is not None:
                took.append(slot)

        return run

    threads = []
    for slot in range(5):
        threads.append(threading.Thread(target=slot_of(slot), daemon=True))
        threads[-1].start()
        until(lambda: len(buffer._sleepers) == len(threads))
    yield took
    buffer.close()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def asleep_after(buffer: JobBuffer, act: Callable[[], None]) -> int:
    """Return how many sleep after *act*, before one of the woken can fall asleep again."""
    asleep: list[int] = []
    wake = buffer._sleepers.wake

    def count(number: int) -> None:
        wake(number)
        asleep.append(len(buffer._sleepers))

    buffer._sleepers.wake = count  # type: ignore[method-assign]
    act()
    del buffer._sleepers.wake
    return asleep[0]


@pytest.mark.parametrize("jobs", [1, 3, 7])
def test_put_wakes_as_many_threads_as_there_are_new_jobs(
    buffer: JobBuffer, took: list[int], until: Any, jobs: int
) -> None:
    asleep = asleep_after(buffer, lambda: buffer.put([a_job() for _ in range(jobs)]))
    assert asleep == max(0, 5 - jobs)
    until(lambda: len(took) == jobs)


def test_job_wakes_the_thread_that_fell_asleep_last(
    buffer: JobBuffer, took: list[int], until: Any
) -> None:
    for number in range(1, 4):
        buffer.put([a_job()])
        until(lambda number=number: len(took) == number and len(buffer._sleepers) == 5)
    assert took == [4, 4, 4]


def test_renewed_lease_wakes_no_thread_without_a_job(buffer: JobBuffer, took: list[int]) -> None:
    assert asleep_after(buffer, lambda: buffer.lease(until=float("inf"))) == 5


def test_renewed_lease_wakes_threads_for_the_jobs_that_waited_for_it(
    buffer: JobBuffer, took: list[int], until: Any
) -> None:
    buffer.lease(until=0.0)
    buffer.put([a_job(), a_job()])
    until(lambda: len(buffer._sleepers) == 5)
    assert took == []
    assert asleep_after(buffer, lambda: buffer.lease(until=float("inf"))) == 3
    until(lambda: len(took) == 2)


def test_thread_that_an_exception_wakes_is_no_longer_asleep(buffer: JobBuffer, until: Any) -> None:
    class Interrupted(Exception): ...

    def interrupt(*_: Any) -> None:
        raise Interrupted

    main = threading.main_thread().ident
    assert main is not None

    def send() -> None:
        until(lambda: len(buffer._sleepers) == 1)
        signal.pthread_kill(main, signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, interrupt)
    sender = threading.Thread(target=send)
    try:
        sender.start()
        with pytest.raises(Interrupted):
            buffer.take(0)
    finally:
        sender.join(LONG)
        signal.signal(signal.SIGUSR2, before)
    assert len(buffer._sleepers) == 0
    buffer.put([a_job()])
    assert buffer.take(0) is not None
