"""A worker's row, from its registration to its end."""

from __future__ import annotations

import pytest

from django_jobs.ids import uuid7
from django_jobs.models import Worker
from django_jobs.process import heartbeat

pytestmark = pytest.mark.django_db


def test_registering_again_after_a_lost_answer_is_no_error() -> None:
    worker_id = uuid7()
    heartbeat.register(worker_id, "w", "default", pool="prefork")
    heartbeat.register(worker_id, "w", "default", pool="prefork")
    assert Worker.objects.live().get().pk == worker_id


def test_renewal_of_a_worker_that_was_taken_for_dead_returns_false() -> None:
    worker_id = uuid7()
    heartbeat.register(worker_id, "w", "default", pool="prefork")
    assert heartbeat.beat(worker_id, "default", busy=1, done=2) is True
    Worker.objects.update(lost_at=Worker.objects.get().started_at)
    assert heartbeat.beat(worker_id, "default", busy=1, done=2) is False
    assert Worker.objects.get().jobs_done == 2
