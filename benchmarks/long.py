"""Cases that take minutes: a big history in the table, and a transaction that stays open."""

from __future__ import annotations

import dataclasses
import statistics
import time

from .arena import Arena
from .measure import Figures, drain, percentiles
from .servers import PostgreSQL

#: Ended and scheduled rows per drained job: 5 and 1 million for the full 30,000 jobs.
_ENDED, _SCHEDULED = 5_000_000 / 30_000, 1_000_000 / 30_000
_DRAINS = 3
_CLAIMS = 200
_JOBS_A_SECOND = 200

ENDED_ROWS = """
INSERT INTO django_jobs_job (id, name, queue, rank, status, args, kwargs, claims, result,
    enqueued_at, ready_at, started_at, ended_at, prune_at)
SELECT ('0180' || lpad(to_hex(n), 28, '0'))::uuid, 'note', 'default', 0, 'SUCCESS', '[1]', '{}', 1,
    '1', at, at, at, at, now() + %s::interval
FROM generate_series(1, %s) AS n, LATERAL (SELECT now() - interval '1 hour') AS t (at)
"""
_SCHEDULED_ROWS = """
INSERT INTO django_jobs_job (id, name, queue, rank, status, args, kwargs, enqueued_at, run_at)
SELECT ('0181' || lpad(to_hex(n), 28, '0'))::uuid, 'note', 'default', 0, 'SCHEDULED', '[1]', '{}',
    now(), now() + interval '1 day' + n * interval '1 ms'
FROM generate_series(1, %s) AS n
"""


def history(arena: Arena, jobs: int) -> Figures:
    """Drain an empty table and one with a history, alternating; time claims in the latter."""
    server = arena.contestant.server
    old = PostgreSQL(server.url, f"{server.name}_history")
    old.create()
    try:
        _fill(old, jobs)
        contestant = dataclasses.replace(arena.contestant, server=old, database_url=old.url)
        beside = Arena(contestant, arena.folder, fresh=False)
        empty, full = [], []
        for _ in range(_DRAINS):
            empty.append(drain(arena.again(fresh=True), jobs)["per_second"])
            full.append(drain(beside.again(fresh=False), jobs)["per_second"])
        figures = {
            "per_second": statistics.median(full),
            "per_second_empty": statistics.median(empty),
            "of_empty": statistics.median(full) / statistics.median(empty),
        }
        return {**figures, **_claims(beside, fresh=False)}
    finally:
        old.close()


def _fill(server: PostgreSQL, jobs: int) -> None:
    server.inside.execute(ENDED_ROWS, ["1 day", round(jobs * _ENDED)])
    server.inside.execute(_SCHEDULED_ROWS, [round(jobs * _SCHEDULED)])
    server.inside.execute("VACUUM (ANALYZE) django_jobs_job")
    # Otherwise the database would write the filled table to disk during the drains.
    server.inside.execute("CHECKPOINT")


def held_transaction(arena: Arena, seconds: int) -> Figures:
    """Run 200 jobs a second during an open transaction; time claims before and after."""
    before = _claims(arena, fresh=True)
    server = arena.contestant.server
    server.reset()
    with server.inside.transaction():
        server.inside.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        server.inside.execute("SELECT count(*) FROM django_jobs_job")
        waits = _steady(arena, seconds)
        after = _claims(arena, fresh=False)
    figures = {f"{name}_before": value for name, value in before.items()}
    tenth = len(waits) // 10
    return {
        **figures,
        **after,
        "times_before": after["claim_p99_ms"] / before["claim_p99_ms"],
        "p99_ms_first_tenth": percentiles(waits[:tenth])["p99_ms"],
        "p99_ms": percentiles(waits[-tenth:])["p99_ms"],
    }


def _claims(arena: Arena, *, fresh: bool) -> Figures:
    measured = arena.again(fresh=fresh).produce("claims", _CLAIMS)["seconds"]
    figures = percentiles([each * 1000 for each in measured])
    return {"claim_p50_ms": figures["p50_ms"], "claim_p99_ms": figures["p99_ms"]}


def _steady(arena: Arena, seconds: int) -> list[float]:
    """Return the wait of each job in milliseconds, in the order of sending."""
    jobs = seconds * _JOBS_A_SECOND
    with arena.workers():
        sent = arena.produce("steady", _JOBS_A_SECOND, jobs)["sent"]
        arena.wait_for(10 + jobs)
        # The connection in the open transaction cannot see ended jobs, so wait a moment.
        time.sleep(1)
    begun = arena.runs()
    return [(begun[number] - sent[number]) / 1e6 for number in range(jobs)]
