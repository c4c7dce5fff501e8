"""The deletion of ended jobs, and what it costs claims beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .arena import Arena
from .long import ENDED_ROWS
from .measure import Figures, percentiles

_BATCHES = 200
#: Between two claims: workers that run jobs do not claim all the time.
_PAUSE = 0.01


def prune(arena: Arena, rows: int) -> Figures:
    """Delete *rows* ended jobs alone, and then as many beside claims of 50 jobs."""
    _fill(arena, rows)
    alone = arena.produce("prune")
    _fill(arena, rows)
    before = _claims(arena)
    with ThreadPoolExecutor() as threads:
        pruning = threads.submit(arena.produce, "prune")
        claims = []
        while not pruning.done():
            claims += _claims(arena)
        beside = pruning.result()
    p99, p99_before = _p99(within(claims, beside)), _p99(before)
    return {
        "per_second": rows / beside["seconds"],
        "per_second_alone": rows / alone["seconds"],
        "claim_p99_ms": p99,
        "claim_p99_ms_before": p99_before,
        "times_before": p99 / p99_before,
    }


def _fill(arena: Arena, rows: int) -> None:
    server = arena.contestant.server
    server.reset()
    server.inside.execute(ENDED_ROWS, ["-1 hour", rows])
    server.inside.execute("VACUUM (ANALYZE) django_jobs_job")
    server.inside.execute("CHECKPOINT")


def _claims(arena: Arena) -> list[tuple[float, float]]:
    """Return the begin and the seconds of some claims."""
    measured = arena.produce("claims", _BATCHES, _PAUSE)
    return list(zip(measured["began"], measured["seconds"], strict=True))


def within(claims: list[tuple[float, float]], pruning: dict[str, Any]) -> list[tuple[float, float]]:
    """Return the claims that began while *pruning* ran."""
    end = pruning["began"] + pruning["seconds"]
    return [claim for claim in claims if pruning["began"] <= claim[0] <= end]


def _p99(claims: list[tuple[float, float]]) -> float:
    p99: float = percentiles([seconds * 1000 for _began, seconds in claims])["p99_ms"]
    return p99
