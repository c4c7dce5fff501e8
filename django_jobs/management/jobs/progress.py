"""The progress of a long verb, on stderr, for people at a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.utils.formats import number_format

# Nothing is shown before this many seconds, and then as often.
_SECONDS = 1.0


class Progress:
    """Shows ``1,500 / 30,625`` once a second on a line that is cleared at the end.

    Without a *total* it shows the first number alone.
    """

    def __init__(self, total: int | None, stream: Any = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total = "" if total is None else f" / {number_format(total, force_grouping=True)}"
        self._done = 0
        self._next = time.monotonic() + _SECONDS
        self._is_shown = False

    def __enter__(self) -> Progress:
        return self

    def advance(self, number: int) -> None:
        self._done += number
        if time.monotonic() < self._next or not self._stream.isatty():
            return
        self._next = time.monotonic() + _SECONDS
        self._is_shown = True
        done = number_format(self._done, force_grouping=True)
        self._stream.write(f"\r{done}{self._total} ")
        self._stream.flush()

    def __exit__(self, *error: object) -> None:
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
