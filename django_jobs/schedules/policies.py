"""The policies of a schedule: they decide which of its due ticks run."""

from __future__ import annotations

import datetime
import hashlib

from ..models import Schedule
from .ticks import Due

#: A tick that no beat has fired for this long is missed.
MISSED_SECONDS = 60.0


def most_runs(schedule: Schedule) -> int:
    """Return how many due ticks may run: one, or several if all missed ones run."""
    return max(1, schedule.missed_limit) if schedule.missed == Schedule.Missed.ALL else 1


def chosen(schedule: Schedule, due: Due, now: datetime.datetime) -> list[datetime.datetime]:
    """Return the due ticks that run, the oldest first; the others are skipped."""
    ticks = due.ticks[-most_runs(schedule) :]
    longest = schedule.deadline_seconds
    if schedule.missed == Schedule.Missed.SKIP:
        longest = MISSED_SECONDS if longest is None else min(longest, MISSED_SECONDS)
    if longest is not None:
        ticks = [tick for tick in ticks if (now - tick).total_seconds() <= longest]
    return ticks[:1] if schedule.one_off else ticks


def jittered(schedule: Schedule, tick: datetime.datetime) -> datetime.datetime:
    """Return *tick* delayed by 0 … ``jitter_seconds``; every beat computes the same delay."""
    if schedule.jitter_seconds <= 0:
        return tick
    seed = f"{schedule.pk} {tick.isoformat()}".encode()
    share = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") / 2**64
    return tick + datetime.timedelta(seconds=share * schedule.jitter_seconds)
