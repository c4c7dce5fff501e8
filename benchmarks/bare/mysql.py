import json
import time
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

import MySQLdb

from django_jobs.ids import uuid7

from . import BATCH, run

_INSERT = """
INSERT INTO django_jobs_job (id, name, queue, `rank`, status, args, kwargs, enqueued_at, ready_at)
VALUES """
_ROW = "(%s, %s, 'default', 0, 'PENDING', %s, '{}', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))"
_ROWS = 1_000
_SELECT = """
SELECT id, claims + 1, name, args FROM django_jobs_job
WHERE status = 'PENDING' AND queue = 'default' ORDER BY `rank`, id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_CLAIM = """
UPDATE django_jobs_job SET status = 'STARTED', claims = claims + 1, worker_id = %s,
    started_at = UTC_TIMESTAMP(6)
WHERE id IN %s
"""
_RECORD = """
UPDATE ({new}) AS new STRAIGHT_JOIN django_jobs_job AS j ON j.id = new.id
SET j.status = 'SUCCESS', j.result = new.result, j.ended_at = UTC_TIMESTAMP(6),
    j.prune_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY
WHERE j.status = 'STARTED' AND j.worker_id = %s AND j.claims = new.claims
"""
_NEW = "SELECT %s AS id, %s AS claims, %s AS result"


class Limit:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.connection = MySQLdb.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path[1:],
            charset="utf8mb4",
            autocommit=True,
        )
        self.cursor = self.connection.cursor()
        self.cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def send(self, function: str, *args: Any) -> None:
        self.cursor.execute(_INSERT + _ROW, [uuid7().hex, function, json.dumps(args)])

    def send_many(self, function: str, numbers: Iterable[int], *arguments: float) -> None:
        self.connection.begin()
        rows = [(uuid7().hex, function, json.dumps([number, *arguments])) for number in numbers]
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            values = [value for row in some for value in row]
            self.cursor.execute(_INSERT + ", ".join([_ROW] * len(some)), values)
        self.connection.commit()

    def work(self) -> None:
        worker_id = uuid.uuid4().hex
        done: list[tuple[str, int, str]] = []
        while True:
            self.connection.begin()
            if done:
                self._record(worker_id, done)
            jobs = self._claim(worker_id)
            self.connection.commit()
            if not jobs and not done:
                time.sleep(0.02)
            done = [(job_id, claims, run(name, args)) for job_id, claims, name, args in jobs]

    def _claim(self, worker_id: str) -> tuple[tuple[Any, ...], ...]:
        self.cursor.execute(_SELECT, [BATCH])
        jobs: tuple[tuple[Any, ...], ...] = self.cursor.fetchall()
        if jobs:
            self.cursor.execute(_CLAIM, [worker_id, [job[0] for job in jobs]])
        return jobs

    def _record(self, worker_id: str, done: list[tuple[str, int, str]]) -> None:
        sql = _RECORD.format(new=" UNION ALL ".join([_NEW] * len(done)))
        self.cursor.execute(sql, [*(value for job in done for value in job), worker_id])
