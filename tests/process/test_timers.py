"""When a worker's timers run."""

from __future__ import annotations

import logging
import time

import pytest
from django.db import OperationalError

from django_jobs.process.timers import Timer, Timers


def test_timer_that_is_asked_for_while_it_runs_runs_again() -> None:
    runs = 0

    def asked_meanwhile() -> float:
        nonlocal runs
        runs += 1
        if runs == 1:
            timers.ask("promote")
        return 60.0

    timers = Timers([Timer("promote", 60.0, asked_meanwhile)], "default")
    assert timers.run_due() <= 0
    assert timers.run_due() > 50
    assert runs == 2


def test_asking_never_delays_a_timer() -> None:
    timers = Timers([Timer("control", 60.0, lambda: 5.0)], "default")
    timers.run_due()
    timers.ask("control", within=30.0)
    assert timers.run_due() <= 5
    timers.ask("control", within=1.0)
    assert timers.run_due() <= 1


def test_timers_stop_without_running_what_is_due() -> None:
    ran = []
    timers = Timers([Timer("prune", 60.0, lambda: ran.append(time.monotonic()))], "default")
    timers.stop()
    timers.run()
    assert not ran


def test_timer_runs_again_at_once_after_a_conflict(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    conflicts = [OperationalError(1213, "Deadlock found when trying to get lock")]

    def promote() -> float:
        if conflicts:
            raise conflicts.pop()
        return 60.0

    timers = Timers([Timer("promote", 60.0, promote)], "default")
    assert timers.run_due() > 50
    assert not caplog.messages
