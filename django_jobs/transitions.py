"""Every change of a job's status, by name: which statuses it leads from, and to which.

::

                 ┌── wait_for_limit ───────────────────────────────┐
                 v                                                 │
    enqueue ─> WAITING ── parents_ended, wake ─┐                   │
       │         │                             v                   │
       ├─────────│──────────────────────────> PENDING ──claim──> STARTED ──record──> SUCCESS
       │         │ parents_ended               ^  ^                │ │ │             FAILURE
       │         v                             │  └─record,release─┘ │ │             REVOKED
       └─────> SCHEDULED ──────── promote ─────┤                     │ │
                 ^                             │                     │ │
                 │               RETRY ─promote┘                     │ │
                 │                 ^                                 │ │
                 │                 └──────── record ─────────────────┘ │
                 └────────────────────────── record ───────────────────┘

    retry        SUCCESS, FAILURE, REVOKED ──> PENDING     wait_again   not begun ──> WAITING
    reopen       FAILURE ──> WAITING                       revoke       live ──> REVOKED
    run_now      SCHEDULED, RETRY ──> PENDING              take_over    not begun ──> as enqueue
    delay        PENDING ──> SCHEDULED                     fail_upstream  WAITING ──> FAILURE
    reassert     PENDING ──> STARTED                    resume       WAITING ──> PENDING

A job that a workflow replaces is recorded with the status with which its last job begins.

:data:`TRANSITIONS` is the table. The functions below make its changes by the ORM. Each changes only
the given rows that have one of its source statuses, and returns how many it changed. The dialects
make the other changes in SQL, with the statuses of the table.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

from django.db.models import F
from django.db.models.expressions import Combinable
from django.db.models.functions import Left
from django.db.models.lookups import In

from .status import ENDED, QUEUED, TIMED, Status

if TYPE_CHECKING:
    from .models.job import JobQuerySet

#: SQL of the database's clock, or a moment.
Moment: TypeAlias = Combinable | datetime.datetime


class Transition(NamedTuple):
    """A change of status; an enqueue has no *sources*."""

    sources: tuple[Status, ...]
    targets: tuple[Status, ...]

    @property
    def source(self) -> str:
        """SQL of the only status that it leads from."""
        (source,) = self.sources
        return f"'{source.value}'"

    @property
    def target(self) -> str:
        """SQL of the only status that it leads to."""
        (target,) = self.targets
        return f"'{target.value}'"


_NEW = (Status.WAITING, Status.SCHEDULED, Status.PENDING)
_ENDED = tuple(status for status in Status if status in ENDED)
_TIMED = tuple(status for status in Status if status in TIMED)
_PENDING, _STARTED, _WAITING = (Status.PENDING,), (Status.STARTED,), (Status.WAITING,)

TRANSITIONS: Mapping[str, Transition] = {
    # A call becomes a row.
    "enqueue": Transition((), _NEW),
    # The last of its parents has ended. It becomes SCHEDULED if its time is in the future.
    "parents_ended": Transition(_WAITING, (Status.PENDING, Status.SCHEDULED)),
    # The countdown begins when the job becomes ready.
    "delay": Transition((Status.PENDING, Status.SCHEDULED), (Status.SCHEDULED,)),
    # A parent whose success it needs has ended without success.
    "fail_upstream": Transition(_WAITING, (Status.FAILURE,)),
    # Its time has come.
    "promote": Transition(_TIMED, _PENDING),
    # A worker takes it.
    "claim": Transition(_PENDING, _STARTED),
    # The worker that has it takes it again: a crash of the database lost the claim.
    "reassert": Transition(_PENDING, _STARTED),
    # Its limit has no free permit.
    "wait_for_limit": Transition(_STARTED, _WAITING),
    # Its limit has a free permit, or the job has no such limit any more.
    "wake": Transition(_WAITING, _PENDING),
    # An event, the decision of a person or the timeout has ended the wait of its step.
    "resume": Transition(_WAITING, _PENDING),
    # Its attempt succeeded. Most do, so they have a statement of their own.
    "succeed": Transition(_STARTED, (Status.SUCCESS,)),
    # Its attempt ended.
    "record": Transition(_STARTED, (*_ENDED, *_TIMED, *_PENDING, *_WAITING)),
    # Its outcome cannot be recorded together with the changes of its dependents.
    "refuse": Transition(_STARTED, (Status.FAILURE,)),
    # No worker runs it, though its row says so.
    "release": Transition(_STARTED, _PENDING),
    # A person or code ends it, runs it again after its end, or runs it before its time.
    "revoke": Transition((*QUEUED, *_STARTED), (Status.REVOKED,)),
    "retry": Transition(_ENDED, _PENDING),
    "run_now": Transition(_TIMED, _PENDING),
    # A parent runs again: a job that has not begun waits for it.
    "wait_again": Transition(QUEUED, _WAITING),
    # A parent runs again: a job that failed only because of it is live again.
    "reopen": Transition((Status.FAILURE,), _WAITING),
    # Another call has its unique key, with unique="replace".
    "take_over": Transition(QUEUED, _NEW),
}

CLAIM = TRANSITIONS["claim"]
SUCCEED = TRANSITIONS["succeed"]
RECORD = TRANSITIONS["record"]
PARENTS_ENDED = TRANSITIONS["parents_ended"]
RESUME = TRANSITIONS["resume"]
#: SQL of the two targets of PARENTS_ENDED; NOT_YET is for a time in the future.
READY, NOT_YET = (f"'{status.value}'" for status in PARENTS_ENDED.targets)


def delay(jobs: JobQuerySet, run_at: Moment, **columns: Any) -> int:
    """Let ready jobs wait until *run_at*; other *columns* change with it."""
    return _change("delay", jobs, run_at=run_at, **columns)


def fail_upstream(
    jobs: JobQuerySet, error_class: str, message: str, now: Moment, prune_at: Moment | None
) -> int:
    """Fail jobs that need the success of a job that did not succeed."""
    return _change(
        "fail_upstream",
        jobs,
        error_class=error_class,
        error_message=message,
        waiting_for=None,
        ended_at=now,
        prune_at=prune_at,
    )


def promote(jobs: JobQuerySet, now: Moment) -> int:
    """Make jobs ready whose time has come."""
    return _change("promote", jobs, ready_at=now)


def reassert(jobs: JobQuerySet, worker_id: UUID, now: Moment) -> int:
    """Claim jobs again, with the number of the claim that a crash of the database lost."""
    return _change("reassert", jobs, claims=F("claims") + 1, worker_id=worker_id, started_at=now)


def wait_for_limit(jobs: JobQuerySet, key: str) -> int:
    """Put claimed jobs in line for the limit *key*."""
    return _change("wait_for_limit", jobs, waiting_for=key, started_at=None, worker_id=None)


def wake(jobs: JobQuerySet, now: Moment) -> int:
    """Make jobs ready that waited for a limit."""
    return _change("wake", jobs, ready_at=now)


def resume(jobs: JobQuerySet, now: Moment) -> int:
    """Make jobs ready whose step waited for something that has come."""
    return _change("resume", jobs, ready_at=now)


def refuse(jobs: JobQuerySet, error_class: str, message: str, now: Moment) -> int:
    """Fail running jobs whose outcome cannot be recorded."""
    return _change("refuse", jobs, error_class=error_class, error_message=message, ended_at=now)


def release(jobs: JobQuerySet) -> int:
    """Make jobs ready that no worker runs, though their rows say so."""
    return _change("release", jobs, started_at=None)


def revoke(jobs: JobQuerySet, reason: str, now: Moment, prune_at: Moment | None) -> int:
    """Revoke jobs, also running ones."""
    return _change(
        "revoke", jobs, ended_at=now, prune_at=prune_at, error_message=reason, waiting_for=None
    )


def retry(jobs: JobQuerySet, now: Moment) -> int:
    """Make ended jobs ready again, as if they had never run."""
    return _change(
        "retry",
        jobs,
        ready_at=now,
        run_at=None,
        worker_id=None,
        retries=0,
        crashes=0,
        deferrals=0,
        started_at=None,
        ended_at=None,
        prune_at=None,
        result=None,
        progress=None,
        error_class="",
        error_message="",
        expires_at=None,
    )


def run_now(jobs: JobQuerySet, now: Moment) -> int:
    """Make jobs ready before their time."""
    return _change("run_now", jobs, ready_at=now, run_at=None, worker_id=None)


def wait_again(jobs: JobQuerySet) -> int:
    """Let jobs that have not begun wait for a parent; they leave the line of a limit."""
    return _change("wait_again", jobs, waiting_for=None, ready_at=None)


def reopen(jobs: JobQuerySet) -> int:
    """Let jobs that failed with a parent wait for it again."""
    return _change("reopen", jobs, error_class="", error_message="", ended_at=None, prune_at=None)


def take_over(jobs: JobQuerySet, status: str, **columns: Any) -> int:
    """Turn jobs that have not begun into another call with this *status* and these *columns*."""
    return _change(
        "take_over",
        jobs,
        status,
        waiting_for=None,
        retries=0,
        crashes=0,
        deferrals=0,
        error_class="",
        error_message="",
        **columns,
    )


# No index has this expression. With the bare column a planner may read all jobs of that status, and
# MariaDB may lock them, although the ids name a few.
_UNINDEXED = Left("status", 9)


def _change(name: str, jobs: JobQuerySet, target: str | None = None, **columns: Any) -> int:
    sources, targets = TRANSITIONS[name]
    if target is None:
        (target,) = targets
    elif target not in targets:
        raise ValueError(f"{name} leads to {', '.join(targets)}, not to {target}.")
    return jobs.filter(In(_UNINDEXED, sources)).update(status=target, **columns)
