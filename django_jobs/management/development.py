"""The processes of ``rundev``: it starts them, shows their output, and ends all of them."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from ..run.forks import die_with_parent
from ..worker.file_changes import FileChanges
from ..worker.fork import kill_group, reap
from ..worker.signal_pipe import SignalPipe
from .terminal import Output, Terminal

#: The name of rundev's own lines.
OWN = "rundev"
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_TURN_SECONDS = 0.2


class Part:
    """A program that runs in a session of its own, so that Ctrl-C does not reach it.

    With *beat* it gets a pipe for the output of a beat that it starts, and ``--beat-output``.
    """

    def __init__(self, name: str, command: Sequence[str], *, beat: str = "") -> None:
        self.name = name
        self.beat = beat
        self.pid: int | None = None
        self.outputs: list[Output] = []
        self._command = list(command)

    @property
    def names(self) -> list[str]:
        """The names under which its output is shown."""
        return [self.name, self.beat] if self.beat else [self.name]

    def start(self, terminal: Terminal) -> None:
        pipes = [os.pipe() for _name in self.names]
        ends = [write for _read, write in pipes]
        flags = [f"--beat-output={write}" for write in ends[1:]]
        process = subprocess.Popen(  # noqa: S603
            [*self._command, *flags],
            stdout=ends[0],
            stderr=subprocess.STDOUT,
            pass_fds=ends[1:],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            # runserver passes a TERM on to its child; after a KILL that would live on.
            preexec_fn=functools.partial(die_with_parent, os.getpid(), signal.SIGTERM),
        )
        self.pid = process.pid
        process.returncode = 0  # the end is noticed by reap(), so Popen must not wait for it
        for end in ends:
            os.close(end)
        named = zip(self.names, pipes, strict=True)
        self.outputs = [Output(name, read, terminal) for name, (read, _write) in named]

    def end(self) -> int | None:
        """Return the exit code if the program has ended, once, with its output shown."""
        code = None if self.pid is None else reap(self.pid)
        if code is not None:
            self.pid = None
            for output in self.outputs:
                output.close()
            self.outputs = []
        return code

    def send(self, number: int) -> None:
        if self.pid is not None:
            kill_group(self.pid, number)


class Development:
    """Runs *parts* until Ctrl-C, or until nobody reads what they write, as *is_unread* tells.

    When a part ends by itself, all end. After a change of the code only that part waits for the
    next change, and then starts again.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        terminal: Terminal,
        changes: FileChanges,
        is_unread: Callable[[], bool],
    ) -> None:
        self._parts = parts
        self._terminal = terminal
        self._changes = changes
        self._is_unread = is_unread
        self._has_changed = False
        self._signals = SignalPipe()
        self._stops = 0
        self._code = 0

    def run(self) -> int:
        """Run to the end; return the exit code."""
        self._signals.listen(_STOPS)
        try:
            for part in self._parts:
                part.start(self._terminal)
            while not self._stops or any(part.pid for part in self._parts):
                self._turn()
        finally:
            for part in self._parts:
                part.send(signal.SIGKILL)
            self._signals.stop_listening()
            self._signals.close()
        return self._code

    def _turn(self) -> None:
        outputs = [output for part in self._parts for output in part.outputs]
        readable = [output.descriptor for output in outputs if not output.is_closed]
        for _number in self._signals.wait(_TURN_SECONDS, also=readable):
            self._stop()
        for output in outputs:
            output.forward()
        if not self._stops and self._is_unread():
            self._stop()
        for part in self._parts:
            code = part.end()
            if code is not None and not self._stops:
                self._ended(part, code)
        if not self._stops and self._changes.changed():
            self._has_changed = True
            for part in self._parts:
                if part.pid is None:
                    part.start(self._terminal)

    def _ended(self, part: Part, code: int) -> None:
        if self._has_changed:
            self._say(f"{part.name} ended (exit code {code}) and starts again when a file changes.")
        else:
            self._say(f"{part.name} ended (exit code {code}), so all end.")
            self._code = 1
            self._stop()

    def _stop(self) -> None:
        """End all. A second TERM does not wait for jobs; the third time it is KILL."""
        self._stops += 1
        if self._stops == 1 and not self._code:
            self._say("Stopping: running jobs are finished. Ctrl-C again stops them.")
        for part in self._parts:
            part.send(signal.SIGTERM if self._stops < 3 else signal.SIGKILL)

    def _say(self, text: str) -> None:
        self._terminal.show(OWN, f"{text}\n")
