"""When a worker claims: after a notification, after a claim, after a change of its options."""

from __future__ import annotations

import pytest

from django_jobs.worker.claim_timer import (
    LONGEST_LOCKED,
    PATIENCE_SECONDS,
    SHORTEST_LOCKED,
    ClaimTimer,
)
from tests.worker.parts import Clock

pytestmark = pytest.mark.once


@pytest.fixture
def timer(clock: Clock) -> ClaimTimer:
    """A timer after a claim that found nothing."""
    timer = ClaimTimer(clock)
    timer.looked(found=False, locked=False, pause=10.0)
    return timer


def free() -> bool:
    return False


def full() -> bool:
    return True


def test_new_timer_looks_at_once() -> None:
    assert ClaimTimer(Clock()).next_look(free) == 0.0


def test_claim_that_found_nothing_is_followed_by_the_pause(timer: ClaimTimer, clock: Clock) -> None:
    assert timer.found_nothing
    assert timer.next_look(free) == clock() + 10.0


def test_notification_ends_the_pause(timer: ClaimTimer, clock: Clock) -> None:
    timer.heard()
    assert timer.next_look(free) == clock()


def test_full_worker_waits_a_little_after_a_notification(timer: ClaimTimer, clock: Clock) -> None:
    timer.heard()
    assert timer.next_look(full) == clock() + PATIENCE_SECONDS


def test_worker_that_lost_the_last_race_waits_a_little_until_it_wins(
    timer: ClaimTimer, clock: Clock
) -> None:
    timer.heard()
    timer.looked(found=False, locked=False, pause=10.0)
    timer.heard()
    assert timer.next_look(free) == clock() + PATIENCE_SECONDS
    timer.looked(found=True, locked=False, pause=10.0)
    timer.heard()
    assert timer.next_look(free) == clock()


def test_claim_without_a_notification_loses_no_race(timer: ClaimTimer, clock: Clock) -> None:
    timer.looked(found=False, locked=False, pause=10.0)
    timer.heard()
    assert timer.next_look(free) == clock()


def test_second_notification_does_not_put_the_claim_off(timer: ClaimTimer, clock: Clock) -> None:
    timer.heard()
    first = timer.next_look(full)
    clock.advance(PATIENCE_SECONDS / 2)
    timer.heard()
    assert timer.next_look(full) == first


def test_locked_jobs_are_looked_at_again_after_growing_pauses(clock: Clock) -> None:
    timer = ClaimTimer(clock)
    pauses = []
    for _ in range(10):
        timer.looked(found=False, locked=True, pause=0.0)
        pauses.append(timer.next_look(free) - clock())
    assert pauses[:2] == pytest.approx([SHORTEST_LOCKED, 2 * SHORTEST_LOCKED])
    assert pauses[-2:] == pytest.approx([LONGEST_LOCKED] * 2)
    assert not timer.found_nothing


@pytest.mark.parametrize("found", [True, False])
def test_claim_that_met_no_locks_shortens_the_pauses_again(clock: Clock, found: bool) -> None:
    timer = ClaimTimer(clock)
    for _ in range(3):
        timer.looked(found=False, locked=True, pause=0.0)
    timer.looked(found=found, locked=False, pause=0.0)
    timer.looked(found=False, locked=True, pause=0.0)
    assert timer.next_look(free) == pytest.approx(clock() + SHORTEST_LOCKED)


def test_look_forgets_that_the_last_claim_found_nothing(timer: ClaimTimer, clock: Clock) -> None:
    timer.look()
    assert (timer.found_nothing, timer.next_look(free)) == (False, 0.0)
    timer.look(0.5)
    assert timer.next_look(free) == clock() + 0.5


def test_change_of_the_options_is_looked_at_at_once_and_told_to_one_claim(
    timer: ClaimTimer,
) -> None:
    timer.look_anew()
    assert timer.next_look(full) == 0.0
    assert [timer.begin(), timer.begin()] == [True, False]
    assert timer.next_look(full) > 0.0
