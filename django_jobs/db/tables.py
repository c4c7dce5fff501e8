"""The tables and columns of jobs, as raw SQL names them."""

from __future__ import annotations

import datetime
from typing import Any
from uuid import UUID

from ..values import CLAIMED_TYPES, NEW_TYPES

JOBS = "django_jobs_job"
WORKERS = "django_jobs_worker"
QUEUES = "django_jobs_queue"
UNIQUE_KEYS = "django_jobs_uniquekey"
LIMIT_LOCKS = "django_jobs_limitlock"
COMMANDS = "django_jobs_command"
EDGES = "django_jobs_edge"
STEPS = "django_jobs_step"
#: The other tables with rows of a job, and the columns that name it.
OF_JOBS = (
    ("django_jobs_attempt", "job_id"),
    ("django_jobs_attemptlog", "job_id"),
    (EDGES, "parent_id"),
    (EDGES, "child_id"),
)
#: Tables with rows of few jobs, and the column that names the job. Whether they have any rows is
#: asked first, because to look for those of a thousand jobs takes as long as to delete the jobs.
OF_FEW_JOBS = (
    (STEPS, "job_id"),
    ("django_jobs_eventwait", "job_id"),
    ("django_jobs_approval", "job_id"),
)

#: SQL condition of an ended job whose result another job may still take: that one has not ended, or
#: it failed and an operator may retry it. With an OFFSET no planner first reads every such job of
#: the table, to compare each ended job with all of them.
NEEDED = f"""
({JOBS}.has_dependents AND EXISTS (
    SELECT 1 FROM {EDGES} e JOIN {JOBS} taker ON taker.id = e.child_id
    WHERE e.parent_id = {JOBS}.id AND taker.status NOT IN ('SUCCESS', 'REVOKED')
    LIMIT 1 OFFSET 0))
"""

# A call gives a time as a moment, or in seconds from now.
SECONDS_OF = {"eta": "countdown", "expires_at": "expires_in"}
#: The fields of a new job that become columns.
NEW_FIELDS = tuple(name for name in NEW_TYPES if name not in SECONDS_OF.values())
#: The columns that an INSERT writes: those of :data:`NEW_FIELDS`, and two times.
NEW_COLUMNS = (
    *("run_at" if name == "eta" else name for name in NEW_FIELDS),
    "enqueued_at",
    "ready_at",
)

#: The columns of a claim that hold ids, and those that hold times.
CLAIMED_IDS, CLAIMED_TIMES = (
    tuple(name for name, kind in CLAIMED_TYPES.items() if kind is wanted)
    for wanted in (UUID, datetime.datetime)
)

#: The columns of a step's row that get values; its two times are ages, and the others are NULL.
STEP_COLUMNS = (
    "claims", "key", "position", "kind", "function", "state", "result", "data", "tries",
    "error_class", "error_message", "traceback",
)  # fmt: skip
#: The columns that a later run of a job reads; behind them, whether ``wake_at`` is over.
LOADED_STEP = (
    "key", "position", "kind", "function", "state", "result", "data", "tries", "wake_at",
    "error_class", "error_message", "traceback",
)  # fmt: skip


def as_uuid(value: Any) -> UUID:
    """Return an id as raw SQL gives it."""
    return value if isinstance(value, UUID) else UUID(value)
