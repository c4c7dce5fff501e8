from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import F

from django_jobs.db import clock
from django_jobs.models import Schedule
from django_jobs.schedules.planning import plan

ADD = "tests.jobs.add"


@pytest.fixture
def make(db: None) -> Callable[..., Schedule]:
    """Make a schedule's row that is planned; ``due=5`` makes it due for so many seconds."""

    def make(*, due: float | None = None, **fields: Any) -> Schedule:
        number = Schedule.objects.count()
        defaults = {
            "name": f"s{number}",
            "job_name": ADD,
            "args": [1, 2],
            "kind": "interval",
            "interval_seconds": 3600,
        }
        schedule = Schedule.objects.create(**(defaults | fields))
        plan("default", [schedule.pk])
        if due is not None:
            Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock("default", -due))
        schedule.refresh_from_db()
        return schedule

    return make


@pytest.fixture
def lapse(db: None) -> Callable[[float], None]:
    """Let time pass for every schedule: all that is planned comes nearer."""

    def lapse(seconds: float) -> None:
        delta = datetime.timedelta(seconds=seconds)
        Schedule.objects.update(next_run_at=F("next_run_at") - delta)

    return lapse
