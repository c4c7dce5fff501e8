"""When a worker's duties run."""

from __future__ import annotations

import time

from django_jobs.process.timers import Duties, Duty


def test_duty_that_is_asked_for_while_it_runs_runs_again() -> None:
    runs = 0

    def asked_meanwhile() -> float:
        nonlocal runs
        runs += 1
        if runs == 1:
            duties.ask("promote")
        return 60.0

    duties = Duties([Duty("promote", 60.0, asked_meanwhile)], "default")
    assert duties.run_due() <= 0
    assert duties.run_due() > 50
    assert runs == 2


def test_asking_never_delays_a_duty() -> None:
    duties = Duties([Duty("control", 60.0, lambda: 5.0)], "default")
    duties.run_due()
    duties.ask("control", within=30.0)
    assert duties.run_due() <= 5
    duties.ask("control", within=1.0)
    assert duties.run_due() <= 1


def test_duties_stop_without_running_what_is_due() -> None:
    ran = []
    duties = Duties([Duty("prune", 60.0, lambda: ran.append(time.monotonic()))], "default")
    duties.stop()
    duties.run()
    assert not ran
