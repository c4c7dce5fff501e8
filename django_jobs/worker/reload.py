"""A ``runworker`` starts over with the code as it is now."""

from __future__ import annotations

import logging
import os
import sys

from ..define import instrumentation
from .reload_check import ReloadCheck, command

_log = logging.getLogger("django_jobs.worker")


class Reload:
    """Checks first whether the new code can start.

    *is_program* says that the command line of this process is that of ``runworker``. Of another
    program nobody knows what else it does when it starts, so its code is not checked.
    """

    def __init__(self, is_program: bool) -> None:
        #: The supervisor starts over when its processes have ended.
        self.is_wanted = False
        #: The code changed after it was checked.
        self.is_stale = False
        self._is_program = is_program
        self._check: ReloadCheck | None = None

    @property
    def pids(self) -> list[int]:
        """The process that checks the new code, if there is one."""
        return [self._check.pid] if self._check else []

    def begin(self) -> None:
        """Check the code as it is now; without a check the reload is wanted at once."""
        if not self._is_program:
            self.is_wanted = True
            return
        self.end_check()  # the code may have changed since it began
        try:
            self._check = ReloadCheck()
        except OSError as error:
            _log.error("not reloading: the new code cannot be tried: %s", error)
            return
        _log.info("reloading: trying the code as it is now")

    def poll(self) -> bool:
        """Return whether a check has just ended well, so that the reload is wanted from now on."""
        why = self._check.verdict() if self._check else None
        if why is None:
            return False
        self.end_check()
        if why:
            _log.error(
                "not reloading: a runworker cannot start with the code as it is now, so this one "
                "goes on with the code that it has: %s",
                why,
            )
        self.is_wanted = not why
        return self.is_wanted

    def end_check(self) -> None:
        if self._check is not None:
            self._check.end()
            self._check = None

    def start_over(self) -> None:
        """Replace this program by a new start of it."""
        _log.info("reloading: starting over with the code as it is now")
        for tracer in instrumentation.instrumentations:
            tracer.process_ends()
        os.execv(sys.executable, command())  # noqa: S606
