"""Log records on the console: each names its job and begins a line."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings

from ..failure import printable
from .attributes import JobFilter


class ConsoleFormatter(logging.Formatter):
    """Formats records so that a job can neither steer the terminal nor forge a line.

    A record begins at the left margin, and its further lines are indented. The job is named
    before the lines that its code logs; the package's own lines name the job themselves.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return "\n  ".join(text.rstrip("\n").split("\n"))

    def formatMessage(self, record: logging.LogRecord) -> str:
        # Not in the record itself, which other handlers get, too.
        return self._fmt % (vars(record) | {"job": _prefix(record)}) if self._fmt else ""


def _prefix(record: logging.LogRecord) -> str:
    job_id = vars(record).get("job_id", "-")
    names_it = record.name.startswith("django_jobs.") and job_id in record.message
    return "" if job_id == "-" or names_it else f"[{vars(record)['job_name']} {job_id}] "


def set_up_console(level: str | None) -> None:
    """Show log lines of *level* (INFO by default) and above on stderr.

    If the project sets ``LOGGING``, the root logger stays as it is. The package's logger gets a
    handler when it has none, and a level when *level* is given or ``LOGGING`` names neither the
    root logger nor the package's.
    """
    package, root = logging.getLogger("django_jobs"), logging.getLogger()
    if settings.LOGGING:
        if not package.hasHandlers():
            package.addHandler(console_handler())
        loggers: Any = settings.LOGGING.get("loggers", {})
        if level or not ("root" in settings.LOGGING or "" in loggers or "django_jobs" in loggers):
            package.setLevel(level or "INFO")
        return
    if not root.handlers:
        root.addHandler(console_handler())
    root.setLevel(level or "INFO")
    package.setLevel(level or "INFO")


def console_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.addFilter(JobFilter())
    handler.setFormatter(
        ConsoleFormatter("%(asctime)s %(levelname)s %(process)d %(name)s %(job)s%(message)s")
    )
    return handler
