"""A file whose time of change shows that a process and all its parts live."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger("django_jobs.worker")

#: Seconds between two touches of the file.
TOUCH_SECONDS = 5.0
# Never follow a link: users of the directory could choose a file to be created or changed.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class HeartbeatFile:
    """The empty file at *path*. *clock* returns seconds, as :func:`time.monotonic` does."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._clock = clock
        self._touched_at: float | None = None
        self._failing = False

    def create(self) -> None:
        """Create the file with an old time of change, which is no sign of life.

        A file that a killed process left keeps its time. Raises ``ValueError`` if the file cannot
        be written, or is another one: not empty, a link, a directory.
        """
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_LINK, 0o644))
            os.utime(self._path, (0, 0))
        except FileExistsError:
            found = self._path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size:
                raise ValueError(
                    f"--heartbeat-file {self._path} is a file with another use: it is not empty, "
                    "or is a link or a directory. Give another name."
                ) from None
            if not os.access(self._path, os.W_OK):
                raise ValueError(
                    f"--heartbeat-file {self._path} cannot be written: it is another user's. "
                    "Give another name."
                ) from None
        except OSError as error:
            raise ValueError(
                f"--heartbeat-file {self._path} cannot be written: {error.strerror}."
            ) from None

    def touch(self) -> None:
        """Set the file's time of change to now, at most once in :data:`TOUCH_SECONDS`.

        An error is logged, once until the next success: the process goes on.
        """
        now = self._clock()
        if self._touched_at is not None and now - self._touched_at < TOUCH_SECONDS:
            return
        self._touched_at = now
        try:
            try:
                os.utime(self._path)
            except FileNotFoundError:  # somebody removed it
                flags = os.O_CREAT | os.O_WRONLY | _NO_LINK
                os.close(os.open(self._path, flags, 0o644))
        except OSError as error:
            if not self._failing:
                _log.error("cannot touch the heartbeat file %s: %s", self._path, error.strerror)
            self._failing = True
        else:
            self._failing = False

    def remove(self) -> None:
        """Remove the file: the process ends in order."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
