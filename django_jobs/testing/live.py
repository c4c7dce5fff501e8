"""A real worker beside the tests, on their database."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from typing import IO, Any

from django.core.management import CommandError, call_command
from django.db import connections

from ..conf import get_settings
from ..models import Worker

# A loaded machine takes long to start processes.
_START_SECONDS = 120.0
# A worker kills its jobs after the grace period; then it has so long to end.
_END_SECONDS = 15.0
_LOOK_SECONDS = 0.01


class LiveWorker:
    """A ``manage.py runworker`` in a process of its own, forked from the test's process.

    It has the settings, the job functions and the patches of the moment at which it started, and
    sees committed rows only.
    """

    def __init__(self, *arguments: str, using: str | None = None) -> None:
        self.arguments = arguments or ("--processes", "1")
        self.using = using or get_settings().database
        #: The process id of ``runworker``; 0 when it does not run.
        self.pid = 0
        self._log: IO[str] | None = None
        self._output = ""

    def start(self) -> None:
        """Start the worker and wait until it is registered.

        Raises ``RuntimeError``, with what the worker wrote, if it ends instead.
        """
        self._refuse()
        known = set(Worker.objects.using(self.using).values_list("pk", flat=True))
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # The child must not share the sessions of this process.
        connections.close_all()
        self.pid = self._fork()
        deadline = time.monotonic() + _START_SECONDS
        started = Worker.objects.using(self.using).live().executing().exclude(pk__in=known)
        while not started.exists():
            if self._has_ended() or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"The live worker did not start:\n{self.output()}")
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """End the worker: its running jobs end first, within ``SHUTDOWN_GRACE_SECONDS``."""
        for number, seconds in (
            (signal.SIGTERM, get_settings().shutdown_grace_seconds + _END_SECONDS),
            (signal.SIGKILL, _END_SECONDS),
        ):
            deadline = time.monotonic() + seconds
            if not self._has_ended():
                os.kill(self.pid, number)
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
        self._output = self.output()
        if self._log is not None:
            self._log.close()
            self._log = None

    def restart(self, *arguments: str) -> None:
        """Stop, and start with other *arguments* or the same ones, and the present settings."""
        self.stop()
        self.arguments = arguments or self.arguments
        self.start()

    def output(self) -> str:
        """Return what the worker has written since its start."""
        if self._log is not None:
            # Not by seek(): the worker writes at the place that both processes share.
            descriptor = self._log.fileno()
            written = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            self._output = written.decode(errors="replace")
        return self._output

    def _refuse(self) -> None:
        connection: Any = connections[self.using]
        if self.pid:
            raise RuntimeError("The live worker runs already. Stop it first, or use restart().")
        if not hasattr(os, "fork"):
            raise RuntimeError("A live worker needs a system that can fork. Use run_jobs().")
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            raise RuntimeError(
                f"The test database {self.using!r} is an SQLite in memory, which no other process "
                'sees. Name a file: "TEST": {"NAME": BASE_DIR / "test.sqlite3"}, or use run_jobs().'
            )
        if connection.in_atomic_block:
            raise RuntimeError(
                "A live worker does not see what the test's transaction holds. Use a "
                "TransactionTestCase or @pytest.mark.django_db(transaction=True), or run_jobs()."
            )

    def _fork(self) -> int:
        from ..worker.fork import fork  # Windows cannot import it

        with warnings.catch_warnings():
            # pytest-xdist has threads of its own, which the child does not need.
            warnings.simplefilter("ignore", DeprecationWarning)
            return fork(self._run, [])

    def _run(self) -> int:
        from ..worker.fork import hear_term

        assert self._log is not None
        for descriptor in (1, 2):
            os.dup2(self._log.fileno(), descriptor)
        # pytest has replaced the streams.
        sys.stdout = sys.stderr = self._log
        hear_term()
        try:
            call_command("runworker", *self.arguments, "--database", self.using)
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 1
        except CommandError as error:
            self._log.write(f"{error}\n")
        return 1

    def _has_ended(self) -> bool:
        if self.pid:
            try:
                ended, _status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # the test has waited for it
                ended = self.pid
            if ended:
                self.pid = 0
        return not self.pid


@contextlib.contextmanager
def live_worker(*arguments: str, using: str | None = None) -> Iterator[LiveWorker]:
    """Run a real worker beside the block, and end it with the block.

    *arguments* are those of ``runworker``, by default ``--processes 1``; *using* is the alias of
    the database, by default the setting ``DATABASE``. For tests without a transaction, such as a
    ``TransactionTestCase``.
    """
    worker = LiveWorker(*arguments, using=using)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
