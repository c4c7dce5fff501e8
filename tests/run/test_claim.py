"""What a claim may leave out, and for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from django_jobs.models import Job, Worker
from django_jobs.run import claim as module
from django_jobs.run.claim import Claimer
from tests import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def take(worker: Worker) -> Any:
    claimer = Claimer()

    def take(limit: int = 1, queues: tuple[str, ...] = ("default",)) -> list[Any]:
        found, _contended = claimer.claim(worker.pk, queues, limit, "default")
        return [(job.queue, *json.loads(job.args)) for job in found]

    take.claimer = claimer  # type: ignore[attr-defined]
    return take


@pytest.fixture
def always_slow(monkeypatch: pytest.MonkeyPatch, vendor: str) -> None:
    if vendor != "postgresql":
        pytest.skip("only PostgreSQL's claim remembers where the ready jobs begin")
    monkeypatch.setattr(module, "_SLOW_SECONDS", 0.0)
    monkeypatch.setattr(module, "_SLOW_SECONDS_A_JOB", 0.0)
    monkeypatch.setattr(module, "_BEGINNING_SECONDS", 3_600.0)


def give_back(number: int) -> None:
    """Make a claimed job ready again, as a retry does: it is older than those that wait."""
    Job.objects.filter(args=[number]).update(status="PENDING")


@pytest.mark.usefixtures("always_slow")
def test_after_a_slow_claim_an_older_job_is_seen_a_little_later(take: Any) -> None:
    jobs.add.delay_many((number,) for number in range(5))
    assert take(2) == [("default", 0), ("default", 1)]
    assert take() == [("default", 2)]
    give_back(0)
    assert take() == [("default", 3)]
    take.claimer._hold_until = 0.0  # the time is over
    assert take() == [("default", 0)]


@pytest.mark.usefixtures("always_slow")
def test_after_a_slow_claim_a_higher_priority_is_seen_at_once(take: Any) -> None:
    jobs.add.delay_many((number,) for number in range(5))
    take(2)
    jobs.add.apply_async((10,), priority=1)
    jobs.add.apply_async((11,), priority=32_767)
    jobs.add.apply_async((12,), priority=-32_767)
    assert take(3) == [("default", 11), ("default", 10), ("default", 2)]
    jobs.add.apply_async((13,), priority=1)
    assert take(9) == [("default", n) for n in (13, 3, 4, 12)]


@pytest.mark.usefixtures("always_slow")
def test_each_queue_has_its_own_beginning(take: Any) -> None:
    both = ("default", "mail")
    jobs.add.delay_many([(0,), (1,)])
    jobs.add.delay_many([(2,), (3,), (4,)], queue="mail")
    assert take(1, both) == [("default", 0)]
    assert take(2, both) == [("default", 1), ("mail", 2)]
    give_back(0)
    assert take(9, both) == [("mail", 3), ("mail", 4)]
    jobs.add.delay(5)
    assert take(9, both) == [("default", 5)]


@pytest.mark.usefixtures("always_slow")
def test_what_was_quick_is_looked_through_from_the_start(take: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_SLOW_SECONDS", 3_600.0)
    jobs.add.delay_many((number,) for number in range(4))
    take(2)
    take()
    give_back(0)
    assert take(9) == [("default", 0), ("default", 3)]
