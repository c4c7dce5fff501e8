from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as text_of_django

from ..conf import get_settings
from .auto_refresh import KEYS_SCRIPT
from .paginator import CappingPaginator

if TYPE_CHECKING:
    ModelAdmin: TypeAlias = admin.ModelAdmin[Any]
    _Mixed: TypeAlias = admin.ModelAdmin[Any]
else:
    ModelAdmin, _Mixed = admin.ModelAdmin, object


def may_view(site: admin.AdminSite, model: type[Model], request: HttpRequest) -> bool:
    """Say whether the user may view rows of *model*; the model's own admin on *site* decides."""
    if site.is_registered(model):
        return bool(site.get_model_admin(model).has_view_permission(request))
    return request.user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}")


def may_add(site: admin.AdminSite, model: type[Model], request: HttpRequest) -> bool:
    """Say whether the user may add rows of *model*; the model's own admin on *site* decides."""
    if not site.is_registered(model):
        return False
    return bool(site.get_model_admin(model).has_add_permission(request))


def page_on(site: admin.AdminSite, model: type[Model], page: str, *args: Any) -> str:
    """Return the address of a page of *model*; empty where *site* does not have the model."""
    if not site.is_registered(model):
        return ""
    opts = model._meta
    return reverse(f"{site.name}:{opts.app_label}_{opts.model_name}_{page}", args=args)


def linked(page: str, label: object) -> SafeString:
    """Return a link to the address *page*; the label alone if that is empty."""
    return format_html('<a href="{}">{}</a>', page, label) if page else format_html("{}", label)


# The lookups of Django's own filters.
_ASKED = frozenset({"", "exact", "in", "isnull", "isempty", "gte", "lt"})
_DATES = frozenset({"year", "month", "day", "gte", "lt"})


class FilteredAdminMixin(_Mixed):
    """A list accepts only the parameters of its filters in its address."""

    @property
    def media(self) -> Media:
        # A subclass's Media hides the Media of a mixin.
        return super().media + Media(js=(KEYS_SCRIPT,))  # type: ignore[arg-type]

    def action_checkbox(self, obj: Model) -> SafeString:
        # As Django's, which renders two templates for each row.
        return format_html(
            '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">',
            ACTION_CHECKBOX_NAME, obj.pk,
            format_html(text_of_django("Select this object for an action - {}"), obj),
        )  # fmt: skip

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        # Django allows every lookup on every column. A user could guess hidden values character by
        # character, and a regular expression could keep SQLite busy for minutes.
        filters = self.get_list_filter(request) if request else self.list_filter
        column, _, part = lookup.rpartition("__")
        is_date = bool(column) and column == self.date_hierarchy and part in _DATES
        return is_date or any(_asks(item, lookup) for item in filters)


def _asks(item: Any, lookup: str) -> bool:
    """Say whether an item of ``list_filter`` has the parameter *lookup*."""
    if (parameter := getattr(item, "parameter_name", None)) is not None:
        return lookup == str(parameter)
    if (names := getattr(item, "parameter_names", None)) is not None:
        return lookup in names
    column = item[0] if isinstance(item, (list, tuple)) else str(item)
    for relation in ("", "__id", "__pk"):
        name = f"{column}{relation}"
        is_of_it = lookup == name or lookup.startswith(f"{name}__")
        if is_of_it and lookup.removeprefix(name).removeprefix("__") in _ASKED:
            return True
    return False


class ReadOnlyAdminMixin(FilteredAdminMixin):
    """Rows that only workers and beats write; the list stays fast with millions of them."""

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
