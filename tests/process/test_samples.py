"""The past hour of a process: one sample a minute, and never more than an hour."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from django_jobs.ids import uuid7
from django_jobs.process.renewal import Sign
from django_jobs.process.samples import MINUTES, Samples

pytestmark = pytest.mark.once

ONE, OTHER = uuid7(), uuid7()
MIB = 1024 * 1024


def sign(worker_id: UUID, busy: int = 0, mib: float | None = None) -> Sign:
    return Sign(worker_id, busy, 0, None if mib is None else int(mib * MIB))


def test_sample_has_the_mean_of_the_busy_slots_and_the_most_memory() -> None:
    samples = Samples()
    for second, busy, mib in ((0, 1, 50), (20, 2, 90), (40, 2, 70)):
        samples.note([sign(ONE, busy, mib), sign(OTHER)], second)
        assert samples.news(ONE) == ""
    samples.note([sign(ONE), sign(OTHER, mib=1)], 60)
    assert json.loads(samples.news(ONE)) == [[90, 1.7]]
    assert json.loads(samples.news(OTHER)) == [[0, 0]]
    assert samples.news(ONE) == ""


def test_minutes_without_a_look_are_gaps() -> None:
    samples = Samples()
    samples.note([sign(ONE, 1)], 0)
    samples.note([sign(ONE, 2)], 200)
    samples.note([sign(ONE)], 250)
    assert json.loads(samples.news(ONE)) == [[0, 1], None, None, [0, 2]]
    samples.note([sign(ONE)], 1_000_000)
    assert json.loads(samples.news(ONE)) == [None] * MINUTES


def test_hour_is_the_longest_past() -> None:
    samples = Samples()
    for minute in range(2 * MINUTES):
        samples.note([sign(ONE, minute)], minute * 60)
    found = json.loads(samples.news(ONE))
    assert [busy for _memory, busy in found] == list(range(MINUTES - 1, 2 * MINUTES - 1))


def test_process_that_is_gone_is_forgotten() -> None:
    samples = Samples()
    samples.note([sign(ONE, 1), sign(OTHER)], 0)
    samples.note([sign(OTHER)], 60)
    assert samples.news(ONE) == ""
    samples.note([sign(ONE, 2), sign(OTHER)], 120)
    samples.note([sign(ONE), sign(OTHER)], 180)
    assert json.loads(samples.news(ONE)) == [[0, 2]]
    assert len(json.loads(samples.news(OTHER))) == 3
