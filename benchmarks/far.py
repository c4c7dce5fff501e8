"""A server that is far from its workers, as in another region."""

from __future__ import annotations

from . import proxy
from .arena import Arena
from .measure import Figures, drain_sleeping

#: The way to the server, and the same back.
SECONDS = 0.025
_JOB_SECONDS = 0.01


def far(arena: Arena, jobs: int) -> Figures:
    """Drain jobs of 10 ms by workers beside their server, and by workers far from it."""
    contestant = arena.contestant
    near = drain_sleeping(arena, jobs, _JOB_SECONDS)
    beyond = arena.again(fresh=True)
    redis = contestant.system == "celery"
    url = contestant.server.url if redis else contestant.database_url
    with proxy.far(url, SECONDS) as far_url:
        beyond.workers_environment = {"REDIS_URL" if redis else "DATABASE_URL": far_url}
        figures = drain_sleeping(beyond, jobs, _JOB_SECONDS)
    return {
        **figures,
        "per_second_near": near["per_second"],
        "of_near": figures["per_second"] / near["per_second"],
    }
