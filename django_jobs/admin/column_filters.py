"""The shared base of the job list's filters."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest


class ColumnFilter(admin.SimpleListFilter):
    """Offers values from code and settings; a SELECT DISTINCT would read the whole table."""

    #: The column, if its name differs from the parameter's.
    column = ""

    @abc.abstractmethod
    def values(self) -> Iterable[str]:
        """Return the values to offer."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = {value} if (value := self.value()) else set()
        return [(value, value) for value in sorted(chosen.union(self.values()))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        if "\0" in value:  # PostgreSQL raises an error for it
            return queryset.none()
        return queryset.filter(**{self.column or str(self.parameter_name): value})


class LinkedFilter(ColumnFilter):
    """Offers no values; other pages link to it."""

    def values(self) -> Iterable[str]:
        return ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            return super().queryset(request, queryset)
        except (ValueError, ValidationError):  # not a valid id
            return queryset.none()


def is_number_id(text: str) -> bool:
    """Say whether *text* is a valid id of a row with integer ids."""
    return text.isascii() and text.isdecimal() and len(text) <= 18
