"""Counts jobs while they run, and writes the counts as :class:`Measurement` rows."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..db import unix_time
from ..models import Measurement
from ..models.histogram import Tally
from ..status import Status
from ..values import Claimed, Outcome

MINUTE = 60

#: A queue and the name of a job function, which have counts of their own.
Series = tuple[str, str]

_COLUMN = {
    Status.SUCCESS.value: "succeeded",
    Status.FAILURE.value: "failed",
    Status.RETRY.value: "retried",
    Status.REVOKED.value: "revoked",
}


class Collector:
    """Counts in memory what a worker process does, by minute of the database's clock.

    If the process is killed, the counts since the last :meth:`flush` are lost. *clock* returns
    seconds, as :func:`time.monotonic` does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes: dict[int, dict[Series, Tally]] = {}
        # The difference between the database's clock and this one.
        self._offset = 0.0

    def synchronize(self, using: str) -> None:
        """Read the database's clock; call it before anything is counted."""
        self._offset = unix_time(using) - self._clock()

    def claimed(self, jobs: Sequence[Claimed]) -> None:
        """Count the jobs that are claimed for the first time."""
        first = Counter([(job.queue, job.name) for job in jobs if job.claims == 1])
        with self._lock:
            for key, number in first.items():
                self._tally(key).sent += number

    def ended(self, outcomes: Iterable[Outcome]) -> None:
        """Count attempts whose outcomes were recorded."""
        groups: dict[tuple[str, str, str], list[Outcome]] = {}
        for outcome in outcomes:
            job = outcome.job
            key = (job.queue, job.name, outcome.status)
            if key in groups:
                groups[key].append(outcome)
            else:
                groups[key] = [outcome]
        with self._lock:
            for (queue, name, status), group in groups.items():
                tally = self._tally((queue, name))
                _count(tally, status, group, self._clock() + self._offset)
                for counted in [each.step_counts for each in group if each.step_counts]:
                    for function, steps in counted.items():
                        tally.steps_of(function).add(steps)
                ran = [outcome for outcome in group if outcome.ended > outcome.began]
                if ran:
                    tally.measure(
                        [outcome.began - outcome.job.ready for outcome in ran],
                        [outcome.ended - outcome.began for outcome in ran],
                    )

    def flush(self, using: str) -> None:
        """Write the counts with one statement, and keep them if it fails."""
        counted = self.drain()
        if not counted:
            return
        try:
            self.synchronize(using)
            append(counted, using)
        except BaseException:
            with self._lock:
                for minute, tallies in counted.items():
                    for key, tally in tallies.items():
                        self._tally(key, minute).add(tally)
            raise

    def drain(self) -> dict[int, dict[Series, Tally]]:
        """Return the counts by minute and start anew."""
        with self._lock:
            counted, self._minutes = self._minutes, {}
        return counted

    def _tally(self, key: Series, minute: int | None = None) -> Tally:
        if minute is None:
            minute = minute_of(self._clock() + self._offset)
        tallies = self._minutes.setdefault(minute, {})
        found = tallies.get(key)
        if found is None:
            found = tallies[key] = Tally()
        return found


def _count(tally: Tally, status: str, outcomes: Sequence[Outcome], now: float) -> None:
    """Count *outcomes* of one *status*; *now* is Unix time."""
    column = _COLUMN.get(status)
    if column:
        setattr(tally, column, getattr(tally, column) + len(outcomes))
    if status == Status.FAILURE:
        for outcome in outcomes:
            errors = tally.errors_of(outcome.failure.error_class if outcome.failure else "")
            errors.count += 1
            errors.last, errors.sample = int(now), str(outcome.job.id)


def rescued(outcomes: Sequence[Outcome], using: str) -> None:
    """Count attempts whose worker died, and write the counts; their durations are unknown."""
    if not outcomes:
        return
    now = unix_time(using)
    tallies: dict[Series, Tally] = {}
    for outcome in outcomes:
        tally = tallies.setdefault((outcome.job.queue, outcome.job.name), Tally())
        tally.rescued += 1
        _count(tally, outcome.status, [outcome], now)
    append({minute_of(now): tallies}, using)


def revoked(jobs: Iterable[tuple[str, str, int]], using: str) -> None:
    """Count revoked jobs, and write the counts; *jobs* has queue, name and claims of each."""
    tallies: dict[Series, Tally] = {}
    for queue, name, claims in jobs:
        tally = tallies.setdefault((queue, name), Tally())
        tally.revoked += 1
        tally.sent += not claims
    append({minute_of(unix_time(using)): tallies}, using)


def append(minutes: Mapping[int, Mapping[Series, Tally]], using: str) -> None:
    """Write a row for each tally, with one statement."""
    rows = []
    for starts_at, tallies in minutes.items():
        for (queue, name), tally in tallies.items():
            row = Measurement(starts_at=starts_at, seconds=MINUTE, queue=queue, name=name)
            row.tally = tally
            rows.append(row)
    Measurement.objects.using(using).bulk_create(rows)


def minute_of(moment: float) -> int:
    """Return the Unix time at which the minute of *moment* began."""
    return int(moment) // MINUTE * MINUTE
