"""The handle on a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async

from ..define.routing import databases
from ..define.row_options import read
from ..exceptions import JobDoesNotExist
from ..models import Job
from .result import AsyncResult
from .result_set import ResultSet
from .stored_job import Identified, uuid_of

if TYPE_CHECKING:
    from typing import Self


class GroupResult(Identified, ResultSet):
    """The handle on a group, by the group's id, which the rows of its jobs have, too.

    ``parent`` is the handle on the job or group before it in its workflow, or None. Raises
    ``ArgumentError`` for an *id* that is not a UUID.
    """

    def __init__(
        self,
        id: UUID | str,
        results: Sequence[AsyncResult[Any] | ResultSet],
        *,
        parent: AsyncResult[Any] | ResultSet | None = None,
    ) -> None:
        super().__init__(results)
        self._uuid = uuid_of(id, "group")
        self.parent = parent

    def __repr__(self) -> str:
        return f"<GroupResult {self.uuid} of {len(self.results)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and (other.uuid, other.results) == (
            self.uuid, self.results,
        )  # fmt: skip

    # A class with __eq__ inherits none.
    __hash__ = Identified.__hash__

    @property
    def children(self) -> list[AsyncResult[Any] | ResultSet]:
        """The results, as Celery names them."""
        return self.results

    def save(self) -> Self:
        """Return this result. There is nothing to save: ``restore()`` reads it from the rows."""
        return self

    @classmethod
    def restore(cls, id: UUID | str) -> GroupResult:
        """Return the result of the group with that id, in any process.

        Raises ``JobDoesNotExist`` when no row has the group's id (any more).
        """
        group = cls(id, [])
        for using in databases():
            rows = Job.objects.using(using).filter(group_id=group.uuid)
            found = sorted(rows.values_list("id", "name", "options"), key=_in_order)
            if found:
                jobs = iter([AsyncResult[Any](row[0], name=row[1], using=using) for row in found])
                shape = read(found[0][2]).workflow.shape
                if shape is None:
                    shape = ["value"] * len(found)
                elif _is_empty(shape):  # an empty group has one row, which is not a member
                    jobs = iter(())
                group.results = [_shaped(each, jobs, group.uuid) for each in shape] + list(jobs)
                return group
        raise JobDoesNotExist(f"No job belongs to a group with the id {group.id}.")

    @classmethod
    async def arestore(cls, id: UUID | str) -> GroupResult:
        """Asynchronous twin of :meth:`restore`."""
        return await sync_to_async(cls.restore)(id)


def _in_order(row: tuple[UUID, str, Any]) -> str:
    """Return the sort key for the order of definition: the id, unless the caller chose the id."""
    job_id, place = str(row[0]), read(row[2]).workflow.place or ""
    return job_id if job_id in place else place[: len(job_id)] or job_id


def _is_empty(shape: Any) -> bool:
    return shape != "value" and all(map(_is_empty, shape))


def _shaped(shape: Any, jobs: Iterator[AsyncResult[Any]], id: UUID) -> AsyncResult[Any] | ResultSet:
    if shape == "value":
        return next(jobs)
    return GroupResult(id, [_shaped(each, jobs, id) for each in shape])
