"""Outcomes are gathered while jobs are short, and recorded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from django_jobs.metrics.collector import Collector
from django_jobs.values import Outcome
from django_jobs.worker.completer import Completer
from django_jobs.worker.pace import VISIBLE_SECONDS
from tests.worker.parts import Clock, end

pytestmark = pytest.mark.once

_OPTIONS = SimpleNamespace(workflow=SimpleNamespace(errbacks=()))


class Written:
    """Stands for the statement that records outcomes."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.ready: list[str] = []

    def __call__(
        self, worker_id: Any, outcomes: Any, using: str, *, on_ready: Any
    ) -> list[Outcome]:
        self.batches.append(len(outcomes))
        for queue in self.ready:
            on_ready(queue)
        return []


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    written = Written()
    monkeypatch.setattr("django_jobs.worker.completer.record_apart", written)
    return written


@pytest.fixture
def calls() -> Any:
    """What the completer calls."""
    return SimpleNamespace(recorded=[], ready=[], freed=[])


@pytest.fixture
def completer(state: Any, buffer: Any, clock: Clock, calls: Any) -> Completer:
    return Completer(
        state,
        buffer,
        Collector(),
        on_recorded=lambda outcomes: calls.recorded.append(len(outcomes)),
        on_ready=calls.ready.append,
        on_freed=lambda: calls.freed.append(True),
        clock=clock,
    )


def a_job(**fields: Any) -> Any:
    given = {
        "id": UUID(int=2), "claims": 1, "name": "add", "queue": "default", "permits": (),
        "begin_by": None, "ready": 0.0, "has_dependents": False, "options": None,
        "row_options": _OPTIONS,
    }  # fmt: skip
    return SimpleNamespace(**given | fields)


def run(buffer: Any, clock: Clock, number: int, waiting: int = 0) -> None:
    """Let so many jobs end, and so many wait behind them."""
    buffer.put([a_job() for _ in range(number + waiting)])
    for _ in range(number):
        end(buffer, clock=clock)


def test_without_outcomes_nothing_is_written(completer, written):
    completer.record()
    assert written.batches == []


def test_outcome_is_written_at_once_when_no_job_waits(completer, buffer, clock, written, calls):
    run(buffer, clock, 1)
    completer.record()
    assert written.batches == calls.recorded == [1]
    assert buffer.counts() == (0, 0, 0)


def test_outcome_waits_a_little_for_those_of_waiting_jobs(completer, buffer, clock, written):
    run(buffer, clock, 1, waiting=2)
    completer.record()
    assert written.batches == []
    clock.advance(0.04)
    completer.record()
    assert written.batches == [1]


def test_outcome_that_a_slot_waits_for_is_written_at_once(completer, buffer, clock, written):
    run(buffer, clock, 1, waiting=2)
    recorded = buffer.confirmations.ask(buffer.ended()[0])
    completer.record()
    assert written.batches == [1]
    assert recorded.result(timeout=0) is None  # the stand-in for the statement dropped it


def test_job_that_a_free_slot_is_about_to_take_puts_no_record_off(
    completer, buffer, clock, written
):
    run(buffer, clock, 1, waiting=1)
    completer.record()
    assert written.batches == [1]


@pytest.mark.parametrize(
    ("claim", "record", "gathers"), [(0.0, 0.0, 0.04), (0.01, 0.015, 0.025), (0.1, 0.1, 0.01)]
)
def test_outcome_waits_less_where_claim_and_record_take_longer(
    completer, state, buffer, clock, written, claim, record, gathers
):
    state.pace.claim_seconds, state.pace.record_seconds = claim, record
    run(buffer, clock, 1, waiting=2)
    assert completer.due_at() - clock() == pytest.approx(gathers)
    clock.advance(gathers * 0.9)
    completer.record()
    assert written.batches == []
    clock.advance(gathers * 0.1)
    completer.record()
    assert written.batches == [1]


def test_record_is_measured(completer, state, buffer, clock, monkeypatch):
    def write(*_: Any, **__: Any) -> list[Outcome]:
        clock.advance(0.01)
        return []

    monkeypatch.setattr("django_jobs.worker.completer.record_apart", write)
    run(buffer, clock, 1)
    completer.record()
    assert 0 < state.pace.record_seconds < 0.01


def test_one_statement_writes_a_limited_number(
    completer, buffer, clock, written, calls, monkeypatch
):
    monkeypatch.setattr("django_jobs.worker.completer.MAX_BATCH", 2)
    run(buffer, clock, 5, waiting=2)
    completer.record()
    assert written.batches == calls.recorded == [2, 2, 1]


def test_outcome_that_the_job_s_own_transaction_wrote_is_not_written_again(
    completer, buffer, clock, written, calls
):
    run(buffer, clock, 2)
    buffer.ended()[0].recorded = True
    completer.record()
    assert (written.batches, calls.recorded) == ([1], [2])


def test_outcomes_stay_in_the_buffer_when_the_statement_fails(
    completer, buffer, clock, monkeypatch
):
    monkeypatch.setattr("django_jobs.worker.completer.record_apart", lambda *_, **__: 1 / 0)
    run(buffer, clock, 1)
    with pytest.raises(ZeroDivisionError):
        completer.record()
    assert buffer.counts() == (0, 0, 1)


def test_queues_that_have_new_jobs_are_passed_on(completer, buffer, clock, written, calls):
    run(buffer, clock, 1)
    written.ready = ["next"]
    completer.record()
    assert (calls.ready, calls.freed) == (["next"], [])


def test_end_of_a_job_with_a_permit_is_reported(completer, buffer, clock, written, calls):
    buffer.put([a_job(permits=("key",))])
    end(buffer, clock=clock)
    completer.record()
    assert calls.freed == [True]


# --- before or after the claim ------------------------------------------------------------------


def test_next_job_is_claimed_before_the_outcome_is_written(completer, buffer, clock):
    run(buffer, clock, 1)
    assert not completer.goes_first()


def test_outcome_that_frees_a_permit_is_written_before_the_claim(completer, buffer, clock):
    buffer.put([a_job(permits=("key",))])
    end(buffer, clock=clock)
    assert completer.goes_first()


def test_outcome_that_other_jobs_wait_for_is_written_before_the_claim(completer, buffer, clock):
    buffer.put([a_job(has_dependents=True)])
    end(buffer, clock=clock)
    assert completer.goes_first()


def test_outcome_that_a_slot_waits_for_is_written_before_the_claim(completer, buffer, clock):
    run(buffer, clock, 1)
    buffer.confirmations.ask(buffer.ended()[0])
    assert completer.goes_first()


def test_outcome_that_would_be_seen_too_late_is_written_before_the_claim(
    completer, state, buffer, clock
):
    state.pace.claim_seconds = state.pace.record_seconds = 0.005
    run(buffer, clock, 1)
    clock.advance(VISIBLE_SECONDS - 0.011)
    assert not completer.goes_first()
    clock.advance(0.002)
    assert completer.goes_first()
