"""Keeps the last log lines of running jobs whose function has ``keep_log``.

The import of this module lets it hear the records of all loggers, also of those that pass nothing
on to the root logger. A handler could not, and would change what ``logging.basicConfig()`` does.
"""

from __future__ import annotations

import functools
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..define.current import running
from ..define.sensitive import redact
from ..failure import describe, shown_line
from ..log.json_lines import text_of
from ..redaction import Secrets
from ..values import Claimed, KeptLines
from .outside_body import hidden

if TYPE_CHECKING:
    from ..define.options import JobOptions

#: How many lines ``keep_log=True`` keeps.
DEFAULT_LINES = 200
#: A line without its middle has at most so many characters.
LONGEST = 8 * 1024
#: A log has at most so many bytes as JSON.
MOST_BYTES = 128 * 1024
_LONGEST_NAME = 200


class KeptLog:
    """The last lines of one attempt. Several threads of it may add lines."""

    def __init__(self, job: Claimed, options: JobOptions) -> None:
        most = DEFAULT_LINES if options.keep_log is True else int(options.keep_log)
        self._job = job
        self._sensitive = options.sensitive
        self._secrets: Secrets | None = None
        # No lock guards it: a fork may copy a lock that another thread holds.
        self._last: deque[tuple[float, str, str, str]] = deque(maxlen=most)
        self._added = self._saved = 0
        self.began = time.monotonic()
        #: Whether a row has lines already; set before that row is written.
        self.has_row = False

    def add(self, record: logging.LogRecord) -> None:
        text = text_of(record)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            failure = describe(error, self._known_secrets())
            text += "\n" + (failure.traceback or f"{failure.error_class}: {failure.message}")
        if record.stack_info:
            text += "\n" + record.stack_info
        text = text.rstrip("\n")
        if len(text) > LONGEST:
            text = self._shown(text, LONGEST)
        self._last.append((record.created, record.levelname, record.name, text))
        self._added += 1

    def lines(self) -> KeptLines | None:
        """Return the lines so far, without secrets; None if there are none."""
        found: list[list[object]] = []
        shown_name = functools.cache(self._shown_name)
        room = MOST_BYTES
        # Redacted here, because a job may add far more lines than are kept.
        for created, level, name, text in reversed(self._last.copy()):
            text = self._shown(text, LONGEST)
            line = [round(created, 3), shown_name(level), shown_name(name), text]
            room -= len(json.dumps(line)) + 1
            if room < 0:
                break
            found.append(line)
        if not found:
            return None
        found.reverse()
        return KeptLines(found, max(0, self._added - len(found)), lambda: self.has_row)

    def save(self, write: Callable[[KeptLines], object]) -> None:
        """Pass what is there to *write*, if a row should have it."""
        added, lines = self._added, self.lines()
        if lines is not None:
            self.has_row = True
            write(lines)
            self._saved = added

    @property
    def has_news(self) -> bool:
        """Whether it has lines that are not saved."""
        return self._added > self._saved

    def _shown(self, text: str, size: int) -> str:
        return shown_line(str(redact(text, self._sensitive)), self._known_secrets(), size)

    def _shown_name(self, name: str) -> str:
        return self._shown(name, _LONGEST_NAME).replace("\n", " ")

    def _known_secrets(self) -> Secrets:
        if self._secrets is None:
            self._secrets = hidden(self._job)
        return self._secrets


def _keep(record: logging.LogRecord) -> None:
    context = running.get()
    if context is None or context.kept_log is None or record.levelno < logging.INFO:
        return
    try:
        context.kept_log.add(record)
    except Exception:  # as a handler's: str() of an argument is code of the project
        logging.Handler().handleError(record)


_call_handlers = logging.Logger.callHandlers


def _keep_and_call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    _keep(record)
    _call_handlers(logger, record)


logging.Logger.callHandlers = _keep_and_call_handlers  # type: ignore[method-assign, assignment]
