"""What a worker's claim on PostgreSQL may leave out, and for how long."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections

from django_jobs.db import dialect_for, own_connection
from django_jobs.db.claim_cursor import HOLD_SECONDS, ClaimCursor
from django_jobs.models import Job, Worker
from django_jobs.run.claim import claim, expect_older
from tests import jobs
from tests.worker.parts import Clock

pytestmark = pytest.mark.django_db

Take = Callable[..., list[Any]]

ALWAYS_SLOW = -1.0
NEVER_SLOW = 3_600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def remember(monkeypatch: pytest.MonkeyPatch, vendor: str, clock: Clock) -> Callable[[float], None]:
    """Let claims remember where the ready jobs begin, if they take so many seconds."""
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL's claim remembers where the ready jobs begin")

    def remember(slow_seconds: float) -> None:
        cursor = ClaimCursor(slow_seconds, 0.0, clock=clock)
        monkeypatch.setattr(dialect_for(connection), "claim_cursor", cursor)

    remember(ALWAYS_SLOW)
    return remember


@pytest.fixture
def take(worker: Worker, remember: Any) -> Take:
    def take(limit: int = 1, queues: tuple[str, ...] = ("default",)) -> list[Any]:
        found, _contended = claim(worker.pk, queues, limit, "default")
        return [(job.queue, *json.loads(job.args)) for job in found]

    return take


def give_back(number: int) -> None:
    """Make a claimed job ready again, as a retry does: it is older than those that wait."""
    Job.objects.filter(args=[number]).update(status="PENDING")


def test_after_a_slow_claim_an_older_job_is_seen_a_little_later(take: Take, clock: Clock) -> None:
    jobs.add.delay_many((number,) for number in range(5))
    assert take(2) == [("default", 0), ("default", 1)]
    assert take() == [("default", 2)]
    give_back(0)
    assert take() == [("default", 3)]
    clock.advance(HOLD_SECONDS)
    assert take() == [("default", 0)]


def test_after_a_slow_claim_a_higher_priority_is_seen_at_once(take: Take) -> None:
    jobs.add.delay_many((number,) for number in range(5))
    take(2)
    jobs.add.apply_async((10,), priority=1)
    jobs.add.apply_async((11,), priority=32_767)
    jobs.add.apply_async((12,), priority=-32_767)
    assert take(3) == [("default", 11), ("default", 10), ("default", 2)]
    jobs.add.apply_async((13,), priority=1)
    assert take(9) == [("default", n) for n in (13, 3, 4, 12)]


def test_each_queue_has_its_own_beginning(take: Take) -> None:
    both = ("default", "mail")
    jobs.add.delay_many([(0,), (1,)])
    jobs.add.delay_many([(2,), (3,), (4,)], queue="mail")
    assert take(1, both) == [("default", 0)]
    assert take(2, both) == [("default", 1), ("mail", 2)]
    give_back(0)
    assert take(9, both) == [("mail", 3), ("mail", 4)]
    jobs.add.delay(5)
    assert take(9, both) == [("default", 5)]


def test_what_was_quick_is_looked_through_from_the_start(take: Take, remember: Any) -> None:
    remember(NEVER_SLOW)
    jobs.add.delay_many((number,) for number in range(4))
    take(2)
    take()
    give_back(0)
    assert take(9) == [("default", 0), ("default", 3)]


def test_older_job_that_is_expected_is_seen_at_once(take: Take) -> None:
    jobs.add.delay_many((number,) for number in range(4))
    take(2)
    take()
    give_back(0)
    expect_older("default")
    assert take() == [("default", 0)]


def test_only_a_worker_s_own_connection_remembers(vendor: str) -> None:
    if vendor != "postgresql":
        return
    kept = connections["default"]
    assert dialect_for(kept).claim_cursor is None  # type: ignore[attr-defined]
    try:
        own = own_connection("default")
        own.ensure_connection()
        assert dialect_for(own).claim_cursor is not None  # type: ignore[attr-defined]
        own.close()
    finally:
        connections["default"] = kept
