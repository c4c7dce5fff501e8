import json
import sqlite3
import time
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django_jobs.ids import uuid7

from . import BATCH, run

_INSERT = """
INSERT INTO django_jobs_job (id, name, queue, rank, status, args, kwargs, enqueued_at, ready_at)
VALUES (?, ?, 'default', 0, 'PENDING', ?, '{}', datetime('now'), datetime('now'))
"""
_RECORD = """
UPDATE django_jobs_job SET status = 'SUCCESS', result = ?, ended_at = datetime('now'),
    prune_at = datetime('now', '+1 day')
WHERE id = ? AND status = 'STARTED' AND worker_id = ? AND claims = ?
"""
_CLAIM = """
UPDATE django_jobs_job SET status = 'STARTED', claims = claims + 1, worker_id = ?,
    started_at = datetime('now')
WHERE id IN (SELECT id FROM django_jobs_job WHERE status = 'PENDING' AND queue = 'default'
    ORDER BY rank, id LIMIT ?)
RETURNING id, claims, name, args
"""


class Limit:
    def __init__(self, url: str) -> None:
        path = urlsplit(url).path[1:]
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=20)
        self.connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")

    def send(self, function: str, *args: Any) -> None:
        self.connection.execute(_INSERT, [uuid7().hex, function, json.dumps(args)])

    def send_many(self, function: str, numbers: Iterable[int], *arguments: float) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        rows = ((uuid7().hex, function, json.dumps([number, *arguments])) for number in numbers)
        self.connection.executemany(_INSERT, rows)
        self.connection.execute("COMMIT")

    def work(self) -> None:
        worker_id = uuid.uuid4().hex
        done: list[tuple[str, str, str, int]] = []
        version = None
        while True:
            seen = self.connection.execute("PRAGMA data_version").fetchone()
            if not done and seen == version:
                time.sleep(0.002)
                continue
            version = seen
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.executemany(_RECORD, done)
            jobs = self.connection.execute(_CLAIM, [worker_id, BATCH]).fetchall()
            self.connection.execute("COMMIT")
            done = [(run(name, args), job, worker_id, claims) for job, claims, name, args in jobs]
