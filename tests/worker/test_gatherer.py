"""How a worker gathers calls into batches: how many it claims, and when a batch starts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from django_jobs import job
from django_jobs.ids import uuid7
from django_jobs.values import Batch, jobs_of
from django_jobs.worker.gatherer import Gatherer
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.releaser import RELEASE_SECONDS
from tests.worker.parts import Clock

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("registered")]


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The batches that were started, the jobs that were released, and whether one runs alone."""
    around = SimpleNamespace(batches=[], released=[], alone=False)
    monkeypatch.setattr(
        "django_jobs.worker.gatherer.release", lambda _, jobs, using: around.released.extend(jobs)
    )
    return around


@pytest.fixture
def gatherer(state: LoopState, buffer: Any, clock: Clock, around: Any) -> Gatherer:
    def start(jobs: Any) -> None:
        around.batches.append(jobs)
        buffer.put([Batch(jobs)])

    @job(name="calls", batch_size=3, batch_seconds=2)
    def calls(calls: Any) -> None: ...

    @job(name="others", batch_size=10)
    def others(calls: Any) -> None: ...

    parts: Any = SimpleNamespace(start_batch=start, is_on=lambda: around.alone)
    return Gatherer(state, buffer, parts, parts, clock)


def some(number: int, name: str = "calls") -> list[Any]:
    return [
        SimpleNamespace(id=uuid7(), claims=1, name=name, begin_by=None, expires_at=None)
        for _ in range(number)
    ]


def test_full_batch_starts_at_once(gatherer, around):
    calls = some(7)
    assert gatherer.separate(calls) == []
    assert around.batches == [calls[:3], calls[3:6]]
    assert gatherer


def test_rest_starts_when_its_first_call_has_waited_long_enough(gatherer, around, clock):
    first, second = some(1), some(1)
    gatherer.separate(first)
    assert gatherer.due_at() == clock() + 2
    clock.advance(1.5)
    gatherer.separate(second)
    gatherer.start_due()
    assert around.batches == []
    clock.advance(0.5)
    gatherer.start_due()
    assert around.batches == [first + second]
    assert not gatherer


def test_calls_wait_no_longer_when_no_others_can_come(gatherer, around):
    calls = some(2)
    gatherer.separate(calls)
    gatherer.hurry()
    gatherer.start_due()
    assert around.batches == [calls]


def test_functions_have_batches_of_their_own(gatherer, around, clock):
    calls, others = some(2), some(2, "others")
    gatherer.separate([calls[0], others[0], calls[1], others[1]])
    clock.advance(1)  # the default of batch_seconds
    gatherer.start_due()
    assert around.batches == [others]
    clock.advance(1)
    gatherer.start_due()
    assert around.batches == [others, calls]


def test_held_calls_are_in_the_buffer_but_take_no_slot(gatherer, buffer):
    calls = some(2)
    gatherer.separate(calls)
    assert buffer.counts() == (0, 0, 0)
    assert buffer.held() == {(call.id, 1) for call in calls}


def test_other_jobs_pass(gatherer):
    jobs = some(2, "plain")
    assert gatherer.separate(jobs) == jobs
    assert not gatherer


@pytest.mark.parametrize("why", ["stopping", "spent"])
def test_worker_that_ends_gives_held_calls_back(gatherer, around, state, buffer, why):
    calls = some(2)
    gatherer.separate(calls)
    if why == "stopping":
        state.stopping = True
    else:
        buffer.hand_out_no_more()
    gatherer.start_due()
    assert (around.released, around.batches) == (calls, [])
    assert not gatherer
    assert buffer.held() == set()


def test_no_batch_starts_beside_a_job_that_runs_alone(gatherer, around, clock):
    calls = some(2)
    gatherer.separate(calls)
    around.alone = True
    clock.advance(2)
    gatherer.start_due()
    assert (around.released, around.batches) == ([], [])
    clock.advance(RELEASE_SECONDS)
    assert gatherer.due_at() <= clock()
    gatherer.start_due()
    assert (around.released, around.batches) == (calls, [])


def test_terminated_call_leaves_its_batch(gatherer, around, buffer, clock):
    first, second = some(2)
    gatherer.separate([first, second])
    assert buffer.remove(first.id, 1)
    assert not buffer.remove(first.id, 1)
    clock.advance(2)
    gatherer.start_due()
    assert around.batches == [[second]]


def test_last_call_that_is_terminated_leaves_no_batch(gatherer, around, buffer, clock):
    (call,) = some(1)
    gatherer.separate([call])
    assert buffer.remove(call.id, 1)
    clock.advance(2)
    gatherer.start_due()
    assert around.batches == []
    assert not gatherer


def test_call_is_terminated_in_a_batch_that_waits_for_a_slot(gatherer, buffer):
    calls = some(3)
    gatherer.separate(calls)
    assert buffer.counts() == (1, 0, 0)
    assert buffer.remove(calls[1].id, 1)
    assert jobs_of(buffer.take(0, wait=False)) == [calls[0], calls[2]]


def test_late_batch_goes_back_call_by_call(gatherer, buffer, clock):
    calls = some(3)
    calls[1].begin_by = clock()
    gatherer.separate(calls)
    clock.advance(1)
    assert buffer.take(0, wait=False) is None
    assert buffer.withdraw_late() == calls


# --- how many to claim --------------------------------------------------------------------------


def test_claims_are_larger_once_calls_were_found(gatherer):
    assert gatherer.wanted(2) == 2
    gatherer.separate(some(1))
    # Two slots take a batch of three each, and one call is here.
    assert gatherer.wanted(2) == 5
    gatherer.separate(some(1, "plain"))
    assert gatherer.wanted(2) == 2


def test_mixed_claim_is_enlarged_as_far_as_few_other_jobs_come(gatherer):
    gatherer.wanted(2)
    gatherer.separate([*some(2, "others"), *some(2, "plain")])
    # Half of the jobs are calls, so that four bring the two others that fit.
    assert gatherer.wanted(2) == 4


def test_full_worker_claims_no_calls(gatherer):
    gatherer.separate(some(1))
    assert gatherer.wanted(0) == 0


def test_other_jobs_for_which_there_is_no_room_go_back(gatherer, around):
    gatherer.separate(some(1))
    gatherer.wanted(1)
    plain = some(3, "plain")
    assert gatherer.separate([*some(1), *plain]) == plain[:1]
    assert around.released == plain[1:]
