from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

from ..metrics.capped_count import CappedCount, capped_count

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator


_COUNT = "_django_jobs_count"


def tell_count(rows: QuerySet[Any], count: CappedCount | None) -> None:
    """Tell the paginator of *rows* how many they are, if another statement has counted them."""
    vars(rows)[_COUNT] = count


class CappingPaginator(_Paginator):
    """Counts at most 10,001 rows; the last page ends there."""

    @cached_property
    def count(self) -> CappedCount:
        known: CappedCount | None = vars(self.object_list).get(_COUNT)
        return capped_count(self.object_list) if known is None else known  # type: ignore[arg-type]
