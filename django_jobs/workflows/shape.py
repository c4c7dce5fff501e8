"""The outputs of a workflow's parts: the result of one job, or those of a group in its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias
from uuid import UUID


class Shape(list[Any]):
    """The output of a group: numbers of rows, and shapes of the groups in it.

    ``id`` is the id of the group, ``after`` the output before it.
    """

    def __init__(self, id: UUID, after: Any = None) -> None:
        super().__init__()
        self.id = id
        self.after = after


#: The number of a row, or the rows of a group.
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
