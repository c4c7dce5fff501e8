"""Writes the jobs of a workflow in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from .. import signals
from ..conf import get_settings
from ..db import dialect_for, without_deadlock
from ..define import registry
from ..define.call_options import check
from ..define.canvas import CALLBACKS, Canvas, Chain, Signature, callbacks, refuse_deep
from ..define.routing import database_of
from ..define.sensitive import secrets_of
from ..enqueue.insert import lineage, named, outside_transaction, refuse_when_full
from ..enqueue.notify import announce, topic_of
from ..enqueue.unique import acquire_key
from ..exceptions import DuplicateKey
from ..status import Status
from ..values import Graph, NewJob
from .compile import Plan
from .shape import Output, Shape
from .surroundings import Around, Given

if TYPE_CHECKING:
    pass


def planned(
    canvas: Canvas, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Plan, Output]:
    """Return the plan of *canvas* with these arguments and options, and its output."""
    check(options)
    refuse_deep(canvas)
    canvas = only_link(canvas)
    plan = Plan(*lineage())
    first = Given(args, kwargs)
    if isinstance(canvas, Signature):
        call = canvas.clone()
        for key in ("link", "link_error"):
            call.options[key] = [*callbacks(call.options, key), *callbacks(options, key)]
        call.options.update({k: v for k, v in options.items() if k not in CALLBACKS})
        return plan, plan.add(call, first, Around())
    around = Around().inside(options)
    output = plan.add(canvas, first, around)
    plan.keep_empty(output, around.inside(canvas.options))
    plan.add_callbacks(options, output)
    if options.get("task_id") is not None:
        _name(plan, output, UUID(str(options["task_id"])))
    return plan, output


def only_link(canvas: Canvas) -> Canvas:
    """Return the only link of a chain without options; a single call is no workflow."""
    while isinstance(canvas, Chain) and len(canvas.tasks) == 1 and not canvas.options:
        (canvas,) = canvas.tasks
    return canvas


def _name(plan: Plan, output: Output, id: UUID) -> None:
    """Give the id that the caller chose to the output, a job or a group."""
    if isinstance(output, Shape):
        for node in plan.nodes:
            if node.row.group_id == output.id:
                node.row = node.row._replace(group_id=id)
            if node.options.group == str(output.id):
                node.needs(group=str(id))
        output.id = id
    else:
        plan.name_job(output, id)


def write_plan(plan: Plan, *, durable: bool) -> str:
    """Write the jobs of *plan*, in one transaction; return the database that they live on.

    With *durable* they stay when the caller's transaction rolls back. Raises what :func:`write`
    does, and ``ImproperlyConfigured`` when their queues live on several databases.
    """
    graph = plan.graph()
    using = database_for(graph.rows)
    if graph.rows:
        outside = outside_transaction(using) if durable else None
        with outside or contextlib.nullcontext():
            write(graph, using, names=plan.named)
    return using


def database_for(rows: Sequence[NewJob]) -> str:
    """Return the one database of *rows*; raise ``ImproperlyConfigured`` when there are more."""
    places = {row.queue: database_of(row.queue) for row in rows}
    if len(set(places.values())) > 1:
        told = ", ".join(f"{queue!r} on {alias!r}" for queue, alias in sorted(places.items()))
        raise ImproperlyConfigured(
            f"The jobs of one workflow must live on one database, and its queues live {told}. "
            "Use queues of one database."
        )
    return next(iter(places.values()), get_settings().database)


def write(graph: Graph, using: str, *, names: Sequence[UUID] = (), limited: bool = True) -> None:
    """Insert the rows and edges of *graph*, in one transaction, and wake the workers.

    *names* are ids that the caller chose. Without *limited* a full queue takes them, too. Raises
    ``QueueFull``, and ``DuplicateKey`` also when a live job has the unique key of one of them: what
    comes after it waits for this very job.
    """
    connection = connections[using]
    dialect = dialect_for(connection)
    ready: dict[str, int] = {}
    for row in graph.rows:
        if row.status == Status.PENDING:
            ready[row.queue] = ready.get(row.queue, 0) + 1
    if limited:
        for queue, number in ready.items():
            refuse_when_full(queue, number, using)

    def insert() -> None:
        with transaction.atomic(using), connection.cursor() as cursor:
            _acquire_keys(graph.rows, using)
            with named(names, using):
                for piece in dialect.insertable(graph.rows):
                    dialect.insert(cursor, piece)
            for start in range(0, len(graph.edges), dialect.insert_chunk):
                dialect.insert_edges(cursor, graph.edges[start : start + dialect.insert_chunk])

    without_deadlock(using, insert)
    announce(using, {topic_of(row) for row in graph.rows if row.status != Status.WAITING})
    _tell(graph.rows, using)


def _acquire_keys(rows: Sequence[NewJob], using: str) -> None:
    keyed = sorted((row.unique_key, row.id, row.name) for row in rows if row.unique_key)
    ours: dict[str, UUID] = {}
    for key, job_id, name in keyed:
        seconds = registry.get(name).options.unique_for
        holder = ours.get(key) or acquire_key(key, job_id, seconds, using)
        ours[key] = job_id
        if holder is not None:
            raise DuplicateKey(
                f"{name} with these arguments is live as job {holder}, and a workflow cannot "
                "wait for a job that is not its own. Enqueue it when that one has ended."
            )


def _tell(rows: Sequence[NewJob], using: str) -> None:
    if not signals.job_enqueued.receivers:
        return
    by_name: dict[tuple[str, str], list[UUID]] = {}
    for row in rows:
        by_name.setdefault((row.name, row.queue), []).append(row.id)
    for (name, queue), ids in by_name.items():
        signals.send(
            signals.job_enqueued,
            name,
            hidden=lambda: secrets_of(*rows),
            inside=using,
            job_ids=ids,
            queue=queue,
        )
