"""Logs the lines that a job prints, with the name and the id of the job."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from ..define.context import JobContext
from ..define.current import running

_log = logging.getLogger("django_jobs.output")
#: At most this many characters of an unfinished line are kept.
LONGEST = 8_192


class _Here(threading.local):
    #: True while this thread logs what was printed.
    logging = False


_here = _Here()


class Printed:
    """A stream that logs the lines of running jobs and passes on all other text."""

    def __init__(self, stream: Any, level: int) -> None:
        self._stream = stream
        self._level = level

    def write(self, text: str) -> int:
        context = running.get()
        # A handler may write to this stream: without the second condition it would hear itself.
        if context is None or _here.logging:
            written: int = self._stream.write(text)
            return written
        # Threads of the job that begin to print at the same time get the same dict.
        parts: dict[Any, Any] = context.printed or vars(context).setdefault("printed", {})
        # A thread writes to its own part only, so that no lock is needed: a fork may copy a lock
        # that another thread holds.
        key = threading.get_ident(), id(self)
        before, _level = parts.pop(key, ("", 0))
        *lines, rest = (before + text).split("\n")
        for line in lines:
            _write(line, self._level)
        if len(rest) > LONGEST:
            _write(rest, self._level)
        elif rest:
            # A progress bar writes its line again and again.
            end = "\r" if rest.endswith("\r") else ""
            parts[key] = _visible(rest) + end, self._level
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Return False, because log lines need no colours."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def redirected(level: str | None) -> Iterator[None]:
    """Log what jobs print, at *level*; with None, leave stdout and stderr alone."""
    if level is None:
        yield
        return
    number = logging.getLevelNamesMapping()[level]
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Printed(sys.stdout, number), Printed(sys.stderr, number)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def finish(context: JobContext) -> None:
    """Log the unfinished lines of the running job."""
    if context.printed is not None:
        parts = vars(context).pop("printed", None)
        for text, level in list((parts or {}).values()):
            _write(text, level)


def _visible(line: str) -> str:
    """Return what a terminal shows of *line*: a carriage return goes back to its begin."""
    return line.rstrip("\r").rpartition("\r")[2]


def _write(line: str, level: int) -> None:
    line = _visible(line).rstrip()
    if not line:
        return
    _here.logging = True
    try:
        _log.log(level, "%s", line)
    finally:
        _here.logging = False
