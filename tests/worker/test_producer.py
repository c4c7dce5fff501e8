"""When a worker claims jobs, how many, and when it looks again."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from django_jobs.worker.buffer import MAX_BATCH
from django_jobs.worker.claim_timer import SHORTEST_LOCKED, ClaimTimer
from django_jobs.worker.loop_state import LoopState
from django_jobs.worker.options import WorkerOptions
from django_jobs.worker.producer import Producer
from tests.worker.parts import Clock, a_buffer

GUARD = 10.0


class Around:
    """Stands for all that a producer uses; its fields are what a test lets happen."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.state = LoopState(UUID(int=1), WorkerOptions(pool="threads", slots=4))
        self.buffer: Any = a_buffer(self.clock)
        self.timer = ClaimTimer(self.clock)
        self.told = True
        self.noted: list[tuple[int, int, bool]] = []
        self.wakeup = SimpleNamespace(
            claimed=self.note_claim, found_work=lambda: None, next_look=lambda: GUARD,
            hears_alone=False,
        )  # fmt: skip
        self.names = ["default"]
        self.reads = 0
        self.queues = SimpleNamespace(names=lambda: self.names, read_again=self.read_again)
        self.begun = 0
        self.quarantine = SimpleNamespace(is_on=lambda: False, is_wary=False, begin=self.begin)
        self.connections = SimpleNamespace(tries_one=False, claim_from=0.0)
        self.rests_until = 0.0
        self.jobs: list[Any] = []
        self.locked = False
        self.claims: list[tuple[Any, ...]] = []
        self.older: list[str] = []
        self.taken: list[Any] = []

    def producer(self) -> Producer:
        parts: Any = self
        return Producer(
            self.state,
            self.buffer,
            parts.wakeup,
            timer=self.timer,
            queues=parts.queues,
            quarantine=parts.quarantine,
            connections=parts.connections,
            hand_over=self.taken.extend,
            rests_until=lambda: self.rests_until,
            claim=self.claim,
            expect_older=self.older.append,
            clock=self.clock,
        )

    def read_again(self) -> None:
        self.reads += 1

    def begin(self) -> None:
        self.begun += 1

    def note_claim(self, jobs: list[Any], want: int, *, locked: bool) -> bool:
        self.noted.append((len(jobs), want, locked))
        return self.told

    def claim(self, *arguments: Any) -> tuple[list[Any], bool]:
        self.claims.append(arguments)
        return self.jobs, self.locked

    def looks_in(self) -> float:
        return max(0.0, self.producer().next_look() - self.clock())


@pytest.fixture
def around() -> Around:
    return Around()


def a_job() -> Any:
    return SimpleNamespace(begin_by=None)


# --- how many -----------------------------------------------------------------------------------


def test_idle_worker_wants_a_job_for_each_slot(around):
    assert around.producer().wanted() == 4


def run_all(around: Around, number: int = 4) -> None:
    """Let so many jobs begin, one in each slot."""
    around.buffer.put([a_job() for _ in range(number)])
    for slot in range(number):
        around.buffer.take(slot, wait=False)


def test_idle_worker_wants_one_job_more_so_that_it_knows_when_it_has_all(around):
    around.buffer.run_seconds = 0.04
    assert around.producer().wanted() == 4 + 1
    run_all(around, 1)
    assert around.producer().wanted() == 3


def test_worker_that_alone_is_called_leaves_the_next_job_to_the_next_call(around):
    around.buffer.run_seconds = 0.04
    around.wakeup.hears_alone = True
    assert around.producer().wanted() == 4


def test_short_jobs_are_claimed_ahead_of_a_backlog_and_again_when_few_wait(around):
    around.buffer.run_seconds = 0.01
    around.state.pace.claimed(0.0, 100, more=True)
    around.state.pace.record_seconds = 0.01
    assert around.producer().wanted() == 4 + 20
    around.buffer.put([a_job() for _ in range(9)])
    assert around.producer().wanted() == 0
    around.buffer.take(0, wait=False)
    assert around.producer().wanted() == 24 - 9
    assert around.buffer.low_water == 8


def test_full_worker_claims_ahead_only_when_a_slot_is_about_to_be_free(around):
    around.buffer.run_seconds = 0.05
    around.state.pace.claim_seconds = 0.002
    run_all(around)
    producer = around.producer()
    assert (producer.wanted(), producer.room()) == (0, 0)
    assert producer.next_claim() - around.clock() == pytest.approx(0.047)
    around.clock.advance(0.047)
    assert producer.wanted() == 1
    around.buffer.put([a_job()])
    assert (producer.wanted(), producer.next_claim()) == (0, math.inf)


def test_job_that_was_claimed_ahead_does_not_put_off_the_moment_from_which_none_is(around):
    around.buffer.run_seconds = 0.4
    run_all(around)
    producer = around.producer()
    around.clock.advance(0.5)
    around.buffer.put([a_job()])
    around.clock.advance(0.4)
    around.buffer.withdraw()
    assert (producer.room(), producer.wanted(), producer.next_claim()) == (0, 0, math.inf)


def test_called_worker_says_that_it_takes_a_job_when_one_is_about_to_end(around):
    around.buffer.run_seconds = 0.05
    around.state.pace.claim_seconds = 0.002
    around.wakeup.hears_alone = True
    around.timer = ClaimTimer(around.clock, 0.0)
    around.timer.looked(found=True, locked=False, pause=GUARD)
    run_all(around)
    producer = around.producer()
    assert not producer.is_idle()
    assert producer.next_claim() - around.clock() == pytest.approx(0.047)
    around.clock.advance(0.047)
    assert (producer.is_idle(), producer.wanted(), producer.is_full()) == (True, 0, True)
    around.timer.heard()
    assert producer.wanted() == 1
    around.clock.advance(0.06)
    assert (producer.is_idle(), producer.wanted()) == (False, 0)


def test_worker_whose_jobs_are_shorter_than_a_claim_takes_no_call_while_it_runs_one(around):
    around.buffer.run_seconds = 0.001
    around.state.pace.claim_seconds = 0.002
    run_all(around)
    assert not around.producer().is_idle()


def test_job_that_runs_long_lets_no_other_wait_behind_it(around):
    around.buffer.run_seconds = 0.001
    around.state.pace.claimed(0.0, 100, more=True)
    run_all(around)
    assert around.producer().wanted() == 100 - 3 * 4
    around.clock.advance(0.003)
    assert (around.producer().wanted(), around.producer().next_claim()) == (0, math.inf)


def test_job_that_was_claimed_ahead_of_a_long_one_is_given_back_and_not_claimed_again(
    around,
) -> None:
    around.state.options = WorkerOptions()
    job = SimpleNamespace(id=1, claims=1, begin_by=None)
    around.buffer.put([job])
    around.buffer.take(0, wait=False)
    producer = around.producer()
    around.clock.advance(around.buffer.run_seconds)
    assert producer.room() == 1
    around.buffer.put([job])
    around.clock.advance(around.buffer.run_seconds)
    around.buffer.withdraw()  # it has waited for too long
    around.clock.advance(0.01)
    assert producer.room() == 0


@pytest.mark.parametrize(
    ("found", "told", "ahead"), [(4, False, 8), (4, True, 1), (3, False, 1), (3, True, 1)]
)
def test_claim_is_measured_and_tells_of_a_backlog(around, found, told, ahead):
    around.told = told

    def claim(*_: Any) -> tuple[list[Any], bool]:
        around.clock.advance(0.01)
        return [a_job() for _ in range(found)], False

    around.claim = claim
    for _ in range(5):
        around.producer().claim(4)
    assert 0 < around.state.pace.claim_seconds < 0.01
    assert around.state.pace.ahead(4, 0.02) == ahead


def test_one_claim_takes_a_limited_number(around):
    around.buffer.run_seconds = 0.0
    assert around.producer().wanted() == MAX_BATCH


@pytest.mark.parametrize("why", ["wary", "tries one"])
def test_one_job_is_claimed_where_several_might_do_harm(around, why):
    around.quarantine.is_wary = why == "wary"
    around.connections.tries_one = why == "tries one"
    assert around.producer().wanted() == 1


@pytest.mark.parametrize("why", ["stopping", "quiet", "quarantine", "spent"])
def test_worker_that_takes_none_wants_none_and_starts_the_job_in_quarantine(around, why):
    if why == "stopping":
        around.state.stopping = True
    elif why == "quiet":
        around.state.options = WorkerOptions(quiet=True)
    elif why == "quarantine":
        around.quarantine.is_on = lambda: True
    else:
        around.buffer.hand_out_no_more()
    assert (around.producer().wanted(), around.begun) == (0, 1)


# --- when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["timer", "refused claim", "refused connections"])
def test_worker_wants_none_before_its_time(around, why):
    later = around.clock() + 1.0
    if why == "timer":
        around.timer.look(1.0)
    elif why == "refused claim":
        around.rests_until = later
    else:
        around.connections.claim_from = later
    assert around.producer().wanted() == 0
    around.clock.advance(1.0)
    assert around.producer().wanted() == 4


def test_claim_that_found_nothing_is_followed_by_a_rest_and_a_read_of_the_queues(around):
    around.producer().claim(4)
    assert around.looks_in() == pytest.approx(GUARD)
    assert around.timer.found_nothing
    assert around.reads == 1


def test_queues_without_jobs_cost_no_claim(around):
    around.names = []
    around.producer().claim(4)
    assert around.claims == []
    assert around.looks_in() == pytest.approx(GUARD)


def test_claimed_jobs_are_handed_over(around):
    around.jobs = [a_job(), a_job()]
    around.producer().claim(4)
    assert around.taken == around.jobs
    assert around.claims == [(UUID(int=1), ["default"], 4, "default")]


@pytest.mark.parametrize(
    ("told", "burst", "looks_in"),
    [
        (True, False, GUARD),  # something tells of the jobs that are left
        (False, False, 0.0),
        (True, True, 0.0),  # a burst ends when it finds nothing
    ],
)
def test_claim_that_found_jobs_is_followed_by(around, told, burst, looks_in):
    around.jobs, around.told, around.locked = [a_job(), a_job()], told, True
    around.state.options = WorkerOptions(pool="threads", slots=4, burst=burst)
    around.producer().claim(4)
    assert around.noted == [(2, 4, True)]
    assert around.looks_in() == pytest.approx(looks_in)
    assert not around.timer.found_nothing


def test_worker_is_idle_while_it_would_claim_for_a_free_slot(around):
    around.timer.look(1.0)  # a call ends the rest
    assert around.producer().is_idle()
    around.buffer.put([a_job() for _ in range(4)])
    assert not around.producer().is_idle()
    for slot in range(4):
        around.buffer.take(slot, wait=False)
    assert not around.producer().is_idle()
    around.buffer.free(0, 1.0)
    assert around.producer().is_idle()


@pytest.mark.parametrize("why", ["quiet", "refused claim", "refused connections"])
def test_worker_that_may_not_claim_is_not_idle(around, why):
    if why == "quiet":
        around.state.options = WorkerOptions(quiet=True)
    elif why == "refused claim":
        around.rests_until = around.clock() + 1.0
    else:
        around.connections.claim_from = around.clock() + 1.0
    assert not around.producer().is_idle()


def test_claim_that_found_locked_jobs_only_is_followed_by_a_short_pause(around):
    around.locked = True
    around.producer().claim(4)
    assert around.looks_in() == pytest.approx(SHORTEST_LOCKED)


def test_change_of_the_options_lets_the_queues_be_read_again(around):
    around.jobs = [a_job()]
    around.timer.look_anew()
    around.producer().claim(4)
    assert around.reads == 1


def test_freed_permit_is_looked_at_at_once_from_the_oldest_job_on(around):
    around.producer().claim(4)
    around.producer().permits_freed()
    assert (around.older, around.looks_in()) == (["default"], 0.0)


def test_full_worker_waits_a_little_after_a_notification(around):
    around.timer.looked(found=False, locked=False, pause=GUARD)
    around.buffer.put([a_job() for _ in range(4)])
    for slot in range(4):
        around.buffer.take(slot, wait=False)
    around.timer.heard()
    assert 0 < around.looks_in() < GUARD
