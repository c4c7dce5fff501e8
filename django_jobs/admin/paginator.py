from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

from ..metrics.capped_count import CappedCount, capped_count

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator


class CappingPaginator(_Paginator):
    """Counts at most 10,001 rows; the last page ends there."""

    @cached_property
    def count(self) -> CappedCount:
        return capped_count(self.object_list)  # type: ignore[arg-type]
