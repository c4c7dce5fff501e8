"""Starts ``manage.py`` as a fork of a process that has imported the project.

The imports take longer than most tests. The fork does what ``manage.py`` does from then on, and
belongs to the tests' process: the middleman that forked it has ended, and the tests' process adopts
what a child of its own leaves behind.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from django_jobs.process import native
from django_jobs.worker import patched_start

ROOT = Path(__file__).parents[1]
_MOST_BYTES = 65_536
_PR_SET_CHILD_SUBREAPER = 36


class Forked:
    """A fork, with the part of ``subprocess.Popen`` that the tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                select.select([descriptor], [], [], timeout)
            finally:
                os.close(descriptor)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("manage.py", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks; it ends with the tests' process."""

    def __init__(self, environment: Mapping[str, str], *, is_patched: bool = False) -> None:
        """With *is_patched*, gevent has replaced the standard library in the forks."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        patched = [patched_start.__file__] if is_patched else []
        self._process = subprocess.Popen(
            [sys.executable, *patched, "-m", "tests.forkserver", str(theirs.fileno())],
            env=dict(environment), cwd=ROOT, pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: IO[str]
    ) -> Forked:
        """Start ``manage.py`` with *arguments*; *log* takes its output."""
        request = json.dumps({"arguments": arguments, "environment": dict(environment)}).encode()
        adopt(True)
        try:
            socket.send_fds(self._socket, [request], [log.fileno()])
            answer = self._socket.recv(_MOST_BYTES)
        finally:
            adopt(False)
        assert answer, "the fork server has ended"
        return Forked(int(answer))

    def stop(self) -> None:
        self._socket.close()
        self._process.wait()


def environment() -> dict[str, str]:
    """Return the environment of processes that use the tests' database."""
    from django.db import connections

    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"]),
    }


def adopt(yes: bool) -> None:
    """Let this process be the parent of what its children leave behind, or no longer."""
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0) == 0


def main(descriptor: int) -> None:
    import django

    django.setup()
    # The checks import the rest: URLs, the admin.
    from django.core.management import call_command, load_command_class
    from django.db import connections

    for command in ("runworker", "runbeat"):
        load_command_class("django_jobs", command)
    importlib.import_module("django_jobs.worker.supervisor")
    importlib.import_module("django_jobs.worker.worker")
    # A text left in the buffer would be written by every fork.
    call_command("check", stdout=io.StringIO())
    connections.close_all()
    # At the end of a fork the collector of cycles would look at all that is loaded here, which
    # takes longer than the rest of its life.
    gc.freeze()
    fork = native.original("os", "fork")
    with socket.socket(fileno=descriptor) as channel:
        while request := receive(channel):
            read, write = os.pipe()
            middleman = fork()
            if not middleman:
                if pid := fork():
                    os.write(write, str(pid).encode())
                    os._exit(0)
                os.close(read)
                os.close(write)
                channel.close()
                native.after_fork()
                become(*request)
                return
            os.close(write)
            native.original("os", "waitpid")(middleman, 0)
            channel.send(os.read(read, 20))
            os.close(read)


def receive(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    try:
        request, descriptors, _flags, _address = socket.recv_fds(channel, _MOST_BYTES, 1)
    except KeyboardInterrupt:  # the terminal's Ctrl-C
        return None
    return (json.loads(request), descriptors[0]) if request else None


def become(request: dict[str, Any], log: int) -> None:
    """Do what ``manage.py`` does, with settings of the environment of this start."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["manage.py", *request["arguments"]]
    # A reload starts this command line.
    sys.orig_argv[:] = [sys.executable, *sys.argv]
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.core.signals import setting_changed

    jobs = importlib.reload(importlib.import_module("tests.settings")).DJANGO_JOBS
    settings.DJANGO_JOBS = jobs
    setting_changed.send(sender=None, setting="DJANGO_JOBS", value=jobs, enter=True)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main(int(sys.argv[1]))
