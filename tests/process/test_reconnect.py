"""What a loop does after errors: pauses, parts that rest alone, tries until one succeeds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError

from django_jobs.process.reconnect import Backoff, Parts, until_database_answers
from tests.worker.parts import Clock

AWAY = InterfaceError("connection already closed")
CONFLICT = OperationalError(1213, "Deadlock found when trying to get lock")
REFUSED = ProgrammingError("no such column")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Pauses without a random part, and no connection to drop: the dropped ones."""
    dropped: list[str] = []
    monkeypatch.setattr("django_jobs.process.reconnect._JITTER", (1.0, 1.0))
    monkeypatch.setattr("django_jobs.process.reconnect.drop_connection", dropped.append)
    return dropped


def raising(*errors: Exception) -> Callable[[], None]:
    """Return a function that raises these errors, one a call, and then succeeds."""
    left = list(errors)

    def action() -> None:
        if left:
            raise left.pop(0)

    return action


# --- pauses -------------------------------------------------------------------------------------


def test_pauses_grow_to_the_longest_and_start_over_after_a_success(alone: list[str]) -> None:
    backoff = Backoff("working", "default", longest=2.0)
    assert [backoff.failed(REFUSED) for _ in range(4)] == [0.5, 1.5, 2.0, 2.0]
    assert alone == ["default"] * 4
    assert backoff.succeeded()
    assert not backoff.succeeded()
    assert backoff.failed(REFUSED) == 0.5


def test_action_is_tried_until_the_database_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pauses: list[Any] = []
    done = until_database_answers(
        raising(REFUSED, REFUSED),
        Backoff("starting", "default"),
        pauses.append,
        going_on=lambda: True,
    )
    assert done
    assert pauses == [0.5, 1.5]
    assert caplog.text.count("statement refused while=starting") == 2
    assert caplog.text.count("database back while=starting") == 1


def test_tries_end_when_they_are_to_go_on_no_longer() -> None:
    pauses: list[Any] = []
    done = until_database_answers(
        raising(REFUSED, REFUSED),
        Backoff("starting", "default"),
        pauses.append,
        going_on=lambda: not pauses,
    )
    assert not done
    assert pauses == [0.5]


def test_error_that_is_not_the_database_s_ends_the_tries() -> None:
    with pytest.raises(ZeroDivisionError):
        until_database_answers(
            raising(ZeroDivisionError()),
            Backoff("starting", "default"),
            lambda seconds: None,
            going_on=lambda: True,
        )


# --- parts of a step ----------------------------------------------------------------------------


def test_refused_part_rests_alone_and_longer_each_time() -> None:
    clock, refused, ran = Clock(), [], []
    parts = Parts(lambda: refused.append(True), clock)
    for pause in (0.5, 1.5, 4.5):
        parts.run("claiming", raising(REFUSED))
        assert parts.rests_until("claiming") == clock() + pause
        parts.run("claiming", ran.append, "too early")
        parts.run("recording", ran.append, "other part")
        clock.advance(pause)
    assert ran == ["other part"] * 3
    assert refused == [True] * 3


def test_part_that_succeeds_rests_no_more() -> None:
    clock, ran = Clock(), []
    parts = Parts(lambda: None, clock)
    parts.run("claiming", raising(REFUSED))
    clock.advance(0.5)
    parts.run("claiming", ran.append, 1)
    parts.run("claiming", raising(REFUSED))
    assert ran == [1]
    assert parts.rests_until("claiming") == clock() + 0.5


def test_database_that_is_away_concerns_every_part() -> None:
    parts = Parts(lambda: None, Clock())
    with pytest.raises(InterfaceError):
        parts.run("claiming", raising(AWAY))
    assert parts.rests_until("claiming") == 0.0


def test_part_that_meets_another_transaction_rests_alone_and_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock, refused = Clock(), []
    parts = Parts(lambda: refused.append(True), clock)
    parts.run("recording", raising(CONFLICT))
    assert parts.rests_until("recording") == clock() + 0.5
    assert (refused, caplog.messages) == ([True], [])
    clock.advance(0.5)
    parts.run("recording", raising(CONFLICT))
    assert "while=recording" in caplog.text
