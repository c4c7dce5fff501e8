from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ..log import console, set_up_console


class OfflineCommand(BaseCommand):
    """A command that starts while a database is away, and logs while it runs."""

    _in_json = False

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Run the system checks without a query.

        Since Django 6.1 the checks of models otherwise connect to all databases.
        """
        kwargs.setdefault("databases", ())
        super().check(*args, **kwargs)

    def set_up_log(self, given: Mapping[str, Any]) -> None:
        """Log as ``--loglevel`` and ``--log-format`` say."""
        try:
            set_up_console(given["loglevel"], given["log_format"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        self._in_json = given["log_format"] == "json"

    def announce(self, banner: Callable[[], str], what: str, name: str, **facts: Any) -> None:
        """Print the *banner* of a process; log the *facts* instead if the log is JSON."""
        if self._in_json:
            console.process_starts(what, name, **facts)
        else:
            self.stdout.write(banner())

    def warn(self, problem: str) -> None:
        if self._in_json:
            console.warned(problem)
        else:
            self.stderr.write(f"warning: {problem}")
