"""Log records on the console: each names its job and begins a line."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection
from typing import Any

from django.conf import settings

from ..failure import printable
from .attributes import JobFilter
from .json_lines import JsonFormatter

#: The values of ``--log-format``.
FORMATS = ("text", "json")

_worker = logging.getLogger("django_jobs.worker")


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


def set_up_console(level: str | None, log_format: str | None = None) -> None:
    """Show log lines of *level* (INFO by default) and above on stderr, as text or JSON.

    If the project sets ``LOGGING``, the root logger stays as it is. The package's logger gets a
    handler when it has none, and a level when *level* is given or ``LOGGING`` names neither the
    root logger nor the package's.

    With *log_format* the root logger gets the handler. Raises ``ValueError`` when the root logger
    or the package's has handlers of the project.
    """
    package, root = logging.getLogger("django_jobs"), logging.getLogger()
    loggers: Any = settings.LOGGING.get("loggers", {})
    named = {*loggers, *({""} if "root" in settings.LOGGING else ())}
    is_level_free = not named & {"", "django_jobs"}
    if log_format:
        _use(log_format, package, root, loggers)
    elif settings.LOGGING:
        if not package.hasHandlers():
            package.addHandler(console_handler())
        if level or is_level_free:
            package.setLevel(level or "INFO")
        return
    elif not root.handlers:
        root.addHandler(console_handler())
    if level or is_level_free:
        root.setLevel(level or "INFO")
        package.setLevel(level or "INFO")


def _use(
    log_format: str, package: logging.Logger, root: logging.Logger, loggers: Collection[str]
) -> None:
    """Give the root logger the console's handler, if the project leaves it free."""
    if not all(map(_is_console, [*root.handlers, *package.handlers])):
        raise ValueError(
            f"--log-format {log_format} has no effect on the handlers that your LOGGING or your "
            "code has given to the root logger or to django_jobs. Leave it out. For lines of JSON "
            "give these handlers the formatter django_jobs.log.JsonFormatter."
        )
    root.handlers[:] = [console_handler(log_format)]
    if log_format == "json":
        _log_what_python_prints(has_django="django" in loggers)
    own = [name for name in loggers if logging.getLogger(name).handlers]
    if own:
        _worker.warning(
            "--log-format does not change the handlers that LOGGING gives to %s", ", ".join(own)
        )


def process_starts(what: str, name: str, **facts: Any) -> None:
    """Log what the banner of a command says, where stderr is for lines of JSON."""
    _worker.info(
        "starting %s name=%s pid=%d", what, name, os.getpid(), extra={"worker": name, **facts}
    )


def warned(problem: str) -> None:
    """Log a warning about the command line or the settings."""
    _worker.warning("%s", problem)


def _is_console(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, ConsoleFormatter | JsonFormatter)


def console_handler(log_format: str | None = None) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.addFilter(JobFilter())
    handler.setFormatter(
        JsonFormatter()
        if log_format == "json"
        else ConsoleFormatter("%(asctime)s %(levelname)s %(process)d %(name)s %(job)s%(message)s")
    )
    return handler


def _log_what_python_prints(has_django: bool) -> None:
    """Make records of what would be text on stderr, between the lines of JSON."""
    django = logging.getLogger("django")
    for handler in django.handlers[:]:
        if type(handler) is logging.StreamHandler and not has_django:  # Django's own, for DEBUG
            django.removeHandler(handler)
    logging.captureWarnings(True)
    threading.excepthook = _log_end_of_thread


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and ended.exc_type is not SystemExit:
        how = ended.exc_type, ended.exc_value, ended.exc_traceback
        name = ended.thread.name if ended.thread else "-"
        _worker.error("a thread has failed thread=%s", name, exc_info=how)
