"""The files of the project's code, and whether one of them has changed."""

from __future__ import annotations

import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from django.apps import apps
from django.utils.autoreload import StatReloader, autoreload_started

#: Seconds between two looks at the files.
LOOK_SECONDS = 1.0
# A new file's time of change may be a little older than its appearance.
_SLACK_SECONDS = 2.0


class FileChanges:
    """Watches what Django's autoreloader watches: imported modules, templates, translations.

    It also watches all modules of the project's own apps, as a worker may import them later.
    *clock* returns seconds, as :func:`time.monotonic` does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reloader = StatReloader()
        for config in apps.get_app_configs():
            if _is_own(Path(config.path)):
                self._reloader.watch_dir(config.path, "**/*.py")
        autoreload_started.send(sender=self._reloader)
        self._times = dict(self._reloader.snapshot_files())
        self._looked_at = time.time()
        self._due = clock() + LOOK_SECONDS

    def changed(self) -> Path | None:
        """Return a file that is new or has changed since the last look, or None.

        It looks at most once in :data:`LOOK_SECONDS`.
        """
        now = self._clock()
        if now < self._due:
            return None
        self._due = now + LOOK_SECONDS
        since, self._looked_at = self._looked_at - _SLACK_SECONDS, time.time()
        before, self._times = self._times, dict(self._reloader.snapshot_files())
        for path, changed_at in self._times.items():
            if path not in before:
                # A module that was imported since the last look is known only now.
                if changed_at >= since:
                    return path
            elif changed_at != before[path]:
                return path
        return None


def _is_own(path: Path) -> bool:
    """Return whether *path* is code of the project, and not an installed package."""
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    return not any(path.is_relative_to(folder) for folder in installed)
