"""Runs a job or a workflow in this process: the steps of a worker, without rows."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils import timezone

from .. import log
from ..conf import get_settings
from ..define.canvas import opened_errback
from ..define.envelopes import opened_text
from ..define.headers import inherited
from ..define.row_options import parse, taking_one_more
from ..define.sensitive import secrets_in
from ..enqueue.instrumented import NO_CAUSE, sent
from ..exceptions import JobFailed, JobRevoked, Suspended
from ..failure import describe
from ..models import Edge, Job
from ..run.execute import Environment, execute
from ..serialization import loads
from ..status import ENDED, Status
from ..steps.children import ChildrenWait
from ..steps.journal import Child
from ..steps.memory import MemoryStore
from ..values import Claimed, Graph, NewEdge, NewJob, Outcome
from ..workflows.compile import Plan
from ..workflows.completion import Ended, body_errbacks, error_argument
from ..workflows.inputs import Taken, give, open_arguments
from ..workflows.surroundings import Around, Given
from ..workflows.upstream import UPSTREAM_FAILED
from .eager_result import EagerResult


def run(row: NewJob) -> EagerResult[Any]:
    """Run *row*'s job to its end, with its retries, but without their waits.

    Arguments and result pass through JSON, as on the way to a worker. A job that snoozes does not
    run again: its result stays SCHEDULED. Its replacement and its errbacks run here, too.
    """
    return run_graph(Graph([row], []))[row.id]


def run_graph(graph: Graph, cause: Mapping[str, Any] = NO_CAUSE) -> dict[UUID, EagerResult[Any]]:
    """Run a workflow to its end, one job after the other; return the results by id.

    *cause* are the headers of the job whose end enqueues the workflow.
    """
    here = _Run()
    here.run(Graph(list(sent(graph.rows, cause)), graph.edges))
    return here.done


class _Run:
    """Runs one workflow in this process."""

    def __init__(self) -> None:
        self.done: dict[UUID, EagerResult[Any]] = {}
        self._texts: dict[UUID, str | None] = {}
        self._into: dict[UUID, list[NewEdge]] = {}
        self._rows: dict[UUID, NewJob] = {}
        #: The jobs whose end is that of each job: itself, or a job above it that failed.
        self._origins: dict[UUID, Ended] = {}
        self._below: list[tuple[Ended, Ended]] = []
        using = get_settings().database
        self._steps = MemoryStore(using)
        self._environment = Environment(
            worker_name="eager", using=using, steps=self._steps, is_eager=True
        )

    def run(self, graph: Graph) -> None:
        self._rows |= {row.id: row for row in graph.rows}
        for edge in graph.edges:
            self._into.setdefault(edge.child, []).append(edge)
        for row in graph.rows:
            self._run_row(self._rows[row.id])

    def _run_row(self, row: NewJob) -> None:
        edges = sorted(self._into.get(row.id, ()), key=lambda edge: edge.position)
        lost = [edge.parent for edge in edges if edge.kind == Edge.Kind.RESULT
                and self.done[edge.parent].status != Status.SUCCESS]  # fmt: skip
        if lost:
            self._fail(row, self._origins[lost[0]])
            return
        job = _claimed(row, timezone.now())
        open_arguments(job)
        takes = job.row_options.workflow.taken_as
        if takes is not None:
            give(job, takes, [Taken(edge.parent, str(self.done[edge.parent].status),
                                    self._texts[edge.parent])
                              for edge in edges if edge.position >= 0])  # fmt: skip
        self._run_job(row, job)

    def _run_job(self, row: NewJob, job: Claimed) -> None:
        enqueued = timezone.now()
        while True:
            began = timezone.now()
            outcome = execute(job, self._environment)
            self._steps.end(outcome)
            if not self._goes_on(outcome):
                break
            job.retries = outcome.retries
            job.claims += 1
            if isinstance(outcome.value, Suspended):
                job.expires_at = None  # it has begun
            else:
                _expire(job, outcome)
        for graph in outcome.added:
            self._add_member(row, graph)
        if outcome.replacement is not None:
            self._into.pop(row.id, None)
            self._continue_as(row, outcome.replacement)
            return
        self._texts[row.id] = outcome.result
        self.done[row.id] = _result(row, outcome, enqueued, began)
        self._origins[row.id] = ended = Ended.of(outcome)
        if outcome.status == Status.FAILURE:
            for errback, _since in ended.options.workflow.errbacks:
                self._run_errback(errback, ended)

    def _goes_on(self, outcome: Outcome) -> bool:
        """Return whether the job runs again at once; run the jobs that it waits for first."""
        if not isinstance(outcome.value, Suspended):
            return outcome.status == Status.RETRY
        wait = outcome.value.suspension
        if isinstance(wait, ChildrenWait):
            self.run(wait.graph)
            for row in wait.graph.rows:
                result = self.done[row.id]
                value = functools.partial(loads, opened_text(self._texts.get(row.id) or "null"))
                error = functools.partial(_error_of, result)
                self._steps.ended[row.id] = Child(str(result.status), value, error)
            return True
        return outcome.status in (Status.SCHEDULED, Status.PENDING)

    def _continue_as(self, row: NewJob, graph: Graph) -> None:
        output = graph.output_row()
        kept = output._replace(
            root_id=row.root_id, parent_id=row.parent_id, group_id=row.group_id,
            has_dependents=row.has_dependents or output.has_dependents,
        )  # fmt: skip
        self.run(Graph([kept if each is output else each for each in graph.rows], graph.edges))

    def _fail(self, row: NewJob, origin: Ended) -> None:
        """End a job that did not run, because *origin*, which it depends on, failed."""
        self._origins[row.id] = origin
        self.done[row.id] = _unrun(row, origin.upstream_message(), self.done[origin.id])
        options = parse(row.options)
        below = Ended(
            row.id, row.name, Status.FAILURE.value, options, row.has_dependents, queue=row.queue
        )
        known = body_errbacks(self._below)
        self._below.append((below, origin))
        for errback, failed in body_errbacks(self._below)[len(known) :]:
            self._run_errback(errback, failed)

    def _run_errback(self, form: Any, failed: Ended) -> None:
        try:
            cause = loads(self._rows[failed.id].headers or "{}")
            plan = Plan(failed.root_id or failed.id, failed.id, headers=inherited(cause))
            plan.add(opened_errback(form), Given([error_argument(failed)]), Around())
        except Exception as error:  # as in a worker, it does not change the job's own outcome
            log.errback_failed(form, failed.attributes(), describe(error, secrets_in(form)))
            return
        run_graph(plan.graph(), cause)

    def _add_member(self, row: NewJob, graph: Graph) -> None:
        for child, edges in self._into.items():
            known = self._rows.get(child)
            takes = parse(known.options).workflow.taken_as if known else None
            if takes is not None and any(edge.parent == row.id for edge in edges):
                position = max(edge.position for edge in edges) + 1
                member = graph.output_row().id
                edges.append(NewEdge(member, child, Edge.Kind.RESULT.value, position))
                if known and known.options and isinstance(takes, list):
                    longer = json.dumps(taking_one_more(loads(known.options)))
                    self._rows[child] = known._replace(options=longer)
        # The new member may add members itself.
        self.run(graph)


def _error_of(result: EagerResult[Any]) -> Exception:
    error = result.error
    return error if isinstance(error, Exception) else JobRevoked(f"{result.name} {result.id}")


def _expire(job: Claimed, outcome: Outcome) -> None:
    """Mark the job as expired when its retry would begin after ``expires_at``."""
    now = timezone.now()
    if outcome.expires is not None:
        moment, within = outcome.expires
        job.expires_at = moment or now + datetime.timedelta(seconds=within or 0)
    starts = outcome.run_at or now + datetime.timedelta(seconds=outcome.delay or 0)
    job.expired = job.expires_at is not None and job.expires_at <= starts


def _claimed(row: NewJob, now: datetime.datetime) -> Claimed:
    starts = row.eta or now + datetime.timedelta(seconds=row.countdown or 0)
    expires = row.expires_at
    if row.expires_in is not None:
        expires = now + datetime.timedelta(seconds=row.expires_in)
    return Claimed(
        row.id, row.name, row.args, row.kwargs, 1, 0, 0, 0, row.queue, row.rank, row.headers,
        row.options, row.root_id, row.parent_id, row.group_id, row.has_dependents,
        row.eta, expires, expires is not None and expires <= starts, 0.0,
    )  # fmt: skip


def _unrun(row: NewJob, message: str, origin: EagerResult[Any]) -> EagerResult[Any]:
    """Return the result of a job that did not run, because one that it depends on failed."""
    now = timezone.now()
    job = _row(row, status=Status.FAILURE, enqueued_at=now, ended_at=now,
               error_class=UPSTREAM_FAILED, error_message=message)  # fmt: skip
    error = origin.error or JobRevoked(f"{origin.name} {origin.id}: {origin.job.error_message}")
    result: EagerResult[Any] = EagerResult(job, error, "")
    result.origin = origin
    return result


def _result(
    row: NewJob, outcome: Outcome, enqueued: datetime.datetime, began: datetime.datetime
) -> EagerResult[Any]:
    failure = outcome.failure
    job = _row(
        row,
        status=outcome.status,
        enqueued_at=enqueued,
        started_at=began,
        ended_at=timezone.now() if outcome.status in ENDED else None,
        claims=outcome.job.claims,
        retries=outcome.retries,
        result=None if outcome.result is None else loads(outcome.result),
        error_class=failure.error_class if failure else "",
        error_message=failure.message if failure else "",
    )
    error = outcome.value if outcome.status == Status.FAILURE else None
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        # As from a row: a future of asyncio cannot take it.
        failed = JobFailed(job.error_class, job.error_message, failure.traceback if failure else "")
        failed.__cause__, error = error, failed
    return EagerResult(job, error, failure.traceback if failure else "", outcome.log)


def _row(row: NewJob, **columns: Any) -> Job:
    """Return the job's row, which is never saved."""
    same = ("id", "name", "queue", "rank", "root_id", "parent_id", "group_id")
    columns |= {name: getattr(row, name) for name in same}
    return Job(args=loads(row.args), kwargs=loads(row.kwargs), **columns)
