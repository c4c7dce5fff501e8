"""Jobs that expire between their claim and their start."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from django_jobs.models import Job
from django_jobs.run.expiry import mark_expired
from django_jobs.values import Claimed
from tests import jobs

pytestmark = pytest.mark.django_db

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def test_jobs_that_expired_after_their_claim_are_marked(take: Callable[..., list[Claimed]]) -> None:
    late, _early, _never = (
        jobs.add.apply_async((1,), expires=3600),
        jobs.add.apply_async((1,), expires=3600),
        jobs.add.delay(1),
    )
    claimed = take()
    Job.objects.filter(id=late.id).update(expires_at=PAST)
    mark_expired(claimed, "default")
    assert [job.expired for job in claimed] == [True, False, False]


def test_jobs_that_cannot_expire_cost_no_statement(
    take: Callable[..., list[Claimed]], django_assert_num_queries: Any
) -> None:
    jobs.add.delay_many([(1,), (2,)])
    claimed = take()
    with django_assert_num_queries(0):
        mark_expired(claimed, "default")
