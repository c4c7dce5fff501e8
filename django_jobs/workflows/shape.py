"""What the jobs of a workflow result in: one job's result, or a group's in its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias
from uuid import UUID


class Shape(list[Any]):
    """What a group results in: rows of the plan by number, and shapes.

    ``id`` is the group's, ``after`` what comes before it.
    """

    def __init__(self, id: UUID, after: Any = None) -> None:
        super().__init__()
        self.id = id
        self.after = after


#: The number of a row in the making, or a group's rows.
Output: TypeAlias = int | Shape


def leaves_of(output: Output) -> Iterator[int]:
    if isinstance(output, Shape):
        for each in output:
            yield from leaves_of(each)
    else:
        yield output


def form_of(output: Output) -> Any:
    """Return how a job takes these results, as JSON: see :mod:`django_jobs.workflows.inputs`."""
    if not isinstance(output, Shape):
        return "value"
    if all(not isinstance(each, Shape) for each in output):
        return "list"
    return [form_of(each) if not isinstance(each, Shape) else nested_form(each) for each in output]


def nested_form(shape: Shape) -> Any:
    return [nested_form(each) if isinstance(each, Shape) else "value" for each in shape]
