"""Changes the jobs that depend on a job, in the transaction that ends it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections, transaction

from .. import log, signals, transitions
from ..db import clock, dialect_for
from ..db.chunks import chunks
from ..db.commits import after_commit
from ..define import registry
from ..define.canvas import opened_errback
from ..define.headers import causing, inherited
from ..define.retention import keep_seconds
from ..define.row_options import RowOptions, parse, read
from ..define.sensitive import secrets_in
from ..enqueue.insert import write
from ..enqueue.notify import Topic, announce
from ..exceptions import DuplicateKey, UpstreamFailed
from ..failure import describe
from ..ids import derived
from ..locking import lock_jobs, need
from ..models import Edge, Job
from ..status import Status
from ..values import Graph, Outcome
from .compile import Plan
from .submit import database_for
from .surroundings import Around, Given
from .upstream import UPSTREAM_FAILED, upstream_message


def lock_dependents(ids: Collection[UUID], using: str) -> None:
    """Lock all jobs that depend on *ids*."""
    lock_jobs(_children(ids, using), using)


class Ended(NamedTuple):
    """A job that has just ended."""

    id: UUID
    name: str
    status: str
    options: RowOptions
    has_dependents: bool
    root_id: UUID | None = None
    error_class: str = ""
    message: str = ""
    traceback: str = ""
    #: None if no attempt ended the job, as when an operator revokes it.
    claims: int | None = None
    queue: str = ""
    #: 0 if it never began.
    attempt: int = 0

    @classmethod
    def of(cls, outcome: Outcome) -> Ended:
        job, failure = outcome.job, outcome.failure
        error = (failure.error_class, failure.message, failure.traceback) if failure else ("",) * 3
        return cls(
            job.id, job.name, str(outcome.status), job.row_options, job.has_dependents, job.root_id,
            *error, job.claims, job.queue, job.retries + 1,
        )  # fmt: skip

    def upstream_message(self) -> str:
        """Return the message of the rows that depend on it, when it did not succeed."""
        return upstream_message(self.id, self.name, self.status, self.error_class, self.message)

    def attributes(self) -> dict[str, Any]:
        """The attributes of a log record about it."""
        return log.about(self.id, self.name, queue=self.queue, attempt=self.attempt)

    @property
    def place(self) -> str:
        """The sort key of the job in the order in which its workflow was defined."""
        return self.options.workflow.place or str(self.id)


def wake_dependents(ended: Sequence[Ended], using: str) -> set[str]:
    """Update the dependents of these jobs, and enqueue errbacks; return queues with new jobs.

    Dependents that wait for no other job become ready. Those that need the success of a job that
    did not succeed fail. Call it in the transaction that ends *ended*, with its last statements, so
    that the rows of the dependents are locked for a short time only.
    """
    lost = [each for each in ended if each.has_dependents and each.status != Status.SUCCESS]
    parents = [each.id for each in ended if each.has_dependents]
    failed = _fail_below(lost, parents, using) if lost else []
    queues = _enqueue_errbacks(_own_errbacks(ended) + body_errbacks(failed), using)
    below = [row for row, _origin in failed]
    return queues | _count_down([each for each in (*ended, *below) if each.has_dependents], using)


def _count_down(parents: Sequence[Ended], using: str) -> set[str]:
    if not parents:
        return set()
    connection = connections[using]
    succeeded = [each.id for each in parents if each.status == Status.SUCCESS]
    with connection.cursor() as cursor:
        ready = dialect_for(connection).count_down(cursor, succeeded, [each.id for each in parents])
    queues = {queue for _id, queue, _options in ready}
    topics = set(queues)
    for job_id, _queue, options in ready:
        if later := parse(options).workflow.later:
            _delay(job_id, later, using)
            topics.add(Topic.TIMED)
    if topics:
        announce(using, topics)
    return queues


def _delay(job_id: UUID, later: Mapping[str, float], using: str) -> None:
    """Start the countdown and the expiry of a job that has become ready and has not begun yet."""
    job = Job.objects.using(using).filter(id=job_id, started_at=None)
    changes = {"expires_at": clock(using, later["expires"])} if "expires" in later else {}
    if later.get("countdown", 0) > 0:
        transitions.delay(job, clock(using, later["countdown"]), **changes)
    elif changes:
        job.update(**changes)


# --- failure ------------------------------------------------------------------------------------


def _fail_below(
    lost: Sequence[Ended], parents: Sequence[UUID], using: str
) -> list[tuple[Ended, Ended]]:
    """Fail the jobs that need the success of *lost* jobs; return each with the job that caused it.

    All dependents of the *parents* are locked too, because they change next.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        edges = dialect_for(connection).below(cursor, [each.id for each in lost])
    below = {child for _parent, child in edges}
    waiting: dict[UUID, Ended] = {}
    # Lock them in any status, because an operator may be about to reopen one.
    for row in lock_jobs(below | _children({*parents, *below}, using), using):
        # A WAITING job without parents waits for a limit.
        if row.pk in below and row.status == Status.WAITING and row.pending_parents > 0:
            waiting[row.pk] = Ended(
                row.pk, row.name, Status.FAILURE.value, read(row.options), row.has_dependents,
                row.root_id, UPSTREAM_FAILED, queue=row.queue,
            )  # fmt: skip
    origins = _origins(lost, edges, waiting)
    failed = [(waiting[job_id], origins[job_id]) for job_id in sorted(origins)]
    _write_failures(failed, using)
    return failed


def _children(ids: Collection[UUID], using: str) -> set[UUID]:
    """Return the jobs that depend on *ids*, each by an edge of its own."""
    children: set[UUID] = set()
    for chunk in chunks(sorted(ids)):
        edges = Edge.objects.using(using).filter(parent_id__in=chunk)
        children.update(edges.values_list("child_id", flat=True))
    return children


def _origins(
    lost: Sequence[Ended], edges: Sequence[tuple[UUID, UUID]], waiting: Collection[UUID]
) -> dict[UUID, Ended]:
    """Return for each job below *lost* jobs the first of these that leads to it.

    Paths lead through *waiting* jobs only. A job below a success has its result, even if an
    operator retried a job above that success.
    """
    children: dict[UUID, list[UUID]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    origins: dict[UUID, Ended] = {}
    for origin in sorted(lost, key=lambda each: each.id):
        reached = [origin.id]
        while reached:
            for child in children.pop(reached.pop(), ()):
                if child in waiting and child not in origins:
                    origins[child] = origin
                    reached.append(child)
    return origins


def _write_failures(failed: Sequence[tuple[Ended, Ended]], using: str) -> None:
    alike: dict[tuple[UUID, float | None], list[UUID]] = {}
    messages: dict[UUID, str] = {}
    for below, origin in failed:
        keep = keep_seconds(registry.find(below.name), Status.FAILURE)
        alike.setdefault((origin.id, keep), []).append(below.id)
        messages[origin.id] = origin.upstream_message()
    for (origin_id, keep), ids in alike.items():
        for chunk in chunks(ids):
            transitions.fail_upstream(
                Job.objects.using(using).filter(id__in=chunk),
                UPSTREAM_FAILED,
                messages[origin_id],
                clock(using),
                None if keep is None else clock(using, keep),
            )
    if signals.job_failure.receivers:
        for below, origin in failed:
            # Once though the transaction may repeat, and no receiver breaks it.
            after_commit(
                using,
                signals.send,
                signals.job_failure,
                below.name,
                about=below.attributes,
                job_id=below.id,
                exception=UpstreamFailed(messages[origin.id]),
                traceback="",
            )


# --- errbacks -----------------------------------------------------------------------------------


def _own_errbacks(ended: Sequence[Ended]) -> list[tuple[Any, Ended]]:
    failed = [each for each in ended if each.status == Status.FAILURE]
    return [
        (errback, each) for each in failed for errback, _since in each.options.workflow.errbacks
    ]


def body_errbacks(failed: Sequence[tuple[Ended, Ended]]) -> list[tuple[Any, Ended]]:
    """Return the errbacks of chords whose header failed.

    Each is returned once, though every job of a body has it.
    """
    found: dict[tuple[str, str], tuple[Any, Ended]] = {}
    for below, origin in failed:
        for errback, since in below.options.workflow.errbacks:
            if since is not None and since <= origin.place < below.place:
                found.setdefault((since, json.dumps(errback, sort_keys=True)), (errback, origin))
    return list(found.values())


def _enqueue_errbacks(errbacks: Sequence[tuple[Any, Ended]], using: str) -> set[str]:
    queues: set[str] = set()
    alike: Counter[str] = Counter()
    for form, failed in errbacks:
        try:
            cause = _headers_of(failed.id, using)
            plan = Plan(failed.root_id or failed.id, failed.id, headers=inherited(cause))
            plan.add(opened_errback(form), Given([error_argument(failed)]), Around())
            where = database_for([node.row for node in plan.nodes])
            if where != using and plan.nodes and not plan.named and failed.claims is not None:
                key = json.dumps([str(failed.id), failed.claims, form], sort_keys=True)
                alike[key] += 1
                plan.name_job(0, derived(failed.id, f"{alike[key]} {key}"))
            graph = plan.graph()
            need(where, keys=graph.unique_keys())
            _write_once(graph, plan.named, where, using, cause)
            queues |= {row.queue for row in graph.rows if row.status == Status.PENDING}
        except (DatabaseError, InterfaceError):
            raise
        except Exception as error:  # a name that is not registered, arguments that do not fit
            log.errback_failed(form, failed.attributes(), describe(error, secrets_in(form)))
    return queues


def _headers_of(job_id: UUID, using: str) -> dict[str, Any]:
    """Return the headers of a job that has errbacks, if these need them.

    The functions of ``HEADERS`` know nothing of the job, because they would run in the worker.
    """
    if not causing():
        return {}
    headers = Job.objects.using(using).values_list("headers", flat=True).get(id=job_id)
    return headers if isinstance(headers, dict) else {}


def _write_once(
    graph: Graph, names: Sequence[UUID], where: str, using: str, cause: Mapping[str, Any]
) -> None:
    """Write an errback on the database *where*, unless it is there already.

    If *where* is not *using*, the database of the failed job, the errback is committed before the
    failure is. If that transaction is repeated, the errback is found by *names*.
    """
    try:
        with transaction.atomic(where):
            write(graph.rows, where, graph.edges, named=names, limited=False, cause=cause)
    except DuplicateKey:
        if where == using or not Job.objects.using(where).filter(id__in=names).exists():
            raise


def error_argument(failed: Ended) -> dict[str, str]:
    """Return the argument of errbacks: a dict that describes the failure."""
    return {
        "id": str(failed.id),
        "name": failed.name,
        "error_class": failed.error_class,
        "message": failed.message,
        "traceback": failed.traceback,
    }
