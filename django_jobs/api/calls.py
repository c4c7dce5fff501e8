"""Enqueues calls and canvases, and returns the handles on their jobs.

With the setting ``EAGER`` it runs them in this process instead.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from ..conf import get_settings
from ..db.alike import AlikeJobs
from ..define import instrumentation, registry
from ..define.call_options import CallKeywords
from ..define.canvas import Canvas, Signature, callbacks, refuse_deep
from ..define.current import running
from ..define.routing import database_of
from ..enqueue.capture import captures, is_writing, note
from ..enqueue.insert import write_alike, write_alone, write_calls
from ..enqueue.rows import Pair, alike_of, lineage, refuse_one_id, row_of, rows_of
from ..exceptions import Replaced
from ..from_celery.options import warn_once
from ..status import Status
from ..values import NewJob
from ..workflows.compile import Plan
from ..workflows.replace import addition, is_member, replacement
from ..workflows.shape import Output, Shape
from ..workflows.submit import only_link, planned, write_plan
from ..workflows.surroundings import Around
from .eager_result import EagerResult
from .group_result import GroupResult
from .in_process import run, run_graph
from .result import AsyncResult
from .waiting import Commit, awaited_commit

if TYPE_CHECKING:
    from ..define.canvas import Handle
    from ..define.context import JobContext
    from .job import JobFunction

# The options of a call that one INSERT by itself does not do.
_NOT_ALONE = {"link", "task_id", "durable"}


def enqueue_one(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: CallKeywords,
) -> AsyncResult[Any]:
    """Enqueue one call of *function*; the errors are those of :func:`enqueue`."""
    if _is_watched() or (options and not _NOT_ALONE.isdisjoint(options)):
        return enqueue(function, [(args, kwargs)], options)[0]
    row = row_of(function, args, kwargs, options)
    using = write_alone(row)
    if not using:
        return _write(function, [row], options)[0]
    result: AsyncResult[Any] = AsyncResult(row.id, name=function.name, using=using)
    if running.get() is not None:
        _note_children([result])
    return result


def enqueue_at_commit(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: CallKeywords,
    name: str,
) -> AsyncResult[Any] | None:
    """Enqueue one call now and return its handle, or enqueue it at the commit and return None.

    It stands behind Celery's methods ``<name>_on_commit``. A row in the database of the open
    transaction needs no waiting: a rollback takes it along.
    """
    warn_once(f"{name}_on_commit() is Celery's: {name}() is part of the transaction already.")
    (row,) = rows_of(function, [(args, kwargs)], options)
    using = database_of(row.queue)
    default = connections[DEFAULT_DB_ALIAS]
    if using == DEFAULT_DB_ALIAS or not default.in_atomic_block or get_settings().eager:
        return enqueue_one(function, args, kwargs, options)
    transaction.on_commit(functools.partial(enqueue_one, function, args, kwargs, options))
    return None


def enqueue(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> list[AsyncResult[Any]]:
    """Write a row for each of *calls*, all with the same *options*, in one transaction.

    If the queues are on several databases, each database has its own transaction.

    Raises ``TypeError`` for arguments that do not fit the signature, ``ArgumentError`` for
    arguments that cannot be stored as JSON, ``ValueError`` for an invalid option, ``QueueFull`` and
    ``DuplicateKey``, and then writes nothing.
    """
    if options.get("link"):
        return _enqueue_linked(function, calls, options)
    if not _is_watched() and _NOT_ALONE.isdisjoint(options):
        alike = alike_of(function, calls, options)
        if alike is not None:
            return _write_alike(alike)
    rows = rows_of(function, calls, options)
    if captures and not is_writing():
        note(rows)
        return [AsyncResult(row.id, name=function.name) for row in rows]
    if get_settings().eager:
        note(rows)
        ran = [run(row) for row in rows]
        _raise_first_error(ran)
        return list(ran)
    return _write(function, rows, options)


def _is_watched() -> bool:
    """Return whether somebody must see the rows of calls before, or instead of, the database."""
    return bool(captures or get_settings().eager or instrumentation.instrumentations)


def _write_alike(jobs: AlikeJobs) -> list[AsyncResult[Any]]:
    """Write validated *jobs*; return the handles on them."""
    using, name = write_alike(jobs), jobs.first.name
    results: list[AsyncResult[Any]] = [
        AsyncResult(job_id, name=name, using=using) for job_id in jobs.ids
    ]
    commit = awaited_commit(using)
    if commit is not None:
        for result in results:
            result._commit = commit
    _note_children(results)
    return results


def _write(
    function: JobFunction[..., Any, Any], rows: Sequence[NewJob], options: CallKeywords
) -> list[AsyncResult[Any]]:
    """Write validated *rows*; return the handles on their jobs."""
    results: list[AsyncResult[Any]] = []
    commits: dict[str, Commit | None] = {}
    # A unique key may belong to a job that was there before.
    keyed = any(row.unique_key for row in rows)
    written = {row.id for row in rows} if keyed else set()
    named, durable = options.get("task_id") is not None, bool(options.get("durable"))
    for job_id, using in write_calls(rows, named=named, durable=durable):
        result: AsyncResult[Any] = AsyncResult(job_id, name=function.name, using=using)
        if not durable and (not keyed or job_id in written):
            if using not in commits:
                commits[using] = awaited_commit(using)
            result._commit = commits[using]
        results.append(result)
    if captures:
        new = {result.uuid for result in results}
        note(row for row in rows if row.id in new)
    _note_children(results)
    return results


def enqueue_canvas(
    canvas: Canvas, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Handle:
    """Write the rows of *canvas* in one transaction; return the handle on its result.

    Raises what :func:`enqueue` does, and ``ImproperlyConfigured`` when the jobs' queues are on
    several databases.
    """
    refuse_deep(canvas)
    canvas = only_link(canvas)
    if isinstance(canvas, Signature) and not (options.get("link") or canvas.options.get("link")):
        args, kwargs = canvas.merged(args, kwargs)
        merged: Any = {**canvas.options, **options}
        merged["link_error"] = [*callbacks(canvas.options, "link_error"),
                                *callbacks(options, "link_error")]  # fmt: skip
        return enqueue_one(registry.get(canvas.task), args, kwargs, merged)
    plan, output = planned(canvas, args, kwargs, options)
    return _start(plan, [output], durable=bool(options.get("durable")))[0]


def run_canvas(
    canvas: Canvas, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Handle:
    """Run *canvas* in this process, without rows."""
    plan, output = planned(canvas, args, kwargs, options)
    return _run(plan, [output])[0]


def replace_running(context: JobContext, canvas: Canvas) -> NoReturn:
    """End the body of a running job, which continues as *canvas*. Raises :class:`Replaced`."""
    raise Replaced(replacement(context, canvas, context.row_options.workflow))


def add_to_chord_of(context: JobContext, canvas: Canvas) -> AsyncResult[Any]:
    """Add *canvas* to the header of the chord that a running job is a member of."""
    if not is_member(context):
        raise ValueError(
            f"{context.name} {context.request.id} is no member of a chord's header. Call "
            "add_to_chord() in one of its jobs."
        )
    graph = addition(context, canvas, context.row_options.workflow)
    row = graph.output_row()
    handle: AsyncResult[Any] = AsyncResult(row.id, name=row.name)
    context.added = (*context.added, graph)
    context.request.children.append(handle)
    return handle


def _enqueue_linked(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> list[AsyncResult[Any]]:
    """Write calls of *function* with callbacks, in one transaction; return their handles."""
    refuse_one_id(calls, options)
    plan = Plan(*lineage())
    own = {key: value for key, value in options.items() if key != "durable"}
    outputs = [
        plan.add(Signature(function.name, args, kwargs, own), None, Around())
        for args, kwargs in calls
    ]
    handles: Any = _start(plan, outputs, durable=bool(options.get("durable")))
    return list(handles)


def _start(plan: Plan, outputs: Sequence[Output], *, durable: bool) -> list[Handle]:
    if captures and not is_writing():
        note(plan.graph().rows)
        return _handles(plan, outputs)
    if get_settings().eager:
        note(plan.graph().rows)
        return _run(plan, outputs, may_raise=True)
    using = write_plan(plan, durable=durable)
    commit = None if durable else awaited_commit(using)
    results = _handles(plan, outputs, using=using, commit=commit)
    if captures:
        note(plan.graph().rows)
    _note_children(results)
    return results


def _run(plan: Plan, outputs: Sequence[Output], *, may_raise: bool = False) -> list[Handle]:
    done = run_graph(plan.graph())
    if may_raise:
        _raise_first_error(done.values())
    return _handles(plan, outputs, done)


def _raise_first_error(ran: Iterable[EagerResult[Any]]) -> None:
    """With ``EAGER="raise"``, raise the exception of the first job that failed or expired."""
    if get_settings().eager == "raise":
        for result in ran:
            if result.origin.error is not None:
                raise result.origin.error
            if result.origin.status == Status.REVOKED:
                result.origin.get()


def _handles(
    plan: Plan,
    outputs: Sequence[Output],
    done: Mapping[UUID, EagerResult[Any]] | None = None,
    *,
    using: str = "",
    commit: Commit | None = None,
) -> list[Handle]:
    """Return the handles of *outputs*, with their parents; *done* has those of jobs that ran."""
    jobs: list[AsyncResult[Any]] = []
    groups: dict[int, GroupResult] = {}

    def handle(output: Any) -> Any:
        if not isinstance(output, Shape):
            return None if output is None else jobs[output]
        if id(output) not in groups:
            members = [handle(each) for each in output]
            groups[id(output)] = GroupResult(output.id, members, parent=handle(output.after))
        return groups[id(output)]

    for node in plan.nodes:
        result: AsyncResult[Any]
        if done is None:
            result = AsyncResult(node.row.id, name=node.row.name, using=using)
            result._commit = commit
        else:
            result = done[node.row.id]
        if node.after is not None:
            result.parent = handle(node.after)
        jobs.append(result)
    return [handle(output) for output in outputs]


def _note_children(results: Sequence[Any]) -> None:
    """Add the handles to the ``children`` of the running job, if there is one."""
    parent = running.get()
    if parent is not None:
        parent.request.children.extend(results)
