"""Log lines about fair queues."""

from __future__ import annotations

import logging

_worker = logging.getLogger("django_jobs.worker")
# The queues of which this process has warned. Threads share it without a lock.
_warned: set[str] = set()


def weight_ignored(queue: str, problem: str) -> None:
    """Log once for each queue that ``WEIGHTS`` gave no weight to a key, so that it has 1."""
    if queue not in _warned:
        _warned.add(queue)
        _worker.error("weight ignored queue=%s: %s The key has weight 1.", queue, problem)
