"""The row of a process, from its registration to its end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from django_jobs.db import clock
from django_jobs.ids import uuid7
from django_jobs.models import Worker
from django_jobs.process.presence import Presence

pytestmark = pytest.mark.django_db


def a_presence(**options: Any) -> Presence:
    return Presence(uuid7(), "w", "default", columns=lambda: {"pool": "prefork"}, **options)


def test_registering_again_after_a_lost_answer_is_no_error() -> None:
    presence = a_presence()
    presence.register()
    presence.register()
    assert Worker.objects.live().get().pk == presence.worker_id


def test_renewal_of_a_worker_that_was_taken_for_dead_returns_false() -> None:
    presence = a_presence(load=lambda: (1, 2))
    presence.register()
    assert presence.beat() is True
    Worker.objects.update(lost_at=Worker.objects.get().started_at, jobs_done=1)
    assert presence.beat() is False
    assert Worker.objects.get().jobs_done == 1


def test_process_that_was_taken_for_dead_registers_with_a_new_id_and_counts_its_jobs_anew() -> None:
    done, lost = 3, []

    def on_lost(new_id: UUID) -> None:
        lost.append((new_id, Worker.objects.filter(pk=new_id).exists()))

    presence = a_presence(load=lambda: (1, done), on_lost=on_lost)
    first = presence.worker_id
    presence.register()
    assert presence.renew() is True
    Worker.objects.update(lost_at=clock("default"))
    assert presence.renew() is False
    assert lost == [(presence.worker_id, False)]
    done = 5
    assert presence.renew(stopping=True) is True
    row = Worker.objects.live().get()
    assert (row.pk, row.busy, row.jobs_done) == (presence.worker_id, 1, 2)
    assert row.stopping_at is not None
    presence.sign_off()
    rows = Worker.objects.order_by("started_at", "pk").values_list("pk", "busy", "jobs_done")
    assert list(rows) == [(first, 1, 3), (presence.worker_id, 0, 2)]
    assert Worker.objects.get(pk=presence.worker_id).stopped_at is not None


def test_beat_writes_its_past_hour() -> None:
    presence = a_presence(load=lambda: (1, 2))
    presence.register()
    sign = presence.sign()
    presence._samples.note([sign], sign.seen_at - 60)
    assert presence.beat() is True
    ((memory, busy),) = Worker.objects.values_list("samples", flat=True).get()
    assert (memory > 1, busy) == (True, 1)
