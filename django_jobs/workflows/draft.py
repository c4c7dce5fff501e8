"""The rows and edges of a workflow that is being compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .. import serialization
from ..conf import get_settings
from ..define.call_options import CallKeywords
from ..define.canvas import STORED_LEVELS
from ..define.headers import implied_headers
from ..define.row_options import NOTHING, WorkflowOptions, parse
from ..enqueue.rows import template
from ..models import Edge
from ..status import Status
from ..values import Graph, NewEdge, NewJob
from .shape import Output, leaves_of
from .surroundings import Errback

if TYPE_CHECKING:
    from ..api.job import JobFunction

#: Between the parts of a place; it sorts before all that an id is made of.
PLACE_SEPARATOR = "+"


@dataclasses.dataclass(slots=True)
class Node:
    """A row that is being compiled."""

    row: NewJob
    #: The output that it runs after.
    after: Output | None = None
    options: WorkflowOptions = NOTHING.workflow
    parents: int = 0
    has_dependents: bool = False

    def needs(self, **options: Any) -> None:
        """Set some of its :class:`WorkflowOptions`."""
        self.options = dataclasses.replace(self.options, **options)


class Draft:
    """Collects rows, each one after the rows that it depends on.

    A place is a text that sorts the jobs of a workflow in the order of its definition. *within* is
    the place of the job that these jobs replace: their places sort between that job and the next.
    *headers* are those that the jobs inherit; by default those of
    :func:`~django_jobs.define.headers.implied_headers`.
    """

    def __init__(
        self,
        root_id: UUID | None = None,
        parent_id: UUID | None = None,
        *,
        within: str = "",
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        self.root_id, self.parent_id, self.within = root_id, parent_id, within
        self._headers = implied_headers() if headers is None else headers
        self.nodes: list[Node] = []
        self.edges: list[tuple[int, int, str, int]] = []
        #: Ids that the caller chose.
        self.named: list[UUID] = []
        self._templates: dict[str, Callable[..., NewJob]] = {}

    def _row(
        self,
        function: JobFunction[..., Any, Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallKeywords,
        taken: int = 0,
    ) -> NewJob:
        if options:
            row = template(function, options, self._headers)(args, kwargs, taken)
            if options.get("task_id") is not None:
                self.named.append(row.id)
            return row
        if function.name not in self._templates:
            self._templates[function.name] = template(function, {}, self._headers)
        return self._templates[function.name](args, kwargs, taken)

    def _append(self, node: Node, kind: str = Edge.Kind.RESULT, *, positions: bool = True) -> int:
        number = len(self.nodes)
        self.nodes.append(node)
        for position, leaf in enumerate(() if node.after is None else leaves_of(node.after)):
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

    def name_job(self, number: int, id: UUID) -> None:
        """Give a job the id that the caller chose; its place stays that of its first id."""
        node = self.nodes[number]
        node.needs(place=node.options.place or str(node.row.id))
        node.row = node.row._replace(id=id)
        self.named.append(id)

    def graph(self) -> Graph:
        """Return the rows and edges; the first row is the root if no other job is."""
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
            *_others, last = leaves_of(node.after)
            parent_id, status = self.nodes[last].row.id, Status.WAITING.value
        return row._replace(
            options=options,
            status=status,
            root_id=root_id,
            parent_id=parent_id,
            pending_parents=node.parents,
            has_dependents=node.has_dependents,
        )
