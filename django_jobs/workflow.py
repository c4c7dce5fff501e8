"""A workflow is written at once, in one transaction, or run here and now."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from . import registry, signals
from .call import CallKeywords, check
from .canvas import CALLBACKS, Canvas, Chain, Signature, callbacks, refuse_deep
from .conf import get_settings
from .dialects import dialect_for, without_deadlock
from .enqueue import (
    Pair,
    announce,
    enqueue_one,
    lineage,
    named,
    note_children,
    outside_transaction,
    refuse_when_full,
    topic_of,
)
from .exceptions import DuplicateKey
from .plan import Around, Given, Output, Plan, Shape
from .result import AsyncResult, awaited_commit
from .resultset import GroupResult
from .routing import database_of
from .rules import secrets_of
from .status import Status
from .unique import take_key
from .values import Graph, NewJob

if TYPE_CHECKING:
    from .canvas import Handle
    from .define import JobFunction


def enqueue_canvas(
    canvas: Canvas, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Handle:
    """Write the rows of *canvas* in one transaction; return the handle on what it results in.

    Raises what :func:`~django_jobs.enqueue.enqueue` does, and ``ImproperlyConfigured`` when the
    queues of its jobs live on several databases.
    """
    refuse_deep(canvas)
    canvas = _only(canvas)
    if isinstance(canvas, Signature) and not (options.get("link") or canvas.options.get("link")):
        args, kwargs = canvas.merged(args, kwargs)
        merged: Any = {**canvas.options, **options}
        merged["link_error"] = [*callbacks(canvas.options, "link_error"),
                                *callbacks(options, "link_error")]  # fmt: skip
        return enqueue_one(registry.get(canvas.task), args, kwargs, merged)
    plan, output = planned(canvas, args, kwargs, options)
    return _enqueue(plan, [output], durable=bool(options.get("durable")))[0]


def enqueue_linked(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> list[AsyncResult[Any]]:
    """Write calls of *function* that have callbacks, in one transaction; return their handles."""
    plan = Plan(*lineage())
    own = {key: value for key, value in options.items() if key != "durable"}
    if options.get("task_id") is not None and len(calls) != 1:
        raise ValueError("task_id names one job; leave it out of delay_many()")
    outputs = [
        plan.add(Signature(function.name, args, kwargs, own), None, Around())
        for args, kwargs in calls
    ]
    handles: Any = _enqueue(plan, outputs, durable=bool(options.get("durable")))
    return list(handles)


def apply_canvas(
    canvas: Canvas, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Handle:
    """Run *canvas* here and now, without rows."""
    plan, output = planned(canvas, args, kwargs, options)
    return _run(plan, [output])[0]


def planned(
    canvas: Canvas, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Plan, Output]:
    """Return the plan of *canvas* with these arguments and options, and what it results in."""
    check(options)
    refuse_deep(canvas)
    canvas = _only(canvas)
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


def _only(canvas: Canvas) -> Canvas:
    """Return the one link of a chain that has no options of its own: it is no workflow."""
    while isinstance(canvas, Chain) and len(canvas.tasks) == 1 and not canvas.options:
        (canvas,) = canvas.tasks
    return canvas


def _name(plan: Plan, output: Output, id: UUID) -> None:
    """Give the caller's id to what the workflow results in, a job or a group."""
    if isinstance(output, Shape):
        for node in plan.nodes:
            if node.row.group_id == output.id:
                node.row = node.row._replace(group_id=id)
            if node.extra.get("group") == str(output.id):
                node.extra["group"] = str(id)
        output.id = id
    else:
        plan.name_job(output, id)


def _enqueue(plan: Plan, outputs: Sequence[Output], *, durable: bool) -> list[Handle]:
    if get_settings().eager:
        return _run(plan, outputs)
    graph = plan.graph()
    using = database_for(graph.rows)
    if graph.rows:
        outside = outside_transaction(using) if durable else None
        with outside or contextlib.nullcontext():
            write(graph, using, names=plan.named)
    handle = plan.handles(using, None if durable else awaited_commit(using))
    results = [handle(output) for output in outputs]
    note_children(results)
    return results


def _run(plan: Plan, outputs: Sequence[Output]) -> list[Handle]:
    from .eager import run_graph  # executing is not needed to enqueue

    graph = plan.graph()
    done = run_graph(graph)
    handle = plan.handles("")

    def finished(output: Any) -> Any:
        if isinstance(output, Shape):
            return GroupResult(output.id, [finished(each) for each in output])
        result = done[graph.rows[output].id]
        before: Any = handle(output)
        result.parent = before._parent
        return result

    return [finished(output) for output in outputs]


def database_for(rows: Sequence[NewJob]) -> str:
    """Return the one database of *rows*; raise ``ImproperlyConfigured`` when there are more."""
    places = {row.queue: database_of(row.queue) for row in rows}
    if len(set(places.values())) > 1:
        told = ", ".join(f"{queue!r} on {alias!r}" for queue, alias in sorted(places.items()))
        raise ImproperlyConfigured(
            f"the jobs of one workflow must live on one database, and its queues live {told}; "
            "use queues of one database"
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
            _take_keys(graph.rows, using)
            with named(names, using):
                for piece in dialect.insertable(graph.rows):
                    dialect.insert(cursor, piece)
            for start in range(0, len(graph.edges), dialect.insert_chunk):
                dialect.insert_edges(cursor, graph.edges[start : start + dialect.insert_chunk])

    without_deadlock(using, insert)
    announce(using, {topic_of(row) for row in graph.rows if row.status != Status.WAITING})
    _tell(graph.rows, using)


def _take_keys(rows: Sequence[NewJob], using: str) -> None:
    keyed = sorted((row.unique_key, row.id, row.name) for row in rows if row.unique_key)
    ours: dict[str, UUID] = {}
    for key, job_id, name in keyed:
        seconds = registry.get(name).options.unique_for
        holder = ours.get(key) or take_key(key, job_id, seconds, using)
        ours[key] = job_id
        if holder is not None:
            raise DuplicateKey(
                f"{name} with these arguments is live as job {holder}, and a workflow cannot "
                "wait for a job that is not its own; enqueue it when that one has ended"
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
