"""Workflows in real workers that are killed in the middle of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from typing import Any

from django_jobs import chain, group
from django_jobs.models import Edge, Job
from tests.integration import jobs
from tests.waiting import LONG

MEMBERS, CHORDS, KILLS = 49, 10, 6


def five_hundred_jobs() -> Any:
    """Ten chords of 50 jobs, each after the other."""
    links: list[Any] = []
    for _ in range(CHORDS):
        first = {"immutable": True} if not links else {}
        links.append(group(jobs.step.signature((), **first) for _ in range(MEMBERS)))
        links.append(jobs.gather.s())
    return chain(links)


def expected() -> int:
    value = 0
    for _ in range(CHORDS):
        value = MEMBERS * (value + 1)
    return value


def assert_order_was_kept() -> None:
    """No job began before all that it depends on had ended, and each was counted once."""
    assert not Job.objects.exclude(pending_parents=0).exists()
    ended = dict(Job.objects.values_list("pk", "ended_at"))
    began = dict(Job.objects.values_list("pk", "started_at"))
    for parent, child in Edge.objects.values_list("parent_id", "child_id"):
        assert began[child] >= ended[parent]


def test_workflow_ends_right_though_workers_are_killed(runworker: Any, until: Any) -> None:
    result = five_hundred_jobs().apply_async()
    assert Job.objects.count() == CHORDS * (MEMBERS + 1)
    worker = runworker("-c", "2")
    chance = random.Random(5)
    for kill in range(1, KILLS + 1):
        wanted = kill * CHORDS * MEMBERS // (KILLS + 1)
        until(lambda wanted=wanted: Job.objects.ended().count() >= wanted)
        until(worker.workers)
        # One that was killed just before may be listed yet.
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(worker.children()), signal.SIGKILL)
    assert result.get(timeout=LONG) == expected()
    assert worker.stop() == 0
    assert set(Job.objects.values_list("status", flat=True)) == {"SUCCESS"}
    assert_order_was_kept()
