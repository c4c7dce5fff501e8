"""The rows of the job list: every search is bounded, so it stays fast with millions of jobs."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..display.waiting import with_reasons
from ..metrics.capped_count import of_status
from ..models import Job
from ..status import Status
from .filters import ended_between, first_id_at
from .search import is_id

#: A condition without an index searches only this many of the newest jobs (of the chosen status).
MOST_SEARCHED = 100_000
# Parameters that have an index of their own.
_INDEXED = frozenset({"schedule", "age", "p", "all", "o", "e", "status"})
# The statuses whose jobs an index lists. Most jobs are SUCCESS, so no index lists those.
_LISTED = frozenset(Status) - {Status.SUCCESS}


class JobChangeList(ChangeList):
    #: Says that older jobs were not searched; else empty.
    bound_note = ""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        if not self._is_scan():
            return rows
        status = self.params.get("status")
        times = ended_between(str(self.params.get("ended", "")))
        oldest = _oldest_searched(status if status in _LISTED else None, times and times[1])
        if oldest is None:
            return rows
        self.bound_note = _bound_note(status) % number_format(MOST_SEARCHED, force_grouping=True)
        return rows.filter(pk__gte=oldest)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        with_reasons(self.result_list)

    def _is_scan(self) -> bool:
        if self.query and is_id(self.query) is not None:
            return False
        asked = {name for name in self.filter_params if name not in _INDEXED}
        return bool(asked or self.query or self.params.get("status") == Status.SUCCESS)


def _bound_note(status: str | None) -> str:
    if status is None:
        return _("Only the newest %s jobs were searched: choose a status to reach older ones.")
    if status in _LISTED:
        return _("Only the newest %s jobs of this status were searched.")
    return _("Only the newest %s jobs were searched.")


def _oldest_searched(status: str | None, ended_before: int | None = None) -> Any:
    """Return the lowest id to search, or None when there are fewer jobs than the bound.

    With *ended_before*, a Unix time, the search begins with the jobs that existed then.
    """
    jobs: Any = Job.objects.using(get_settings().database)
    rows = of_status(jobs.all(), status) if status else jobs.all()
    if ended_before is not None:
        rows = rows.filter(pk__lt=first_id_at(ended_before))
    newest = rows.order_by("-pk").values_list("pk", flat=True)
    return newest[MOST_SEARCHED - 1 : MOST_SEARCHED].first()
