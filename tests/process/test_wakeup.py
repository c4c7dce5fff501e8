"""Sleeps end at a call, also at one that comes before them."""

from __future__ import annotations

import itertools
import os
import resource
from typing import Any

import pytest

from django_jobs.process import wakeup
from django_jobs.process.wakeup import Waker, Wakeup, readable


def test_descriptors_may_have_any_number() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2_048), limits[1]))
    read, write = os.pipe()
    high = os.dup2(read, 1_500)
    try:
        assert readable([read, high], 0.0) == set()
        os.write(write, b"!")
        assert readable([read, high], 60.0) == {read, high}
    finally:
        for descriptor in (read, write, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_call_that_comes_before_the_sleep_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waker, slept = Waker(), []

    def poll(descriptors: object, seconds: float) -> set[int]:
        slept.append(seconds)
        return set()

    monkeypatch.setattr(wakeup, "readable", poll)
    waker.wake()
    assert waker.wait(60.0) == (True, set())
    assert waker.wait(60.0) == (False, set())
    assert slept == [0.0, 60.0]
    waker.close()


@pytest.mark.django_db
@pytest.mark.parametrize("listens", [True, False])
def test_empty_queues_are_polled_whether_or_not_the_database_notifies(listens: bool) -> None:
    waker = Waker()
    sleeper = Wakeup("default", waker)
    sleeper.listens = listens
    pauses = [sleeper.next_look() for _ in range(20)]
    assert 0 < min(pauses) <= max(pauses) <= wakeup.GUARD_SECONDS
    waker.close()


def test_wait_tells_which_descriptors_are_readable() -> None:
    waker, (read, write), (other, end) = Waker(), os.pipe(), os.pipe()
    os.write(write, b"!")
    assert waker.wait(60.0, None, read, other) == (False, {read})
    for descriptor in (read, write, other, end):
        os.close(descriptor)
    waker.close()


@pytest.mark.parametrize(
    ("listens", "found", "locked", "told"),
    [
        (True, 2, False, True),  # a notification tells of later jobs
        (True, 4, False, False),  # there may be more
        (True, 2, True, False),
        (False, 2, False, False),  # nothing tells of later jobs
    ],
)
def test_claim_left_no_jobs_that_nothing_tells_of(
    listens: bool, found: int, locked: bool, told: bool
) -> None:
    wakeup = Wakeup("default", Waker())
    wakeup.listens = listens
    jobs: list[Any] = [object()] * found
    assert wakeup.claimed(jobs, 4, locked=locked) is told
    wakeup.waker.close()


@pytest.mark.django_db
def test_polls_begin_close_together_and_come_to_one_a_second(vendor: str) -> None:
    if vendor == "sqlite":
        pytest.skip("it watches its file")
    waker = Waker()
    polling = Wakeup("default", waker)
    polling.found_work()
    pauses = [polling.next_look() for _look in range(200)]
    moments = list(itertools.accumulate(pauses))
    assert pauses[0] == 0.002
    assert pauses[-1] == 1.0
    # No pause is longer than a tenth of the time since there was work, as long as it is below 1 s.
    assert all(
        pause <= 0.11 * moment + 0.002 for pause, moment in zip(pauses, moments, strict=True)
    )
    assert sum(moment < 60 for moment in moments) < 120
    polling.found_work()
    assert polling.next_look() == 0.002
    waker.close()
