"""A job starts other jobs and goes on when they have ended, with their results."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F

from ..define.canvas import Canvas, Chain, Chord, Group, Signature, refuse_deep
from ..define.routing import database_of
from ..enqueue.insert import write_sent
from ..enqueue.instrumented import sent
from ..enqueue.notify import announce
from ..exceptions import JobDoesNotExist
from ..failure import describe
from ..locking import need
from ..models import Edge, Job
from ..serialization import type_of
from ..status import ENDED, Status
from ..values import Graph, NewEdge, Outcome
from ..workflows.compile import Plan
from ..workflows.shape import Output, Shape
from ..workflows.submit import database_for, only_link
from ..workflows.surroundings import Around
from .journal import Child, Journal, journal_of
from .recorded import Recorded, State
from .suspension import Suspension

if TYPE_CHECKING:
    from ..define.context import JobContext

_KIND = "child"
# A job that runs though its children do not wait for it looks again after so many seconds.
_LOOK_SECONDS = 1.0
#: The ids of the jobs whose results a canvas has: one, or lists of such for a group.
Ids = Any


@dataclasses.dataclass(slots=True)
class ChildrenWait(Suspension):
    """The jobs that the end of the run starts; the job waits for those that give the results."""

    graph: Graph = dataclasses.field(default_factory=lambda: Graph([], []))
    awaited: Sequence[UUID] = ()

    def write(self, outcome: Outcome, using: str) -> set[str]:
        queues = Suspension.write(self, outcome, using)
        need(using, keys=self.graph.unique_keys())
        job_id = outcome.job.id
        # The position says that the job takes no argument from them.
        edges = [NewEdge(each, job_id, Edge.Kind.COMPLETE.value, -1) for each in self.awaited]
        jobs = Job.objects.using(using).filter(id=job_id)
        jobs.update(pending_parents=F("pending_parents") + len(edges))
        write_sent(self.graph.rows, using, [*self.graph.edges, *edges], limited=False)
        queues |= {row.queue for row in self.graph.rows if row.status == Status.PENDING}
        announce(using, queues)
        return queues


def gather(context: JobContext, canvases: Iterable[Canvas], key: str, verb: str) -> list[Any]:
    """Return the results of *canvases*; the first run here starts them and is suspended."""
    wanted = [_checked(each, verb) for each in canvases]
    journal = journal_of(context, verb)
    names = [name for canvas in wanted for name in _names(canvas)]
    step = journal.use(key, _KIND, f"{len(wanted)}: {', '.join(names)}"[:255])
    if step.is_over:
        found: list[Any] = journal.replay(step)
        return found
    if not wanted:
        return journal.record(step, [])  # type: ignore[no-any-return]
    if step.data is None:
        _start(context, journal, step, wanted, [None] * len(wanted))
    assert step.data is not None
    ids: list[Ids] = step.data["children"]
    children = journal.store.children([UUID(each) for each in _leaves(ids)])
    if step.state == State.FAILED:
        # An earlier attempt failed with them: those that failed run again.
        again = [each if _all_succeeded(each, children) else None for each in ids]
        if None in again:
            _start(context, journal, step, wanted, again)
    return _results(journal, step, ids, children)


def _start(
    context: JobContext, journal: Journal, step: Recorded, canvases: Sequence[Canvas],
    kept: Sequence[Ids],
) -> None:  # fmt: skip
    """Suspend the job; the record starts the canvases of which no job is *kept*."""
    request = context.request
    plan = Plan(request.root_uuid, request.uuid)
    outputs: list[Output | None] = []
    for canvas, known in zip(canvases, kept, strict=True):
        outputs.append(plan.add(canvas, None, Around()) if known is None else None)
    awaited = [node for output in outputs if output is not None for node in _nodes(output)]
    for number in awaited:
        plan.nodes[number].has_dependents = True
    graph = plan.graph()
    _refuse_elsewhere(graph, request.queue)
    graph.rows = list(sent(graph.rows))
    step.data = {
        "children": [
            known if output is None else _ids(output, graph)
            for output, known in zip(outputs, kept, strict=True)
        ]
    }
    step.state = State.WAITING
    status = Status.WAITING if awaited else Status.PENDING
    ids = [graph.rows[number].id for number in awaited]
    journal.suspend(ChildrenWait(step, status=status, graph=graph, awaited=ids))


def _results(
    journal: Journal, step: Recorded, ids: Sequence[Ids], children: dict[UUID, Child]
) -> list[Any]:
    """Return the results, or raise the error of the first child that has none."""
    if any(child.status not in ENDED for child in children.values()):
        # An operator let the job, or one of its children, run again.
        journal.suspend(Suspension(step, delay=_LOOK_SECONDS))
    for each in _leaves(ids):
        child = children.get(UUID(each))
        if child is None:
            error: Exception = JobDoesNotExist(
                f"Job {each}, which {journal.name} waited for in the step {step.key!r}, is gone: "
                "it was deleted or pruned."
            )
        elif child.status == Status.SUCCESS:
            continue
        else:
            error = child.error()
        step.failed(describe(error, journal.secrets()))
        journal.failed(step, error)
        raise error
    found: list[Any] = journal.record(step, [_value(each, children) for each in ids])
    return found


def _checked(canvas: object, verb: str) -> Canvas:
    if not isinstance(canvas, Canvas):
        raise TypeError(
            f"{verb}() takes signatures and workflows, as f.s(1) and chain(...) are, got "
            f"{type_of(canvas)}."
        )
    refuse_deep(canvas)
    return only_link(canvas)


def _names(canvas: Canvas) -> Iterator[str]:
    """Yield the names of the job functions of *canvas*."""
    if isinstance(canvas, Signature):
        yield canvas.task
    elif isinstance(canvas, Chord):
        yield from _names(canvas.header)
        yield from _names(canvas.body)
    elif isinstance(canvas, (Chain, Group)):
        for each in canvas.tasks:
            yield from _names(each)


def _nodes(output: Output) -> Iterator[int]:
    if isinstance(output, Shape):
        for each in output:
            yield from _nodes(each)
    else:
        yield output


def _ids(output: Output, graph: Graph) -> Ids:
    if isinstance(output, Shape):
        return [_ids(each, graph) for each in output]
    return str(graph.rows[output].id)


def _leaves(ids: Ids) -> Iterator[str]:
    if isinstance(ids, list):
        for each in ids:
            yield from _leaves(each)
    else:
        yield ids


def _all_succeeded(ids: Ids, children: dict[UUID, Child]) -> bool:
    found = [children.get(UUID(each)) for each in _leaves(ids)]
    return all(child is not None and child.status == Status.SUCCESS for child in found)


def _value(ids: Ids, children: dict[UUID, Child]) -> Any:
    if isinstance(ids, list):
        return [_value(each, children) for each in ids]
    return children[UUID(ids)].value()


def _refuse_elsewhere(graph: Graph, queue: str) -> None:
    here, there = database_of(queue), database_for(graph.rows)
    if graph.rows and there != here:
        raise ImproperlyConfigured(
            f"A job of queue {queue!r} lives on the database {here!r} and can wait only for jobs "
            f"there; queue {graph.rows[0].queue!r} lives on {there!r}. Name one of the same "
            "database, or enqueue the job by delay()."
        )
