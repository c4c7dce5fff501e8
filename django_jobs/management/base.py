from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand


class OfflineCommand(BaseCommand):
    """A command that starts while a database is away."""

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Run the system checks without a query.

        Since Django 6.1 the checks of models otherwise connect to all databases.
        """
        kwargs.setdefault("databases", ())
        super().check(*args, **kwargs)
