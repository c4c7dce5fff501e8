"""List actions and page buttons that are generated from a table of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from .base import _Mixed

Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]


class Described(Protocol):
    """The attributes that every operation of a table has."""

    @property
    def name(self) -> str:
        """The name of the action."""

    @property
    def label(self) -> Any:
        """The text of the button."""

    @property
    def description(self) -> Any:
        """The text of the list action."""

    @property
    def permission(self) -> str:
        """The permission that it needs, with the app's label."""


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
