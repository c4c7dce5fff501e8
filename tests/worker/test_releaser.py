"""Jobs that this worker would begin too late go back to their queues."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.releaser import (
    RELEASE_SECONDS,
    STRAYS_SECONDS,
    Releaser,
    StrayReleaser,
)
from tests.worker.parts import Clock

pytestmark = pytest.mark.once


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    released: list[Any] = []
    monkeypatch.setattr(
        "django_jobs.worker.releaser.release", lambda _, jobs, using: released.extend(jobs)
    )
    return released


@pytest.fixture
def releaser(state: LoopState, buffer: Any, clock: Clock, released: Any) -> Releaser:
    return Releaser(state, buffer, clock)


def put(buffer: Any, number: int, begin_by: float | None = None) -> list[Any]:
    jobs = [SimpleNamespace(id=each, claims=1, begin_by=begin_by) for each in range(number)]
    buffer.put(jobs)
    return jobs


def test_job_that_came_too_late_for_its_rate_limit_goes_back(releaser, buffer, clock, released):
    jobs = put(buffer, 1, begin_by=clock() - 1)
    assert buffer.take(0, wait=False) is None
    releaser.release_late()
    assert released == jobs


def test_waiting_jobs_stay_while_jobs_are_short(releaser, buffer, released):
    buffer.run_seconds = 0.001
    put(buffer, 300)
    releaser.release_waiting()
    assert released == []


def test_jobs_claimed_while_jobs_were_shorter_go_back_but_for_the_next_few(
    releaser, buffer, released
):
    buffer.run_seconds = 0.005
    jobs = put(buffer, 300)
    releaser.release_waiting()
    assert released == jobs[2:]  # what the free slot takes, and 8 ms of work


def test_more_jobs_may_wait_where_the_database_is_far(releaser, state, buffer, released):
    buffer.run_seconds = 0.01
    state.pace.claim_seconds = state.pace.record_seconds = 0.05
    jobs = put(buffer, 78)
    releaser.release_waiting()
    assert released == []
    jobs += put(buffer, 5)
    releaser.release_waiting()
    assert released == jobs[6:]  # what the free slot takes, and the time of a claim


def test_waiting_jobs_go_back_when_none_began_for_long(releaser, buffer, clock, released):
    buffer.run_seconds = 0.001
    jobs = put(buffer, 3)
    clock.advance(RELEASE_SECONDS)
    releaser.release_waiting()
    assert released == jobs
    # The next claim takes none ahead.
    assert (buffer.run_seconds, buffer.last_begin) == (RELEASE_SECONDS, -math.inf)


@pytest.mark.parametrize("why", ["stopping", "spent"])
def test_waiting_jobs_go_back_when_the_worker_ends(releaser, buffer, state, released, why):
    jobs = put(buffer, 3)
    if why == "stopping":
        state.stopping = True
    else:
        buffer.hand_out_no_more()
    releaser.release_waiting()
    assert released == jobs


# --- strays -------------------------------------------------------------------------------------


def test_worker_without_an_error_never_looks_for_strays(state, buffer, clock):
    strays = StrayReleaser(state, buffer, clock)
    assert strays.due_at == math.inf
    assert not strays.is_due


def test_after_an_error_the_worker_looks_at_once_and_then_less_and_less_often(
    state, buffer, clock, monkeypatch
):
    looks = []
    monkeypatch.setattr(
        "django_jobs.worker.releaser.release_strays", lambda _, held, using: looks.append(held)
    )
    put(buffer, 1)
    strays = StrayReleaser(state, buffer, clock)
    strays.suspect()
    pauses = []
    for _ in range(6):
        assert strays.is_due
        strays.release()
        assert not strays.is_due
        pauses.append(strays.due_at - clock())
        clock.advance(pauses[-1])
    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, STRAYS_SECONDS, STRAYS_SECONDS])
    assert looks == [{(0, 1)}] * 6
    strays.suspect()
    assert strays.is_due
