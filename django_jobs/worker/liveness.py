"""Whether all processes of a ``runworker`` live, for its heartbeat file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ..conf import get_settings
from ..process.heartbeat_file import HeartbeatFile

#: A process whose loops took no step for so many seconds hangs: a step that fails because the
#: database is away ends within 40 s, and a lock of a migration may last longer.
HUNG_SECONDS = 300.0


class Liveness:
    """Touches *file* while every process of the ``runworker`` takes steps.

    A step that fails is a step: a worker whose database is away goes on by itself when it is back,
    and must not be restarted. *clock* returns seconds, as :func:`time.monotonic` does.
    """

    def __init__(self, file: HeartbeatFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        # A heartbeat is a step, and its interval is a setting.
        self._longest = max(HUNG_SECONDS, get_settings().lease_seconds)
        self._lived_at: dict[int, float] = {}
        self._began = False

    def look(self, steps: Mapping[int, float]) -> None:
        """Touch the file if all live.

        *steps* has, for the index of each process that there should be, the moment of its last
        step; 0 if it has taken none or does not exist at present.
        """
        now = self._clock()
        for index, moment in steps.items():
            if moment:
                self._lived_at[index] = max(moment, self._lived_at.get(index, 0.0))
            elif self._began:  # a process was added, or takes the place of another
                self._lived_at.setdefault(index, now)
        for index in self._lived_at.keys() - steps.keys():
            del self._lived_at[index]
        if len(self._lived_at) == len(steps) and all(
            now - moment < self._longest for moment in self._lived_at.values()
        ):
            self._began = True
            self._file.touch()
