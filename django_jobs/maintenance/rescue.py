"""Runs the jobs of dead workers again, or ends them as FAILURE ``WorkerLost``."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, QuerySet, TextField

from .. import log, transitions
from ..db import clock, without_deadlock
from ..enqueue.notify import announce
from ..limits import concurrency
from ..locking import in_order
from ..metrics import collector
from ..models import Job, Worker
from ..run.claim import may_run_again
from ..run.execute import Environment, execute_crash
from ..run.hooks import tell
from ..run.reassert import reassert
from ..run.record_apart import record_apart
from ..run.release import release
from ..status import Status
from ..values import CLAIMED_TYPES, Claimed, Outcome
from ..workflows.inputs import add_results

BATCH = 500

_TEXTS = ("args", "kwargs", "headers", "options")


def run_once(using: str) -> int:
    """Rescue the jobs of every worker whose lease is over, by the database's clock; count them.

    It is unknown which jobs of a lost worker had begun, so each counts a crash. A job with a crash
    runs in a process of its own afterwards. A worker that was told to stop and did not end in time
    was killed: its jobs go back without a crash, except those with ``acks_late=False``. A worker
    that stopped had recorded all its jobs. If it still has one, the COMMIT of a claim took effect
    after the stop, and the job goes back without a crash.
    """
    expired = Worker.objects.using(using).filter(
        lost_at=None, stopped_at=None, lease_until__lt=clock(using)
    )
    expired.update(lost_at=clock(using))
    # Only lost_at counts here, because a lease that expires now may still be renewed.
    live = Worker.objects.filter(id=OuterRef("worker_id"), lost_at=None, stopped_at=None)
    stranded = Job.objects.using(using).running().filter(~Exists(live)).order_by("worker_id")
    rescued = 0
    ids = dict.fromkeys(stranded.values_list("worker_id", flat=True)[:BATCH])
    names = _names_of(ids, using) if ids else {}
    for worker_id in ids:
        ended: list[Outcome] = []
        rescue = functools.partial(_rescue_some, worker_id, stranded, using, ended)
        rescued += without_deadlock(using, functools.partial(in_order, using, rescue))
        for outcome in ended:
            _tell(outcome, names.get(worker_id, ""))
    return rescued


def _names_of(ids: Collection[UUID | None], using: str) -> dict[UUID | None, str]:
    rows = Worker.objects.using(using).filter(id__in=[each for each in ids if each])
    return dict(rows.values_list("id", "name"))


def _tell(outcome: Outcome, worker: str) -> None:
    """Tell of the end, in records that name the job and the worker that is dead."""
    with log.working_as(worker, outcome.job):
        tell(outcome)


def _rescue_some(
    worker_id: UUID | None, stranded: QuerySet[Job], using: str, ended: list[Outcome]
) -> int:
    """Rescue jobs of one worker, unless another process is doing it; put outcomes into *ended*."""
    ended.clear()  # the transaction may repeat
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    rows = Worker.objects.using(using).filter(id__in=[worker_id] if worker_id else [])
    locked = rows.select_for_update(skip_locked=skip_locked).only("lost_at", "stopping_at").first()
    if locked is None and rows.exists():
        return 0
    jobs = list(_with_texts(stranded.filter(worker_id=worker_id))[:BATCH])
    return _rescue(worker_id, jobs, using, locked, ended)


def clean_up_after(
    worker_id: UUID,
    running: Mapping[tuple[UUID, int], BaseException | None],
    using: str,
    *,
    cold: bool = False,
    failed: bool = False,
) -> None:
    """Record or release the jobs of a worker process that is known to be dead.

    *running* has the id and the number of claims of each job whose body ran, with the reason why
    the process was killed, or None after a crash. Jobs that had not begun go back without a crash.
    After a *cold* stop, which an operator wanted, running jobs go back too, except those with
    ``acks_late=False``. *failed* marks the worker as lost, not stopped, because it ended by itself.
    """
    # A crash of the database may have lost the claims of jobs that ran.
    reassert(worker_id, running, using)
    with no_more_claims(worker_id, using) as rows:
        # If this process dies too, the rescue finds the jobs that are left.
        rows.filter(lost_at=None, stopped_at=None).update(lost_at=clock(using))
    name = log.worker_name.get()
    environment = Environment(using=using)
    jobs = _with_texts(Job.objects.using(using).filter(worker_id=worker_id, status=Status.STARTED))
    back, outcomes = [], []
    for claimed in _all_claimed(jobs, using):
        key = (claimed.id, claimed.claims)
        if key not in running or (cold and may_run_again(claimed.name)):
            back.append(claimed)
        else:
            outcomes.append(execute_crash(claimed, running[key], environment))
    # Hooks may take long, so they come last. They come even if a statement after the record fails:
    # the next call finds these jobs ended.
    with contextlib.ExitStack() as hooks:
        if outcomes:
            counted = record_apart(worker_id, outcomes, using)
            for outcome in reversed(counted):
                hooks.callback(_tell, outcome, name)
            collector.rescued(counted, using)
            announce(using, {o.job.queue for o in outcomes if o.status == Status.PENDING})
        release(worker_id, back, using)
        end = {} if failed else {"stopped_at": clock(using), "lost_at": None}
        Worker.objects.using(using).filter(id=worker_id, stopped_at=None).update(
            **end, lease_until=clock(using), busy=0
        )


@contextlib.contextmanager
def no_more_claims(worker_id: UUID, using: str) -> Iterator[QuerySet[Worker]]:
    """Lock the row of the worker, so that the caller can mark it and it claims nothing more.

    A claim locks the row until its COMMIT has taken effect. So all jobs that the worker has claimed
    are visible under this lock, and a later claim sees the mark.
    """
    rows = Worker.objects.using(using).filter(id=worker_id)
    with transaction.atomic(using):
        list(rows.select_for_update().values_list("id"))
        yield rows


def _rescue(
    worker_id: UUID | None,
    jobs: Sequence[Job],
    using: str,
    worker: Worker | None,
    ended: list[Outcome],
) -> int:
    if worker_id is None:
        # No claim writes such a row, so a person edited it.
        rows = Job.objects.using(using).filter(id__in=[job.pk for job in jobs], worker_id=None)
        given_back = transitions.release(rows)
        announce(using, {job.queue for job in jobs})
        return given_back
    environment = Environment(using=using)
    back, outcomes = [], []
    for claimed in _all_claimed(jobs, using):
        if _is_blameless(claimed, worker):
            back.append(claimed)
        else:
            outcomes.append(execute_crash(claimed, None, environment))
    release(worker_id, back, using)
    counted = record_apart(worker_id, outcomes, using)
    ended += counted
    collector.rescued(counted, using)
    announce(using, {o.job.queue for o in counted if o.status == Status.PENDING})
    return len(back) + len(counted)


def _is_blameless(claimed: Claimed, worker: Worker | None) -> bool:
    """Return whether a job goes back without a crash from a worker that is gone."""
    if worker is None:
        return False
    stopped = worker.lost_at is None
    return stopped or (worker.stopping_at is not None and may_run_again(claimed.name))


def _all_claimed(jobs: Iterable[Job], using: str) -> list[Claimed]:
    claimed = [_claimed(job) for job in jobs]
    if claimed:
        add_results(claimed, using)
        concurrency.recall(claimed, using)
    return claimed


def _with_texts(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Read the JSON columns as texts, so that a text that is no JSON stops no rescue."""
    texts = {f"{name}_text": ExpressionWrapper(F(name), TextField()) for name in _TEXTS}
    return jobs.defer(*_TEXTS).annotate(**texts)


def _claimed(job: Job) -> Claimed:
    names = (f"{name}_text" if name in _TEXTS else name for name in CLAIMED_TYPES)
    return Claimed(*(*(getattr(job, name) for name in names), False, 0.0))
