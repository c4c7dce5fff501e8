"""List actions and page buttons that are generated from a table of operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from .base import _Mixed, may_view

Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]


class Permitted(Protocol):
    """The attributes of all that a permission allows."""

    @property
    def name(self) -> str:
        """The name that an own admin class compares."""

    @property
    def permission(self) -> str:
        """The permission that it needs, with the app's label."""


class Described(Permitted, Protocol):
    """The attributes that every operation of a table has."""

    @property
    def label(self) -> Any:
        """The text of the button."""

    @property
    def description(self) -> Any:
        """The text of the list action."""


@dataclasses.dataclass(frozen=True, slots=True)
class PageOperation:
    """An operation with a page of its own."""

    name: str
    permission: str


def actions_of(operations: Iterable[Described]) -> tuple[Action, ...]:
    """Return a list action per operation, which calls the admin's ``perform_operation``."""
    return tuple(_action(operation) for operation in operations)


def _action(operation: Described) -> Action:
    def act(
        model_admin: OperationsAdminMixin, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        return model_admin.perform_operation(operation, request, queryset)

    act.__name__ = operation.name
    action: Action = admin.action(description=operation.description)(act)
    return action


class OperationsAdminMixin(_Mixed):
    """Offers the operations of a table to the users who have their permissions."""

    operations: ClassVar[Sequence[Described]] = ()

    def has_operation_permission(self, request: HttpRequest, operation: Any) -> bool:
        return request.user.has_perm(operation.permission)

    if TYPE_CHECKING:

        def perform_operation(
            self, operation: Any, request: HttpRequest, queryset: QuerySet[Any]
        ) -> HttpResponse | None:
            """Do *operation* to the rows of *queryset*; each admin has its own."""

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django 6.1 passes the location; older versions know none.
        location = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **location)
        for operation in self.operations:
            if not self.has_operation_permission(request, operation):
                actions.pop(operation.name, None)
        return actions


class RowPagesMixin(OperationsAdminMixin):
    """Pages about one row, beside Django's own."""

    def row_url(self, page: str, key: Any) -> str:
        """Return the address of a page, by the last part of its name."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(f"{self.admin_site.name}:{name}", args=[key])

    def permitted_row(self, request: HttpRequest, key: str, operation: Permitted) -> Any:
        """Return the row; refuse a user who may not do the *operation*, or not view this row."""
        may = self.has_operation_permission(request, operation)
        if not (may and self.has_view_permission(request)):
            raise PermissionDenied
        row = self.get_object(request, key)
        if row is None:
            raise Http404
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row


def is_permitted(
    site: admin.AdminSite, model: type[Model], request: HttpRequest, operation: Permitted
) -> bool:
    """Say whether the user may do *operation* to rows of *model*; its admin on *site* decides."""
    own = site.get_model_admin(model) if site.is_registered(model) else None
    if isinstance(own, OperationsAdminMixin):
        return own.has_operation_permission(request, operation)
    return request.user.has_perm(operation.permission)


def may_operate(
    site: admin.AdminSite, model: type[Model], request: HttpRequest, operation: Permitted
) -> bool:
    """Say whether :func:`is_permitted` holds, and the user may see the list with the operation."""
    return may_view(site, model, request) and is_permitted(site, model, request, operation)
