"""The peers that are measured: how each is installed, and what it keeps."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    #: redis or postgresql.
    store: str
    #: The store that keeps the results of its jobs, in words.
    results: str
    #: Jobs of a drain: enough for a second or two.
    jobs: int
    requirements: tuple[str, ...]
    #: Commands that make two worker processes: one that starts two, or two.
    commands: int = 2

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")


_REDIS, _POSTGRESQL = "redis", "postgresql"
_PSYCOPG = "psycopg[binary]"

PEERS = [
    Peer("celery", _REDIS, "results for a day", 2_000, ("celery[redis]",), commands=1),
    Peer("mayu", _REDIS, "results for 600 s", 40_000, ("mayu",), commands=1),
    Peer("blitzq", _REDIS, "results for a day", 20_000, ("blitzq",)),
    Peer("huey", _REDIS, "results until read", 8_000, ("huey", "redis"), commands=1),
    Peer("dramatiq", _REDIS, "results for 600 s", 8_000, ("dramatiq[redis]",), commands=1),
    Peer("rq", _REDIS, "results for 500 s", 800, ("rq",)),
    Peer("pgqueuer", _POSTGRESQL, "no results, a log", 10_000, ("pgqueuer", _PSYCOPG)),
    Peer("procrastinate", _POSTGRESQL, "no results, rows kept", 600, ("procrastinate", _PSYCOPG)),
    Peer("taskiq", _REDIS, "results kept", 5_000, ("taskiq", "taskiq-redis"), commands=1),
    Peer("saq", _REDIS, "results for 600 s", 5_000, ("saq[redis]", "typing-extensions")),
    Peer("docket", _REDIS, "results for 900 s", 2_000, ("pydocket",)),
    Peer("oban", _POSTGRESQL, "no results, rows kept", 10_000, ("oban",)),
    Peer("awa", _POSTGRESQL, "no results, rows kept", 8_000, ("awa-pg",)),
    Peer("dbos", _POSTGRESQL, "results kept", 2_000, ("dbos",)),
    Peer("django-q2", _POSTGRESQL, "results kept", 2_000, ("django-q2", _PSYCOPG), commands=1),
    Peer("django-tasks-db", _POSTGRESQL, "results kept", 800, ("django-tasks-db", _PSYCOPG)),
    Peer("django-ox", _POSTGRESQL, "results kept", 800, ("django-ox", _PSYCOPG)),
    Peer("dj-queue", _POSTGRESQL, "results kept", 800, ("dj-queue[postgres]", _PSYCOPG)),
    Peer("django-vtasks", _POSTGRESQL, "results kept", 800, ("django-vtasks", "pyzstd", _PSYCOPG)),
    Peer("django-qraft", _POSTGRESQL, "results kept", 400, ("django-qraft", _PSYCOPG), commands=1),
    Peer(
        "django-dbtasks", _POSTGRESQL, "results kept", 300, ("django-dbtasks", "Django", _PSYCOPG)
    ),
]
