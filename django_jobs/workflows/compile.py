"""The plan of a workflow: which jobs a canvas means, and which of them wait for which."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from .. import serialization
from ..conf import get_settings
from ..define import registry
from ..define.call_options import CallKeywords, check
from ..define.canvas import (
    CALLBACKS,
    STORED_LEVELS,
    Canvas,
    Chord,
    Group,
    Signature,
    callbacks,
    refuse_deep,
)
from ..define.fitting import bind_with_result, check_errback
from ..define.row_options import NOTHING, WorkflowOptions, parse
from ..enqueue.insert import template
from ..ids import uuid7
from ..models import Edge
from ..status import Status
from ..values import Graph, NewEdge, NewJob

if TYPE_CHECKING:
    from ..api.job import JobFunction

#: Name of the package's own job function that results in what it takes.
ACCUMULATE = "django_jobs.accumulate"
# A group after a group needs an edge from each member to each; beyond so many, both are tied to
# one job between them.
MOST_EDGES = 10_000
#: Between the parts of a place; it sorts before all that an id is made of.
PLACE_SEPARATOR = "+"
# Options of a canvas that are for its first jobs.
_START = ("countdown", "eta")
# Options of one call that cannot be a default for several.
_SINGLE = (*CALLBACKS, *_START, "task_id", "durable")

#: An errback, and the place of the first job whose failure it is told of (None: the job that
#: carries it).
Errback: TypeAlias = tuple[Canvas, str | None]


class Shape(list[Any]):
    """What a group results in: rows of the plan by number, and shapes.

    ``id`` is the group's, ``after`` what comes before it.
    """

    def __init__(self, id: UUID, after: Any = None) -> None:
        super().__init__()
        self.id = id
        self.after = after


Output: TypeAlias = int | Shape


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """What the caller passes to the first jobs: positional arguments come before their own."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Around:
    """What a job has of the canvases around it."""

    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    start: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    errbacks: Sequence[Errback] = ()
    group_id: UUID | None = None
    #: For the body of a chord: the place of the header's first job. The body's own errbacks are
    #: told of the header's failure.
    since: str | None = None

    def own_errbacks(self, options: Mapping[str, Any]) -> list[Errback]:
        """Return the errbacks of a canvas with these *options*."""
        errbacks = callbacks(options, "link_error")
        for errback in errbacks:
            check_errback(errback)
        return [(errback, self.since) for errback in errbacks]

    def inside(self, options: Mapping[str, Any]) -> Around:
        """Return what the parts of a canvas with these *options* have."""
        if not options:
            return self
        start = {key: options[key] for key in _START if options.get(key) is not None}
        return dataclasses.replace(
            self,
            defaults={
                **self.defaults,
                **{key: value for key, value in options.items() if key not in _SINGLE},
            },
            start=start or self.start,
            errbacks=[*self.own_errbacks(options), *self.errbacks],
        )


@dataclasses.dataclass(slots=True)
class Node:
    """A row in the making."""

    row: NewJob
    #: What it runs after.
    after: Output | None = None
    options: WorkflowOptions = NOTHING.workflow
    parents: int = 0
    has_dependents: bool = False

    def needs(self, **options: Any) -> None:
        """Set some of its :class:`WorkflowOptions`."""
        self.options = dataclasses.replace(self.options, **options)


class Plan:
    """Collects the jobs of canvases, every one after those that it depends on.

    *within* is the place of the job that they are part of now. Places, as texts, stand in the order
    of the definition: those of the jobs that one became come between it and what is after it.
    """

    def __init__(
        self, root_id: UUID | None = None, parent_id: UUID | None = None, *, within: str = ""
    ) -> None:
        self.root_id, self.parent_id, self.within = root_id, parent_id, within
        self.nodes: list[Node] = []
        self.edges: list[tuple[int, int, str, int]] = []
        #: Ids that the caller chose.
        self.named: list[UUID] = []
        self._templates: dict[str, Callable[..., NewJob]] = {}

    # --- from a canvas --------------------------------------------------------------------------

    def add(self, canvas: Canvas, given: Output | Given | None, around: Around) -> Output:
        """Add the jobs of *canvas*, which takes *given*; return what it results in."""
        refuse_deep(canvas)
        return self._add(canvas, given, around)

    def _add(self, canvas: Canvas, given: Output | Given | None, around: Around) -> Output:
        if isinstance(canvas, Signature):
            return self._add_call(canvas, given, around)
        if isinstance(canvas, Group):
            return self._add_group(canvas, given, around)
        links = [canvas.header, canvas.body] if isinstance(canvas, Chord) else canvas["chain"]
        output = self._add_links(links, given, around.inside(canvas.options))
        self.add_callbacks(canvas.options, output)
        return output

    def _add_links(
        self, links: Sequence[Canvas], given: Output | Given | None, around: Around
    ) -> Output:
        errbacks, start, since = around.errbacks, around.start, around.since
        output: Any = given
        for position, link in enumerate(links):
            last = position == len(links) - 1
            is_header = isinstance(link, Group) and not last
            inner = dataclasses.replace(
                around,
                start=start,
                errbacks=() if is_header else errbacks,
                group_id=around.group_id if last else None,
                since=since,
            )
            first, since = len(self.nodes), None
            output = self._add(link, output, inner)
            # A chord is one link: what is told of its failure stands at its body.
            if is_header and len(self.nodes) > first:
                since = began = self._place(self.nodes[first])
                errbacks = [(errback, known or began) for errback, known in errbacks]
            elif not is_header:
                errbacks = [(errback, None) for errback, _since in around.errbacks]
            if len(self.nodes) > first:
                start = {}
        assert isinstance(output, (int, Shape))
        return output

    def _add_group(self, group: Group, given: Output | Given | None, around: Around) -> Output:
        around = around.inside(group.options)
        after = None if isinstance(given, Given) else given
        if not group.tasks and after is not None:
            # There is no member that could wait for what comes before.
            return self._add_accumulate(after, "list", around, positions=False)
        if isinstance(given, Shape) and len(given) * len(group.tasks) > MOST_EDGES:
            given = self._add_accumulate(given, _form(given), Around())
        shape = Shape(around.group_id or uuid7(), after)
        inner = dataclasses.replace(around, group_id=shape.id)
        shape.extend(self._add(member, given, inner) for member in group.tasks)
        leaves = list(_leaves(shape))
        if around.group_id is None and leaves and _form(shape) != "list":
            self.nodes[leaves[0]].needs(shape=_form(shape))
        self.add_callbacks(group.options, shape)
        for callback in callbacks(group.options, "on_complete"):
            self._add_summary(callback, shape)
        return shape

    def _add_call(self, call: Signature, given: Output | Given | None, around: Around) -> int:
        function = registry.get(call.task)
        after = None if isinstance(given, Given) else given
        takes = after is not None and not call.immutable
        args, kwargs = call.args, call.kwargs
        if isinstance(given, Given):
            args, kwargs = call.merged(given.args, given.kwargs)
        if takes:
            bind_with_result(function, args, kwargs, self._named(after))
        else:
            function.bind(args, kwargs)
        waits = after is not None and next(_leaves(after), None) is not None
        options, later = self._options(call, function, around, waits)
        if takes and function.options.unique:
            raise ValueError(
                f"{function.name} is unique, and which one it is, is not known before the job that "
                "it takes a result of has ended. Make it immutable with .si()."
            )
        row = self._row(function, args, kwargs, options)
        node = Node(row._replace(group_id=around.group_id), after)
        if later:
            node.needs(later=later)
        if options.get("task_id") is not None:
            # The id that the caller chose tells no order.
            node.needs(place=str(uuid7()))
        self._set_errbacks(node, [*around.own_errbacks(call.options), *around.errbacks])
        if after is not None and takes:
            node.needs(takes=_form(after))
        elif isinstance(after, Shape):
            node.needs(takes="nothing")
        number = self._append(node)
        self.add_callbacks(call.options, number)
        return number

    def _named(self, output: Output | None) -> str:
        """Say for people which result *output* is."""
        name = self.nodes[output].row.name if isinstance(output, int) else ACCUMULATE
        return "what the group gives" if name == ACCUMULATE else f"the result of {name}"

    def _options(
        self, call: Signature, function: JobFunction[..., Any, Any], around: Around, waits: bool
    ) -> tuple[CallKeywords, dict[str, float]]:
        """Return the options of a call, and those that count from when it becomes ready."""
        own = {key: value for key, value in call.options.items() if key not in CALLBACKS}
        start = {} if own.keys() & set(_START) else around.start
        options: dict[str, Any] = {**around.defaults, **start, **own}
        options.pop("durable", None)
        later: dict[str, float] = {}
        if not waits:
            return options, later  # type: ignore[return-value]
        if options.get("countdown") is not None:
            check(options)
            later["countdown"] = options.pop("countdown")
        expires = own.get("expires")
        if expires is None and "expires" not in options:
            expires, options["expires"] = function.options.expires, None
        if isinstance(expires, datetime.timedelta):
            expires = expires.total_seconds()
        if isinstance(expires, datetime.datetime):
            options["expires"] = expires
        elif expires is not None:
            check({"countdown": expires})
            later["expires"], options["expires"] = expires, None
        return options, later  # type: ignore[return-value]

    def _row(
        self,
        function: JobFunction[..., Any, Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallKeywords,
    ) -> NewJob:
        if options:
            row = template(function, options)(args, kwargs)
            if options.get("task_id") is not None:
                self.named.append(row.id)
            return row
        if function.name not in self._templates:
            self._templates[function.name] = template(function, {})
        return self._templates[function.name](args, kwargs)

    def _add_accumulate(
        self,
        after: Output,
        takes: Any,
        around: Around,
        *,
        kind: str = Edge.Kind.RESULT,
        positions: bool = True,
    ) -> int:
        """Add the package's own job that results in what it takes."""
        leaf = next(_leaves(after), None)
        queue = around.defaults.get("queue") if leaf is None else self.nodes[leaf].row.queue
        row = self._row(registry.get(ACCUMULATE), (), {}, {"queue": queue} if queue else {})
        node = Node(row._replace(group_id=around.group_id), after)
        node.needs(takes=takes)
        self._set_errbacks(node, around.errbacks)
        return self._append(node, kind, positions=positions)

    def add_callbacks(self, options: Mapping[str, Any], output: Output) -> None:
        """Add what is linked to a canvas with these *options* that results in *output*."""
        for callback in callbacks(options, "link"):
            self._add(callback, output, Around())

    def _add_summary(self, callback: Canvas, shape: Shape) -> None:
        """Add what runs when a group has ended, whatever came of its members."""
        number = self._add_accumulate(shape, "summary", Around(), kind=Edge.Kind.COMPLETE)
        self.nodes[number].needs(group=str(shape.id))
        self._add(callback, number, Around())

    # --- rows and edges -------------------------------------------------------------------------

    def _append(self, node: Node, kind: str = Edge.Kind.RESULT, *, positions: bool = True) -> int:
        number = len(self.nodes)
        self.nodes.append(node)
        for position, leaf in enumerate(() if node.after is None else _leaves(node.after)):
            self.edges.append((leaf, number, str(kind), position if positions else -1))
            self.nodes[leaf].has_dependents = True
            node.parents += 1
        return number

    def _set_errbacks(self, node: Node, errbacks: Sequence[Errback]) -> None:
        if errbacks:
            node.needs(errbacks=tuple(errbacks))

    def _place(self, node: Node) -> str:
        own = node.options.place or str(node.row.id)
        return f"{self.within}{PLACE_SEPARATOR}{own}" if self.within else own

    def keep_empty(self, output: Output, around: Around) -> None:
        """Add a job that stands for a group without members, by whose id the group is found."""
        if isinstance(output, Shape) and next(_leaves(output), None) is None:
            inner = dataclasses.replace(around, group_id=output.id, errbacks=())
            number = self._add_accumulate(output, _form(output), inner)
            self.nodes[number].needs(shape=_nested(output))

    def name_job(self, number: int, id: UUID) -> None:
        """Give a chosen id to a job; its place stays that of its first id."""
        node = self.nodes[number]
        node.needs(place=node.options.place or str(node.row.id))
        node.row = node.row._replace(id=id)
        self.named.append(id)

    def accumulate(self, output: Output) -> int:
        """Add a job that results in what *output* stands for: a job's result, or a list."""
        return self._add_accumulate(output, _form(output), Around())

    def graph(self) -> Graph:
        """Return the rows and edges; the first row is the root where nobody else is."""
        root_id = self.root_id
        if root_id is None and len(self.nodes) > 1:
            root_id = self.nodes[0].row.id
        for node in self.nodes if self.within else ():
            node.needs(place=self._place(node))
        rows = [self._finished(node, root_id) for node in self.nodes]
        edges = [
            NewEdge(rows[parent].id, rows[child].id, kind, position)
            for parent, child, kind, position in self.edges
        ]
        return Graph(rows, edges)

    def _finished(self, node: Node, root_id: UUID | None) -> NewJob:
        row, options = node.row, node.row.options
        if node.options is not NOTHING.workflow:
            stored = dataclasses.replace(parse(options), workflow=node.options).stored()
            limit = get_settings().max_payload_bytes
            options = serialization.dumps(
                stored, where="options", max_bytes=limit, around=STORED_LEVELS
            )
        parent_id, status = self.parent_id, row.status
        if node.after is not None and node.parents:
            *_others, last = _leaves(node.after)
            parent_id, status = self.nodes[last].row.id, Status.WAITING.value
        return row._replace(
            options=options,
            status=status,
            root_id=root_id,
            parent_id=parent_id,
            pending_parents=node.parents,
            has_dependents=node.has_dependents,
        )


def _leaves(output: Output) -> Iterator[int]:
    if isinstance(output, Shape):
        for each in output:
            yield from _leaves(each)
    else:
        yield output


def _form(output: Output) -> Any:
    """Return how a job takes these results, as JSON: see :mod:`django_jobs.workflows.inputs`."""
    if not isinstance(output, Shape):
        return "value"
    if all(not isinstance(each, Shape) for each in output):
        return "list"
    return [_form(each) if not isinstance(each, Shape) else _nested(each) for each in output]


def _nested(shape: Shape) -> Any:
    return [_nested(each) if isinstance(each, Shape) else "value" for each in shape]
