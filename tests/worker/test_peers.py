"""Several coordinators hear each notification: they agree on who calls a worker first."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from django_jobs.db import clock
from django_jobs.ids import uuid7
from django_jobs.models import Worker
from django_jobs.worker.peers import Peers, Served

TOPICS = [f"q\t{uuid7().hex}" for _ in range(300)]


def peers_of(*serve: tuple[list[str], list[str]]) -> list[Peers]:
    """Return the view of each of several coordinators, whose workers serve that."""
    rows: list[Served] = [(UUID(int=at), *what) for at, what in enumerate(serve, 1)]
    found = [Peers(row[0], "default", lambda using: rows) for row in rows]
    for peers in found:
        peers.look()
    return found


@pytest.mark.once
def test_coordinators_agree_on_an_order_and_share_the_topics():
    peers = peers_of(([], []), (["q"], []), ([], ["other"]))
    firsts: Counter[int] = Counter()
    for topic in TOPICS:
        ranks = [each.rank(topic) for each in peers]
        assert sorted(ranks) == [0, 1, 2]
        firsts[ranks.index(0)] += 1
    assert min(firsts.values()) > 50


@pytest.mark.once
def test_coordinator_whose_workers_do_not_serve_the_queue_is_not_before_others():
    first, *_others = peers_of(([], []), (["other"], []), ([], ["q"]))
    assert [first.rank(topic) for topic in TOPICS] == [0] * len(TOPICS)


@pytest.mark.once
def test_coordinator_is_the_first_until_it_has_looked_for_others():
    rows: list[Served] = [(UUID(int=at), [], []) for at in range(5)]
    peers = Peers(UUID(int=9), "default", lambda using: rows)
    assert {peers.rank(topic) for topic in TOPICS} == {0}
    peers.look()
    assert {peers.rank(topic) for topic in TOPICS} == set(range(6))


@pytest.mark.django_db
def test_live_workers_of_other_supervisors_count():
    other, own = uuid7(), uuid7()
    now = clock("default")
    for supervisor_id, lease, quiet, pool in (
        (other, 60, False, "prefork"),
        (other, 60, False, "prefork"),
        (own, 60, False, "prefork"),
        (uuid7(), -1, False, "prefork"),
        (uuid7(), 60, True, "prefork"),
        (uuid7(), 60, False, Worker.BEAT),
        (None, 60, False, "solo"),
    ):
        Worker.objects.create(
            name="w", hostname="h", pid=1, pool=pool, quiet=quiet, supervisor_id=supervisor_id,
            started_at=now, heartbeat_at=now, lease_until=clock("default", lease),
        )  # fmt: skip
    peers = Peers(own, "default")
    peers.look()
    assert {peers.rank(topic) for topic in TOPICS} == {0, 1}
