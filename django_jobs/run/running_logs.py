"""Saves what running jobs with ``keep_log`` have logged so far: a kill then loses little of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connections, transaction

from ..db import clock, without_deadlock
from ..define.context import JobContext
from ..models import AttemptLog, Job
from ..status import Status
from ..values import Claimed, KeptLines

if TYPE_CHECKING:
    from .kept_log import KeptLog

#: The lines of an attempt are not saved before it has run for so many seconds.
FIRST_SECONDS = 0.5


def save_logs(worker_id: UUID, contexts: Sequence[JobContext], using: str) -> None:
    """Write what these running jobs of the worker have logged since the last call."""
    for context in contexts:
        job, log = context.claimed, context.kept_log
        if job is None or log is None or not log.has_news:
            continue
        if time.monotonic() >= log.began + FIRST_SECONDS:
            save = functools.partial(_save, worker_id, job, log, using)
            without_deadlock(using, save)


def _save(worker_id: UUID, job: Claimed, log: KeptLog, using: str) -> None:
    with transaction.atomic(using):
        # Locked until the commit: the record of the end deletes what this writes.
        ours = Job.objects.using(using).filter(
            id=job.id, status=Status.STARTED, worker_id=worker_id, claims=job.claims
        )
        # The caller waits for no lock. It comes again while the job runs.
        skip_locked = connections[using].features.has_select_for_update_skip_locked
        if list(ours.select_for_update(skip_locked=skip_locked).values_list("id")):
            log.save(functools.partial(_write, worker_id, job, log.began, using))


def _write(worker_id: UUID, job: Claimed, began: float, using: str, kept: KeptLines) -> None:
    rows = AttemptLog.objects.using(using).filter(job_id=job.id, claims=job.claims)
    if rows.update(log_lines=kept.lines, left_out=kept.left_out):
        return
    rows.create(
        job_id=job.id,
        attempt=job.retries + 1,
        claims=job.claims,
        status=Status.STARTED,
        worker_id=worker_id,
        started_at=clock(using, began - time.monotonic()),
        log_lines=kept.lines,
        left_out=kept.left_out,
    )
