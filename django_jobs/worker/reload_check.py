"""Before a reload, a process checks that a ``runworker`` can start with the new code."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from typing import NoReturn

from ..process import native
from .fork import fork, hear_term, kill_group, reap

#: With this flag ``runworker`` imports the project, checks it and its own flags, and ends.
FLAG = "--check-only"
#: A start that takes more seconds counts as failed.
LONGEST_SECONDS = 60.0
# The log has the end of its output: at most so many lines, and bytes.
_LINES = 15
_MOST_BYTES = 8_192


def command() -> list[str]:
    """Return the command line that started this process."""
    return [sys.executable, *sys.orig_argv[1:]]


class ReloadCheck:
    """A process that starts as ``runworker`` does, and runs no job. The supervisor goes on."""

    def __init__(self) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._code: int | None = None
        # Not by subprocess: gevent's reaps all children of its process.
        self.pid = fork(self._start, [])
        self._deadline = time.monotonic() + LONGEST_SECONDS

    def _start(self) -> NoReturn:
        hear_term()
        nothing, output = os.open(os.devnull, os.O_RDONLY), self._output.fileno()
        for stream, descriptor in enumerate((nothing, output, output)):
            os.dup2(descriptor, stream)
        os.execv(sys.executable, [*command(), FLAG])  # noqa: S606

    def verdict(self) -> str | None:
        """Return why the start fails, "" when it works, or None while the check runs."""
        code = self._poll()
        if code is None and time.monotonic() < self._deadline:
            return None
        if code == 0:
            return ""
        why = f"it takes longer than {LONGEST_SECONDS:.0f} s" if code is None else f"exit {code}"
        # It may have written without end: what it wrote is not read as a whole.
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _MOST_BYTES))
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        return "\n".join([why, *lines[-_LINES:]])

    def end(self) -> None:
        """Kill the process if it still runs."""
        while self._poll() is None:
            kill_group(self.pid, signal.SIGKILL)
            native.original("time", "sleep")(0.001)
        self._output.close()

    def _poll(self) -> int | None:
        if self._code is None:
            self._code = reap(self.pid)
        return self._code
