"""A worker whose jobs cannot connect rests, then tries with one job."""

from __future__ import annotations

import pytest

from django_jobs.worker.connection_backoff import TRYING_SECONDS, ConnectionBackoff
from tests.worker.parts import Clock

ERROR = Exception("too many clients")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses without a random part."""
    monkeypatch.setattr("django_jobs.process.reconnect._JITTER", (1.0, 1.0))


def test_refusals_of_several_slots_at_once_make_one_pause() -> None:
    clock = Clock()
    backoff = ConnectionBackoff(clock)
    assert (backoff.claim_from, backoff.tries_one) == (0.0, False)
    backoff.refused(ERROR)
    backoff.refused(ERROR)
    assert backoff.claim_from == clock() + 0.5
    assert backoff.tries_one


def test_refusal_of_the_job_that_was_tried_makes_the_pause_longer() -> None:
    clock = Clock()
    backoff = ConnectionBackoff(clock)
    backoff.refused(ERROR)
    clock.advance(0.5)
    backoff.refused(ERROR)
    assert backoff.claim_from == clock() + 1.5


def test_worker_claims_as_before_when_no_other_refusal_follows() -> None:
    clock = Clock()
    backoff = ConnectionBackoff(clock)
    backoff.refused(ERROR)
    clock.advance(0.5 + TRYING_SECONDS)
    assert not backoff.tries_one
    assert backoff.claim_from < clock()
    backoff.refused(ERROR)
    assert backoff.claim_from == clock() + 0.5
