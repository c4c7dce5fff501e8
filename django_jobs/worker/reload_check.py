"""Before a reload, a process checks that a ``runworker`` can start with the new code."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import time

from ..run.forks import die_with_parent

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
        self._process = subprocess.Popen(  # noqa: S603
            [*command(), FLAG],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A start that hangs would outlive a runworker that is killed.
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )
        self._deadline = time.monotonic() + LONGEST_SECONDS

    @property
    def pid(self) -> int:
        return self._process.pid

    def verdict(self) -> str | None:
        """Return why the start fails, "" when it works, or None while the check runs."""
        code = self._process.poll()
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
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._output.close()
