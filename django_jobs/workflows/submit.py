"""Writes the jobs of a workflow in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from ..conf import get_settings
from ..define.call_options import check
from ..define.canvas import CALLBACKS, Canvas, Chain, Signature, callbacks, refuse_deep
from ..define.routing import database_of
from ..enqueue.insert import transaction_of, write
from ..enqueue.rows import lineage
from ..values import NewJob
from .compile import Plan
from .shape import Output, Shape
from .surroundings import Around, Given


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

    With *durable* they stay when the caller's transaction rolls back. Raises ``QueueFull`` and
    ``DuplicateKey``, and ``ImproperlyConfigured`` when the queues live on several databases.
    """
    graph = plan.graph()
    using = database_for(graph.rows)
    if graph.rows:
        with transaction_of(using, durable=durable):
            write(graph.rows, using, graph.edges, named=plan.named)
    return using


def database_for(rows: Sequence[NewJob]) -> str:
    """Return the one database of *rows*; raise ``ImproperlyConfigured`` when there are more."""
    places = {row.queue: database_of(row.queue) for row in rows}
    if len(set(places.values())) > 1:
        there = ", ".join(f"{queue!r} on {alias!r}" for queue, alias in sorted(places.items()))
        raise ImproperlyConfigured(
            f"The jobs of one workflow must live on one database, and its queues live {there}. "
            "Use queues of one database."
        )
    return next(iter(places.values()), get_settings().database)
