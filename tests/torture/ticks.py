"""Schedules of a run, and what became of each tick."""

from __future__ import annotations

import datetime
import itertools
from collections import Counter, defaultdict
from typing import Any

from tests.torture import features
from tests.torture.checker import Line, bad


def make_schedules(prefix: str = "each", *, each_second: int = 3) -> None:
    from django_jobs.models import Schedule

    ticked = {"job_name": features.ticked.name, "missed": "all", "missed_limit": 1000}
    for number in range(each_second):
        Schedule.objects.create(
            name=f"{prefix} second {number}", kind="interval", interval_seconds=1, **ticked
        )
    Schedule.objects.create(name=f"{prefix} minute", kind="crontab", crontab="* * * * *", **ticked)


def stop_schedules() -> None:
    from django_jobs.models import Schedule

    Schedule.objects.update(enabled=False)


class Ticks:
    """The ticks that were seen; their jobs may be pruned later."""

    def __init__(self) -> None:
        self._seen: dict[Any, tuple[int, datetime.datetime]] = {}

    def note(self) -> None:
        from django_jobs.models import Job

        rows = Job.objects.filter(schedule_id__isnull=False)
        for job_id, schedule, at in rows.values_list("pk", "schedule_id", "run_at"):
            self._seen.setdefault(job_id, (schedule, at))

    def lines(self) -> list[Line]:
        found = Counter(self._seen.values())
        times: dict[int, list[datetime.datetime]] = defaultdict(list)
        for schedule, at in found:
            times[schedule].append(at)
        missing = []
        for some in map(sorted, times.values()):
            steps = Counter(b - a for a, b in itertools.pairwise(some))
            missing += [str(step) for step in steps if step != min(steps)]
        double = [str(tick) for tick, number in found.items() if number > 1]
        return [
            Line("ticks", f"{len(found):,} of {len(times)} schedules"),
            bad("ticks that are missing", missing), bad("ticks that are double", double),
        ]  # fmt: skip
