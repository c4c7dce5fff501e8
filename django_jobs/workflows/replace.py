"""Replaces a running job by a workflow, and adds members to the chord of a running job."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Max, TextField, Value

from ..db import clock
from ..define.canvas import Canvas, signature
from ..define.routing import database_of
from ..define.row_options import WorkflowOptions, read, taking_one_more
from ..enqueue.insert import write_sent
from ..enqueue.instrumented import sent
from ..enqueue.notify import announce
from ..locking import lock_jobs, need
from ..models import Edge, Job, Step
from ..status import Status
from ..values import Graph, NewEdge, Outcome
from .compile import Plan
from .draft import PLACE_SEPARATOR
from .shape import Shape
from .submit import database_for
from .surroundings import Around

if TYPE_CHECKING:
    from ..define.context import JobContext


def replacement(context: JobContext, canvas: Canvas, own: WorkflowOptions) -> Graph:
    """Return the workflow that replaces a running job; its output row has the id of the job.

    *own* are the options of the job. The result of the workflow becomes the result of the job, so
    dependents of the job take it.
    """
    request = context.request
    assert request.uuid is not None
    plan = Plan(request.root_uuid, request.parent_uuid, within=_place(request.uuid, own))
    errbacks = [(signature(errback), None) for errback, _since in own.errbacks]
    output = plan.add(canvas, None, Around(errbacks=errbacks))
    if isinstance(output, Shape) or plan.nodes[output].row.unique_key is not None:
        # The row of the job keeps its own unique key.
        output = plan.accumulate(output)
    if own.shape is not None:
        plan.nodes[output].needs(shape=own.shape)
    plan.name_job(output, request.uuid)
    return _graph(plan, output, request.queue)


def _graph(plan: Plan, output: int, queue: str) -> Graph:
    """Return the graph of *plan*; ``ImproperlyConfigured`` if *queue* is on another database."""
    graph = plan.graph()
    graph.output = graph.rows[output].id
    here, there = database_of(queue), database_for(graph.rows)
    if there != here:
        raise ImproperlyConfigured(
            f"A job of queue {queue!r} lives on the database {here!r} and can go on only there; "
            f"queue {graph.rows[0].queue!r} lives on {there!r}. Name "
            "one of the same database."
        )
    # Here the attempt is known; its end writes the rows.
    graph.rows = list(sent(graph.rows))
    return graph


def _place(job_id: UUID, own: WorkflowOptions) -> str:
    place = own.place or str(job_id)
    around, _separator, _last = place.rpartition(PLACE_SEPARATOR)
    # The output of a replacement has the id of the job and comes last, so it can have the place of
    # the job. Otherwise a job that replaces itself many times would get a longer place each time.
    return around if around.endswith(str(job_id)) else place


def addition(context: JobContext, canvas: Canvas, own: WorkflowOptions) -> Graph:
    """Return a workflow to add to the header of the chord of a running job.

    The output row is the one whose result the chord's body takes.
    """
    request = context.request
    assert request.uuid is not None
    plan = Plan(request.root_uuid, request.uuid, within=_place(request.uuid, own))
    output = plan.add(canvas, None, Around(group_id=request.group_uuid))
    if isinstance(output, Shape):
        output = plan.accumulate(output)
    plan.nodes[output].has_dependents = True
    return _graph(plan, output, request.queue)


def is_member(context: JobContext) -> bool:
    """Return whether a running job is in the header of a chord; always True for an eager job."""
    request = context.request
    assert request.uuid is not None
    return request.is_eager or bool(bodies_of(request.uuid, database_of(request.queue)))


def bodies_of(job_id: UUID, using: str) -> list[UUID]:
    """Return the ids of the chord bodies that take the results of the group of *job_id*."""
    children = Edge.objects.using(using).filter(parent_id=job_id, kind=Edge.Kind.RESULT)
    rows = Job.objects.using(using).filter(id__in=children.values("child_id")).order_by("id")
    return [
        child
        for child, options in rows.values_list("id", "options")
        if read(options).workflow.is_body
    ]


def go_on_as(job_id: UUID, graph: Graph, using: str) -> set[str]:
    """Write the replacement of a job, in the transaction that ended its attempt.

    Returns the queues that have new pending jobs.
    """
    last = graph.output_row()
    need(using, keys=graph.unique_keys())
    # It does not take the results of its former parents again.
    Edge.objects.using(using).filter(child_id=job_id).update(position=-1)
    # The steps were those of another function.
    Step.objects.using(using).filter(job_id=job_id)._raw_delete(using)
    texts = {
        name: Value(getattr(last, name), output_field=TextField())
        for name in ("args", "kwargs", "headers", "options")
    }
    Job.objects.using(using).filter(id=job_id).update(
        name=last.name,
        queue=last.queue,
        rank=last.rank,
        fair_key=last.fair_key,
        pending_parents=F("pending_parents") + last.pending_parents,
        retries=0,
        crashes=0,
        deferrals=0,
        started_at=None,
        expires_at=last.expires_at if last.expires_in is None else clock(using, last.expires_in),
        ready_at=clock(using) if last.status == Status.PENDING else None,
        **texts,
        **({"has_dependents": True} if last.has_dependents else {}),
    )
    others = [row for row in graph.rows if row is not last]
    write_sent(others, using, graph.edges, limited=False)
    queues = {row.queue for row in graph.rows if row.status == Status.PENDING}
    announce(using, queues)
    return queues


def add_members(outcome: Outcome, using: str) -> set[str]:
    """Write the workflows that a job adds to the header of its chord; return the queues."""
    queues: set[str] = set()
    need(using, keys=[key for graph in outcome.added for key in graph.unique_keys()])
    bodies = bodies_of(outcome.job.id, using)
    # Lock them first, because another member may add to them at the same time.
    lock_jobs(bodies, using)
    jobs = Job.objects.using(using).filter(id__in=bodies)
    for graph in outcome.added:
        leaf = graph.output_row().id
        jobs.update(pending_parents=F("pending_parents") + 1)
        taken = Edge.objects.using(using).filter(child_id__in=bodies)
        position = (taken.aggregate(last=Max("position"))["last"] or 0) + 1
        edges = [NewEdge(leaf, body, Edge.Kind.RESULT.value, position) for body in bodies]
        for body, options in jobs.values_list("id", "options"):
            if options is not None and isinstance(read(options).workflow.takes, list):
                longer = taking_one_more(options)
                Job.objects.using(using).filter(id=body).update(options=longer)
        write_sent(graph.rows, using, [*graph.edges, *edges], limited=False)
        queues |= {row.queue for row in graph.rows if row.status == Status.PENDING}
    return queues
