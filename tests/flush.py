"""Empties the tables that a test has written, where Django's flush empties every table.

Django then writes the content types and the permissions again, with some hundred statements. No
test writes them, so they stay.
"""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections
from django.test import TransactionTestCase

KEPT = {"contenttypes.ContentType", "auth.Permission"}


def flush_after_tests() -> None:
    """Let every test that commits end with :func:`flush`."""
    flush_all = TransactionTestCase._fixture_teardown

    def teardown(self: Any) -> None:
        if self.available_apps is not None or self.serialized_rollback:
            flush_all(self)
            return
        for alias in self._databases_names(include_mirrors=False):
            flush(alias)

    TransactionTestCase._fixture_teardown = teardown


def flush(alias: str) -> None:
    """Delete all rows of the database *alias* but content types and permissions."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(_written(alias))
        tables = [table for (table,) in cursor.fetchall()]
    if tables:
        # The tables that refer to these are among them, or empty.
        statements = connection.ops.sql_flush(no_style(), tables, allow_cascade=True)
        connection.ops.execute_sql_flush(statements)


@functools.cache
def _written(alias: str) -> str:
    """Return the query for the names of the tables that have rows."""
    connection = connections[alias]
    kept = {apps.get_model(name)._meta.db_table for name in KEPT}
    existing = connection.introspection.django_table_names(only_existing=True, include_views=False)
    quote = connection.ops.quote_name
    return " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})"
        for table in sorted(set(existing) - kept)
    )
