"""The shared base of the job list's filters."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from .auto_refresh import HEADER


class ColumnFilter(admin.SimpleListFilter):
    """Offers values from code and settings; a SELECT DISTINCT would read the whole table."""

    #: The column, if its name differs from the parameter's.
    column = ""

    @abc.abstractmethod
    def values(self) -> Iterable[str]:
        """Return the values to offer."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Django applies no filter that offers nothing, and an empty value must not choose all rows.
        value = self.value()
        chosen = set() if value is None else {value}
        # An operation, and the parts that refresh themselves, have no filters to choose from.
        if request.method != "POST" and HEADER not in request.headers:
            chosen.update(self.values())
        return [(value, value) for value in sorted(chosen)]

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
