import json
import time
import uuid
from collections.abc import Iterable
from typing import Any

import psycopg

from django_jobs.ids import uuid7

from . import BATCH, run

_COLUMNS = "id, name, queue, rank, status, args, kwargs, enqueued_at, ready_at"

_INSERT = f"""
INSERT INTO django_jobs_job ({_COLUMNS})
VALUES (%s, %s, 'default', 0, 'PENDING', %s, '{{}}', now(), now())
"""  # noqa: S608 (constants)

_INSERT_AND_WAKE = f"WITH new AS ({_INSERT}) SELECT pg_notify('benchmark', '')"

_RECORD = """
UPDATE django_jobs_job AS j SET status = 'SUCCESS', result = new.result, ended_at = now(),
    prune_at = now() + interval '1 day'
FROM unnest(%s::uuid[], %s::int[], %s::text[]) AS new (id, claims, result)
WHERE j.id = new.id AND j.status = 'STARTED' AND j.worker_id = %s AND j.claims = new.claims
"""

_CLAIM = """
UPDATE django_jobs_job
SET status = 'STARTED', claims = claims + 1, worker_id = %s, started_at = now()
WHERE id = ANY(ARRAY(SELECT id FROM django_jobs_job WHERE status = 'PENDING' AND queue = 'default'
    ORDER BY rank, id LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id, claims, name, args
"""

_RESULT = "SELECT result FROM django_jobs_job WHERE id = %s"


class Limit:
    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)

    def send(self, function: str, *args: Any) -> uuid.UUID:
        job_id = uuid7()
        self.connection.execute(_INSERT_AND_WAKE, [job_id, function, json.dumps(args)])
        return job_id

    def insert(self, function: str, number: int) -> None:
        """Enqueue one job and wake nobody: the least that a call can do."""
        self.connection.execute(_INSERT, [uuid7(), function, json.dumps([number])], prepare=True)

    def send_many(self, function: str, numbers: Iterable[int], *arguments: float) -> None:
        with (
            self.connection.cursor() as cursor,
            cursor.copy(f"COPY django_jobs_job ({_COLUMNS}) FROM STDIN") as copy,
        ):
            for number in numbers:
                args = json.dumps([number, *arguments])
                row = (uuid7(), function, "default", 0, "PENDING", args, "{}", "now", "now")
                copy.write_row(row)

    def get(self, handle: uuid.UUID) -> Any:
        while True:
            (result,) = self.connection.execute(_RESULT, [handle]).fetchone() or (None,)
            if result is not None:
                return json.loads(result)
            time.sleep(0.001)

    def work(self) -> None:
        worker_id = uuid.uuid4()
        self.connection.execute("LISTEN benchmark")
        done: list[tuple[uuid.UUID, int, str]] = []
        while True:
            jobs = self._exchange(worker_id, done)
            if not jobs and not done:
                list(self.connection.notifies(timeout=1, stop_after=1))
            done = [(job_id, claims, run(name, args)) for job_id, claims, name, args in jobs]

    def _exchange(
        self, worker_id: uuid.UUID, done: list[tuple[uuid.UUID, int, str]]
    ) -> list[tuple[Any, ...]]:
        """Record results and claim jobs, in one round trip and one commit."""
        with self.connection.pipeline():
            if done:
                columns = [list(column) for column in zip(*done, strict=True)]
                self.connection.execute(_RECORD, [*columns, worker_id])
            claimed = self.connection.execute(_CLAIM, [worker_id, BATCH])
        return claimed.fetchall()
