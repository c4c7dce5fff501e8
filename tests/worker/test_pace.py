"""How far ahead a worker claims, and how long outcomes gather."""

from __future__ import annotations

import pytest

from django_jobs.worker.buffer import MAX_BATCH
from django_jobs.worker.pace import VISIBLE_SECONDS, Pace

pytestmark = pytest.mark.once


@pytest.fixture
def pace() -> Pace:
    return Pace()


def backlog(pace: Pace, found: int = 10_000) -> Pace:
    pace.claimed(pace.claim_seconds, found, more=True)
    return pace


def test_durations_are_smoothed(pace):
    for _ in range(50):
        pace.claimed(0.002, 1, more=False)
        pace.recorded(0.004)
    assert pace.cycle_seconds == pytest.approx(0.006, rel=0.01)
    pace.recorded(0.1)
    assert 0.006 < pace.cycle_seconds < 0.05


def test_claim_that_found_nothing_says_nothing_of_the_duration(pace):
    pace.claimed(0.5, 0, more=False)
    assert pace.claim_seconds == 0.0


def test_without_a_backlog_jobs_of_a_few_milliseconds_are_claimed_ahead(pace):
    assert [pace.ahead(1, seconds) for seconds in (0.02, 0.005, 0.0001)] == [0, 1, 80]
    assert pace.ahead(8, 0.01) == 6


def test_worker_that_probes_claims_one_more_unless_jobs_are_long(pace):
    assert pace.ahead(1, 0.04, probes=True) == 1
    assert pace.ahead(1, 0.4, probes=True) == 0


def test_number_ahead_grows_while_claims_find_all_they_want_and_falls_at_once(pace):
    numbers = []
    for _ in range(6):
        wanted = 1 + pace.ahead(1, 0.001)
        pace.claimed(0.0, wanted, more=True)
        numbers.append(pace.ahead(1, 0.001))
    assert numbers == [8, 15, 31, 50, 50, 50]
    pace.claimed(0.0, 3, more=False)
    assert pace.ahead(1, 0.001) == 8


def test_few_jobs_in_a_row_are_no_backlog(pace):
    pace.claimed(0.0, 3, more=True)
    assert pace.ahead(1, 0.01) == 0
    pace.claimed(0.0, 1, more=True)
    assert pace.ahead(1, 0.01) == 1


def test_database_that_answers_late_lets_more_jobs_be_claimed_ahead(pace):
    ahead = []
    for seconds in (0.001, 0.01, 0.05, 1.0):
        pace.claim_seconds = pace.record_seconds = seconds
        ahead.append(backlog(pace).ahead(1, 0.01))
    assert ahead == [5, 8, 40, 50]


def test_load_that_lengthens_all_durations_alike_does_not_shrink_the_batches(pace):
    pace.claim_seconds = pace.record_seconds = 0.01
    before = backlog(pace).ahead(1, 0.005)
    pace.claim_seconds = pace.record_seconds = 0.03
    assert pace.ahead(1, 0.015) == before


def test_one_statement_s_worth_of_jobs_is_claimed_ahead_at_most(pace):
    assert backlog(pace).ahead(1, 0.0) == MAX_BATCH


def test_buffer_is_filled_again_while_its_jobs_last_for_a_record_and_a_claim(pace):
    pace.claim_seconds = pace.record_seconds = 0.002
    ahead = backlog(pace).ahead(1, 0.001)
    assert (ahead, pace.low_water(1, 0.001, ahead)) == (50, 8)
    pace.claim_seconds = pace.record_seconds = 0.05
    ahead = pace.ahead(1, 0.01)
    assert (ahead, pace.low_water(1, 0.01, ahead)) == (40, 20)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.01, 0.015, 0.02])
def test_end_is_seen_within_the_promised_time_after_a_claim_and_its_record(pace, seconds):
    pace.claim_seconds = pace.record_seconds = seconds
    assert pace.gather_seconds + pace.cycle_seconds <= VISIBLE_SECONDS + 1e-9
    assert pace.gather_seconds <= 0.04


def test_end_waits_a_little_even_where_the_database_is_far(pace):
    pace.claim_seconds = pace.record_seconds = 1.0
    assert pace.gather_seconds == 0.01
