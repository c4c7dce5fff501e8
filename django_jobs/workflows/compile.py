"""Compiles a canvas to the rows of its jobs and the edges between them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..define import registry
from ..define.call_options import CallKeywords, check
from ..define.canvas import (
    CALLBACKS,
    Canvas,
    Chord,
    Group,
    Signature,
    callbacks,
    refuse_deep,
)
from ..define.encrypted_calls import ACCUMULATE
from ..define.fitting import bind_with_result
from ..ids import uuid7
from ..models import Edge
from .draft import Draft, Node
from .shape import Output, Shape, form_of, leaves_of, nested_form
from .surroundings import START, Around, Given

if TYPE_CHECKING:
    from ..api.job import JobFunction

# A group after a group needs an edge from each member to each. With more edges than this, one job
# between the groups connects them.
MOST_EDGES = 10_000


class Plan(Draft):
    """Turns canvases into rows and edges."""

    def add(self, canvas: Canvas, given: Output | Given | None, around: Around) -> Output:
        """Add the jobs of *canvas*, which takes *given*; return its output."""
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
            # A chord is one link, so the errbacks for its failure are those of its body.
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
            # No member could wait for the jobs before the group.
            return self._add_accumulate(after, "list", around, positions=False)
        if isinstance(given, Shape) and len(given) * len(group.tasks) > MOST_EDGES:
            given = self._add_accumulate(given, form_of(given), Around())
        shape = Shape(around.group_id or uuid7(), after)
        inner = dataclasses.replace(around, group_id=shape.id)
        shape.extend(self._add(member, given, inner) for member in group.tasks)
        leaves = list(leaves_of(shape))
        if around.group_id is None and leaves and form_of(shape) != "list":
            self.nodes[leaves[0]].needs(shape=form_of(shape))
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
        waits = after is not None and next(leaves_of(after), None) is not None
        options, later = self._options(call, function, around, waits)
        if takes and function.options.unique:
            raise ValueError(
                f"{function.name} is unique, and which one it is, is not known before the job that "
                "it takes a result of has ended. Make it immutable with .si()."
            )
        row = self._row(function, args, kwargs, options, int(takes))
        node = Node(row._replace(group_id=around.group_id), after)
        if later:
            node.needs(later=later)
        if options.get("task_id") is not None:
            # An id that the caller chose says nothing about the order.
            node.needs(place=str(uuid7()))
        self._set_errbacks(node, [*around.own_errbacks(call.options), *around.errbacks])
        if after is not None and takes:
            node.needs(takes=form_of(after))
        elif isinstance(after, Shape):
            node.needs(takes="nothing")
        number = self._append(node)
        self.add_callbacks(call.options, number)
        return number

    def _named(self, output: Output | None) -> str:
        """Return words for messages that say which result *output* is."""
        name = self.nodes[output].row.name if isinstance(output, int) else ACCUMULATE
        return "what the group gives" if name == ACCUMULATE else f"the result of {name}"

    def _options(
        self, call: Signature, function: JobFunction[..., Any, Any], around: Around, waits: bool
    ) -> tuple[CallKeywords, dict[str, float]]:
        """Return the options of a call, and the times that count from when it becomes ready."""
        own = {key: value for key, value in call.options.items() if key not in CALLBACKS}
        start = {} if own.keys() & set(START) else around.start
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

    def _add_accumulate(
        self,
        after: Output,
        takes: Any,
        around: Around,
        *,
        kind: str = Edge.Kind.RESULT,
        positions: bool = True,
    ) -> int:
        """Add a built-in job that returns the results of *after* in the form *takes*."""
        leaf = next(leaves_of(after), None)
        queue = around.defaults.get("queue") if leaf is None else self.nodes[leaf].row.queue
        row = self._row(registry.get(ACCUMULATE), (), {}, {"queue": queue} if queue else {})
        node = Node(row._replace(group_id=around.group_id), after)
        node.needs(takes=takes)
        self._set_errbacks(node, around.errbacks)
        return self._append(node, kind, positions=positions)

    def add_callbacks(self, options: Mapping[str, Any], output: Output) -> None:
        """Add the ``link`` callbacks in *options* of the canvas with this *output*."""
        for callback in callbacks(options, "link"):
            self._add(callback, output, Around())

    def _add_summary(self, callback: Canvas, shape: Shape) -> None:
        """Add a callback that runs when all members of a group have ended, in any status."""
        number = self._add_accumulate(shape, "summary", Around(), kind=Edge.Kind.COMPLETE)
        self.nodes[number].needs(group=str(shape.id))
        self._add(callback, number, Around())

    def keep_empty(self, output: Output, around: Around) -> None:
        """Add a job for a group without members, so that the id of the group can be found."""
        if isinstance(output, Shape) and next(leaves_of(output), None) is None:
            inner = dataclasses.replace(around, group_id=output.id, errbacks=())
            number = self._add_accumulate(output, form_of(output), inner)
            self.nodes[number].needs(shape=nested_form(output))

    def accumulate(self, output: Output) -> int:
        """Add a job that returns the result of *output*: a job's result, or a list."""
        return self._add_accumulate(output, form_of(output), Around())
