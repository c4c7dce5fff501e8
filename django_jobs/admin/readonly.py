from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from ..conf import get_settings
from .paginator import CappingPaginator

if TYPE_CHECKING:
    ModelAdmin: TypeAlias = admin.ModelAdmin[Any]
    _Mixed: TypeAlias = admin.ModelAdmin[Any]
else:
    ModelAdmin, _Mixed = admin.ModelAdmin, object


class ReadOnlyAdminMixin(_Mixed):
    """Rows that only the engine writes, in a list that stays quick when there are millions."""

    paginator = CappingPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions_selection_counter = True
    sortable_by = ()
    ordering = ("-pk",)

    class Media:
        css = {"all": ["django_jobs/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.using(get_settings().database)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
