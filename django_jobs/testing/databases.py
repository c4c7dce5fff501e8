"""The databases with jobs that the running test may use."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections
from django.test.testcases import DatabaseOperationForbidden  # type: ignore[attr-defined]


def usable(databases: Sequence[str]) -> list[str]:
    """Return those of *databases* that the test may use.

    A ``TestCase`` names them in ``databases``. Raises its error if it names none of them.
    """
    found, refusal = [], None
    for using in databases:
        try:
            with connections[using].cursor():
                found.append(using)
        except DatabaseOperationForbidden as error:
            refusal = error
    if not found and refusal is not None:
        raise refusal
    return found
