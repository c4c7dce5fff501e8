"""pytest on one database, as a process that tells how far it is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from tests.written import written

# pytest's own code for "no test was collected" is a failure here, as any other but this one.
PASSED = 0
STOP_SECONDS = 60.0


@dataclasses.dataclass
class Failure:
    test: str
    why: str


class Suite:
    """pytest on one database."""

    def __init__(self, kind: str, url: str, arguments: list[str]) -> None:
        self.kind = kind
        self.url = url
        self.arguments = arguments
        self.code: int | None = None
        self.total: int | None = None
        self.done = 0
        self.failures: list[Failure] = []
        self.ran: set[str] = set()
        #: Why each test was skipped.
        self.skipped: dict[str, str] = {}
        self.pipe, self._write = os.pipe()
        os.set_blocking(self.pipe, False)
        self._rest = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()
        self._began = self._ended = 0.0

    def start(self, *, alone: bool) -> None:
        """Start pytest; one that runs alone prints as it goes."""
        self._began = time.monotonic()
        # Alone in a terminal it stays in the foreground, for --pdb; Ctrl-C reaches it there.
        # Otherwise it has a group of its own, and stop() tells it once.
        foreground = alone and sys.stdin.isatty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "tests.progress", *self.arguments],
            env={**os.environ, "DATABASE_URL": self.url, "PROGRESS_FD": str(self._write)},
            stdin=None if foreground else subprocess.DEVNULL,
            stdout=None if alone else self._output,
            stderr=None if alone else subprocess.STDOUT,
            pass_fds=[self._write],
            process_group=None if foreground else 0,
        )
        if foreground:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def news(self) -> list[Failure]:
        """Read what pytest has told since the last call; return the new failures."""
        known = len(self.failures)
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.pipe, 65536):
                *lines, self._rest = (self._rest + part).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
        return self.failures[known:]

    def _take(self, event: dict[str, str | int]) -> None:
        match event:
            case {"total": int(total)}:
                self.total = total
            case {"done": str()}:
                self.done += 1
            case {"ran": str(test)}:
                self.ran.add(test)
            case {"skipped": str(test), "why": str(why)}:
                self.skipped[test] = why
            case {"failed": str(test), "why": str(why)}:
                self.failures.append(Failure(test, why))

    def has_ended(self) -> bool:
        assert self._process is not None
        self.code = self._process.poll()
        self._ended = time.monotonic()
        return self.code is not None

    def output(self) -> str:
        """Return what pytest printed, when it did not run alone."""
        return written(self._output)

    def progress(self) -> str:
        if self.total is None:
            return f"{self.kind} collects its tests"
        tests = {failure.test for failure in self.failures}
        failed = f", {len(tests)} failed" if tests else ""
        return f"{self.kind} {self.done} of {self.total} tests{failed}"

    def verdict(self) -> str:
        """Return how the suite ended, and a line for each failure."""
        word = "passed" if self.code == PASSED else "FAILED"
        lines = [f"{self.kind}: {word} in {self._ended - self._began:.0f} s"]
        lines += [f"  {failure.test} - {failure.why}" for failure in self.failures]
        return "\n".join(lines)

    def interrupt(self) -> None:
        """Tell pytest to stop: it ends what its tests have started, and drops its database."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """Wait for the end of an interrupted pytest; kill what does not end."""
        if self._process is None or self._process.poll() is not None:
            return
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
