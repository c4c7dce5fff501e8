"""How many processes a supervisor keeps: by command, or by their load."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import time
from typing import Any

from .autoscale import LOOK_SECONDS, Autoscale, Load, Report
from .child_process import Child
from .children import Children
from .roster import MOST

_log = logging.getLogger("django_jobs.worker")


class Scaling:
    """Changes the number of *children*; *autoscale* is None while only commands change it."""

    def __init__(self, children: Children, autoscale: Autoscale | None) -> None:
        self.autoscale = autoscale
        self._children = children
        self._looked_at = 0.0
        children.watched = autoscale is not None

    def staying(self) -> list[Child]:
        """Return the processes that run jobs and that stay."""
        children = self._children.by_pid.values()
        return [child for child in children if child.index >= 0 and not child.surplus]

    def indexes(self) -> set[int]:
        """Return the indexes of all wanted workers, also of those that start just now."""
        return {child.index for child in self.staying()} | {
            index for index in self._children.vacant if index >= 0
        }

    def resize(self, change: int) -> None:
        """Start so many more processes or, below 0, stop so many.

        Raises ``ValueError`` when autoscale decides that, or when no process would stay.
        """
        size = len(self.indexes())
        if self.autoscale is not None:
            raise ValueError(
                f"This runworker scales itself, from {self.autoscale.least} to "
                f"{self.autoscale.most} processes: change that by autoscale."
            )
        if size + change > MOST:
            raise ValueError(
                f"A runworker has at most {MOST} processes, and this one has {size}. Start another "
                "runworker."
            )
        if size + change < 1:
            raise ValueError(
                f"This runworker has {size} processes, and one stays. Shut it down to stop them."
            )
        self._change(change)

    def set_autoscale(
        self, most: int | None, least: int | None, idle_seconds: float | None
    ) -> None:
        """Scale by the load from now on; with None or 0 only commands change the number."""
        self.autoscale = (
            Autoscale(most, least, idle_seconds) if most and least and idle_seconds else None
        )
        self._children.watched = self.autoscale is not None
        for child in self._children.by_pid.values():
            child.shared_slots.watched = self._children.watched
        self._looked_at = 0.0
        self.scale()

    def scale(self) -> None:
        """Change the number of processes by their load, if it is time to look."""
        now = time.monotonic()
        if (
            self.autoscale is None
            or self._children.stopping
            or now - self._looked_at < LOOK_SECONDS
        ):
            return
        self._looked_at = now
        size, staying = len(self.indexes()), self.staying()
        options_at = self._children.options_at
        reports = [
            child.shared_slots.load for child in staying if not options_at[child.index].quiet
        ]
        reports += [Report(Load.UNKNOWN, now)] * (size - len(staying))
        change = self.autoscale.change(size, reports, now)
        if change:
            _log.info("autoscale from=%d to=%d", size, size + change)
            self._change(change)

    def _change(self, change: int) -> None:
        """Start so many more processes or, below 0, let so many finish what they run and end."""
        vacant = self._children.vacant
        for _ in range(change):
            taken = vacant.keys() | {child.index for child in self._children.by_pid.values()}
            free = next(index for index in itertools.count() if index not in taken)
            vacant[free] = time.monotonic()
        for _ in range(-change):
            unborn = [index for index in vacant if index >= 0]
            if unborn:
                del vacant[max(unborn)]
                continue
            child = max(self.staying(), key=Child.dispensability)
            child.surplus = True
            os.kill(child.pid, signal.SIGTERM)

    def bounds(self) -> dict[str, Any]:
        """Return the fields of :attr:`autoscale`, by their names."""
        scale = self.autoscale
        if scale is None:
            return {}
        return {"most": scale.most, "least": scale.least, "idle_seconds": scale.idle_seconds}
