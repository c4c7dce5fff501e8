"""The rows of the job list: every search is bounded, so it stays fast with millions of jobs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..display.waiting import with_reasons
from ..metrics.capped_count import (
    CAP,
    CappedCount,
    capped_count,
    capped_counts,
    counts_of_scan,
    of_status,
    total,
)
from ..models import Job
from ..status import Status
from .paginator import tell_count
from .search import is_id, problems, words_of
from .time_filters import AgeFilter, DatesFilter, EndedFilter

#: A condition without an index searches only this many of the newest jobs (of the chosen status).
MOST_SEARCHED = 100_000
# Parameters that have an index of their own.
_INDEXED = frozenset({"schedule", "age", "from", "to", "p", "all", "o", "e", "status"})
# The statuses whose jobs an index lists. Most jobs are SUCCESS, so no index lists those.
_LISTED = frozenset(Status) - {Status.SUCCESS}


class JobChangeList(ChangeList):
    #: Says that older jobs were not searched; else empty.
    bound_note = ""
    # Whether the counts of the tabs leave older jobs out.
    _is_cut = False

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        self.request, self.problems = request, problems(self.query)
        if not self._is_scan():
            return rows
        status = self.params.get("status")
        oldest = self._oldest_searched(status if status in _LISTED else None)
        if oldest is None:
            return rows
        self.bound_note = _bound_note(status) % number_format(MOST_SEARCHED, force_grouping=True)
        return rows.filter(pk__gte=oldest)

    def counts_by_status(self) -> Mapping[str, str]:
        """Return how many jobs of each status match the other filters and the search."""
        # The plus sign means, as with a capped count: the search did not reach older jobs.
        more = "+" if self._is_cut else ""
        return {
            key: f"{str(number).removesuffix('+')}{more}" if more else str(number)
            for key, number in self._counts.items()
        }

    @cached_property
    def _counts(self) -> Mapping[str, CappedCount]:
        using = get_settings().database
        others = set(self.filter_params) - {"status"}
        # A regular expression finds an argument; to count each tab's jobs would be too slow.
        words = words_of(self.query)
        if is_id(self.query) is not None or any(word.startswith("args.") for word in words):
            return {}
        rows: QuerySet[Any] = super().get_queryset(self.request, exclude_parameters=["status"])
        if rows.query.is_empty():  # a filter has a value that no job can have
            return dict.fromkeys(Status.values, CappedCount(0))
        if not (self.query or others - _INDEXED):
            groups = {status.value: of_status(rows, status) for status in Status}  # type: ignore[arg-type]
            return capped_counts(groups, using)
        oldest = self._oldest_searched(None)
        if oldest is not None:
            self._is_cut = True
            rows = rows.filter(pk__gte=oldest)
        return counts_of_scan(rows, MOST_SEARCHED, using)

    def _known_count(self) -> CappedCount | None:
        """Return the number of jobs in the list, where the counts of the tabs tell it."""
        status = self.params.get("status")
        if status is None:
            return total(self._counts.values()) if self._counts else None
        # A search among the jobs of one status reaches older ones than that among all.
        return None if self._is_scan() else self._counts.get(str(status))

    def chips(self) -> Iterator[dict[str, str]]:
        """Yield the active filters and the words of the search, each with a link without it."""
        for spec in self.filter_specs:
            names = [name for name in spec.expected_parameters() if name]
            for name in names:
                value = str(spec.used_parameters.get(name) or "")
                if not value or name == "status":
                    continue
                shown = value
                if isinstance(spec, SimpleListFilter):
                    shown = str(dict(spec.lookup_choices).get(value, value))
                label = f"{spec.title} {name}" if len(names) > 1 else str(spec.title)
                link = self.get_query_string({name: None})
                yield {"label": label, "value": shown, "link": link}
        words = words_of(self.query)
        for word in words:
            rest = " ".join(shlex.quote(other) for other in words if other != word)
            # Not *remove*, which takes the names that begin so, too.
            link = self.get_query_string({SEARCH_VAR: rest or None})
            yield {"label": "", "value": word, "link": link}

    def _oldest_searched(self, status: str | None) -> Any:
        """Return the lowest id to search, or None when there are fewer jobs than the bound."""
        jobs: Any = Job.objects.using(get_settings().database)
        rows = of_status(jobs.all(), status) if status else jobs.all()
        for spec in self.filter_specs:
            if isinstance(spec, AgeFilter | DatesFilter):  # the bound counts the days asked for
                rows = spec.queryset(self.request, rows)
            elif isinstance(spec, EndedFilter):
                rows = spec.enqueued_before(rows)
        newest = rows.order_by("-pk").values_list("pk", flat=True)
        return newest[MOST_SEARCHED - 1 : MOST_SEARCHED].first()

    def get_results(self, request: HttpRequest) -> None:
        # An operation reads the chosen rows itself, and its answer is another page.
        is_operation = request.method == "POST" and "_save" not in request.POST
        known = CappedCount(0) if is_operation else self._known_count()
        found = self._found() if known is None else None
        if found is not None:
            known = CappedCount(len(found))
        if known is None and self.bound_note:
            known = capped_count(self.queryset, newest_first=True)
        tell_count(self.queryset, known)
        super().get_results(request)
        if is_operation:
            self.result_list = self.queryset.none()
        else:
            if found is not None:
                shown = found[: self.list_per_page]
                rows = self.queryset.in_bulk(shown)
                self.result_list = [rows[pk] for pk in shown if pk in rows]
            with_reasons(self.result_list)

    def _found(self) -> list[UUID] | None:
        """Return the ids of at most 10,001 jobs of the list, or None unless the page is its first.

        A search may read a hundred thousand jobs to find a few. It does that once, for the count
        and for the first page.
        """
        # Fields in the rows need a queryset.
        if self.page_num != 1 or self.show_all or self.list_editable:
            return None
        return list(self.queryset.values_list("pk", flat=True)[: CAP + 1])

    def _is_scan(self) -> bool:
        if self.query and is_id(self.query) is not None:
            return False
        asked = {name for name in self.filter_params if name not in _INDEXED}
        return bool(asked or self.query or self.params.get("status") == Status.SUCCESS)


def _bound_note(status: str | None) -> str:
    if status is None:
        return _(
            "Only the newest %s jobs were searched: choose a status or dates to reach older ones."
        )
    if status in _LISTED:
        return _(
            "Only the newest %s jobs of this status were searched: choose dates to reach older "
            "ones."
        )
    return _("Only the newest %s jobs were searched: choose dates to reach older ones.")
