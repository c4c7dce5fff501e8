"""A job that was in a crash waits until the worker is idle, and then runs alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from django_jobs.ids import uuid7
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.quarantine import POSTPONEMENTS, Quarantine
from django_jobs.worker.releaser import RELEASE_SECONDS
from tests.worker.parts import Clock, end

pytestmark = pytest.mark.once


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The jobs that were started, released and postponed."""
    calls = SimpleNamespace(started=[], released=[], postponed=[], admits=True)
    monkeypatch.setattr(
        "django_jobs.worker.quarantine.release", lambda _, jobs, using: calls.released.extend(jobs)
    )
    monkeypatch.setattr("django_jobs.worker.quarantine.postponed", lambda job: job)
    return calls


@pytest.fixture
def quarantine(state: LoopState, buffer: Any, clock: Clock, calls: Any) -> Quarantine:
    def start(jobs: Any) -> bool:
        calls.started.extend(jobs)
        if calls.admits:
            buffer.put(jobs)
        return bool(calls.admits)

    return Quarantine(state, buffer, start=start, write=calls.postponed.extend, clock=clock)


def a_job(crashes: int = 0, deferrals: int = 0) -> Any:
    return SimpleNamespace(
        id=uuid7(), claims=1, crashes=crashes, deferrals=deferrals, begin_by=None
    )


def occupy(buffer: Any) -> None:
    """Let a job run in slot 7."""
    buffer.put([a_job()])
    buffer.take(7, wait=False)


def test_jobs_that_were_in_no_crash_pass(quarantine, calls):
    jobs = [a_job(), a_job()]
    assert quarantine.separate(jobs) == jobs
    assert not quarantine.is_on()
    assert not quarantine.is_wary


def test_first_suspect_is_set_aside_and_the_others_go_back(quarantine, calls, buffer):
    jobs = [a_job(), a_job(crashes=1), a_job(crashes=2)]
    assert quarantine.separate(jobs) == jobs[:1]
    assert buffer.aside is jobs[1]
    assert calls.released == jobs[2:]
    assert quarantine.is_on()
    assert quarantine.is_wary


def test_idle_worker_starts_it_at_once_and_takes_no_other_beside(quarantine, calls, buffer, clock):
    job = a_job(crashes=1)
    quarantine.separate([job])
    assert quarantine.due_at(busy=False) == 0.0
    quarantine.begin()
    assert calls.started == [job]
    assert quarantine.is_on()
    end(buffer, clock=clock)
    buffer.recorded(1)
    assert not quarantine.is_on()


def test_job_that_its_limits_do_not_admit_ends_the_quarantine(quarantine, calls):
    calls.admits = False
    quarantine.separate([a_job(crashes=1)])
    quarantine.begin()
    assert not quarantine.is_on()


def test_busy_worker_waits_and_then_leaves_it_to_another(quarantine, calls, buffer, clock):
    job = a_job(crashes=1)
    occupy(buffer)
    quarantine.separate([job])
    quarantine.begin()
    assert buffer.aside is job
    assert quarantine.due_at(busy=True) == clock() + RELEASE_SECONDS
    clock.advance(RELEASE_SECONDS)
    quarantine.begin()
    assert calls.postponed == [job]
    assert not quarantine.is_on()
    assert quarantine.due_at(busy=True) is None


def test_job_that_was_postponed_often_waits_for_the_end_of_the_others(
    quarantine, calls, buffer, clock
):
    occupy(buffer)
    quarantine.separate([a_job(crashes=1, deferrals=POSTPONEMENTS)])
    clock.advance(RELEASE_SECONDS)
    quarantine.begin()
    assert calls.postponed == []
    assert quarantine.is_on()
    assert quarantine.due_at(busy=True) is None


@pytest.mark.parametrize("why", ["stopping", "spent"])
def test_worker_that_ends_gives_it_back(quarantine, calls, buffer, state, why):
    job = a_job(crashes=1)
    occupy(buffer)
    quarantine.separate([job])
    if why == "stopping":
        state.stopping = True
    else:
        buffer.hand_out_no_more()
    quarantine.begin()
    assert (calls.released, calls.started, calls.postponed) == ([job], [], [])


def test_job_that_was_terminated_meanwhile_is_not_started(quarantine, calls, buffer):
    job = a_job(crashes=1)
    quarantine.separate([job])
    assert buffer.remove(job.id, job.claims)
    quarantine.begin()
    assert calls.started == []
    assert not quarantine.is_on()
